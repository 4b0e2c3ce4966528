// SPDX-License-Identifier: Apache-2.0

#include "rtree/id_cursor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

/// A keyed tree of random boxes, whose ids are multiples of three.
template <int D>
struct Indexed {
  Indexed(std::uint64_t seed, std::size_t count) : random(seed) {
    first = std::move(*Tree<D>::create({}, slabs, clock));
    tree = std::move(*first->add_tree(7, {.is_keyed = true}));
    for (std::size_t i = 0; i < count; ++i) {
      Box<D> box;
      for (int d = 0; d < D; ++d) box.min[d] = box.max[d] = random.uniform();
      EXPECT_TRUE(tree->insert({3 * i, box}));
      if (i % 100 == 99) tree->publish();
    }
    tree->publish();
  }
  std::vector<std::uint64_t> random_ids(std::size_t count) {
    std::vector<std::uint64_t> ids(count);
    for (std::uint64_t& id : ids) id = random.below(10'000);
    return ids;
  }

  Random random;
  ManualClock clock;
  AnonymousSlabs slabs;
  std::unique_ptr<Tree<D>> first;
  std::unique_ptr<Tree<D>> tree;
};

template <int D>
std::vector<KeyedEntry<D>> by_hand(const Snapshot<D>& snapshot,
                                   const std::vector<std::uint64_t>& ids) {
  std::vector<KeyedEntry<D>> found;
  for (const std::uint64_t id : ids) {
    if (const auto entry = snapshot.find_id(id)) found.push_back(*entry);
  }
  return found;
}

/// Names of the nodes on the ways to the ids, from the root of the index to leaves.
template <int D>
std::set<std::uint64_t> nodes_on_ways(const Snapshot<D>& snapshot,
                                      const std::vector<std::uint64_t>& ids) {
  std::set<std::uint64_t> words;
  for (const std::uint64_t id : ids) {
    NodeRef ref = snapshot.index();
    for (;;) {
      words.insert(ref.word());
      const Node<D>& node = snapshot.node(ref);
      if (node.is_bottom()) break;
      ref = node.child(index_child(node, id));
    }
  }
  return words;
}

/// Runs the cursor to its end, feeding nodes in a random order; what it has wanted.
template <int D>
std::vector<std::uint64_t> run(IdCursor<D>& cursor, const Snapshot<D>& snapshot, Random& random) {
  std::vector<std::uint64_t> wanted;
  std::vector<WantedNode> in_flight;
  while (!cursor.done()) {
    while (const auto node = cursor.take()) {
      wanted.push_back(node->ref.word());
      in_flight.push_back(*node);
    }
    if (in_flight.empty()) break;
    std::swap(in_flight[random.below(in_flight.size())], in_flight.back());
    const WantedNode node = in_flight.back();
    in_flight.pop_back();
    const Node<D>& content = snapshot.node(node.ref);
    EXPECT_TRUE(node.level == kAnyIndexLevel || node.level == content.level());
    cursor.feed(node.ref, content);
  }
  EXPECT_TRUE(cursor.done());
  return wanted;
}

template <int D>
void compare(std::uint64_t seed) {
  IdCursor<D> cursor;
  std::vector<KeyedEntry<D>> found;
  for (const std::size_t entries : {0, 1, 50, 3'000, 12'000}) {
    Indexed<D> indexed(seed, entries);
    const Snapshot<D> snapshot = indexed.tree->snapshot();
    for (const std::size_t count : {1, 2, 17, 1024}) {
      for (int i = 0; i < 20; ++i) {
        const auto ids = indexed.random_ids(count);
        cursor.start(ids, {snapshot.index(), kAnyIndexLevel}, found);
        auto wanted = run(cursor, snapshot, indexed.random);
        ASSERT_EQ(found, by_hand(snapshot, ids)) << entries << ' ' << count << ' ' << i;
        std::ranges::sort(wanted);
        const auto ways = nodes_on_ways(snapshot, ids);
        ASSERT_TRUE(std::ranges::equal(wanted, ways)) << "each once, and no others";
      }
    }
  }
}

TEST(IdCursor, FindsWhatASnapshotFinds) {
  const std::uint64_t seed = testing_support::seed(1);
  compare<2>(seed);
  compare<3>(seed);
}

TEST(IdCursor, OfNoIdsIsDoneAtOnce) {
  Indexed<2> indexed(1, 10);
  IdCursor<2> cursor;
  std::vector<KeyedEntry<2>> found(3);
  cursor.start({}, {indexed.tree->snapshot().index(), kAnyIndexLevel}, found);
  EXPECT_TRUE(cursor.done());
  EXPECT_TRUE(found.empty());
}

TEST(IdCursor, WantsAllChildrenOfANodeAtOnce) {
  Indexed<2> indexed(1, 3'000);
  const auto snapshot = indexed.tree->snapshot();
  ASSERT_EQ(snapshot.node(snapshot.index()).level(), kIndexLevel + 1);
  const std::vector<std::uint64_t> ids{8'997, 0, 4'500};
  IdCursor<2> cursor;
  std::vector<KeyedEntry<2>> found;
  cursor.start(ids, {snapshot.index(), kAnyIndexLevel}, found);
  ASSERT_TRUE(cursor.take());
  EXPECT_FALSE(cursor.take());
  cursor.feed(snapshot.index(), snapshot.node(snapshot.index()));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(cursor.take()) << i;
  EXPECT_FALSE(cursor.take());
}

TEST(IdCursor, TellsAnEntryAsOftenAsItIsAskedFor) {
  Indexed<2> indexed(1, 3'000);
  const auto snapshot = indexed.tree->snapshot();
  const std::vector<std::uint64_t> ids{300, 3, 300, 4, 3};
  IdCursor<2> cursor;
  std::vector<KeyedEntry<2>> found;
  cursor.start(ids, {snapshot.index(), kAnyIndexLevel}, found);
  run(cursor, snapshot, indexed.random);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].id, 300u);
  EXPECT_EQ(found[1].id, 3u);
  EXPECT_EQ(found[2], found[0]);
}

TEST(IdCursor, HasNothingOfALookUpThatWasBrokenOff) {
  Indexed<2> indexed(1, 3'000);
  const auto snapshot = indexed.tree->snapshot();
  IdCursor<2> cursor;
  std::vector<KeyedEntry<2>> found;
  cursor.start(indexed.random_ids(100), {snapshot.index(), kAnyIndexLevel}, found);
  ASSERT_TRUE(cursor.take());
  cursor.feed(snapshot.index(), snapshot.node(snapshot.index()));
  ASSERT_TRUE(cursor.take());
  const std::vector<std::uint64_t> ids{6};
  cursor.start(ids, {snapshot.index(), kAnyIndexLevel}, found);
  run(cursor, snapshot, indexed.random);
  EXPECT_EQ(found, by_hand(snapshot, ids));
}

}  // namespace
}  // namespace silurus::rtree
