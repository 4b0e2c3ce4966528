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
