// SPDX-License-Identifier: Apache-2.0

#include <cmath>
#include <map>
#include <memory>

#include "common/clock.h"
#include "fuzz/target.h"
#include "rtree/tree.h"

// Nodes as they are restored from a data directory, or copied from another member: of what
// Tree::restore() takes, a tree is made, and is searched, and, if it is sound, changed as any
// other.
//
// An input: Head, then nodes: NodeHead and its image. Checksums are put right.

namespace silurus::fuzz {
namespace {

using namespace rtree;
constexpr std::uint32_t kMostChunks = 64;  ///< all nodes lie in the first ones behind the root's
constexpr std::size_t kMostNodes = 16;

struct Head {
  std::uint8_t dimensions;  ///< odd: 3
  std::uint8_t root;        ///< chunk
  std::uint8_t operation;
  std::uint8_t reserved[5];
  double coordinates[6];
};

struct NodeHead {
  std::uint8_t chunk;
  std::uint8_t is_raw;  ///< not 0: its checksum is as it was
  std::uint16_t bytes;  ///< length of the image
  std::uint32_t reserved;
};
static_assert(sizeof(Head) == 56 && sizeof(NodeHead) == 8);

template <int D>
class Nodes final : public StoredNodes<D> {
 public:
  explicit Nodes(Input& input) {
    while (!input.rest().empty() && images_.size() < kMostNodes) {
      const auto head = input.take<NodeHead>();
      auto copy = std::make_unique<AlignedCopy>(input.take_bytes(head.bytes), sizeof(Node<D>));
      auto& node = *reinterpret_cast<Node<D>*>(copy->bytes().data());
      if (node.header.level > kMaxLevel) continue;
      if (head.is_raw == 0) node.header.checksum = node_checksum(node);
      images_[kRootChunks<D> + head.chunk % kMostChunks] = std::move(copy);
    }
  }
  std::span<const std::byte> find(NodeRef ref) const override {
    const auto found = images_.find(ref.chunk());
    return found == images_.end() ? std::span<const std::byte>() : found->second->bytes();
  }
  const Node<D>* at(std::uint32_t chunk) const {
    const auto found = images_.find(chunk);
    return found == images_.end() ? nullptr
                                  : reinterpret_cast<const Node<D>*>(found->second->bytes().data());
  }

 private:
  std::map<std::uint32_t, std::unique_ptr<AlignedCopy>> images_;
};

template <int D>
void use(Tree<D>& tree, const Head& head) {
  Box<D> box;
  Point<D> point;
  for (int d = 0; d < D; ++d) {
    const double a = std::isfinite(head.coordinates[d]) ? head.coordinates[d] : 0;
    const double b = std::isfinite(head.coordinates[3 + d]) ? head.coordinates[3 + d] : 0;
    box.min[d] = std::min(a, b);
    box.max[d] = std::max(a, b);
    point.at[d] = a;
  }
  const auto snapshot = tree.snapshot();
  RangeResult<D> found;
  SILURUS_CHECK(snapshot.range({.window = box, .shape = ResultShape::kEntries}, found));
  SILURUS_CHECK(found.ids.size() == found.count && found.boxes.size() == found.count);
  const NearestQuery<D> nearest{.point = point, .k = 1 + head.operation % 50u};
  NearestResult neighbors;
  SILURUS_CHECK(snapshot.nearest(nearest, neighbors));
  SILURUS_CHECK(neighbors.size() <= nearest.k);
  if (!snapshot.validate()) return;
  // A sound tree stays sound.
  const std::uint64_t size = snapshot.size();
  const Entry<D> entry{.id = head.operation, .box = box};
  SILURUS_CHECK(tree.insert(entry));
  tree.publish();
  SILURUS_CHECK(tree.snapshot().validate() && tree.snapshot().size() == size + 1);
  SILURUS_CHECK(tree.erase(entry));
  tree.publish();
  SILURUS_CHECK(tree.snapshot().validate() && tree.snapshot().size() == size);
}

template <int D>
void try_dimension(const Head& head, Input& input) {
  const Nodes<D> nodes(input);
  const std::uint32_t chunk = kRootChunks<D> + head.root % kMostChunks;
  const Node<D>* const root = nodes.at(chunk);
  if (root == nullptr) return;
  AnonymousSlabs slabs;
  const ManualClock clock;
  const auto tree = Tree<D>::restore({.memory_budget_bytes = kSlabBytes<D>}, slabs, clock,
                                     NodeRef(chunk, root->birth()), nodes, {.threads = 1});
  if (tree) use(**tree, head);
}

template <int D>
std::string tree_of_two_levels() {
  const Head head{.dimensions = D, .coordinates = {0, 0, 0, 0.5, 0.5, 0.5}};
  AlignedCopy inner({}, sizeof(Node<D>));
  AlignedCopy leaf({}, sizeof(Node<D>));
  auto& parent = *reinterpret_cast<Node<D>*>(inner.bytes().data());
  auto& child = *reinterpret_cast<Node<D>*>(leaf.bytes().data());
  Box<D> all;
  all.max.fill(1);
  child.reset(1, 0);
  for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) child.set_entry(i, {i, all});
  child.header.count = kLeafFanout<D>;
  child.header.entries = kLeafFanout<D>;
  child.bounds = all;
  parent.reset(1, 1);
  parent.fit(all);
  std::string nodes;
  const auto add = [&](std::uint8_t chunk, const AlignedCopy& node, std::uint32_t level) {
    const auto bytes = static_cast<std::uint16_t>(node_bytes<D>(level));
    nodes += bytes_of(NodeHead{.chunk = chunk, .is_raw = 0, .bytes = bytes, .reserved = 0});
    nodes += as_seed(node.bytes().first(bytes));
  };
  for (std::uint8_t i = 0; i < 2; ++i) {
    const auto chunk = static_cast<std::uint8_t>(kInnerChunks<D> + i);
    parent.set_child(i, NodeRef(kRootChunks<D> + chunk, 1), all);
    add(chunk, leaf, 0);
  }
  parent.header.count = 2;
  parent.header.entries = 2 * kLeafFanout<D>;
  add(0, inner, 1);
  return bytes_of(head) + nodes;
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto head = input.take<Head>();
  if (head.dimensions % 2 == 0) {
    try_dimension<2>(head, input);
  } else {
    try_dimension<3>(head, input);
  }
}

std::vector<std::string> seeds() { return {tree_of_two_levels<2>(), tree_of_two_levels<3>()}; }

}  // namespace silurus::fuzz
