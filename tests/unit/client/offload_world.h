// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "client/offload.h"
#include "common/random.h"
#include "rtree/kernels.h"
#include "rtree/tree.h"
#include "tests/unit/client/memory_fabric.h"

// What tests of the Offloader stand on.

namespace silurus::client::offload_tests {

inline constexpr Nanoseconds kGrace = 50 * kMillisecond;

inline protocol::ServerHello hello_of_tree() {
  protocol::ServerHello hello;
  hello.dimensions = 2;
  hello.node_format = rtree::kNodeFormat<2>;
  hello.grace_ns = kGrace;
  hello.chunk_bytes = rtree::kChunkBytes<2>;
  hello.chunks_per_region = rtree::kChunksPerSlab;
  hello.max_batch = 128;
  hello.one_sided = 1;
  return hello;
}

inline rtree::Box<2> random_box(Random& random, double edge) {
  const double x = random.uniform();
  const double y = random.uniform();
  return {{x, y}, {x + edge * random.uniform(), y + edge * random.uniform()}};
}

/// A tree, and an Offloader that reads it through a MemoryConnection.
struct World {
  explicit World(std::uint64_t seed, const OffloadOptions& options = {}, std::uint32_t reads = 64)
      : random(seed), connection(slabs, reads) {
    tree = *rtree::Tree<2>::create({.grace = kGrace}, slabs, clock);
    auto made = Offloader<2>::create(options, hello_of_tree(), connection, poller, clock);
    EXPECT_TRUE(made) << made.error().message;
    offloader = std::move(*made);
  }

  void load(std::size_t count, double edge = 0.01) {
    std::vector<rtree::Entry<2>> loaded;
    for (std::size_t i = 0; i < count; ++i) loaded.push_back({next_id++, random_box(random, edge)});
    entries = loaded;
    ASSERT_TRUE(tree->bulk_load(std::move(loaded), {.threads = 1}));
  }

  rtree::Version insert(const rtree::Box<2>& box) {
    entries.push_back({next_id++, box});
    EXPECT_TRUE(tree->insert(entries.back()));
    return tree->publish();
  }
  rtree::Version insert_one() { return insert(random_box(random, 0.01)); }
  void erase_one() {
    const std::size_t i = random.below(entries.size());
    EXPECT_TRUE(tree->erase(entries[i]));
    entries[i] = entries.back();
    entries.pop_back();
    tree->publish();
  }

  rtree::Version version() const { return tree->snapshot().version(); }
  /// A node as it lies in memory, to be damaged.
  rtree::Node<2>& node(rtree::NodeRef ref) {
    const std::span<std::byte> region = slabs.regions()[ref.chunk() / rtree::kChunksPerSlab];
    const std::size_t at = ref.chunk() % rtree::kChunksPerSlab * rtree::kChunkBytes<2>;
    return *reinterpret_cast<rtree::Node<2>*>(region.data() + at);
  }
  /// Calls change(node) for the leaves of all versions that lie in memory.
  template <typename Change>
  void change_leaves(Change&& change) {
    for (const std::span<std::byte> region : slabs.regions()) {
      const bool has_root = region.data() == slabs.regions().front().data();
      for (std::size_t at = has_root ? rtree::kRootChunks<2> * rtree::kChunkBytes<2> : 0;
           at < region.size(); at += rtree::kChunkBytes<2>) {
        auto& node = *reinterpret_cast<rtree::Node<2>*>(region.data() + at);
        if (node.header.checksum != 0 && node.is_leaf()) change(node);
      }
    }
  }
  /// The leaves of the current version that a search of the window reads.
  std::vector<rtree::NodeRef> leaves_in(const rtree::Box<2>& window) {
    std::vector<rtree::NodeRef> leaves;
    const auto limits = rtree::RangeLimits<2>::of(window, rtree::Predicate::kIntersects);
    for (std::vector<rtree::NodeRef> left{tree->snapshot().root().ref}; !left.empty();) {
      const rtree::NodeRef ref = left.back();
      left.pop_back();
      const rtree::Node<2>& parent = node(ref);
      if (parent.is_leaf()) {
        leaves.push_back(ref);
        continue;
      }
      rtree::kernels<2>().scan_inner(parent, limits).for_each([&](std::uint32_t i) {
        left.push_back(parent.child(i));
      });
    }
    return leaves;
  }

  /// Takes up to `most` steps of the reads, until a search is finished.
  std::optional<Offloader<2>::Finished> try_to_finish(int most = 1'000'000) {
    for (int steps = 0; steps < most; ++steps) {
      offloader->flush();
      if (auto done = offloader->take_finished()) return done;
      if (auto cookie = connection.step(random)) offloader->on_read(*cookie);
    }
    return std::nullopt;
  }
  /// Runs until the search is finished; nothing else happens meanwhile.
  Offloader<2>::Finished finish() {
    const auto done = try_to_finish();
    EXPECT_TRUE(done) << "the search does not end";
    return done.value_or(Offloader<2>::Finished{});
  }
  Offloader<2>::Finished range(const rtree::RangeQuery<2>& query) {
    offloader->start_range(0, query, range_result);
    return finish();
  }
  Offloader<2>::Finished nearest(const rtree::NearestQuery<2>& query) {
    offloader->start_nearest(0, query, nearest_result);
    return finish();
  }

  Random random;
  ManualClock clock;
  RegionSlabs slabs;
  std::unique_ptr<rtree::Tree<2>> tree;
  MemoryPoller poller;
  MemoryConnection connection;
  std::unique_ptr<Offloader<2>> offloader;
  std::vector<rtree::Entry<2>> entries;
  std::uint64_t next_id = 0;
  rtree::RangeResult<2> range_result;
  rtree::NearestResult nearest_result;
};

inline std::vector<std::uint64_t> matching(const std::vector<rtree::Entry<2>>& entries,
                                           const rtree::RangeQuery<2>& query) {
  std::vector<std::uint64_t> ids;
  for (const auto& entry : entries) {
    if (rtree::matches(query, entry.box)) ids.push_back(entry.id);
  }
  std::ranges::sort(ids);
  return ids;
}

inline rtree::NearestResult nearest_of(const std::vector<rtree::Entry<2>>& entries,
                                       const rtree::NearestQuery<2>& query) {
  rtree::NearestResult all;
  for (const auto& entry : entries) {
    all.push_back({entry.id, rtree::distance(query.point, entry.box)});
  }
  std::ranges::sort(all, [](const rtree::Neighbor& a, const rtree::Neighbor& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  });
  if (all.size() > query.k) all.resize(query.k);
  return all;
}

inline std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> ids) {
  std::ranges::sort(ids);
  return ids;
}

inline const rtree::RangeQuery<2> kSmallWindow{.window = {{0.5, 0.5}, {0.51, 0.51}}};
inline const rtree::RangeQuery<2> kEverything{.window = {{0, 0}, {2, 2}}};

/// Whether a read is one of nodes, and not of the root or of what lies behind it.
inline bool is_of_node(const transport::ReadRequest& read) {
  return read.region != 0 || read.offset >= sizeof(rtree::RootBlock<2>);
}
inline bool is_any(const transport::ReadRequest&) { return true; }

/// Searches of small windows, one after the other: what they cost in all.
inline SearchCost cost_of_small_windows(World& world, int searches) {
  SearchCost sum;
  for (int i = 0; i < searches; ++i) {
    const double x = world.random.uniform();
    const double y = world.random.uniform();
    const rtree::RangeQuery<2> query{.window = {{x, y}, {x + 1e-5, y + 1e-5}}};
    const auto done = world.range(query);
    EXPECT_FALSE(done.given_back);
    EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, query));
    sum.round_trips += done.cost.round_trips;
    sum.nodes_read += done.cost.nodes_read;
    sum.reads += done.cost.reads;
    sum.bytes_read += done.cost.bytes_read;
  }
  return sum;
}

/// What comes over a card's link: 60 bytes of headers for each answer.
inline double wire_bytes(const SearchCost& cost, int searches) {
  return static_cast<double>(cost.bytes_read + 60 * cost.reads) / searches;
}

/// Until all inner nodes are cached, and the root is seen not to change.
inline void warm_up(World& world) {
  ASSERT_FALSE(world.range(kEverything).given_back);
  cost_of_small_windows(world, 100);
}

}  // namespace silurus::client::offload_tests
