// SPDX-License-Identifier: Apache-2.0

#include "client/tool/progress.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "client/tool/output.h"

namespace silurus::tool {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);
/// What is quicker than this isn't worth a line.
constexpr Nanoseconds kPatience = kSecond;
constexpr const char* kWipeLine = "\r\033[K";

/// Not by stdio, whose locks a process that is forked off meanwhile would never get.
void write_to_terminal(const std::string& text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

void Activity::say(std::string what, Nanoseconds now) {
  what_ = std::move(what);
  moved_ = now;
}

void Activity::update(double fraction, std::uint64_t boxes, Nanoseconds now) {
  fraction_ = fraction;
  boxes_ = boxes;
  what_.clear();
  moved_ = now;
}

std::string Activity::line(Nanoseconds now) const {
  const Nanoseconds still = now - moved_;
  const std::string since = std::to_string(still / kSecond) + " s";
  if (!what_.empty()) return still < kPatience ? "" : what_ + " ... " + since;
  if (boxes_ == 0) return "";
  const double seconds = static_cast<double>(now - begun_) / kSecond;
  const std::string bar = format_progress(fraction_, boxes_, seconds);
  return still < kPatience ? bar : bar + "  waiting for " + since;
}

Progress::Progress(std::string what) : activity_(clock_.now()) {
  activity_.say(std::move(what), clock_.now());
  if (isatty(STDERR_FILENO) == 1) thread_ = std::thread([this] { draw_until_done(); });
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Progress::say(std::string what) {
  const std::lock_guard lock(mutex_);
  activity_.say(std::move(what), clock_.now());
}

void Progress::update(double fraction, std::uint64_t boxes) {
  const std::lock_guard lock(mutex_);
  activity_.update(fraction, boxes, clock_.now());
}

void Progress::draw_until_done() {
  std::string drawn;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kInterval, [this] { return is_done_; })) {
    std::string line = activity_.line(clock_.now());
    if (line == drawn) continue;
    write_to_terminal(kWipeLine + line);
    drawn = std::move(line);
  }
  if (!drawn.empty()) write_to_terminal(kWipeLine);
}

}  // namespace silurus::tool
