// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bitset>
#include <cstdint>
#include <optional>

#include "common/check.h"
#include "protocol/messages.h"

namespace silurus::client {

/// Numbers the writes of one client, on all its connections, and knows from which number on an
/// outcome is missing (protocol::WriteRequest, after RIFL). One thread.
class WriteWindow {
 public:
  /// The next number; nothing while the oldest without an outcome lies too far back.
  std::optional<std::uint64_t> next() {
    if (next_ - oldest_ >= protocol::kMaxOutstandingWrites) return std::nullopt;
    return next_++;
  }
  /// The client knows what became of it, or asks no more.
  void resolve(std::uint64_t sequence) {
    SILURUS_CHECK(sequence >= oldest_ && sequence < next_);
    resolved_.set(sequence % protocol::kMaxOutstandingWrites);
    while (oldest_ < next_ && resolved_.test(oldest_ % protocol::kMaxOutstandingWrites)) {
      resolved_.reset(oldest_ % protocol::kMaxOutstandingWrites);
      ++oldest_;
    }
  }
  /// How far before `sequence` the oldest one without an outcome lies.
  std::uint32_t outstanding(std::uint64_t sequence) const {
    return static_cast<std::uint32_t>(sequence - oldest_);
  }

 private:
  std::uint64_t next_ = 1;
  std::uint64_t oldest_ = 1;
  std::bitset<protocol::kMaxOutstandingWrites> resolved_;
};

}  // namespace silurus::client
