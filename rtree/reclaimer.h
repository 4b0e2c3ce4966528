// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "common/clock.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

/// A node that the current version no longer holds. It belongs to the versions [birth, death).
struct RetiredNode {
  std::uint32_t chunk;
  std::uint32_t chunks;  ///< successive ones, from that on
  Version birth;
  Version death;
};

/// Decides when retired nodes may be recycled: once the grace period has passed since the version
/// that retired them was published, and no pinned version holds them. Belongs to the writer of one
/// tree.
///
/// A retired node waits for its grace in a queue. If a pin holds it then, it moves to the bucket of
/// that pin, and is looked at again when the pin is gone: however much an old snapshot holds, it
/// costs nothing per publication.
class Reclaimer {
 public:
  explicit Reclaimer(Nanoseconds grace) : grace_(grace) {}

  /// Takes over nodes that the version published at `now` no longer holds. Those of an older
  /// version wait, too, for what was taken over before them.
  void retire(std::span<const RetiredNode> nodes, Nanoseconds now);

  /// The nodes whose chunks may be recycled, given the versions pinned (in ascending order); valid
  /// until the next call. The current version needs no pin.
  std::span<const RetiredNode> collect(Nanoseconds now, std::span<const Version> pinned);

  /// Nodes retired and not yet handed out by collect().
  std::size_t retired_count() const { return waiting_.size() + pinned_count_; }
  /// Retired nodes that a pin holds.
  std::size_t pinned_count() const { return pinned_count_; }
  /// The chunks of both.
  std::uint64_t retired_chunks() const { return waiting_chunks_ + pinned_chunks_; }
  std::uint64_t pinned_chunks() const { return pinned_chunks_; }
  /// When the grace of the oldest waiting node ends; 0 if none waits.
  Nanoseconds next_deadline() const {
    return waiting_.empty() ? 0 : waiting_.front().published + grace_;
  }

 private:
  struct Waiting {
    RetiredNode node;
    Nanoseconds published;
  };
  void settle(const RetiredNode& node, std::span<const Version> pinned);

  const Nanoseconds grace_;
  std::deque<Waiting> waiting_;
  std::map<Version, std::vector<RetiredNode>> pinned_;  ///< by a pin that holds them
  std::size_t pinned_count_ = 0;
  std::uint64_t waiting_chunks_ = 0;
  std::uint64_t pinned_chunks_ = 0;
  std::vector<RetiredNode> freed_;
};

}  // namespace silurus::rtree
