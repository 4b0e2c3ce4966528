// SPDX-License-Identifier: Apache-2.0

#include "client/change_follower.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "client/node_cache.h"
#include "common/clock.h"
#include "common/random.h"
#include "rtree/root_block.h"
#include "rtree/tree.h"
#include "tests/support/visible_slabs.h"

namespace silurus::client {
namespace {

using rtree::NodeRef;
using Piece = ChangeFollower<2>::Piece;

/// A tree that changes, and a cache of all of its inner nodes that follows it.
class ChangeFollowerTest : public testing::Test {
 protected:
  ChangeFollowerTest() { tree_ = std::move(*rtree::Tree<2>::create({}, slabs_, clock_)); }

  void load(std::size_t count) {
    std::vector<rtree::Entry<2>> entries;
    for (std::size_t i = 0; i < count; ++i) entries.push_back(random_entry());
    ASSERT_TRUE(tree_->bulk_load(std::move(entries), {.threads = 1}));
    cache_inner_nodes();
    begin();
  }
  void begin() { follower_.begin(root(), block().next_change, block().records); }
  void publish(int inserts = 1) {
    for (int i = 0; i < inserts; ++i) ASSERT_TRUE(tree_->insert(random_entry()));
    tree_->publish();
  }
  bool apply(Piece piece, NodeRef up_to) {
    std::vector<std::uint64_t> words(piece.length / 8);  // 8-byte aligned
    const auto bytes = std::as_writable_bytes(std::span(words));
    std::copy_n(block().changes + piece.offset, piece.length, bytes.begin());
    return follower_.apply(bytes, piece, up_to);
  }
  /// As a client reads root words, with what is ahead; then the rest, until there is none. Returns
  /// how often it had to read that.
  int catch_up(Piece ahead) {
    follower_.observe(root(), ahead);
    bool goes_on = true;
    if (ahead.length != 0) apply(ahead, root());
    int rests = 0;
    while (!follower_.has_reached(root()) && goes_on) {
      const Piece rest = follower_.rest(root());
      if (rest.length == 0) break;
      ++rests;
      goes_on = apply(rest, root());
    }
    if (!follower_.has_reached(root())) follower_.lose();
    return rests;
  }
  /// Versions of another tree of the same memory.
  void publish_elsewhere(int versions) {
    if (other_ == nullptr) other_ = std::move(*tree_->add_tree(7));
    for (int i = 0; i < versions; ++i) {
      ASSERT_TRUE(other_->insert(random_entry()));
      other_->publish();
    }
  }
  bool is_cached(NodeRef ref) { return cache_.find(ref) != nullptr; }

  NodeRef root() const { return tree_->snapshot().root().ref; }
  rtree::RootBlock<2>& block() {
    return *reinterpret_cast<rtree::RootBlock<2>*>(slabs_.slabs[0].data());
  }

  Random random_{1};
  testing_support::VisibleSlabs slabs_;
  SystemClock clock_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  std::unique_ptr<rtree::Tree<2>> other_;
  NodeCache cache_{1 << 20, sizeof(rtree::Node<2>)};
  IndexRoots indexes_;
  ChangeFollower<2> follower_{cache_, indexes_, 1 << 16};

 private:
  rtree::Entry<2> random_entry() {
    const double x = random_.uniform();
    const double y = random_.uniform();
    return {next_id_++, {{x, y}, {x, y}}};
  }
  void cache_inner_nodes() {
    const auto snapshot = tree_->snapshot();
    std::vector<rtree::WantedNode> left{snapshot.root()};
    while (!left.empty()) {
      const rtree::WantedNode wanted = left.back();
      left.pop_back();
      if (wanted.level == 0) continue;
      const rtree::Node<2>& node = snapshot.node(wanted.ref);
      cache_.put(wanted.ref,
                 {reinterpret_cast<const std::byte*>(&node), rtree::node_bytes<2>(node.level())});
      for (std::uint32_t i = 0; i < node.count(); ++i) {
        left.push_back({node.child(i), node.level() - 1});
      }
    }
  }

  std::uint64_t next_id_ = 0;
};

TEST_F(ChangeFollowerTest, KeepsTheRootInTheCache) {
  load(20'000);
  int missed = 0;
  for (int i = 0; i < 500; ++i) {
    const Piece ahead = follower_.ahead();
    publish();
    catch_up(ahead);
    ASSERT_TRUE(follower_.has_reached(root()));
    missed += is_cached(root()) ? 0 : 1;
  }
  EXPECT_LE(missed, 1) << "its box may grow once or so";
}

TEST_F(ChangeFollowerTest, ReadsAheadWhatIsUsuallyNeeded) {
  load(20'000);
  int rests = 0;
  std::uint64_t bytes = 0;
  for (int i = 0; i < 500; ++i) {
    const Piece ahead = follower_.ahead();
    bytes += ahead.length;
    for (int version = 0; version < 3; ++version) publish();
    rests += catch_up(ahead);
  }
  EXPECT_LE(rests, 50);
  EXPECT_LE(bytes, 500u * 5 * 192);
}

TEST_F(ChangeFollowerTest, ReadsNothingAheadWhereNothingChanges) {
  load(20'000);
  for (int i = 0; i < 100; ++i) catch_up(follower_.ahead());
  EXPECT_EQ(follower_.ahead().length, 0u);
  publish();
  EXPECT_EQ(catch_up(follower_.ahead()), 1);
  EXPECT_TRUE(is_cached(root()));
}

TEST_F(ChangeFollowerTest, ChangesNothingBeyondTheRootThatIsKnown) {
  load(20'000);
  publish();
  const NodeRef first = root();
  const Piece ahead = follower_.ahead();
  publish();  // its record is there before its root word
  ASSERT_TRUE(apply({.offset = ahead.offset, .length = 1024, .birth = ahead.birth}, first));
  EXPECT_TRUE(follower_.has_reached(first));
  EXPECT_TRUE(is_cached(first));
  EXPECT_FALSE(follower_.has_reached(root()));
}

TEST_F(ChangeFollowerTest, TakesARootThatIsOlderThanWhereItIsForReached) {
  load(20'000);
  const NodeRef old = root();
  publish();
  catch_up(follower_.ahead());
  EXPECT_TRUE(follower_.has_reached(old));
  EXPECT_TRUE(is_cached(root()));
}

TEST_F(ChangeFollowerTest, IsLostWhenTheRingHasGoneRound) {
  load(20'000);
  const Piece ahead = follower_.ahead();
  for (int i = 0; i < 300; ++i) publish();
  catch_up(ahead);
  EXPECT_FALSE(follower_.is_following());
  begin();
  publish();
  catch_up(follower_.ahead());
  EXPECT_TRUE(follower_.has_reached(root()));
}

TEST_F(ChangeFollowerTest, FindsItsWayFromOneEndOfTheRingToTheBeginning) {
  load(20'000);
  for (int i = 0; i < 500; ++i) {
    for (int version = 0; version < 4; ++version) publish();
    catch_up({});
    ASSERT_TRUE(follower_.is_following()) << i;
  }
}

TEST_F(ChangeFollowerTest, LearnsThatRecordsAreLarge) {
  load(100'000);
  int lost = 0;
  for (int i = 0; i < 100; ++i) {
    const Piece ahead = follower_.ahead();
    publish(20);
    catch_up(ahead);
    if (follower_.is_following()) continue;
    ++lost;
    begin();
  }
  EXPECT_LE(lost, 5);
  EXPECT_GT(follower_.ahead().length, 1024u);
}

TEST_F(ChangeFollowerTest, FindsRecordsNotWorthwhileThatAreMoreThanWhatTheySpare) {
  load(20'000);
  EXPECT_TRUE(follower_.is_worthwhile());
  for (int i = 0; i < 100; ++i) {
    const Piece ahead = follower_.ahead();
    for (int version = 0; version < 60; ++version) publish();
    follower_.observe(root(), ahead);
    begin();
  }
  EXPECT_FALSE(follower_.is_worthwhile());
  EXPECT_EQ(follower_.ahead().length, 0u);
}

TEST_F(ChangeFollowerTest, IsNotDetainedByVersionsOfOtherTrees) {
  load(20'000);
  int rests = 0;
  int lost = 0;
  for (int i = 0; i < 200; ++i) {
    const Piece ahead = follower_.ahead();
    publish_elsewhere(1 + i % 20);
    publish();
    const int more = catch_up(ahead);
    if (i >= 50) rests += more;
    if (follower_.is_following()) continue;
    ++lost;
    begin();
  }
  EXPECT_LE(rests, 20);
  EXPECT_LE(lost, 1);
}

TEST_F(ChangeFollowerTest, ReadsNoRecordAheadOfATreeAtRestWhereOthersAreWrittenTo) {
  load(20'000);
  for (int i = 0; i < 100; ++i) {
    const Piece ahead = follower_.ahead();
    publish_elsewhere(30);
    EXPECT_EQ(catch_up(ahead), 0);
  }
  EXPECT_EQ(follower_.ahead().length, 0u);
  publish();
  EXPECT_LE(catch_up(follower_.ahead()), 1);
  EXPECT_TRUE(is_cached(root()));
}

TEST_F(ChangeFollowerTest, FollowsATreeAgainThatManyVersionsOfOthersHavePassed) {
  load(20'000);
  int lost = 0;
  for (int i = 0; i < 30; ++i) {
    const Piece ahead = follower_.ahead();
    publish_elsewhere(500);
    publish();
    catch_up(ahead);
    if (follower_.is_following()) continue;
    ++lost;
    begin();
  }
  EXPECT_LE(lost, 3);
  EXPECT_TRUE(follower_.is_worthwhile());
}

TEST_F(ChangeFollowerTest, BelievesNoRecordThatIsOverwritten) {
  load(20'000);
  publish();
  block().changes[follower_.ahead().offset + 40] ^= std::byte{1};
  EXPECT_EQ(catch_up(follower_.ahead()), 1);
  EXPECT_FALSE(follower_.is_following());
  EXPECT_FALSE(is_cached(root()));
}

}  // namespace
}  // namespace silurus::client
