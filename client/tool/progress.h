// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "common/clock.h"

namespace silurus::tool {

/// What is going on, as it is to be shown at some moment. Pure: time is handed in.
class Activity {
 public:
  explicit Activity(Nanoseconds now) : begun_(now), moved_(now) {}

  /// What is being waited for from now on: "building the tree".
  void say(std::string what, Nanoseconds now);
  /// Shows the number of boxes dealt with. `fraction` below 0: unknown.
  void update(double fraction, std::uint64_t boxes, Nanoseconds now);
  /// The line for a terminal; empty as long as there is nothing to tell. What takes longer than a
  /// second says for how long it has.
  std::string line(Nanoseconds now) const;

 private:
  Nanoseconds begun_;
  Nanoseconds moved_;  ///< the last step was made then
  std::string what_;
  double fraction_ = -1;
  std::uint64_t boxes_ = 0;
};

/// Shows on standard error what is being done and waited for, if that is a terminal; else nothing.
/// A thread of its own draws a few times a second, however long a step blocks. The line is wiped
/// when this is destroyed.
class Progress {
 public:
  explicit Progress(std::string what = {});
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void say(std::string what);
  void update(double fraction, std::uint64_t boxes);

 private:
  void draw_until_done();

  SystemClock clock_;
  std::mutex mutex_;  ///< guards all members below
  std::condition_variable changed_;
  Activity activity_;
  bool is_done_ = false;
  std::thread thread_;  ///< none, if nothing is shown
};

}  // namespace silurus::tool
