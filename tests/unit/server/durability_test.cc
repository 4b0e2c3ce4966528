#include "server/durability.h"

#include <gtest/gtest.h>

#include "common/clock.h"
#include "rtree/arena.h"
#include "rtree/tree.h"
#include "server/tasks.h"
#include "tests/support/server_process.h"

namespace silurus::server {
namespace {

TEST(Durability, AFullLogIsCountedAndACheckpointMakesRoom) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto opened = Durability<2>::open({.path = folder / "data", .log_bytes = 1 << 20},
                                    {rtree::TreeOptions{}, slabs, clock});
  ASSERT_TRUE(opened) << opened.error().message;
  Durability<2>& durability = *opened->durability;
  rtree::Tree<2>& tree = *opened->tree;
  // No checkpoints are taken yet, so that nothing but the log's size ends this.
  constexpr std::size_t kBatch = 500;
  std::uint64_t id = 0;
  while (durability.has_room(kBatch)) {
    ASSERT_LT(id, 100'000u) << "a log without end";
    for (std::size_t i = 0; i < kBatch; ++i) {
      const rtree::Box<2> box{{0.5, 0.5}, {0.5, 0.5}};
      ASSERT_TRUE(tree.insert({++id, box}));
      durability.record({id, protocol::OperationKind::kInsert, 0, box, {}});
    }
    ASSERT_TRUE(durability.publish(tree));
  }
  EXPECT_EQ(durability.stats().log_full_waits, 1u);
  EXPECT_LE(durability.stats().log_used_bytes, durability.stats().log_capacity_bytes);
  durability.start(tree);
  durability.stop();  // with a last checkpoint
  EXPECT_TRUE(durability.has_room(kBatch));
  EXPECT_EQ(durability.stats().log_full_waits, 1u);
}

TEST(Durability, ACompactionIsDoneAgainAtTheNextStart) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  const DurabilityOptions options{.path = folder / "data", .log_bytes = 4 << 20};
  rtree::Version version = 0;
  std::uint64_t nodes = 0;
  {
    auto opened = Durability<2>::open(options, {rtree::TreeOptions{}, slabs, clock});
    ASSERT_TRUE(opened) << opened.error().message;
    Durability<2>& durability = *opened->durability;
    rtree::Tree<2>& tree = *opened->tree;
    const auto entry = [](std::uint64_t id) -> rtree::Entry<2> {
      const double x = static_cast<double>(id * 7919 % 10007);
      return {id, {{x, x}, {x + 1, x + 1}}};
    };
    for (std::uint64_t id = 0; id < 10'000; ++id) {
      ASSERT_TRUE(tree.insert(entry(id)));
      durability.record({id, protocol::OperationKind::kInsert, 0, entry(id).box, {}});
      if (id % 1000 == 0) {
        ASSERT_TRUE(durability.publish(tree));
      }
    }
    for (std::uint64_t id = 0; id < 10'000; id += 2) {
      ASSERT_TRUE(tree.erase(entry(id)));
      durability.record({id, protocol::OperationKind::kErase, 0, entry(id).box, {}});
    }
    ASSERT_TRUE(durability.publish(tree));
    for (std::uint64_t cursor = 0; cursor != rtree::kCompacted;) {
      const replication::CompactPayload payload{cursor, 9500};
      const auto step = tree.compact(cursor, 0.95);
      ASSERT_TRUE(step);
      durability.record(payload);
      ASSERT_TRUE(durability.publish(tree));
      cursor = step->next;
    }
    version = tree.snapshot().version();
    nodes = tree.stats().nodes;
  }  // without a checkpoint
  rtree::AnonymousSlabs more;
  auto again = Durability<2>::open(options, {rtree::TreeOptions{}, more, clock});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->tree->snapshot().version(), version);
  EXPECT_EQ(again->tree->snapshot().size(), 5000u);
  EXPECT_EQ(again->tree->stats().nodes, nodes);
}

TEST(Backup, MayGoWhereverAClientWantsEvenIfTheNameIsNoUtf8) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto tree = std::move(*rtree::Tree<2>::create({}, slabs, clock));
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  tree->publish();
  const std::atomic<bool> cancel{false};
  const auto said = backup_json<2>(
      *tree, [] { return replication::Stamp{1}; }, replication::kMinLogBytes, folder / "\xff",
      cancel);
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_NE(said->find("/\xef\xbf\xbd\",\"version\":"), std::string::npos) << *said;
}

}  // namespace
}  // namespace silurus::server
