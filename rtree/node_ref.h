// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>

#include "silurus/time.h"

namespace silurus::rtree {

using silurus::Version;

/// Names a node: the chunk that holds it and the version it was born in (its low 36 bits). 8 bytes,
/// so that an aligned read of one is atomic, for a NIC too. A name is never given to two different
/// nodes less than 2^36 versions apart; a cache of nodes by name forgets all of them when bit
/// 35 of the version flips (NodeCache does).
class NodeRef {
 public:
  static constexpr int kChunkBits = 28;
  static constexpr int kBirthBits = 36;
  static constexpr std::uint64_t kMaxChunks = std::uint64_t{1} << kChunkBits;

  constexpr NodeRef() = default;
  constexpr NodeRef(std::uint32_t chunk, Version birth)
      : word_((std::uint64_t{chunk} << kBirthBits) | (birth & ((Version{1} << kBirthBits) - 1))) {}
  static constexpr NodeRef from_word(std::uint64_t word) {
    NodeRef ref;
    ref.word_ = word;
    return ref;
  }

  constexpr std::uint64_t word() const { return word_; }
  constexpr std::uint32_t chunk() const { return static_cast<std::uint32_t>(word_ >> kBirthBits); }
  /// The low 36 bits of the version that the node was born in.
  constexpr Version birth() const { return word_ & ((Version{1} << kBirthBits) - 1); }
  /// Whether a node that says it was born in `version` is the one named.
  constexpr bool is_born_in(Version version) const {
    return ((word_ ^ version) << kChunkBits) == 0;
  }
  /// The null reference names no node: version 0 has none.
  constexpr explicit operator bool() const { return word_ != 0; }

  friend constexpr bool operator==(NodeRef, NodeRef) = default;

 private:
  std::uint64_t word_ = 0;
};
static_assert(sizeof(NodeRef) == 8);

/// Stands for the level of a root that isn't known yet: only its name is published.
constexpr std::uint32_t kAnyLevel = UINT32_MAX;
/// The same for the root of an id index.
constexpr std::uint32_t kAnyIndexLevel = UINT32_MAX - 1;

/// Groups of entries of a leaf: bit g is group g (node.h).
using GroupMask = std::uint8_t;
inline constexpr GroupMask kAllGroups = 0xFF;

/// A node that a search needs. Level 0 is a leaf; the level tells how many bytes to fetch. Of a
/// root it may be kAnyLevel, or kAnyIndexLevel.
struct WantedNode {
  NodeRef ref;
  std::uint32_t level;
  GroupMask groups = kAllGroups;  ///< those of a leaf that are wanted; 0: its header alone
  friend constexpr bool operator==(const WantedNode&, const WantedNode&) = default;
};

}  // namespace silurus::rtree

template <>
struct std::hash<silurus::rtree::NodeRef> {
  std::size_t operator()(silurus::rtree::NodeRef ref) const noexcept {
    return static_cast<std::size_t>(ref.word() * 0x9e3779b97f4a7c15u);
  }
};
