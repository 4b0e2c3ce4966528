// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>

#include "common/clock.h"

namespace silurus::server {

/// When to make a batch of the writes that have come: clients that had a batch answered are about
/// to send the next one, and then one flush does for all of it. Of one thread.
class BatchPace {
 public:
  /// `gap`: clients that send a batch leave no longer one between two writes.
  explicit BatchPace(Nanoseconds gap) : gap_(gap) {}

  /// A batch of that number of jobs was made.
  void note_batch(std::size_t jobs) { batch_ = jobs; }
  /// Notes how many jobs wait now.
  void note_waiting(std::size_t jobs, Nanoseconds now) {
    if (jobs == waiting_) return;
    waiting_ = jobs;
    changed_ = now;
  }
  /// Whether fewer wait than the last batch had, and others may still come.
  bool more_are_coming(Nanoseconds now) const { return waiting_ < batch_ && now < gap_ends(); }
  /// When none will come any more.
  Nanoseconds gap_ends() const { return changed_ + gap_; }

 private:
  const Nanoseconds gap_;
  std::size_t batch_ = 0;    ///< jobs in the last one
  std::size_t waiting_ = 0;  ///< when note_waiting() was called last,
  Nanoseconds changed_ = 0;  ///< and when that number last changed
};

}  // namespace silurus::server
