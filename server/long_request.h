// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "protocol/decode.h"
#include "server/limits.h"

namespace silurus::server {

/// Bytes of requests that come in segments and are not whole yet, of all clients of a server. Any
/// thread.
class SegmentedBytes {
 public:
  /// Whether there is room for that number more, which count from now on.
  bool take(std::uint64_t bytes) {
    // Relaxed: a sum that is compared with a limit, and orders nothing.
    if (bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= kMaxSegmentedBytes) {
      return true;
    }
    give_back(bytes);
    return false;
  }
  void give_back(std::uint64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  std::uint64_t taken() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> bytes_{0};
};

/// The request of one connection that comes in segments (protocol::MessageType::kSegment). One
/// thread.
class LongRequest {
 public:
  explicit LongRequest(SegmentedBytes& all) : all_(all) {}
  LongRequest(const LongRequest&) = delete;
  LongRequest& operator=(const LongRequest&) = delete;
  ~LongRequest() { clear(); }

  /// Takes the next segment. One of another request than those before lets these go. kTooLarge:
  /// the request is longer than kMaxRequestBytes.
  Status take(const protocol::SegmentMessage& segment) {
    if (segment.header.request_id != request_id_) clear();
    request_id_ = segment.header.request_id;
    if (bytes_.size() + segment.bytes.size() > protocol::kMaxRequestBytes) {
      return fail(ErrorCode::kTooLarge, "a request of more than " +
                                            std::to_string(protocol::kMaxRequestBytes) + " bytes");
    }
    has_room_ = has_room_ && all_.take(segment.bytes.size());
    if (has_room_) bytes_.insert(bytes_.end(), segment.bytes.begin(), segment.bytes.end());
    return {};
  }
  /// All of it, when the last segment was taken. kUnavailable: there was no room for it.
  Result<std::vector<std::byte>> finish() {
    const bool had_room = has_room_;
    std::vector<std::byte> whole = std::move(bytes_);
    all_.give_back(whole.size());
    bytes_ = {};
    has_room_ = true;
    if (had_room) return whole;
    return fail(ErrorCode::kUnavailable,
                "the server takes too many long writes at once: try again in a moment");
  }
  bool is_empty() const { return bytes_.empty() && has_room_; }
  /// What has come is not wanted any more.
  void clear() {
    all_.give_back(bytes_.size());
    bytes_.clear();
    has_room_ = true;
  }

 private:
  SegmentedBytes& all_;
  std::uint32_t request_id_ = 0;
  std::vector<std::byte> bytes_;
  bool has_room_ = true;
};

}  // namespace silurus::server
