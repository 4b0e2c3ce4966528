// SPDX-License-Identifier: Apache-2.0

#include "rtree/diff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "common/random.h"

namespace silurus::rtree {
namespace {

using Entries = std::map<std::uint64_t, Box<2>>;

Box<2> random_box(Random& random) {
  const double x = random.uniform();
  const double y = random.uniform();
  return {{x, y}, {x + 0.01, y + 0.01}};
}

class DiffTest : public testing::Test {
 protected:
  DiffTest() : tree_(std::move(*Tree<2>::create({}, slabs_, clock_))) {
    for (std::uint64_t id = 0; id < 20'000; ++id) insert(id);
    tree_->publish();
  }
  void insert(std::uint64_t id) {
    entries_[id] = random_box(random_);
    ASSERT_TRUE(tree_->insert({id, entries_[id]}));
  }

  Random random_{5};
  ManualClock clock_;
  AnonymousSlabs slabs_;
  std::unique_ptr<Tree<2>> tree_;
  Entries entries_;
};

TEST_F(DiffTest, FindsWhatAModelSays) {
  const Snapshot<2> before = tree_->snapshot();
  const Entries old = entries_;
  for (int i = 0; i < 500; ++i) {
    insert(100'000 + random_.below(1'000'000'000));
    auto victim = entries_.lower_bound(random_.below(20'000));
    const Box<2> box = random_box(random_);
    ASSERT_TRUE(tree_->update(victim->first, victim->second, box));
    victim->second = box;
    victim = entries_.lower_bound(random_.below(20'000));
    ASSERT_TRUE(tree_->erase({victim->first, victim->second}));
    entries_.erase(victim);
    if (i % 10 == 0) tree_->publish();
  }
  tree_->publish();
  const auto found = difference(before, tree_->snapshot(), UINT64_MAX);
  ASSERT_TRUE(found);
  Entries patched = old;
  for (const auto& entry : found->erased) {
    ASSERT_EQ(patched.at(entry.id), entry.box);
    patched.erase(entry.id);
  }
  for (const auto& move : found->moved) {
    ASSERT_EQ(patched.at(move.id), move.from);
    ASSERT_NE(move.from, move.to);
    patched[move.id] = move.to;
  }
  for (const auto& entry : found->inserted) {
    ASSERT_TRUE(patched.emplace(entry.id, entry.box).second);
  }
  EXPECT_EQ(patched, entries_);
}

TEST_F(DiffTest, VisitsOnlyNodesThatDiffer) {
  const Snapshot<2> before = tree_->snapshot();
  insert(1'000'000);
  tree_->publish();
  const auto found = difference(before, tree_->snapshot(), UINT64_MAX);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->inserted.size(), 1u);
  EXPECT_TRUE(found->erased.empty());
  EXPECT_LE(found->nodes_visited, 2 * (tree_->stats().height + 2));
}

TEST_F(DiffTest, IsEmptyBetweenAVersionAndItself) {
  const auto found = difference(tree_->snapshot(), tree_->snapshot(), UINT64_MAX);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->inserted.empty() && found->erased.empty() && found->moved.empty());
}

TEST_F(DiffTest, WorksBetweenTreesOfDifferentHeight) {
  AnonymousSlabs slabs;
  auto tree = std::move(*Tree<2>::create({}, slabs, clock_));
  const Snapshot<2> empty = tree->snapshot();
  for (const auto& [id, box] : entries_) ASSERT_TRUE(tree->insert({id, box}));
  tree->publish();
  const auto found = difference(empty, tree->snapshot(), UINT64_MAX);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->inserted.size(), entries_.size());
  const auto back = difference(tree->snapshot(), empty, UINT64_MAX);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->erased.size(), entries_.size());
}

TEST_F(DiffTest, RefusesToListTooMuch) {
  const Snapshot<2> before = tree_->snapshot();
  for (std::uint64_t id = 0; id < 1000; ++id) insert(1'000'000 + id);
  tree_->publish();
  const auto found = difference(before, tree_->snapshot(), 10);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace silurus::rtree
