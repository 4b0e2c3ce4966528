// SPDX-License-Identifier: Apache-2.0

#include "server/config_file.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <vector>

#include "common/toml.h"

namespace silurus::server {
namespace {

constexpr std::array<std::string_view, 5> kOnlyOnCommandLines = {"check", "config", "help",
                                                                 "print-config", "version"};

tl::unexpected<Error> bad(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::string place_of(const std::string& path, const toml::source_region& where) {
  return path + ":" + std::to_string(where.begin.line) + ": ";
}

/// A value as one would type it; nothing if it is of no type that an option has.
std::optional<std::string> text_of(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto number = node.value_exact<std::int64_t>()) return std::to_string(*number);
  if (const auto flag = node.value_exact<bool>()) return *flag ? "true" : "false";
  if (const auto number = node.value_exact<double>()) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.17g", *number);
    return text.data();
  }
  return std::nullopt;
}

Status take(flags::Values& values, const flags::Option& option, const toml::node& node,
            const std::string& place) {
  const auto give = [&](const toml::node& one) -> Status {
    auto text = text_of(one);
    if (text) return values.give(option.name, std::move(*text), place);
    return bad(place + ": must be a number, a string, true or false" +
               (option.repeats ? ", or a list of these" : ""));
  };
  const toml::array* list = option.repeats ? node.as_array() : nullptr;
  if (list == nullptr) return give(node);
  for (const toml::node& one : *list) {
    if (auto ok = give(one); !ok) return ok;
  }
  return {};
}

Status take_all(flags::Values& values, const toml::table& table, const std::string& path) {
  std::vector<std::string> known;
  for (const flags::Option& option : values.options()) {
    if (is_configurable(option)) known.push_back(option.name);
  }
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    const std::string where = place_of(path, key.source());
    if (std::ranges::find(known, name) == known.end()) {
      return bad(
          where + "unknown key " + name +
          flags::suggestion(name, known, [](std::string_view one) { return std::string(one); }));
    }
    const auto option = std::ranges::find(values.options(), name, &flags::Option::name);
    if (auto ok = take(values, *option, node, where + name); !ok) return ok;
  }
  return {};
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 19 && (text == "0" || text.front() != '0') &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04X", static_cast<unsigned>(c));
      result += escape.data();
    } else {
      result += c;
    }
  }
  return result + "\"";
}

/// The right side of an option's line; empty if there is nothing to say.
std::string value_of(const flags::Values& values, const flags::Option& option) {
  if (option.argument.empty()) return values.has(option.name) ? "true" : "false";
  if (option.repeats) {
    std::string list;
    for (const std::string& one : values.all(option.name)) {
      list += (list.empty() ? "" : ", ") + (is_number(one) ? one : quoted(one));
    }
    return list.empty() ? "" : "[" + list + "]";
  }
  const std::string text = values.text(option.name);
  if (text.empty()) return values.has(option.name) ? quoted(text) : "";
  return is_number(text) ? text : quoted(text);
}

}  // namespace

bool is_configurable(const flags::Option& option) {
  return std::ranges::find(kOnlyOnCommandLines, option.name) == kOnlyOnCommandLines.end();
}

Result<flags::Values> read_config(const std::string& path, std::span<const flags::Option> options) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) {
    return fail(errno_error(ErrorCode::kNotFound, "cannot read " + path, errno));
  }
  std::fclose(file);
  flags::Values values(options);
  try {
    const toml::table table = toml::parse_file(path);
    if (auto ok = take_all(values, table, path); !ok) return fail(ok.error());
  } catch (const toml::parse_error& error) {
    return bad(place_of(path, error.source()) + std::string(error.description()));
  } catch (const std::exception& error) {
    return bad(path + ": " + error.what());
  }
  return values;
}

std::string to_toml(const flags::Values& values) {
  std::string text;
  for (const flags::Option& option : values.options()) {
    if (!is_configurable(option)) continue;
    const std::string value = value_of(values, option);
    text +=
        value.empty() ? "# " + option.name + " is not set\n" : option.name + " = " + value + "\n";
  }
  return text;
}

}  // namespace silurus::server
