// SPDX-License-Identifier: Apache-2.0

#include "common/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>

#include "silurus/api.h"

namespace silurus::log {
namespace {

constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
/// The message comes escaped.
constexpr const char* kJsonPattern =
    R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":"%v"})";

/// Whether messages are to be escaped. Relaxed: set before there are other threads.
std::atomic<bool> as_json{false};

spdlog::logger& logger() {
  static spdlog::logger instance = [] {
    spdlog::logger made("silurus", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.set_pattern(kTextPattern, spdlog::pattern_time_type::utc);
    made.set_level(spdlog::level::info);
    made.flush_on(spdlog::level::info);
    return made;
  }();
  return instance;
}

void write(spdlog::level::level_enum level, std::string_view message) {
  if (!logger().should_log(level)) return;
  if (as_json.load(std::memory_order_relaxed)) {
    logger().log(level, "{}", escaped(message));
  } else {
    logger().log(level, "{}", message);
  }
}

/// Bytes of the UTF-8 character that a text begins with; 0 if it begins with none.
std::size_t character_size(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t size = first < 0x80   ? 1
                           : first < 0xc2 ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  if (size == 0 || size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool too_long = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate = first == 0xed && byte(1) >= 0xa0;
  const bool too_great = first == 0xf4 && byte(1) >= 0x90;
  return too_long || surrogate || too_great ? 0 : size;
}

}  // namespace

SILURUS_API void set_level(Level level) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err,
                                                   spdlog::level::off};
  logger().set_level(kLevels[static_cast<int>(level)]);
}

void set_format(Format format) {
  const bool json = format == Format::kJson;
  as_json.store(json, std::memory_order_relaxed);
  logger().set_pattern(json ? kJsonPattern : kTextPattern, spdlog::pattern_time_type::utc);
}

std::string escaped(std::string_view message) {
  std::string result;
  while (!message.empty()) {
    const std::size_t size = character_size(message);
    const std::string_view character = message.substr(0, std::max<std::size_t>(size, 1));
    message.remove_prefix(character.size());
    const auto first = static_cast<unsigned char>(character.front());
    if (size == 0) {
      result += "\\ufffd";
    } else if (first < 0x20 || first == 0x7f) {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(first));
      result += code.data();
    } else {
      if (first == '"' || first == '\\') result += '\\';
      result += character;
    }
  }
  return result;
}

void debug(std::string_view message) { write(spdlog::level::debug, message); }
void info(std::string_view message) { write(spdlog::level::info, message); }
void warning(std::string_view message) { write(spdlog::level::warn, message); }
void error(std::string_view message) { write(spdlog::level::err, message); }

}  // namespace silurus::log
