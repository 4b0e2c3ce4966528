// SPDX-License-Identifier: Apache-2.0

#include <cmath>

#include "fuzz/target.h"
#include "rtree/cursor.h"
#include "rtree/node.h"

// Nodes that a hostile server serves to a client: what check_node() takes, without checksums (which
// a hostile server can compute), is given to searches, which must end, and answer in their shape.
//
// An input: Head, then the images of nodes, one after the other. A node that a search wants is one
// of them, with name, level, counts and grid put right unless Head::raw says otherwise.

namespace silurus::fuzz {
namespace {

using namespace rtree;
constexpr std::size_t kMaxFed = 64;  ///< a client would stop at its deadline
constexpr std::uint64_t kChunks = kChunksPerSlab;

// Head::raw
constexpr std::uint8_t kRawRoot = 1;    ///< its level is that of Head, not kAnyLevel
constexpr std::uint8_t kRawCounts = 2;  ///< counts are as they are
constexpr std::uint8_t kRawImages = 4;  ///< everything is as it is

struct Head {
  std::uint8_t dimensions;  ///< odd: 3
  std::uint8_t raw;         ///< bits: kRawRoot, kRawCounts, kRawImages
  std::uint8_t predicate;
  std::uint8_t shape;
  std::uint32_t root;  ///< chunk
  std::uint32_t level;
  std::uint32_t limit;
  std::uint32_t k;
  std::uint32_t reserved;
  double window[6];
};
static_assert(sizeof(Head) == 72);

template <int D>
class Server {
 public:
  Server(const Head& head, std::span<const std::byte> images) : raw_(head.raw), images_(images) {}

  /// Gives a search the nodes that it wants, each from memory that ends behind it.
  template <typename Cursor>
  void run(Cursor& cursor) {
    for (std::size_t fed = 0; fed < kMaxFed && !cursor.done(); ++fed) {
      const auto wanted = cursor.take();
      SILURUS_CHECK(wanted.has_value());
      const AlignedCopy copy(image(*wanted), bytes_to_read<D>(*wanted));
      if ((raw_ & kRawImages) == 0) {
        put_right(*reinterpret_cast<Node<D>*>(copy.bytes().data()), *wanted);
      }
      const Node<D>* node = check_node<D>(copy.bytes(), *wanted, kChunks, false);
      if (node == nullptr) return;
      check_accepted(*node);
      const AlignedCopy exact(copy.bytes(), node_bytes<D>(node->level()));
      const auto& given = *reinterpret_cast<const Node<D>*>(exact.bytes().data());
      if constexpr (requires { cursor.feed_groups(given, wanted->groups); }) {
        if (wanted->level == 0 && wanted->groups != kAllGroups) {
          cursor.feed_groups(given, wanted->groups);
          continue;
        }
      }
      cursor.feed(given);
    }
  }

 private:
  std::span<const std::byte> image(WantedNode wanted) const {
    if (images_.empty()) return {};
    const std::size_t count = 1 + images_.size() / sizeof(Node<D>);
    return images_.subspan(std::min(images_.size(), wanted.ref.chunk() % count * sizeof(Node<D>)));
  }

  void put_right(Node<D>& node, WantedNode wanted) const {
    NodeHeader& header = node.header;
    header.birth = wanted.ref.birth();
    header.level = wanted.level == kAnyLevel ? header.level % 3 : wanted.level;
    if (header.level > kMaxLevel) return;
    if ((raw_ & kRawCounts) == 0) put_counts_right(header);
    if (header.level == 0) return;
    for (int d = 0; d < D; ++d) {
      if (!std::isfinite(node.bounds.min[d])) node.bounds.min[d] = 0;
      if (!(node.bounds.max[d] >= node.bounds.min[d]) || !std::isfinite(node.bounds.max[d])) {
        node.bounds.max[d] = node.bounds.min[d];
      }
      node.inner.scale[d] = cell_scale(node.bounds.min[d], node.bounds.max[d]);
    }
    for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) {
      const NodeRef child = node.child(i);
      node.inner.children[i] = NodeRef(1 + child.chunk() % (kChunks / 2), child.birth()).word();
    }
  }

  static void put_counts_right(NodeHeader& header) {
    if (header.level == 0) {
      header.count %= kLeafFanout<D> + 1;
      header.entries = header.count;
    } else {
      header.count = 1 + header.count % kInnerFanout<D>;
      header.entries = std::max<std::uint64_t>(header.entries, header.count);
    }
  }

  /// What searches rely on.
  static void check_accepted(const Node<D>& node) {
    SILURUS_CHECK(node.level() <= kMaxLevel);
    SILURUS_CHECK(node.count() <= (node.is_leaf() ? kLeafFanout<D> : kInnerFanout<D>));
    if (node.is_leaf()) return;
    SILURUS_CHECK(node.count() != 0);
    for (std::uint32_t i = 0; i < node.count(); ++i) {
      SILURUS_CHECK(node.child(i) && node.child(i).chunk() < kChunks);
      for (const double value : node.child_box(i).min) SILURUS_CHECK(!std::isnan(value));
      for (const double value : node.child_box(i).max) SILURUS_CHECK(!std::isnan(value));
    }
  }

  std::uint8_t raw_;
  std::span<const std::byte> images_;
};

template <int D>
Box<D> window_of(const Head& head) {
  Box<D> window;
  for (int d = 0; d < D; ++d) {
    const double a = std::isfinite(head.window[2 * d]) ? head.window[2 * d] : 0;
    const double b = std::isfinite(head.window[2 * d + 1]) ? head.window[2 * d + 1] : 0;
    window.min[d] = std::min(a, b);
    window.max[d] = std::max(a, b);
  }
  return window;
}

template <int D>
void try_range(const Head& head, WantedNode root, Server<D> server) {
  const RangeQuery<D> query{.window = window_of<D>(head),
                            .predicate = static_cast<Predicate>(head.predicate % 3),
                            .shape = static_cast<ResultShape>(head.shape % 3),
                            .limit = head.limit};
  RangeCursor<D> cursor;
  RangeResult<D> result;
  cursor.start(query, root, result);
  server.run(cursor);
  if (!cursor.done()) return;
  SILURUS_CHECK(result.count <= query.limit || query.shape == ResultShape::kCount);
  SILURUS_CHECK(result.ids.size() == (query.shape == ResultShape::kCount ? 0 : result.count));
  SILURUS_CHECK(result.boxes.size() == (query.shape == ResultShape::kEntries ? result.count : 0));
}

template <int D>
void try_nearest(const Head& head, WantedNode root, Server<D> server) {
  NearestQuery<D> query{.point = {}, .k = 1 + head.k % 100};
  for (int d = 0; d < D; ++d) {
    query.point.at[d] = std::isfinite(head.window[d]) ? head.window[d] : 0;
  }
  NearestCursor<D> cursor;
  NearestResult result;
  cursor.start(query, root, result);
  server.run(cursor);
  SILURUS_CHECK(!cursor.done() || result.size() <= query.k);
}

template <int D>
void try_dimension(const Head& head, std::span<const std::byte> images) {
  const WantedNode root{NodeRef(1 + head.root % (kChunks / 2), 1 + head.root % 7),
                        (head.raw & kRawRoot) == 0 ? kAnyLevel : head.level % (kMaxLevel + 1)};
  try_range<D>(head, root, Server<D>(head, images));
  try_nearest<D>(head, root, Server<D>(head, images));
}

template <int D>
std::string tree_of_two_levels(std::uint8_t raw) {
  Head head{.dimensions = D, .raw = raw, .limit = 100, .k = 5};
  for (int i = 0; i < 6; ++i) head.window[i] = i % 2 == 0 ? 0 : 0.5;
  AlignedCopy inner({}, sizeof(Node<D>));
  AlignedCopy leaf({}, sizeof(Node<D>));
  auto& parent = *reinterpret_cast<Node<D>*>(inner.bytes().data());
  auto& child = *reinterpret_cast<Node<D>*>(leaf.bytes().data());
  Box<D> all;
  all.max.fill(1);
  child.reset(1, 0);
  for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) {
    Box<D> box;
    box.min.fill(i / 64.0);
    box.max.fill(i / 32.0);
    child.set_entry(i, {i, box});
  }
  child.header.count = kLeafFanout<D>;
  child.header.entries = kLeafFanout<D>;
  child.bounds = all;
  parent.reset(1, 1);
  parent.fit(all);
  // The root is in chunk 1: the second image. Chunks that are multiples of 3 are the first one.
  for (std::uint32_t i = 0; i < 4; ++i) parent.set_child(i, NodeRef(3 + 3 * i, 1), all);
  parent.header.count = 4;
  parent.header.entries = 4 * kLeafFanout<D>;
  return bytes_of(head) + as_seed(leaf.bytes()) + as_seed(inner.bytes());
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto head = input.take<Head>();
  if (head.dimensions % 2 == 0) {
    try_dimension<2>(head, input.rest());
  } else {
    try_dimension<3>(head, input.rest());
  }
}

std::vector<std::string> seeds() {
  return {tree_of_two_levels<2>(0), tree_of_two_levels<3>(0), tree_of_two_levels<2>(kRawCounts),
          tree_of_two_levels<3>(kRawImages)};
}

}  // namespace silurus::fuzz
