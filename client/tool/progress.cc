#include "client/tool/progress.h"

#include <unistd.h>

#include <cstdio>

#include "client/tool/output.h"

namespace silurus::tool {
namespace {
constexpr Nanoseconds kInterval = 100 * kMillisecond;
constexpr const char* kWipeLine = "\r\033[K";
}  // namespace

ProgressBar::ProgressBar() : begun_(clock_.now()), terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (terminal_) std::fputs(kWipeLine, stderr);
}

void ProgressBar::update(double fraction, std::uint64_t boxes) {
  if (!terminal_) return;
  const Nanoseconds now = clock_.now();
  if (now - drawn_ < kInterval) return;
  drawn_ = now;
  const double seconds = static_cast<double>(now - begun_) / kSecond;
  std::fprintf(stderr, "%s%s", kWipeLine, format_progress(fraction, boxes, seconds).c_str());
}

void ProgressBar::say(const char* what) {
  if (terminal_) std::fprintf(stderr, "%s%s", kWipeLine, what);
}

}  // namespace silurus::tool
