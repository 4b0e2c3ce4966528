// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rtree/node_ref.h"

namespace silurus::client {

/// Copies of nodes of a remote tree, by name. A node never changes under its name, so nothing is
/// ever invalidated; nodes of versions gone by are simply asked for no more and make room. Holds
/// a fixed number of nodes and evicts by CLOCK (second chance). All memory is taken at creation and
/// touched as it fills; find() and put() allocate nothing.
///
/// Names come round again after 2^36 versions. So all is forgotten when the upper half of the
/// version, from bit 35 on, changes: what is held is then never older than 2^35 versions, and a
/// name held can't be another node's. observe() must be told each version that is read.
///
/// Says nothing about liveness: that a node is here doesn't mean that the current tree has it.
/// A node may be used only if its name was found from a root that was validated. One thread.
class NodeCache {
 public:
  /// Room for nodes of `node_bytes` (a multiple of 64) within about `budget_bytes`; at least
  /// kMinNodes, so that a path to a leaf fits.
  NodeCache(std::size_t budget_bytes, std::size_t node_bytes);

  static constexpr std::size_t kMinNodes = 16;

  /// The node of that name, 64-byte aligned; nullptr if it isn't here. Valid until the next put().
  const std::byte* find(rtree::NodeRef ref);
  /// Copies a node in (at most node_bytes), unless it is there already.
  void put(rtree::NodeRef ref, std::span<const std::byte> node);
  /// Gives the node of one name another one, and returns its bytes: the caller makes the changes
  /// that the new name stands for, at once. nullptr if the node isn't here, or that of the new name
  /// is; then nothing happens.
  std::byte* rename(rtree::NodeRef from, rtree::NodeRef to);
  /// Tells it which version was just seen; whether it has forgotten all because of that.
  bool observe(rtree::Version version);
  void clear();

  std::size_t capacity() const { return slots_.size(); }
  std::size_t size() const { return size_; }

 private:
  struct Slot {
    rtree::NodeRef ref;  ///< null: free
    bool used = false;   ///< since the hand last passed
  };
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct FreeMemory {
    void operator()(std::byte* memory) const;
  };

  std::byte* node(std::uint32_t slot) { return memory_.get() + slot * node_bytes_; }
  std::size_t home(rtree::NodeRef ref) const;
  std::size_t position(rtree::NodeRef ref) const;  ///< in table_: of ref, or of the gap for it
  void forget(rtree::NodeRef ref);
  std::uint32_t evict();

  std::size_t node_bytes_;
  std::unique_ptr<std::byte[], FreeMemory> memory_;
  std::vector<Slot> slots_;
  /// Open addressing with linear probing, at most half full: slot numbers.
  std::vector<std::uint32_t> table_;
  std::size_t size_ = 0;
  std::uint32_t hand_ = 0;
  rtree::Version epoch_ = 0;  ///< version >> 35
};

}  // namespace silurus::client
