// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "rtree/records.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

constexpr Nanoseconds kGraceOfRecords = 50 * kMillisecond;

template <int D>
struct Written {
  Box<D> box;
  std::vector<std::byte> record;  ///< empty: none
};
template <int D>
using Contents = std::map<std::uint64_t, Written<D>>;

/// A tree whose entries carry records, beside the first one of its forest.
template <int D>
class Recorded {
 public:
  explicit Recorded(const TreeOptions& options = {.grace = kGraceOfRecords})
      : first_(std::move(*Tree<D>::create(options, slabs_, clock_))),
        tree(std::move(*first_->add_tree(7, {.is_keyed = true, .has_records = true}))) {
    first_->publish();
  }
  void recycle_all() {
    for (int i = 0; i < 1000 && (i < 64 || first_->stats().bytes_retired != 0); ++i) {
      clock_.advance(kGraceOfRecords);
      first_->reclaim();
    }
  }
  std::uint64_t nodes() const { return first_->stats().nodes; }

 private:
  ManualClock clock_;
  AnonymousSlabs slabs_;
  std::unique_ptr<Tree<D>> first_;

 public:
  std::unique_ptr<Tree<D>> tree;
};

std::vector<std::byte> random_record(Random& random, std::size_t bytes) {
  std::vector<std::byte> record(bytes);
  for (std::byte& byte : record) byte = static_cast<std::byte>(random.below(256));
  return record;
}

/// Mostly short ones, some that lie in pieces, few that lie in many.
std::size_t random_length(Random& random) {
  switch (random.below(8)) {
    case 0:
      return 1 + random.below(8);
    case 1:
      return kMostInPage<2> - 2 + random.below(4);
    case 2:
      return 1 + random.below(6000);
    case 3:
      return random.below(32) == 0 ? 80'000 + random.below(40'000) : 1 + random.below(2000);
    default:
      return 1 + random.below(300);
  }
}

template <int D>
Box<D> random_place(Random& random) {
  Box<D> box;
  for (int d = 0; d < D; ++d) box.min[d] = box.max[d] = random.uniform() * 100;
  return box;
}

template <int D>
void expect_recorded(const Snapshot<D>& snapshot, const Contents<D>& written) {
  ASSERT_EQ(snapshot.size(), written.size());
  for (const auto& [id, one] : written) {
    ASSERT_TRUE(snapshot.find_id(id).has_value()) << id;
    std::vector<std::byte> record;
    ASSERT_EQ(snapshot.find_record(id, record), !one.record.empty()) << id;
    ASSERT_EQ(record, one.record) << id;
    ASSERT_EQ(snapshot.record_bytes(id), one.record.size()) << id;
  }
  const Status valid = snapshot.validate();
  ASSERT_TRUE(valid.has_value()) << valid.error().message;
}

TEST(RecordedTree, HasNoRecordOfWhatIsNotThere) {
  Recorded<2> recorded;
  EXPECT_TRUE(recorded.tree->is_keyed());
  EXPECT_TRUE(recorded.tree->has_records());
  std::vector<std::byte> record;
  EXPECT_FALSE(recorded.tree->snapshot().find_record(1, record));
  EXPECT_EQ(recorded.tree->snapshot().record_bytes(1), 0u);
  EXPECT_TRUE(record.empty());
}

TEST(RecordedTree, AddsARecordToWhatIsThereOfTheResult) {
  Recorded<2> recorded;
  const std::vector<std::byte> one(3, std::byte{7});
  ASSERT_TRUE(recorded.tree->insert({1, {{0, 0}, {1, 1}}}, Tree<2>::Room::kBudget, one));
  recorded.tree->publish();
  std::vector<std::byte> found(2, std::byte{1});
  ASSERT_TRUE(recorded.tree->snapshot().find_record(1, found));
  ASSERT_EQ(found.size(), 5u);
  EXPECT_EQ(found[1], std::byte{1});
  EXPECT_EQ(found[2], std::byte{7});
}

TEST(RecordedTree, RefusesARecordThatIsTooLongAndChangesNothing) {
  Recorded<2> recorded;
  const std::vector<std::byte> longest(kMostRecordBytes, std::byte{1});
  const std::vector<std::byte> longer(kMostRecordBytes + 1, std::byte{1});
  const Entry<2> entry{1, {{0, 0}, {1, 1}}};
  const Status refused = recorded.tree->insert(entry, Tree<2>::Room::kBudget, longer);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(recorded.tree->find_id(1));
  ASSERT_TRUE(recorded.tree->insert(entry, Tree<2>::Room::kBudget, longest));
  const Status update =
      recorded.tree->update(1, entry.box, {{2, 2}, {2, 2}}, Tree<2>::Room::kBudget, longer);
  EXPECT_EQ(update.error().code, ErrorCode::kTooLarge);
  recorded.tree->publish();
  EXPECT_EQ(recorded.tree->find_id(1)->box, entry.box);
  expect_recorded<2>(recorded.tree->snapshot(), {{1, {entry.box, longest}}});
}

TEST(RecordedTree, RefusesARecordWhereThereAreNone) {
  ManualClock clock;
  AnonymousSlabs slabs;
  const auto first = std::move(*Tree<2>::create({}, slabs, clock));
  const auto keyed = std::move(*first->add_tree(7, {.is_keyed = true}));
  const std::vector<std::byte> record(3, std::byte{7});
  for (Tree<2>* tree : {first.get(), keyed.get()}) {
    const Status refused = tree->insert({1, {{0, 0}, {1, 1}}}, Tree<2>::Room::kBudget, record);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
    ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  }
  first->publish();
  std::vector<std::byte> found;
  EXPECT_FALSE(keyed->snapshot().find_record(1, found));
  EXPECT_FALSE(first->snapshot().find_record(1, found));
}

TEST(RecordedTree, KeepsARecordWithAnUpdateThatSaysNothingOfIt) {
  Recorded<2> recorded;
  const Box<2> there{{0, 0}, {0, 0}};
  const std::vector<std::byte> record(2000, std::byte{7});
  ASSERT_TRUE(recorded.tree->insert({1, there}, Tree<2>::Room::kBudget, record));
  const Box<2> here{{5, 5}, {5, 5}};
  ASSERT_TRUE(recorded.tree->update(1, there, here));
  recorded.tree->publish();
  expect_recorded<2>(recorded.tree->snapshot(), {{1, {here, record}}});
  ASSERT_TRUE(recorded.tree->update(1, here, here, Tree<2>::Room::kBudget, Tree<2>::RecordBytes{}));
  recorded.tree->publish();
  expect_recorded<2>(recorded.tree->snapshot(), {{1, {here, {}}}});
}

template <int D>
void write_at_random(std::uint64_t seed) {
  Random random(seed);
  Recorded<D> recorded;
  Tree<D>& tree = *recorded.tree;
  Contents<D> written;
  Contents<D> published;
  const std::uint64_t most_ids = 1 + random.below(600);
  std::optional<std::pair<Snapshot<D>, Contents<D>>> old;
  for (int step = 0; step < 2500; ++step) {
    const std::uint64_t id = random.below(4) == 0 ? step : random.below(most_ids);
    const auto found = written.find(id);
    const Box<D> box = random_place<D>(random);
    std::vector<std::byte> record;
    if (random.below(4) != 0) record = random_record(random, random_length(random));
    if (found == written.end()) {
      ASSERT_TRUE(tree.insert({id, box}, Tree<D>::Room::kBudget, record));
      written[id] = {box, record};
    } else if (random.below(2) == 0) {
      ASSERT_TRUE(tree.erase({id, found->second.box}));
      written.erase(found);
    } else if (random.below(3) == 0) {
      ASSERT_TRUE(tree.update(id, found->second.box, box));
      found->second.box = box;
    } else {
      ASSERT_TRUE(tree.update(id, found->second.box, box, Tree<D>::Room::kBudget, record));
      found->second = {box, record};
    }
    if (random.below(40) == 0) {
      tree.abandon();
      written = published;
    } else if (random.below(10) == 0) {
      tree.publish();
      published = written;
      if (random.below(4) == 0) expect_recorded(tree.snapshot(), published);
      if (random.below(20) == 0) old.emplace(tree.snapshot(), published);
    }
    if (random.below(100) == 0 && old) {
      recorded.recycle_all();
      expect_recorded(old->first, old->second);
    }
    if (testing::Test::HasFatalFailure()) return;
  }
  tree.publish();
  expect_recorded(tree.snapshot(), written);
  old.reset();
  for (const auto& [id, one] : written) ASSERT_TRUE(tree.erase({id, one.box}));
  tree.publish();
  recorded.recycle_all();
  // The first tree's root, and of this one: root, index, page, and the pair of these.
  EXPECT_EQ(recorded.nodes(), 5u);
}

TEST(RecordedTree, HoldsWhatWasWritten) {
  const std::uint64_t seed = testing_support::fresh_seed();
  write_at_random<2>(seed);
  write_at_random<3>(seed + 1);
}

TEST(RecordedTree, GivesAllBackWhenItIsCleared) {
  const std::uint64_t seed = testing_support::fresh_seed();
  Random random(seed);
  Recorded<2> recorded;
  for (std::uint64_t id = 0; id < 500; ++id) {
    const auto record = random_record(random, random_length(random));
    ASSERT_TRUE(
        recorded.tree->insert({id, random_place<2>(random)}, Tree<2>::Room::kBudget, record));
    if (id % 100 == 99) recorded.tree->publish();
  }
  EXPECT_GT(recorded.nodes(), 100u);
  ASSERT_TRUE(recorded.tree->clear());
  recorded.tree->publish();
  expect_recorded<2>(recorded.tree->snapshot(), {});
  recorded.recycle_all();
  EXPECT_EQ(recorded.nodes(), 5u);
}

TEST(RecordedTree, FillsItsPagesWithRecordsWhoseIdsFollowEachOther) {
  Recorded<2> recorded;
  constexpr std::size_t kBytes = 100;
  constexpr std::uint64_t kCount = 1100;
  const std::vector<std::byte> record(kBytes, std::byte{1});
  for (std::uint64_t id = 0; id < kCount; ++id) {
    ASSERT_TRUE(recorded.tree->insert({id, {{0, 0}, {0, 0}}}, Tree<2>::Room::kBudget, record));
  }
  recorded.tree->publish();
  const Snapshot<2> now = recorded.tree->snapshot();
  std::vector<WantedNode> rest{{now.index(), kPairLevel}};
  std::uint64_t pages = 0;
  while (!rest.empty()) {
    const WantedNode here = rest.back();
    rest.pop_back();
    if (here.level == kPageLevel) ++pages;
    for_each_child(now.node(here.ref), [&](WantedNode child) { rest.push_back(child); });
  }
  const std::uint64_t in_a_page = kPageBytes<2> / (kBytes + sizeof(RecordSlot));
  EXPECT_EQ(pages, (kCount + in_a_page - 1) / in_a_page);
}

TEST(RecordedTree, LacksMemoryForALongRecordAndChangesNothing) {
  Recorded<2> recorded(
      {.grace = kGraceOfRecords, .memory_budget_bytes = Tree<2>::kMinimumBudgetBytes * 8});
  const std::vector<std::byte> record(kMostRecordBytes, std::byte{1});
  Status full;
  std::uint64_t id = 0;
  for (; id < 100; ++id) {
    full = recorded.tree->insert({id, {{0, 0}, {1, 1}}}, Tree<2>::Room::kBudget, record);
    if (!full) break;
    recorded.tree->publish();
  }
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kOutOfMemory);
  EXPECT_FALSE(recorded.tree->find_id(id));
  ASSERT_TRUE(recorded.tree->insert({id, {{0, 0}, {1, 1}}}));
  recorded.tree->publish();
  const Status valid = recorded.tree->snapshot().validate();
  EXPECT_TRUE(valid.has_value()) << valid.error().message;
  EXPECT_EQ(recorded.tree->snapshot().size(), id + 1);
}

// --- pages

/// A node of a given level, as a peer might send it.
Node<2> empty_node(std::uint32_t level) {
  Node<2> node{};
  node.reset(5, level);
  return node;
}

bool is_sound(const Node<2>& node, std::uint64_t chunks = 100) {
  const std::span bytes(reinterpret_cast<const std::byte*>(&node), node_bytes<2>(node.level()));
  return check_node<2>(bytes, {NodeRef(50, 5), node.level()}, chunks, false) != nullptr;
}

PageItem item_of(std::uint64_t id, const std::vector<std::byte>& record) {
  return {id, static_cast<std::uint32_t>(record.size()), record};
}

TEST(RecordPage, HoldsTwoOfTheLongestItemsAndNoThird) {
  const std::vector<std::byte> record(kMostInPage<2>, std::byte{3});
  const std::vector<std::byte> shortest(1);
  const std::vector<PageItem> items{item_of(1, record), item_of(2, record), item_of(9, shortest)};
  Node<2> page = empty_node(kPageLevel);
  ASSERT_TRUE(pack_page<2>(page, std::span(items).first(2)));
  const Node<2> before = page;
  EXPECT_FALSE(pack_page<2>(page, items));
  EXPECT_EQ(std::memcmp(&page, &before, node_bytes<2>(kPageLevel)), 0);
  EXPECT_TRUE(is_sound(page));
  const RecordPage<2> view(page);
  EXPECT_EQ(view.bytes(), kPageBytes<2>);
  EXPECT_EQ(view.lower_bound(2), 1u);
  EXPECT_EQ(view.lower_bound(3), 2u);
  EXPECT_FALSE(view.pieces(1).has_value());
}

TEST(RecordPage, IsSplitIntoTwoThatFit) {
  const std::uint64_t seed = testing_support::fresh_seed();
  Random random(seed);
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::vector<std::byte>> records;
    std::vector<PageItem> items;
    const std::size_t most = random.below(3) == 0 ? kMostInPage<2> : 1 + random.below(200);
    Node<2> page = empty_node(kPageLevel);
    records.reserve(200);
    do {
      records.emplace_back(1 + random.below(most));
      const std::size_t at = random.below(items.size() + 1);
      items.insert(items.begin() + static_cast<std::ptrdiff_t>(at), item_of(0, records.back()));
    } while (pack_page<2>(page, items));
    const std::size_t kept = split_place<2>(items);
    ASSERT_GT(kept, 0u);
    ASSERT_LT(kept, items.size());
    ASSERT_TRUE(pack_page<2>(page, std::span(items).first(kept))) << i;
    ASSERT_TRUE(pack_page<2>(page, std::span(items).subspan(kept))) << i;
  }
}

TEST(RecordPage, IsNotBelievedIfItIsNotSound) {
  const std::vector<std::byte> record(10, std::byte{3});
  const std::uint64_t word = NodeRef(60, 4).word();
  const std::vector<PageItem> items{
      item_of(1, record), {2, 5000, std::as_bytes(std::span(&word, 1))}, item_of(7, record)};
  Node<2> page = empty_node(kPageLevel);
  ASSERT_TRUE(pack_page<2>(page, items));
  ASSERT_TRUE(is_sound(page));
  EXPECT_FALSE(is_sound(page, 60));  // the pieces lie beyond the chunks that there are
  EXPECT_EQ(RecordPage<2>(page).pieces(1)->level, kPieceLevel + 1);
  const auto with = [&](std::uint32_t index, RecordSlot slot) {
    Node<2> other = page;
    std::memcpy(other.room.bytes + index * sizeof slot, &slot, sizeof slot);
    return is_sound(other);
  };
  const RecordSlot last = RecordPage<2>(page).slot(2);
  EXPECT_TRUE(with(2, last));
  EXPECT_FALSE(with(2, {2, last.bytes, last.begin}));      // the id of another one
  EXPECT_FALSE(with(2, {7, last.bytes, last.begin + 1}));  // not behind the one before it
  EXPECT_FALSE(with(2, {7, 0, last.begin}));
  EXPECT_FALSE(with(2, {7, kMostRecordBytes + 1, last.begin}));
  EXPECT_FALSE(with(0, {1, kMostInPage<2>, 48}));  // reaches into the next one
  Node<2> fuller = page;
  fuller.header.count = fuller.header.entries = 4;
  EXPECT_FALSE(is_sound(fuller));
  Node<2> counts = page;
  counts.header.entries = 2;
  EXPECT_FALSE(is_sound(counts));
}

TEST(RecordPieces, AreNotBelievedIfTheyAreNotSound) {
  Node<2> piece = empty_node(kPieceLevel);
  EXPECT_FALSE(is_sound(piece));
  piece.header.count = piece.header.entries = kPieceBytes<2>;
  EXPECT_TRUE(is_sound(piece));
  piece.header.count = piece.header.entries = kPieceBytes<2> + 1;
  EXPECT_FALSE(is_sound(piece));
  Node<2> inner = empty_node(kPieceLevel + 1);
  add_index_child(inner, {0, NodeRef(60, 4).word()}, kPieceBytes<2>);
  add_index_child(inner, {kPieceBytes<2>, NodeRef(61, 4).word()}, 1);
  EXPECT_TRUE(is_sound(inner));
  inner.header.entries = kPieceBytes<2>;  // would be one piece
  EXPECT_FALSE(is_sound(inner));
  inner.header.entries = 2 * kPieceBytes<2> + 1;  // would be three
  EXPECT_FALSE(is_sound(inner));
  inner.header.entries = 2 * kPieceBytes<2>;
  EXPECT_TRUE(is_sound(inner));
  inner.inner.least[1] = kPieceBytes<2> - 1;
  EXPECT_FALSE(is_sound(inner));
}

TEST(RecordPair, IsNotBelievedIfItIsNotSound) {
  Node<2> pair = empty_node(kPairLevel);
  EXPECT_FALSE(is_sound(pair));
  add_index_child(pair, {kIndexLevel + 1, NodeRef(60, 4).word()}, 10);
  EXPECT_FALSE(is_sound(pair));
  add_index_child(pair, {kPageLevel, NodeRef(61, 4).word()}, 0);
  EXPECT_TRUE(is_sound(pair));
  EXPECT_FALSE(is_sound(pair, 61));
  pair.inner.least[0] = kPageLevel;
  EXPECT_FALSE(is_sound(pair));
  pair.inner.least[0] = kIndexLevel;
  pair.inner.least[1] = kIndexLevel;
  EXPECT_FALSE(is_sound(pair));
  pair.inner.least[1] = kMaxPageLevel + 1;
  EXPECT_FALSE(is_sound(pair));
}

TEST(RecordPieces, OfALengthAreThatManyNodes) {
  EXPECT_EQ(nodes_of_pieces<2>(kMostInPage<2>), 0u);
  EXPECT_EQ(nodes_of_pieces<2>(kMostInPage<2> + 1), 1u);
  EXPECT_EQ(nodes_of_pieces<2>(kPieceBytes<2>), 1u);
  EXPECT_EQ(nodes_of_pieces<2>(kPieceBytes<2> + 1), 3u);
  EXPECT_EQ(nodes_of_pieces<2>(65 * kPieceBytes<2>), 65u + 2 + 1);
  EXPECT_EQ(level_of_pieces<2>(64 * kPieceBytes<2>), kPieceLevel + 1);
  EXPECT_EQ(level_of_pieces<2>(64 * kPieceBytes<2> + 1), kPieceLevel + 2);
}

}  // namespace
}  // namespace silurus::rtree
