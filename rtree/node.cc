// SPDX-License-Identifier: Apache-2.0

#include "rtree/node.h"

#ifdef SILURUS_XXHASH_CHOOSES
#include <xxh_x86dispatch.h>  // the same hashes
#else
#include <xxhash.h>
#endif

#include <algorithm>
#include <cmath>

#include "rtree/id_index.h"
#include "rtree/records.h"

namespace silurus::rtree {
namespace {

/// Whether an inner node's box is one, and its grid is the box's: so that nothing which a reader
/// computes from them is not a number.
template <int D>
bool has_sound_grid(const Node<D>& node) {
  bool sound = true;
  for (int d = 0; d < D; ++d) {
    const double low = node.bounds.min[d];
    const double high = node.bounds.max[d];
    sound = sound && std::isfinite(low) && std::isfinite(high) && low <= high &&
            node.inner.scale[d] == cell_scale(low, high);
  }
  return sound;
}

#ifdef SILURUS_XXHASH_CHOOSES
__attribute__((target("avx"))) void clear_upper_halves() { __builtin_ia32_vzeroupper(); }

std::uint64_t hash_of(const std::byte* bytes, std::size_t size) {
  static const bool has_avx = __builtin_cpu_supports("avx") != 0;
  const std::uint64_t hash = XXH3_64bits(bytes, size);
  // It leaves the upper halves of wide registers in use, which slows all code with narrow ones that
  // follows: a bulk load by 1.5.
  if (has_avx) clear_upper_halves();
  return hash;
}
#else
std::uint64_t hash_of(const std::byte* bytes, std::size_t size) { return XXH3_64bits(bytes, size); }
#endif

}  // namespace

std::uint64_t bytes_checksum(std::span<const std::byte> bytes) {
  const std::uint64_t hash = hash_of(bytes.data(), bytes.size());
  return hash != 0 ? hash : 1;
}

template <int D>
std::uint64_t node_checksum(const Node<D>& node) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&node);
  const std::size_t skipped = sizeof(node.header.checksum);
  return bytes_checksum({bytes + skipped, node_bytes<D>(node.header.level) - skipped});
}

template <int D>
const Node<D>* check_node(std::span<const std::byte> bytes, WantedNode expected,
                          std::uint64_t chunk_count, bool verify_checksum) {
  if (bytes.size() < sizeof(NodeHeader)) return nullptr;
  const auto* node = reinterpret_cast<const Node<D>*>(bytes.data());
  const NodeHeader& header = node->header;
  if (!expected.ref || !expected.ref.is_born_in(header.birth)) return nullptr;
  const bool is_of_index = is_index_level(header.level);
  const bool is_of_records = is_record_level(header.level);
  if (header.level > kMaxLevel && !is_of_index && !is_of_records) return nullptr;
  const std::uint32_t any = header.level > kMaxLevel ? kAnyIndexLevel : kAnyLevel;
  if (expected.level != any && header.level != expected.level) return nullptr;
  if (bytes.size() < node_bytes<D>(header.level)) return nullptr;
  if (is_of_index) {
    if (!is_sound_index_node(*node, chunk_count)) return nullptr;
  } else if (is_of_records) {
    if (!is_sound_record_node(*node, chunk_count)) return nullptr;
  } else if (header.level == 0) {
    if (header.count > kLeafFanout<D> || header.entries != header.count) return nullptr;
  } else {
    if (header.count == 0 || header.count > kInnerFanout<D>) return nullptr;
    if (header.entries < header.count || !has_sound_grid(*node)) return nullptr;
    for (std::uint32_t i = 0; i < header.count; ++i) {
      const NodeRef child = node->child(i);
      if (child.birth() == 0 && child.chunk() == 0) return nullptr;
      const std::uint32_t chunks = chunks_of<D>(header.level - 1);
      if (std::uint64_t{child.chunk()} + chunks > chunk_count) return nullptr;
      if (kChunkShape<D>.spans_slabs(child.chunk(), chunks)) return nullptr;
    }
  }
  if (verify_checksum && header.checksum != node_checksum(*node)) return nullptr;
  return node;
}

template <int D>
void Node<D>::add_to_directory(std::uint32_t index, std::uint32_t group, const Box<D>& box) {
  LeafDirectory<D>& directory = inner.directories[index];
  if (!has_directory(index)) return;
  for (int d = 0; d < D; ++d) {
    const GroupGrid grid = group_grid(index, d);
    const auto cell_of = [&](double x) {
      return group_cell_of(steps_of(x, bounds.min[d], inner.scale[d]), grid);
    };
    GroupCell& min = directory.cells[2 * d][group];
    GroupCell& max = directory.cells[2 * d + 1][group];
    min = std::min(min, cell_of(box.min[d]));
    max = std::max(max, cell_of(box.max[d]));
  }
}

template <int D>
void Node<D>::move_child_box(std::uint32_t index, const Box<D>& box, const bool* is_plain) {
  std::int32_t before[D];
  for (int d = 0; d < D; ++d) {
    before[d] = inner.cells[2 * d + 1][index] - inner.cells[2 * d][index] + 1;
  }
  set_child_box(index, box);
  if (level() != 1) return;
  for (int d = 0; d < D; ++d) {
    const std::int32_t after = inner.cells[2 * d + 1][index] - inner.cells[2 * d][index] + 1;
    const std::int32_t doubt =
        is_plain[d] ? group_cells_of_doubt(before[d], after) : kAllGroupCells;
    LeafDirectory<D>& directory = inner.directories[index];
    for (std::uint32_t g = 0; g < kLeafGroups<D>; ++g) {
      directory.cells[2 * d][g] =
          static_cast<GroupCell>(std::max(directory.cells[2 * d][g] - doubt, kLeastGroupCell));
      directory.cells[2 * d + 1][g] = static_cast<GroupCell>(
          std::min(directory.cells[2 * d + 1][g] + doubt, kGreatestGroupCell));
    }
  }
}

template struct Node<2>;
template struct Node<3>;
template std::uint64_t node_checksum(const Node<2>&);
template std::uint64_t node_checksum(const Node<3>&);
template const Node<2>* check_node(std::span<const std::byte>, WantedNode, std::uint64_t, bool);
template const Node<3>* check_node(std::span<const std::byte>, WantedNode, std::uint64_t, bool);

}  // namespace silurus::rtree
