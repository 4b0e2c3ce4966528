// SPDX-License-Identifier: Apache-2.0

#include "rtree/changes.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "rtree/root_block.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"
#include "tests/support/visible_slabs.h"

namespace silurus::rtree {
namespace {

/// All inner nodes of a version, by name.
template <int D>
using InnerNodes = std::map<std::uint64_t, std::unique_ptr<Node<D>>>;

/// A tree whose ring is read as a remote reader would.
template <int D>
struct Ringed {
  explicit Ringed(std::uint64_t seed, bool is_keyed = false) : random(seed) {
    tree = std::move(*Tree<D>::create({}, slabs, clock));
    if (!is_keyed) return;
    first = std::move(tree);
    tree = std::move(*first->add_tree(7, {.is_keyed = true}));
  }

  Box<D> random_box(double edge) {
    Box<D> box;
    for (int d = 0; d < D; ++d) {
      box.min[d] = random.uniform();
      box.max[d] = box.min[d] + edge * random.uniform();
    }
    return box;
  }
  void load(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) entries.push_back({next_id++, random_box(0.01)});
    ASSERT_TRUE(tree->bulk_load(entries, {.threads = 1}));
  }
  void insert(const Box<D>& box) {
    entries.push_back({next_id++, box});
    ASSERT_TRUE(tree->insert(entries.back()));
  }
  void change_one() {
    const std::size_t i = random.below(entries.size());
    switch (random.below(3)) {
      case 0:
        insert(random_box(0.01));
        break;
      case 1:
        ASSERT_TRUE(tree->erase(entries[i]));
        entries[i] = entries.back();
        entries.pop_back();
        break;
      default: {
        const Box<D> to = random_box(0.01);
        ASSERT_TRUE(tree->update(entries[i].id, entries[i].box, to));
        entries[i].box = to;
      }
    }
  }

  RootBlock<D>& block() {
    const auto slab = slabs.slabs[tree->root_chunk() / kChunksPerSlab];
    return *reinterpret_cast<RootBlock<D>*>(slab.data() + offset_in_slab<D>(tree->root_chunk()));
  }
  Version version() const { return tree->snapshot().version(); }
  /// Publishes, and returns a copy of the record of that version.
  std::vector<std::uint64_t> publish() {
    const std::size_t at = block().next_change;
    tree->publish();
    std::vector<std::uint64_t> words(kMostChangeBytes / 8);
    std::memcpy(words.data(), block().changes + at, kMostChangeBytes);
    return words;
  }
  InnerNodes<D> inner_nodes() const {
    InnerNodes<D> nodes;
    const auto snapshot = tree->snapshot();
    std::vector<WantedNode> left{snapshot.root()};
    if (const NodeRef index = snapshot.index()) {
      left.push_back({index, snapshot.node(index).level()});
    }
    while (!left.empty()) {
      const WantedNode wanted = left.back();
      left.pop_back();
      if (is_bottom(wanted.level)) continue;
      const Node<D>& node = snapshot.node(wanted.ref);
      auto& copy = nodes[wanted.ref.word()] = std::make_unique<Node<D>>();
      copy_node(*copy, node);
      for (std::uint32_t i = 0; i < node.count(); ++i) {
        left.push_back({node.child(i), node.level() - 1});
      }
    }
    return nodes;
  }

  Random random;
  testing_support::VisibleSlabs slabs;
  SystemClock clock;
  std::unique_ptr<Tree<D>> first;  ///< the first one of the forest, if the tree is keyed
  std::unique_ptr<Tree<D>> tree;
  std::vector<Entry<D>> entries;
  std::uint64_t next_id = 0;
};

std::span<const std::byte> bytes_of(const std::vector<std::uint64_t>& words) {
  return std::as_bytes(std::span(words));
}

/// The record of a version that follows the one with the number before.
template <int D>
std::optional<ChangeRecord<D>> read(const std::vector<std::uint64_t>& words, Version version) {
  return ChangeRecord<D>::read(bytes_of(words), NodeRef(0, version - 1).birth());
}

/// Whether a node that was made of another one is that of the tree in all that searches look at. A
/// directory that the tree has made wider may be as narrow as it was.
template <int D>
void expect_same(const Node<D>& made, const Node<D>& real) {
  ASSERT_EQ(made.level(), real.level());
  ASSERT_EQ(made.count(), real.count());
  EXPECT_EQ(made.birth(), real.birth());
  EXPECT_EQ(made.header.entries, real.header.entries);
  EXPECT_EQ(made.bounds, real.bounds);
  if (real.is_of_index()) {
    for (std::uint32_t i = 0; i < real.count(); ++i) {
      ASSERT_EQ(made.child(i), real.child(i)) << i;
      ASSERT_EQ(made.inner.least[i], real.inner.least[i]) << i;
    }
    return;
  }
  for (int d = 0; d < D; ++d) EXPECT_EQ(made.inner.scale[d], real.inner.scale[d]);
  for (std::uint32_t i = 0; i < real.count(); ++i) {
    ASSERT_EQ(made.child(i), real.child(i)) << i;
    for (int row = 0; row < 2 * D; ++row) {
      ASSERT_EQ(made.inner.cells[row][i], real.inner.cells[row][i]) << i;
    }
    if (real.level() != 1) continue;
    for (int d = 0; d < D; ++d) {
      for (std::uint32_t g = 0; g < kLeafGroups<D>; ++g) {
        const auto& ours = made.inner.directories[i].cells;
        const auto& theirs = real.inner.directories[i].cells;
        ASSERT_GE(ours[2 * d][g], theirs[2 * d][g]) << i;
        ASSERT_LE(ours[2 * d + 1][g], theirs[2 * d + 1][g]) << i;
      }
    }
  }
}

/// Makes the nodes of each version of those of the version before, by its record alone; returns the
/// share of inner nodes that were told of, of those that were new.
template <int D>
double follow(std::uint64_t seed, int versions, std::uint64_t most_in_batch,
              bool is_keyed = false) {
  Ringed<D> ringed(seed, is_keyed);
  ringed.load(20'000);
  ringed.publish();
  InnerNodes<D> before = ringed.inner_nodes();
  std::uint64_t told = 0;
  std::uint64_t made_anew = 0;
  for (int i = 0; i < versions; ++i) {
    const std::uint64_t changes = 1 + ringed.random.below(most_in_batch);
    for (std::uint64_t change = 0; change < changes; ++change) ringed.change_one();
    const auto words = ringed.publish();
    const auto record = read<D>(words, ringed.version());
    EXPECT_TRUE(record);
    if (!record) return 0;
    EXPECT_EQ(record->index(), ringed.tree->snapshot().index());
    InnerNodes<D> after = ringed.inner_nodes();
    for (const auto& [word, node] : after) made_anew += before.contains(word) ? 0 : 1;
    record->for_each([&](const ChangedNode<D>& changed) {
      const auto old = before.find(changed.before().word());
      ASSERT_NE(old, before.end());
      ASSERT_TRUE(changed.fits(*old->second));
      changed.apply(*old->second);
      const auto real = after.find(changed.after().word());
      if (real == after.end()) return;  // its parent has been joined, or it was dropped
      ++told;
      expect_same(*old->second, *real->second);
    });
    before = std::move(after);
  }
  return static_cast<double>(told) / static_cast<double>(made_anew);
}

TEST(Changes, MakeTheNodesOfAVersionOfThoseOfTheVersionBefore) {
  const std::uint64_t seed = testing_support::seed(1);
  EXPECT_GT(follow<2>(seed, 1'000, 1), 0.9);
  EXPECT_GT(follow<3>(seed, 1'000, 1), 0.9);
}

TEST(Changes, TellOfBatchesToo) {
  const std::uint64_t seed = testing_support::seed(1);
  EXPECT_GT(follow<2>(seed, 200, 12), 0.85);
  EXPECT_GT(follow<3>(seed, 200, 12), 0.85);
}

TEST(Changes, OfAKeyedTreeTellOfItsIndexToo) {
  const std::uint64_t seed = testing_support::seed(1);
  EXPECT_GT(follow<2>(seed, 1'000, 1, true), 0.9);
  EXPECT_GT(follow<3>(seed, 1'000, 1, true), 0.9);
  EXPECT_GT(follow<2>(seed, 200, 12, true), 0.8);
}

TEST(Changes, AreFoundByTheTreesOwnVersionBefore) {
  Ringed<2> ringed(1, true);
  ringed.load(2'000);
  ringed.publish();
  const Version before = ringed.version();
  for (std::uint64_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(ringed.first->insert({i, ringed.random_box(0.01)}));
    ringed.first->publish();
  }
  ringed.change_one();
  const auto words = ringed.publish();
  ASSERT_EQ(ringed.version(), before + 6);
  EXPECT_FALSE(read<2>(words, ringed.version())) << "the version before it is of another tree";
  const auto record = ChangeRecord<2>::read(bytes_of(words), NodeRef(0, before).birth());
  ASSERT_TRUE(record);
  EXPECT_EQ(record->version(), ringed.version());
}

TEST(Changes, OfLargeBatchesTheUpperNodesAreToldOf) {
  Ringed<2> ringed(1);
  ringed.load(100'000);
  ringed.publish();
  const NodeRef old_root = ringed.tree->snapshot().root().ref;
  for (int i = 0; i < 1'000; ++i) {  // within the tree's box, which stays as it is
    ringed.insert({{0.1 + 0.0008 * i, 0.5}, {0.1 + 0.0008 * i, 0.5}});
  }
  const auto words = ringed.publish();
  const auto record = read<2>(words, ringed.version());
  ASSERT_TRUE(record);
  EXPECT_LE(record->bytes(), kMostChangeBytes);
  std::vector<NodeRef> told;
  record->for_each([&](const ChangedNode<2>& changed) { told.push_back(changed.before()); });
  ASSERT_GT(told.size(), 1u);
  EXPECT_EQ(told.front(), old_root);
}

TEST(Changes, AnInsertTakesFewBytes) {
  Ringed<2> ringed(1);
  ringed.load(200'000);
  ASSERT_EQ(ringed.tree->stats().height, 4u);
  std::uint64_t bytes = 0;
  for (int i = 0; i < 500; ++i) {
    ringed.insert(ringed.random_box(1e-4));
    const auto words = ringed.publish();
    const auto record = read<2>(words, ringed.version());
    ASSERT_TRUE(record);
    bytes += record->bytes();
  }
  EXPECT_LE(bytes, 500u * 192);
}

TEST(Changes, LieOneBehindTheOtherAndNeverRunOverTheEnd) {
  Ringed<2> ringed(1);
  ringed.load(20'000);
  std::size_t at = ringed.block().next_change;
  int rounds = 0;
  for (int i = 0; i < 500; ++i) {
    ringed.change_one();
    const auto words = ringed.publish();
    const auto record = read<2>(words, ringed.version());
    ASSERT_TRUE(record);
    ASSERT_LE(at + record->bytes(), kChangeRingBytes);
    at = next_change(at, record->bytes());
    ASSERT_EQ(ringed.block().next_change, at);
    rounds += at == 0 ? 1 : 0;
  }
  EXPECT_GE(rounds, 2);
}

TEST(Changes, ARecordIsOfOneVersionAlone) {
  Ringed<2> ringed(1);
  ringed.load(20'000);
  ringed.insert(ringed.random_box(0.01));
  const auto words = ringed.publish();
  EXPECT_TRUE(read<2>(words, ringed.version()));
  EXPECT_FALSE(read<2>(words, ringed.version() + 1));
  EXPECT_FALSE(read<2>(words, ringed.version() - 1));
}

TEST(Changes, ATornRecordIsNotBelieved) {
  Ringed<2> ringed(1);
  ringed.load(20'000);
  ringed.insert(ringed.random_box(0.01));
  const auto words = ringed.publish();
  const auto record = read<2>(words, ringed.version());
  ASSERT_TRUE(record);
  for (std::size_t i = 0; i < record->bytes() / 8; ++i) {
    auto torn = words;
    torn[i] ^= 1;
    EXPECT_FALSE(read<2>(torn, ringed.version())) << i;
  }
  const auto cut = bytes_of(words).first(record->bytes() - 8);
  const Version before = NodeRef(0, ringed.version() - 1).birth();
  EXPECT_FALSE(ChangeRecord<2>::read(cut, before));
  EXPECT_EQ(ChangeRecord<2>::expected_bytes(cut, before), record->bytes());
}

/// A record of one change, whose checksum is right.
std::vector<std::uint64_t> record_of(NodeChange change, std::uint64_t child) {
  std::vector<std::uint64_t> words(kMostChangeBytes / 8);
  auto* bytes = reinterpret_cast<std::byte*>(words.data());
  ChangeHeader header{
      .checksum = 0, .version = 7, .versions = 1, .bytes = sizeof header, .nodes = 1, .keyed = 0};
  const ChildChange<2> changed{.word = child, .cells = {}};
  std::memcpy(bytes + sizeof header, &change, sizeof change);
  std::memcpy(bytes + sizeof header + sizeof change, &changed, sizeof changed);
  header.bytes = static_cast<std::uint16_t>(header.bytes + node_change_bytes<2>(change));
  std::memcpy(bytes, &header, sizeof header);
  const std::uint64_t checksum = bytes_checksum({bytes + 8, header.bytes - std::size_t{8}});
  std::memcpy(bytes, &checksum, sizeof checksum);
  return words;
}

TEST(Changes, ARecordThatMakesNoSenseIsNotBelieved) {
  const NodeChange good{.before = NodeRef(100, 5).word(),
                        .children = 4,
                        .chunk = 200,
                        .level = 2,
                        .count = 3,
                        .more_entries = 0};
  const std::uint64_t child = NodeRef(300, 6).word();
  ASSERT_TRUE(read<2>(record_of(good, child), 7));
  const auto is_refused = [&](auto&& spoil) {
    NodeChange change = good;
    spoil(change);
    return !read<2>(record_of(change, child), 7);
  };
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.level = 0; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.level = kMaxLevel + 1; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.level = kIndexLevel; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.level = kMaxIndexLevel + 1; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.count = 0; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.count = kInnerFanout<2> + 1; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.count = 2; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.before = 0; }));
  EXPECT_TRUE(is_refused([](NodeChange& change) { change.chunk = kChunksPerSlab - 1; }));
  EXPECT_FALSE(read<2>(record_of(good, 0), 7));
  EXPECT_FALSE(read<2>(record_of(good, NodeRef(NodeRef::kMaxChunks - 1, 6).word()), 7));
}

/// A change of a node of an index with two children, of which the second one is told of.
ChangedNode<2> change_of_index(const IndexChildChange& child) {
  const NodeChange change{.before = NodeRef(100, 5).word(),
                          .children = 2,
                          .chunk = 200,
                          .level = kIndexLevel + 1,
                          .count = 2,
                          .more_entries = 0};
  return {change, 7, reinterpret_cast<const std::byte*>(&child)};
}

TEST(Changes, FitANodeOfAnIndexOnlyIfItsChildrenStayInTheirOrder) {
  auto node = std::make_unique<Node<2>>();
  node->reset(5, kIndexLevel + 1);
  node->header.count = 2;
  node->inner.least[0] = 50;
  node->inner.least[1] = 60;
  const std::uint64_t word = NodeRef(300, 7).word();
  const IndexChildChange before{.word = word, .least = 49};
  const IndexChildChange same{.word = word, .least = 50};
  const IndexChildChange behind{.word = word, .least = 51};
  EXPECT_FALSE(change_of_index(before).fits(*node));
  EXPECT_FALSE(change_of_index(same).fits(*node));
  ASSERT_TRUE(change_of_index(behind).fits(*node));
  change_of_index(behind).apply(*node);
  EXPECT_EQ(node->inner.least[0], 50u);
  EXPECT_EQ(node->inner.least[1], 51u);
  EXPECT_EQ(node->inner.children[1], word);
}

TEST(Changes, TellOfAChildOfAnIndexWhoseLeastIdAloneIsAnother) {
  const auto before = std::make_unique<Node<2>>();
  const auto after = std::make_unique<Node<2>>();
  before->reset(6, kIndexLevel + 1);
  before->header.count = 2;
  before->header.entries = 9;
  for (std::uint32_t i = 0; i < 2; ++i) {
    before->inner.children[i] = NodeRef(300 + i, 6).word();
    before->inner.least[i] = 50 + 10 * i;
  }
  copy_node(*after, *before);
  after->header.birth = 7;
  after->inner.least[1] = 55;
  std::vector<std::uint64_t> words(kMostChangeBytes / 8);
  ChangeWriter<2> writer(std::as_writable_bytes(std::span(words)), 7, 6, NodeRef(200, 7));
  writer.add(NodeRef(100, 6), *before, NodeRef(200, 7), *after);
  writer.finish();
  const auto record = read<2>(words, 7);
  ASSERT_TRUE(record);
  record->for_each([&](const ChangedNode<2>& changed) {
    ASSERT_TRUE(changed.fits(*before));
    changed.apply(*before);
  });
  expect_same(*before, *after);
}

TEST(Changes, FitANodeOnlyIfAllChildrenThatItGainsAreToldOf) {
  const NodeChange change{.before = NodeRef(100, 5).word(),
                          .children = 1,
                          .chunk = 200,
                          .level = 2,
                          .count = 3,
                          .more_entries = 0};
  const ChangedNode<2> changed(change, 7, nullptr);
  auto node = std::make_unique<Node<2>>();
  node->reset(5, 2);
  const auto fits_with = [&](std::uint32_t count) {
    node->header.count = count;
    return changed.fits(*node);
  };
  EXPECT_TRUE(fits_with(3));
  EXPECT_TRUE(fits_with(4));
  EXPECT_FALSE(fits_with(2));
  node->reset(5, 1);
  EXPECT_FALSE(fits_with(3));
}

}  // namespace
}  // namespace silurus::rtree
