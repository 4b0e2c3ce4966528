// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "replication/group/wire.h"
#include "replication/record.h"
#include "rtree/node.h"
#include "transport/fabric.h"

// What a source and a receiver of a state transfer say to each other: hellos when they connect,
// then side messages (replication/group/side_messages.h).

namespace silurus::replication {

/// First word of a receiver's hello, by which the listener of the group tells it from a member's.
constexpr std::uint32_t kTransferMagic = 0x544c4953;  // "SILT"
/// Value of `first_region` where slabs cannot be read one-sidedly.
constexpr std::uint32_t kNoRegions = UINT32_MAX;
/// Bytes of PinnedTree::extra in one message, at most.
constexpr std::size_t kExtraPiece = 4096;
/// Bytes of the text of a refusal, at most.
constexpr std::size_t kMaxRefusal = 512;

struct TransferHello {
  std::uint32_t magic = kTransferMagic;
  std::uint32_t format = group::kGroupFormat;
  group::GroupId group = 0;
  std::uint32_t node_format = 0;
  std::uint32_t first_region = kNoRegions;  ///< in the answer: the region that is slab 0
  std::uint64_t reserved = 0;

  std::vector<std::byte> encode() const {
    const auto bytes = std::as_bytes(std::span(this, 1));
    return {bytes.begin(), bytes.end()};
  }
  /// Nothing: these bytes are no hello of that group, for trees of that format.
  static std::optional<TransferHello> decode(group::GroupId group, std::uint32_t node_format,
                                             std::span<const std::byte> bytes) {
    TransferHello hello;
    if (bytes.size() < sizeof hello) return std::nullopt;
    std::memcpy(&hello, bytes.data(), sizeof hello);
    const bool is_ours = hello.magic == kTransferMagic && hello.format == group::kGroupFormat &&
                         hello.group == group && hello.node_format == node_format;
    return is_ours ? std::optional(hello) : std::nullopt;
  }
};
static_assert(sizeof(TransferHello) == 32 &&
              std::has_unique_object_representations_v<TransferHello> &&
              sizeof(TransferHello) <= transport::kMaxClientHelloBytes);

/// Kinds of messages. An answer has the kind of its request, unless it is a refusal.
enum TransferMessage : std::uint32_t {
  kHoldMessage = 1,      ///< hold a version, in a view not before `argument`; answer: PinnedHead
  kNodesMessage = 2,     ///< names of nodes; an answer for each, the node whose name is `argument`
  kExtraMessage = 3,     ///< send the bytes of what goes with the tree from `argument` on
  kRefusedMessage = 4,   ///< only an answer: a text that says why nothing is held
  kHoldLoadMessage = 5,  ///< hold the tree of the bulk load `argument`; answer: as kHoldMessage's
};

struct PinnedHead {
  std::uint64_t root;
  Lsn lsn;
  std::uint64_t chain;
  Stamp stamp;
  group::Epoch epoch;
  std::uint32_t reserved;
  std::uint64_t extra_bytes;
};
static_assert(sizeof(PinnedHead) == 48 && std::has_unique_object_representations_v<PinnedHead>);

}  // namespace silurus::replication
