// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "common/random.h"
#include "rtree/id_index.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

constexpr Nanoseconds kGraceOfKeyed = 50 * kMillisecond;

template <int D>
using Model = std::map<std::uint64_t, KeyedEntry<D>>;

template <int D>
class Keyed {
 public:
  explicit Keyed(const TreeOptions& options = {.grace = kGraceOfKeyed})
      : first_(std::move(*Tree<D>::create(options, slabs_, clock_))),
        tree(std::move(*first_->add_tree(7, {.is_keyed = true}))) {
    first_->publish();
  }

  void remove_tree() { Tree<D>::remove(std::move(tree)); }
  void recycle_all() {
    for (int i = 0; i < 1000 && (i < 64 || first_->stats().bytes_retired != 0); ++i) {
      clock_.advance(kGraceOfKeyed);
      first_->reclaim();
    }
  }
  TreeStats stats() const { return first_->stats(); }

 private:
  ManualClock clock_;
  AnonymousSlabs slabs_;
  std::unique_ptr<Tree<D>> first_;

 public:
  std::unique_ptr<Tree<D>> tree;
};

template <int D>
Box<D> some_box(Random& random) {
  Box<D> box;
  for (int d = 0; d < D; ++d) {
    box.min[d] = random.uniform() * 100;
    box.max[d] = box.min[d] + (random.below(2) == 0 ? 0 : random.uniform());
  }
  return box;
}

template <int D>
void expect_holds(const Snapshot<D>& snapshot, const Model<D>& model) {
  ASSERT_EQ(snapshot.size(), model.size());
  for (const auto& [id, entry] : model) ASSERT_EQ(snapshot.find_id(id), entry) << id;
}

TEST(KeyedTree, IsEmptyAtFirst) {
  Keyed<2> keyed;
  EXPECT_TRUE(keyed.tree->is_keyed());
  EXPECT_EQ(keyed.tree->find_id(0), std::nullopt);
  EXPECT_EQ(keyed.tree->snapshot().find_id(UINT64_MAX), std::nullopt);
  EXPECT_TRUE(keyed.tree->snapshot().validate());
}

TEST(KeyedTree, RefusesAnIdThatIsThere) {
  Keyed<2> keyed;
  ASSERT_TRUE(keyed.tree->insert({5, {{1, 2}, {3, 4}}}));
  const Status again = keyed.tree->insert({5, {{9, 9}, {9, 9}}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_NE(again.error().message.find("id 5"), std::string::npos) << again.error().message;
  const Version version = keyed.tree->publish();
  EXPECT_EQ(keyed.tree->snapshot().find_id(5), (KeyedEntry<2>{5, {{1, 2}, {3, 4}}, version}));
  EXPECT_EQ(keyed.tree->snapshot().size(), 1u);
}

TEST(KeyedTree, TellsTheVersionInWhichAnEntryWasWrittenLast) {
  Keyed<2> keyed;
  const Box<2> box{{1, 2}, {3, 4}};
  ASSERT_TRUE(keyed.tree->insert({1, box}));
  ASSERT_TRUE(keyed.tree->insert({2, box}));
  const Version first = keyed.tree->publish();
  ASSERT_TRUE(keyed.tree->update(2, box, box));
  const Version second = keyed.tree->publish();
  EXPECT_EQ(keyed.tree->find_id(1)->version, first);
  EXPECT_EQ(keyed.tree->find_id(2)->version, second);
  keyed.tree->skip_to(second + 10);
  keyed.tree->write_as_of(second + 3);
  ASSERT_TRUE(keyed.tree->update(1, box, box));
  keyed.tree->write_as_of(0);
  ASSERT_TRUE(keyed.tree->insert({3, box}));
  EXPECT_EQ(keyed.tree->publish(), second + 10);
  EXPECT_EQ(keyed.tree->find_id(1)->version, second + 3);
  EXPECT_EQ(keyed.tree->find_id(3)->version, second + 10);
}

TEST(KeyedTree, OldVersionsHaveWhatTheyHad) {
  Keyed<2> keyed;
  const Box<2> before{{1, 2}, {3, 4}};
  const Box<2> after{{5, 6}, {7, 8}};
  ASSERT_TRUE(keyed.tree->insert({1, before}));
  const Version version = keyed.tree->publish();
  const Snapshot<2> old = keyed.tree->snapshot();
  ASSERT_TRUE(keyed.tree->update(1, before, after));
  ASSERT_TRUE(keyed.tree->insert({2, after}));
  EXPECT_EQ(keyed.tree->snapshot().find_id(2), std::nullopt) << "is not published";
  keyed.tree->publish();
  ASSERT_TRUE(keyed.tree->erase({1, after}));
  keyed.tree->publish();
  keyed.recycle_all();
  EXPECT_EQ(old.find_id(1), (KeyedEntry<2>{1, before, version}));
  EXPECT_EQ(old.find_id(2), std::nullopt);
  const Snapshot<2> again = old.duplicate();
  EXPECT_EQ(again.find_id(1)->box, before);
  EXPECT_EQ(keyed.tree->snapshot().find_id(1), std::nullopt);
  EXPECT_TRUE(again.validate());
}

TEST(KeyedTree, GivesItsIndexBackWhenItIsRemoved) {
  for (const std::uint64_t count : {1u, 20'000u}) {
    Keyed<2> keyed;
    const std::uint64_t empty = keyed.stats().bytes_used;
    const Box<2> box{{1, 2}, {3, 4}};
    for (std::uint64_t id = 0; id < count; ++id) ASSERT_TRUE(keyed.tree->insert({id, box}));
    keyed.tree->publish();
    EXPECT_GT(keyed.stats().nodes, 2u);
    keyed.remove_tree();
    keyed.recycle_all();
    EXPECT_EQ(keyed.stats().nodes, 1u) << "the root of the other tree";
    EXPECT_LE(keyed.stats().bytes_used, empty);
  }
}

TEST(KeyedTree, HoldsAnyNumbers) {
  Keyed<2> keyed;
  Random random(testing_support::seed(1));
  Model<2> model;
  const double extremes[] = {-std::numeric_limits<double>::max(),
                             -1.0,
                             -std::numeric_limits<double>::denorm_min(),
                             -0.0,
                             0.0,
                             1e-300,
                             1.0,
                             std::numeric_limits<double>::max()};
  const auto pick = [&] {
    double a = extremes[random.below(std::size(extremes))];
    double b = extremes[random.below(std::size(extremes))];
    if (b < a) std::swap(a, b);
    return std::pair(a, b);
  };
  for (int i = 0; i < 2'000; ++i) {
    const std::uint64_t id = i < 100 ? UINT64_MAX - static_cast<std::uint64_t>(i) : random();
    const auto [x0, x1] = pick();
    const auto [y0, y1] = pick();
    const Box<2> box{{x0, y0}, {x1, y1}};
    if (!model.try_emplace(id, KeyedEntry<2>{id, box, keyed.tree->next_version()}).second) continue;
    ASSERT_TRUE(keyed.tree->insert({id, box}));
    if (i % 300 == 0) keyed.tree->publish();
  }
  keyed.tree->publish();
  const Snapshot<2> snapshot = keyed.tree->snapshot();
  for (const auto& [id, entry] : model) {
    const auto found = snapshot.find_id(id);
    ASSERT_TRUE(found) << id;
    for (int d = 0; d < 2; ++d) {
      EXPECT_EQ(std::signbit(found->box.min[d]), std::signbit(entry.box.min[d]));
      EXPECT_EQ(std::signbit(found->box.max[d]), std::signbit(entry.box.max[d]));
    }
  }
  expect_holds(snapshot, model);
}

/// How ids of a random test are drawn.
enum class Ids { kDense, kSparse, kAscending, kDescending };

template <int D>
void hold_what_a_model_holds(std::uint64_t seed) {
  Random random(seed);
  Keyed<D> keyed;
  Tree<D>& tree = *keyed.tree;
  const auto ids = static_cast<Ids>(random.below(4));
  const std::uint64_t erased = 100 + random.below(500);  // in 1,000 operations, at times
  std::uint64_t counter = 1 << 20;
  const auto draw = [&]() -> std::uint64_t {
    switch (ids) {
      case Ids::kDense:
        return random.below(3'000);
      case Ids::kSparse:
        return random();
      case Ids::kAscending:
        return counter++;
      case Ids::kDescending:
        return counter--;
    }
    return 0;
  };
  Model<D> model;      // the batch
  Model<D> published;  // the version published last
  std::vector<std::pair<Snapshot<D>, Model<D>>> held;
  for (int step = 0; step < 30'000; ++step) {
    const bool thins = step / 5'000 % 2 == 1;
    const bool erases = random.below(1'000) < (thins ? 500 + erased / 2 : erased / 2);
    const std::uint64_t id = draw();
    auto found = model.find(id);
    if (found == model.end() && (erases || random.below(3) == 0)) {
      found = model.lower_bound(model.empty()          ? 0
                                : random.below(2) == 0 ? id
                                                       : model.begin()->first);
    }
    if (found != model.end() && erases) {
      ASSERT_TRUE(tree.erase({found->first, found->second.box}));
      model.erase(found);
    } else if (found != model.end()) {
      const Box<D> box = some_box<D>(random);
      ASSERT_TRUE(tree.update(found->first, found->second.box, box));
      found->second = {found->first, box, tree.next_version()};
    } else if (!erases) {
      const Box<D> box = some_box<D>(random);
      ASSERT_TRUE(tree.insert({id, box}));
      model[id] = {id, box, tree.next_version()};
    }
    ASSERT_EQ(tree.find_id(id), model.contains(id) ? std::optional(model[id]) : std::nullopt);
    const std::uint64_t what = random.below(2'000);
    if (what < 2) {
      tree.abandon();
      model = published;
    } else if (what < 40) {
      tree.publish();
      published = model;
      if (what < 5) keyed.recycle_all();
    } else if (what < 42 && held.size() < 4) {
      held.emplace_back(tree.snapshot(), published);
    } else if (what < 44 && !held.empty()) {
      const std::size_t which = random.below(held.size());
      expect_holds(held[which].first, held[which].second);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
    } else if (what == 44) {
      ASSERT_TRUE(tree.clear());
      model.clear();
    }
  }
  tree.publish();
  const Status sound = tree.snapshot().validate();
  ASSERT_TRUE(sound) << sound.error().message;
  expect_holds(tree.snapshot(), model);
  for (const auto& [snapshot, then] : held) {
    expect_holds(snapshot, then);
    EXPECT_TRUE(snapshot.validate());
  }
  held.clear();
  for (const auto& [id, entry] : model) ASSERT_TRUE(tree.erase({id, entry.box}));
  tree.publish();
  keyed.recycle_all();
  // The two trees' roots and the root of the index, and nothing else.
  EXPECT_EQ(keyed.stats().nodes, 3u);
  EXPECT_EQ(keyed.stats().bytes_retired, 0u);
}

class RandomKeyedTest : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomKeyedTest, HoldsWhatAModelHolds) {
  hold_what_a_model_holds<2>(testing_support::seed(GetParam()));
}

TEST_P(RandomKeyedTest, HoldsWhatAModelHoldsIn3D) {
  hold_what_a_model_holds<3>(testing_support::seed(GetParam() + 100));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomKeyedTest, testing::Range<std::uint64_t>(1, 5));

// --- bulk loads

template <int D>
std::vector<Entry<D>> entries_of(std::uint64_t count, bool are_points, bool are_random) {
  Random random(testing_support::seed(count));
  std::vector<Entry<D>> entries;
  for (std::uint64_t i = 0; i < count; ++i) {
    Entry<D> entry{are_random ? random() : i, some_box<D>(random)};
    if (are_points) entry.box.max = entry.box.min;
    entries.push_back(entry);
  }
  return entries;
}

template <int D>
void expect_loads(std::uint64_t count, bool are_random) {
  Keyed<D> keyed;
  const std::vector<Entry<D>> entries = entries_of<D>(count, false, are_random);
  const auto version = keyed.tree->bulk_load(entries, {});
  ASSERT_TRUE(version) << version.error().message;
  const Snapshot<D> snapshot = keyed.tree->snapshot();
  const Status sound = snapshot.validate();
  ASSERT_TRUE(sound) << sound.error().message;
  for (const Entry<D>& entry : entries) {
    ASSERT_EQ(snapshot.find_id(entry.id), (KeyedEntry<D>{entry.id, entry.box, *version}));
  }
}

TEST(KeyedBulkLoad, MakesAnIndex) {
  for (const std::uint64_t count : {1u, 2u, 128u, 129u, 5'000u, 50'000u}) {
    for (const bool are_random : {false, true}) {
      expect_loads<2>(count, are_random);
      expect_loads<3>(count, are_random);
    }
  }
}

/// Ids below the first: the nodes on their way down said that theirs begin later.
TEST(KeyedBulkLoad, TakesIdsBelowAllOfItsOwn) {
  constexpr std::uint64_t kFirst = 1'000'000;
  for (const std::uint64_t count : {1'000u, 50'000u}) {
    Keyed<2> keyed;
    std::vector<Entry<2>> entries = entries_of<2>(count, true, false);
    for (Entry<2>& entry : entries) entry.id += kFirst;
    ASSERT_TRUE(keyed.tree->bulk_load(entries, {}));
    const std::uint64_t levels =
        keyed.tree->snapshot().node(keyed.tree->snapshot().index()).level() - kIndexLevel;
    EXPECT_EQ(levels, count == 1'000 ? 1u : 2u);
    const Box<2> box{{1, 2}, {3, 4}};
    for (std::uint64_t i = 1; i <= 2'000; ++i) {
      ASSERT_TRUE(keyed.tree->insert({kFirst - i, box}));
      if (i % 100 == 0) keyed.tree->publish();
    }
    keyed.tree->publish();
    const Snapshot<2> snapshot = keyed.tree->snapshot();
    const Status sound = snapshot.validate();
    ASSERT_TRUE(sound) << sound.error().message;
    for (std::uint64_t i = 1; i <= 2'000; ++i) EXPECT_TRUE(snapshot.find_id(kFirst - i)) << i;
    for (const Entry<2>& entry : entries) EXPECT_TRUE(snapshot.find_id(entry.id)) << entry.id;
  }
}

TEST(KeyedBulkLoad, RefusesAnIdThatIsThereTwice) {
  Keyed<2> keyed;
  std::vector<Entry<2>> entries = entries_of<2>(1'000, true, false);
  entries[900].id = 17;
  const auto refused = keyed.tree->bulk_load(entries, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_NE(refused.error().message.find("id 17"), std::string::npos) << refused.error().message;
  EXPECT_EQ(keyed.tree->snapshot().size(), 0u);
  entries[900].id = 5'000;
  EXPECT_TRUE(keyed.tree->bulk_load(entries, {}));
}

TEST(KeyedBulkLoad, LeavesThingsAsTheyWereIfThereIsNoMemory) {
  Keyed<2> keyed({.grace = kGraceOfKeyed, .memory_budget_bytes = 8 << 20});
  const std::uint64_t nodes = keyed.stats().nodes;
  for (const std::uint64_t count : {115'000u, 130'000u, 160'000u, 1'000'000u}) {
    const auto refused = keyed.tree->bulk_load(entries_of<2>(count, true, false), {});
    ASSERT_FALSE(refused) << count;
    EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
    keyed.tree->abandon();
    keyed.recycle_all();
    EXPECT_EQ(keyed.stats().nodes, nodes);
    EXPECT_TRUE(keyed.tree->snapshot().validate());
  }
  EXPECT_TRUE(keyed.tree->bulk_load(entries_of<2>(20'000, true, false), {}));
  EXPECT_TRUE(keyed.tree->snapshot().validate());
}

/// Bytes an entry that the index takes, of all nodes that there are.
double index_bytes_per_entry(const Tree<2>& tree) {
  const Snapshot<2> snapshot = tree.snapshot();
  std::uint64_t nodes = 0;
  std::vector<NodeRef> stack{snapshot.index()};
  while (!stack.empty()) {
    const Node<2>& node = snapshot.node(stack.back());
    stack.pop_back();
    ++nodes;
    for (std::uint32_t i = 0; !node.is_bottom() && i < node.count(); ++i) {
      stack.push_back(node.child(i));
    }
  }
  return static_cast<double>(nodes * kChunkBytes<2>) / static_cast<double>(snapshot.size());
}

TEST(KeyedBulkLoad, TakesSomeTwentyBytesAPoint) {
  Keyed<2> keyed;
  ASSERT_TRUE(keyed.tree->bulk_load(entries_of<2>(100'000, true, false), {}));
  EXPECT_LE(index_bytes_per_entry(*keyed.tree), 21.0);
}

TEST(KeyedTree, IdsThatFollowEachOtherFillItsLeaves) {
  Keyed<2> keyed;
  Random random(testing_support::seed(2));
  for (std::uint64_t id = 0; id < 20'000; ++id) {
    Box<2> box = some_box<2>(random);
    box.max = box.min;
    ASSERT_TRUE(keyed.tree->insert({id, box}));
    if (id % 64 == 0) keyed.tree->publish();
  }
  keyed.tree->publish();
  EXPECT_LE(index_bytes_per_entry(*keyed.tree), 24.0);
}

// --- nodes that are stored, and read by others

class StoredKeyed final : public StoredNodes<2> {
 public:
  explicit StoredKeyed(const Snapshot<2>& snapshot) {
    copy(snapshot, snapshot.root().ref);
    copy(snapshot, snapshot.index());
  }
  std::span<const std::byte> find(NodeRef ref) const override {
    const auto found = nodes.find(ref.word());
    if (found == nodes.end()) return {};
    return std::as_bytes(std::span(&found->second, 1));
  }

  std::map<std::uint64_t, Node<2>> nodes;

 private:
  void copy(const Snapshot<2>& snapshot, NodeRef ref) {
    const Node<2>& node = snapshot.node(ref);
    copy_node(nodes[ref.word()], node);
    for (std::uint32_t i = 0; !node.is_bottom() && i < node.count(); ++i) {
      copy(snapshot, node.child(i));
    }
  }
};

class StoredKeyedTest : public testing::Test {
 protected:
  StoredKeyedTest() : first_(std::move(*Tree<2>::create({.grace = 0}, slabs_, clock_))) {
    tree_ = std::move(*first_->add_tree(7, {.is_keyed = true}));
    Random random(testing_support::seed(3));
    for (std::uint64_t id = 0; id < 5'000; ++id) {
      EXPECT_TRUE(tree_->insert({id * 3, some_box<2>(random)}));
      if (id % 100 == 0) tree_->publish();
    }
    version_ = tree_->publish();
    const Snapshot<2> empty = first_->snapshot();
    stored_.emplace(tree_->snapshot());
    copy_node(stored_->nodes[empty.root().ref.word()], empty.node(empty.root().ref));
    trees_ = {{.root = empty.root().ref},
              {tree_->snapshot().root().ref, tree_->snapshot().index(), 7, tree_->root_chunk()}};
  }
  Result<std::vector<std::unique_ptr<Tree<2>>>> restore() {
    return Tree<2>::restore({.grace = 0}, other_slabs_, clock_, trees_, version_, *stored_, {});
  }

  ManualClock clock_;
  AnonymousSlabs slabs_;
  AnonymousSlabs other_slabs_;
  std::unique_ptr<Tree<2>> first_;
  std::unique_ptr<Tree<2>> tree_;
  Version version_ = 0;
  std::vector<rtree::StoredTree> trees_;
  std::optional<StoredKeyed> stored_;
};

TEST_F(StoredKeyedTest, IsRestoredWithItsVersions) {
  auto restored = restore();
  ASSERT_TRUE(restored) << restored.error().message;
  Tree<2>& again = *restored->at(1);
  ASSERT_TRUE(again.is_keyed());
  EXPECT_FALSE(restored->at(0)->is_keyed());
  for (std::uint64_t id = 0; id < 15'003; ++id) ASSERT_EQ(again.find_id(id), tree_->find_id(id));
  EXPECT_TRUE(again.snapshot().validate());
  EXPECT_FALSE(again.insert({3, {{0, 0}, {0, 0}}}));
  EXPECT_TRUE(again.insert({4, {{0, 0}, {0, 0}}}));
  again.publish();
  EXPECT_TRUE(again.snapshot().validate());
}

TEST_F(StoredKeyedTest, IsRefusedIfANodeOfTheIndexIsDamagedOrMissing) {
  const StoredKeyed whole = *stored_;
  std::size_t tried = 0;
  for (const auto& [word, node] : whole.nodes) {
    if (!is_index_level(node.level())) continue;
    ++tried;
    for (const std::size_t at : {9u, 33u, 70u, 200u, 700u}) {
      *stored_ = whole;
      reinterpret_cast<std::byte*>(&stored_->nodes[word])[at] ^= std::byte{1};
      EXPECT_FALSE(restore()) << at;
    }
    *stored_ = whole;
    stored_->nodes.erase(word);
    EXPECT_FALSE(restore());
  }
  EXPECT_GT(tried, 50u);
  *stored_ = whole;
  std::swap(trees_[1].root, trees_[1].index);
  EXPECT_FALSE(restore());
  std::swap(trees_[1].root, trees_[1].index);
  EXPECT_TRUE(restore());
}

TEST_F(StoredKeyedTest, ItsNodesAreNoNodesOfATree) {
  const NodeRef index = trees_[1].index;
  const NodeRef root = trees_[1].root;
  const auto accepts = [&](NodeRef ref, std::uint32_t level) {
    return check_node<2>(stored_->find(ref), {ref, level}, NodeRef::kMaxChunks, true) != nullptr;
  };
  EXPECT_TRUE(accepts(index, kAnyIndexLevel));
  EXPECT_FALSE(accepts(index, kAnyLevel));
  EXPECT_TRUE(accepts(root, kAnyLevel));
  EXPECT_FALSE(accepts(root, kAnyIndexLevel));
}

TEST(IndexLeaves, ThatAreNotSoundAreRefused) {
  Node<2> leaf;
  leaf.reset(9, kIndexLevel);
  std::vector<KeyedEntry<2>> entries;
  for (std::uint64_t id = 0; id < 20; ++id) entries.push_back({id * 1000, {{1, 2}, {3, 4}}, 5});
  ASSERT_TRUE(pack_index_leaf<2>(leaf, entries));
  const auto is_sound = [](const Node<2>& node) { return is_sound_index_node(node, 1'000'000); };
  ASSERT_TRUE(is_sound(leaf));
  const auto refuses = [&](auto&& change) {
    Node<2> other = leaf;
    change(other);
    return !is_sound(other);
  };
  EXPECT_TRUE(refuses([](Node<2>& node) { node.keyed.widths[3] = 9; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.header.count = kIndexLeafFanout + 1; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.header.entries = 7; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.keyed.widths[0] = 8; })) << "ids do not ascend";
  EXPECT_TRUE(refuses([](Node<2>& node) { node.keyed.least[2] = UINT64_MAX; })) << "no number";
  EXPECT_TRUE(refuses([](Node<2>& node) { node.keyed.least[5] = UINT64_MAX / 2; })) << "max < min";
  EXPECT_TRUE(refuses([](Node<2>& node) {
    node.header.count = node.header.entries = kIndexLeafFanout;
    for (std::uint8_t& width : node.keyed.widths) width = 8;
  })) << "they do not fit";
}

TEST(IndexNodes, ThatAreNotSoundAreRefused) {
  Node<2> inner;
  inner.reset(9, kIndexLevel + 1);
  inner.header.count = 3;
  inner.header.entries = 30;
  for (std::uint32_t i = 0; i < 3; ++i) {
    inner.inner.least[i] = 10 * i;
    inner.inner.children[i] = NodeRef(100 + i, 9).word();
  }
  const auto is_sound = [](const Node<2>& node) { return is_sound_index_node(node, 1'000); };
  ASSERT_TRUE(is_sound(inner));
  const auto refuses = [&](auto&& change) {
    Node<2> other = inner;
    change(other);
    return !is_sound(other);
  };
  EXPECT_TRUE(refuses([](Node<2>& node) { node.header.count = 0; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.header.count = kInnerFanout<2> + 1; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.header.entries = 2; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.inner.least[2] = 10; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.inner.children[1] = 0; }));
  EXPECT_TRUE(refuses([](Node<2>& node) { node.inner.children[1] = NodeRef(1'000, 9).word(); }));
}

// --- readers beside the writer

TEST(KeyedTree, ASnapshotAndItsIndexAreOfTheSameVersion) {
  Keyed<2> keyed;
  constexpr std::uint64_t kIds = 40;
  const auto box_of = [](Version version, std::uint64_t id) {
    const auto x = static_cast<double>(version);
    const auto y = static_cast<double>(id);
    return Box<2>{{x, y}, {x, y}};
  };
  std::vector<Box<2>> boxes(kIds);
  for (std::uint64_t id = 0; id < kIds; ++id) {
    boxes[id] = box_of(keyed.tree->next_version(), id);
    ASSERT_TRUE(keyed.tree->insert({id, boxes[id]}));
  }
  keyed.tree->publish();
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> looks{0};
  std::vector<std::jthread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const Snapshot<2> snapshot = keyed.tree->snapshot();
        for (std::uint64_t id = 0; id < kIds; ++id) {
          const auto found = snapshot.find_id(id);
          ASSERT_TRUE(found);
          ASSERT_EQ(found->version, snapshot.version());
          ASSERT_EQ(found->box, box_of(snapshot.version(), id));
        }
        looks.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (int round = 0; round < 3'000 || looks.load(std::memory_order_relaxed) < 100; ++round) {
    const Version version = keyed.tree->next_version();
    for (std::uint64_t id = 0; id < kIds; ++id) {
      ASSERT_TRUE(keyed.tree->update(id, boxes[id], box_of(version, id)));
      boxes[id] = box_of(version, id);
    }
    keyed.tree->publish();
    if (round % 16 == 0) keyed.recycle_all();
  }
  stop.store(true, std::memory_order_relaxed);
}

}  // namespace
}  // namespace silurus::rtree
