#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/result.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

/// A node as it lies in a chunk, in memory and on the wire: no pointers, no padding, little-endian,
/// fixed size, 64-byte aligned. Immutable once published.
template <int D>
struct Node;

/// Bytes of a chunk: what the arena's addresses are multiples of.
template <int D>
extern const std::size_t kChunkBytes;
/// Bytes of a node of that level to read (a prefix of its chunk).
template <int D>
constexpr std::size_t node_bytes(std::uint32_t level);

/// Whether the bytes (64-byte aligned, node_bytes(level) of them) are an intact node of that name:
/// birth, level, count within the fanout, children's references within `chunk_count`; with
/// `verify_checksum`, its checksum too. What a reader of a peer's memory calls before it believes.
template <int D>
const Node<D>* check_node(std::span<const std::byte> bytes, WantedNode expected,
                          std::uint64_t chunk_count, bool verify_checksum);

}  // namespace silurus::rtree
