// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>

#include "tests/unit/client/offload_world.h"

// One-sided readers of a collection whose tree is not the first one of its server.

namespace silurus::client::offload_tests {
namespace {

class OffloadOtherTree : public testing::Test {
 protected:
  static constexpr std::uint64_t kNumber = 7;

  OffloadOtherTree() {
    world_.load(2000);
    other_ = std::move(*world_.tree->add_tree(kNumber));
    for (std::uint64_t id = 0; id < 500; ++id) insert_into_other();
    protocol::ServerHello hello = hello_of_tree();
    hello.collection = kNumber;
    hello.root_region = other_->root_chunk() / rtree::kChunksPerSlab;
    hello.root_offset = rtree::offset_in_slab<2>(other_->root_chunk());
    auto made = Offloader<2>::create({}, hello, world_.connection, world_.poller, world_.clock);
    SILURUS_CHECK(made.has_value());
    world_.offloader = std::move(*made);
  }

  void insert_into_other() {
    entries_.push_back({world_.next_id++, random_box(world_.random, 0.01)});
    SILURUS_CHECK(other_->insert(entries_.back()).has_value());
    world_.tree->publish();
  }
  rtree::RootBlock<2>& block(std::uint32_t chunk) {
    const std::span<std::byte> region = world_.slabs.regions()[chunk / rtree::kChunksPerSlab];
    return *reinterpret_cast<rtree::RootBlock<2>*>(region.data() + rtree::offset_in_slab<2>(chunk));
  }
  /// Whether a search finds what the tree holds; nothing: it was given back.
  std::optional<bool> finds_all() {
    if (world_.range(kEverything).given_back) return std::nullopt;
    return sorted(world_.range_result.ids) == matching(entries_, kEverything);
  }

  World world_{3};
  std::unique_ptr<rtree::Tree<2>> other_;
  std::vector<rtree::Entry<2>> entries_;
};

TEST_F(OffloadOtherTree, FindWhatItHolds) { EXPECT_EQ(finds_all(), true); }

TEST_F(OffloadOtherTree, TakeOneRoundTripOnceItsNodesAreCached) {
  ASSERT_EQ(finds_all(), true);
  for (int i = 0; i < 100; ++i) world_.range(kSmallWindow);
  EXPECT_EQ(world_.range(kSmallWindow).cost.round_trips, 1u);
}

TEST_F(OffloadOtherTree, FollowItsChanges) {
  for (int i = 0; i < 200; ++i) {
    insert_into_other();
    if (i % 3 == 0) world_.insert_one();  // a version of the first tree
    ASSERT_EQ(finds_all(), true) << i;
  }
}

TEST_F(OffloadOtherTree, TakeNoMoreRoundTripsWhereTheFirstTreeIsWrittenTo) {
  ASSERT_EQ(finds_all(), true);
  std::uint32_t trips = 0;
  for (int i = 0; i < 300; ++i) {
    for (int version = 0; version < 3; ++version) world_.insert_one();
    insert_into_other();
    const std::uint32_t more = world_.range(kSmallWindow).cost.round_trips;
    if (i >= 100) trips += more;
  }
  EXPECT_LE(trips, 220u) << "of 200 searches";
}

TEST_F(OffloadOtherTree, FindNothingOnceItIsRemoved) {
  ASSERT_EQ(finds_all(), true);
  ASSERT_TRUE(other_->clear());
  world_.tree->publish();
  rtree::Tree<2>::remove(std::move(other_));
  EXPECT_EQ(finds_all(), std::nullopt);
}

TEST_F(OffloadOtherTree, FindNothingOnceItHasAnotherNumber) {
  ASSERT_EQ(finds_all(), true);
  other_->renumber(8);
  EXPECT_EQ(finds_all(), std::nullopt);
}

TEST_F(OffloadOtherTree, FindNothingOnceTheLifeOfTheirServerIsOver) {
  ASSERT_EQ(finds_all(), true);
  block(0).ended.store(1, std::memory_order_release);
  EXPECT_EQ(finds_all(), std::nullopt);
}

TEST_F(OffloadOtherTree, AreNotTurnedAwayThoughTheFirstTreeIs) {
  world_.tree->set_retired(true);
  EXPECT_EQ(finds_all(), true);
}

}  // namespace
}  // namespace silurus::client::offload_tests
