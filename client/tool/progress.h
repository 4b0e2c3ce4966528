#pragma once

#include <cstdint>

#include "common/clock.h"

namespace silurus::tool {

/// A progress bar on standard error if that is a terminal, else nothing at all. Drawn some ten
/// times a second at most; wiped when destroyed.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// `fraction` below 0: unknown.
  void update(double fraction, std::uint64_t boxes);
  /// Says what is going on while nothing moves: "building the tree ...".
  void say(const char* what);

 private:
  SystemClock clock_;
  Nanoseconds begun_;
  Nanoseconds drawn_ = 0;
  bool terminal_;
};

}  // namespace silurus::tool
