// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/check.h"

namespace silurus::transport::verbs {

/// What a work request was for, for when it completes.
struct Operation {
  enum class Kind : std::uint8_t {
    kPlain,    ///< nothing to do
    kMessage,  ///< value: the ring's position behind it
    kRead,     ///< value: the caller's cookie
    kWrite,    ///< value: the stage's position behind it
    kMailbox,
    kKeepAlive,
    kClosing,
  };
  Kind kind;
  std::uint64_t value;
};

/// The work requests of a queue pair that have been posted and not yet completed, oldest first. A
/// queue pair completes in order, so one signalled completion retires all that came before it. One
/// thread; no allocation after construction.
class SendQueue {
 public:
  explicit SendQueue(std::uint32_t capacity)
      : operations_(std::bit_ceil(capacity)), capacity_(capacity) {}

  std::uint32_t room() const { return capacity_ - static_cast<std::uint32_t>(tail_ - head_); }
  bool empty() const { return head_ == tail_; }

  /// Answers the number to give the work request (wr_id).
  std::uint64_t push(Operation operation) {
    SILURUS_CHECK(room() > 0);
    operations_[tail_ & (operations_.size() - 1)] = operation;
    return tail_++;
  }
  /// Whether a completion with this number can be ours.
  bool contains(std::uint64_t number) const { return number - head_ < tail_ - head_; }
  /// Takes out the oldest.
  Operation pop() {
    SILURUS_CHECK(!empty());
    return operations_[head_++ & (operations_.size() - 1)];
  }
  /// The number of the oldest.
  std::uint64_t head() const { return head_; }

 private:
  std::vector<Operation> operations_;
  std::uint32_t capacity_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
};

}  // namespace silurus::transport::verbs
