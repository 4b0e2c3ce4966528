#include "server/durability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>

#include "common/clock.h"
#include "rtree/arena.h"
#include "rtree/tree.h"
#include "server/tasks.h"
#include "tests/support/patience.h"
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
  while (durability.find_room(kBatch)) {
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
  EXPECT_TRUE(durability.find_room(kBatch));
  EXPECT_EQ(durability.stats().log_full_waits, 1u);
}

/// The log is flushed by a load, for which the checkpoint waits that the load waits for.
TEST(Durability, ALoadDoesNotWaitForACheckpointThatWaitsForAFlush) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto opened = Durability<2>::open({.path = folder / "data",
                                     .sync = false,
                                     .flush_interval = 1000 * kSecond,
                                     .log_bytes = 1 << 20},
                                    {rtree::TreeOptions{}, slabs, clock});
  ASSERT_TRUE(opened) << opened.error().message;
  Durability<2>& durability = *opened->durability;
  if (!durability.waits_for_device()) GTEST_SKIP() << "flushes are not put off here";
  rtree::Tree<2>& tree = *opened->tree;
  const rtree::Box<2> box{{0.5, 0.5}, {0.5, 0.5}};
  while (durability.stats().log_used_bytes < (6u << 20) / 10) {
    for (const auto kind : {protocol::OperationKind::kInsert, protocol::OperationKind::kErase}) {
      ASSERT_TRUE(kind == protocol::OperationKind::kInsert ? tree.insert({1, box})
                                                           : tree.erase({1, box}));
      durability.record({1, kind, 0, box, {}});
    }
    ASSERT_TRUE(durability.publish(tree));
  }
  durability.start(tree);
  ASSERT_TRUE(durability.find_room(1));      // has a checkpoint taken at once
  testing_support::pace(50 * kMillisecond);  // pacing: in time for the checkpoint to wait
  auto loaded = std::async(std::launch::async, [&] {
    return durability.load(tree, {{1, box}, {2, box}}, {}).has_value();
  });
  const bool is_over =
      loaded.wait_for(std::chrono::nanoseconds(testing_support::patient(20 * kSecond))) ==
      std::future_status::ready;
  EXPECT_TRUE(is_over) << "a load and a checkpoint wait for each other";
  if (!is_over) durability.stop();
  EXPECT_TRUE(loaded.get());
  durability.stop();
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

/// A batch of one entry.
void publish_one(Durability<2>& durability, rtree::Tree<2>& tree, std::uint64_t id) {
  const rtree::Box<2> box{{0.5, 0.5}, {0.5, 0.5}};
  ASSERT_TRUE(tree.insert({id, box}));
  durability.record({id, protocol::OperationKind::kInsert, 0, box, {}});
  ASSERT_TRUE(durability.publish(tree));
}

/// Each life begins with a clock that is an hour behind that of the life before.
void expect_growing_stamps_over_restarts(bool with_last_checkpoint) {
  const testing_support::TemporaryFolder folder;
  const SystemClock clock;
  std::int64_t now = 1'700'000'000 * kSecond;
  const DurabilityOptions options{
      .path = folder / "data", .log_bytes = 1 << 20, .unix_ns = [&now] { return now; }};
  replication::Stamp last = 0;
  std::uint64_t id = 0;
  for (int life = 0; life < 3; ++life, now -= 3600 * kSecond) {
    rtree::AnonymousSlabs slabs;
    auto opened = Durability<2>::open(options, {rtree::TreeOptions{}, slabs, clock});
    ASSERT_TRUE(opened) << opened.error().message;
    Durability<2>& durability = *opened->durability;
    EXPECT_GT(durability.stamp(), last) << "at the start of life " << life;
    for (int batch = 0; batch < 3; ++batch) {
      last = std::max(last, durability.stamp());
      publish_one(durability, *opened->tree, ++id);
      EXPECT_GT(durability.stamp(), last) << "life " << life << " batch " << batch;
    }
    last = std::max(last, durability.stamp());
    if (!with_last_checkpoint) continue;
    durability.start(*opened->tree);
    durability.stop();
    EXPECT_EQ(durability.stats().log_used_bytes, 0u) << "only the checkpoint knows the stamp";
  }
}

TEST(Durability, StampsAreAboveThoseInTheLogThoughTheClockWasSetBack) {
  expect_growing_stamps_over_restarts(false);
}

TEST(Durability, StampsAreAboveThatOfTheCheckpointThoughTheClockWasSetBack) {
  expect_growing_stamps_over_restarts(true);
}

TEST(Durability, OnADiskWhatIsPublishedIsDurableAtOnceOnlyIfSync) {
  const testing_support::TemporaryFolder folder;
  const SystemClock clock;
  for (const bool sync : {true, false}) {
    rtree::AnonymousSlabs slabs;
    auto opened = Durability<2>::open(
        {.path = folder / (sync ? "sync" : "async"), .sync = sync, .log_bytes = 1 << 20},
        {rtree::TreeOptions{}, slabs, clock});
    ASSERT_TRUE(opened) << opened.error().message;
    Durability<2>& durability = *opened->durability;
    if (!durability.waits_for_device()) GTEST_SKIP() << "/tmp is not on a disk here";
    for (std::uint64_t id = 1; id <= 3; ++id) {
      publish_one(durability, *opened->tree, id);
      const DurabilityStats stats = durability.stats();
      EXPECT_EQ(stats.log_durable == stats.log_end, sync) << id;
    }
    durability.flush_if_due(clock.now());
    EXPECT_EQ(durability.stats().log_durable, durability.stats().log_end);
  }
}

TEST(Backup, SaysWhenItsVersionWasMade) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto tree = std::move(*rtree::Tree<2>::create({}, slabs, clock));
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  tree->publish();
  constexpr replication::Stamp kStamp = 0x6553f100'0000'0007;
  const auto said =
      backup_json<2>(*tree, [] { return kStamp; }, replication::kMinLogBytes, folder / "b", {});
  ASSERT_TRUE(said) << said.error().message;
  const auto directory = replication::open_directory<2>(folder / "b", {.read_only = true});
  ASSERT_TRUE(directory) << directory.error().message;
  rtree::AnonymousSlabs more;
  const auto recovered =
      replication::recover<2>(directory->volume, {{}, more, clock}, {.threads = 1});
  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->root.stamp, kStamp);
  EXPECT_EQ(recovered->stamp, kStamp);
  EXPECT_EQ(recovered->tree->snapshot().size(), 1u);
}

TEST(Backup, MayGoWhereverAClientWantsEvenIfTheNameIsNoUtf8) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto tree = std::move(*rtree::Tree<2>::create({}, slabs, clock));
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  tree->publish();
  const auto said = backup_json<2>(*tree, [] { return replication::Stamp{1}; },
                                   replication::kMinLogBytes, folder / "\xff", {});
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_NE(said->find("/\xef\xbf\xbd\",\"version\":"), std::string::npos) << *said;
}

}  // namespace
}  // namespace silurus::server
