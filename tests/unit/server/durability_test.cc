// SPDX-License-Identifier: Apache-2.0

#include "server/durability.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <utility>

#include "common/clock.h"
#include "common/log.h"
#include "rtree/arena.h"
#include "rtree/tree.h"
#include "server/tasks.h"
#include "tests/support/in_child.h"
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
  ServedCollections<2> collections(std::move(opened->collections), {});
  rtree::Tree<2>& tree = collections.first();
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
    ASSERT_TRUE(durability.publish(collections));
  }
  EXPECT_EQ(durability.stats().log_full_waits, 1u);
  EXPECT_LE(durability.stats().log_used_bytes, durability.stats().log_capacity_bytes);
  durability.start(collections);
  durability.stop();  // with a last checkpoint
  EXPECT_TRUE(durability.find_room(kBatch));
  EXPECT_EQ(durability.stats().log_full_waits, 1u);
}

TEST(Durability, RoomForOperationsIsRoomForTheLongestOnes) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto opened = Durability<3>::open({.path = folder / "data", .log_bytes = 1 << 20},
                                    {rtree::TreeOptions{}, slabs, clock});
  ASSERT_TRUE(opened) << opened.error().message;
  Durability<3>& durability = *opened->durability;
  ServedCollections<3> collections(std::move(opened->collections), {});
  rtree::Tree<3>& tree = collections.first();
  const rtree::Box<3> here{{0, 0, 0}, {1, 1, 1}};
  const rtree::Box<3> there{{2, 2, 2}, {3, 3, 3}};
  ASSERT_TRUE(tree.insert({1, here}));
  durability.record({1, protocol::OperationKind::kInsert, 0, here, {}});
  ASSERT_TRUE(durability.publish(collections));
  std::size_t most = 1;
  while (durability.find_room(most + 1)) ++most;
  ASSERT_GT(most, 1'000u);
  for (std::size_t i = 0; i < most; ++i) {
    const auto& [from, to] = i % 2 == 0 ? std::pair(here, there) : std::pair(there, here);
    ASSERT_TRUE(tree.update(1, from, to));
    durability.record({1, protocol::OperationKind::kUpdate, 0, from, {to}});
  }
  ASSERT_TRUE(durability.publish(collections));
  const DurabilityStats stats = durability.stats();
  EXPECT_LE(stats.log_used_bytes, stats.log_capacity_bytes);
}

/// A log on a disk: the batch finds no room in the middle of it.
TEST(Durability, WhatFoundNoRoomInTheLogIsNotShownByALaterWrite) {
  const testing_support::TemporaryFolder folder;
  enum { kRight, kNotOpened, kNotOnDisk, kNotRefused, kShown, kNotTaken, kShownLater };
  const int outcome = testing_support::in_child([&]() -> int {
    log::set_level(log::Level::kOff);
    std::signal(SIGXFSZ, SIG_IGN);
    rtree::AnonymousSlabs slabs;
    const SystemClock clock;
    auto opened =
        Durability<2>::open({.path = folder / "data", .sync = false, .log_bytes = 1 << 20},
                            {rtree::TreeOptions{}, slabs, clock});
    if (!opened) return kNotOpened;
    Durability<2>& durability = *opened->durability;
    ServedCollections<2> collections(std::move(opened->collections), {});
    rtree::Tree<2>& tree = collections.first();
    if (!durability.waits_for_device()) return kNotOnDisk;
    const auto write = [&](std::uint64_t id) -> Result<rtree::Version> {
      const rtree::Box<2> box{{0.5, 0.5}, {0.5, 0.5}};
      if (!tree.insert({id, box})) return fail(ErrorCode::kOutOfMemory, "");
      durability.record({id, protocol::OperationKind::kInsert, 0, box, {}});
      return durability.publish(collections);
    };
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit limit{32 << 10, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    std::uint64_t id = 1;
    Result<rtree::Version> written = write(id);
    while (written && id < 10'000) written = write(++id);
    if (written || written.error().code != ErrorCode::kNoSpace) return kNotRefused;
    if (tree.snapshot().size() != id - 1) return kShown;
    setrlimit(RLIMIT_FSIZE, &before);
    if (!write(id + 1)) return kNotTaken;
    return tree.snapshot().size() == id ? kRight : kShownLater;
  });
  if (outcome == kNotOnDisk) GTEST_SKIP() << "/tmp is not on a disk here";
  EXPECT_EQ(outcome, kRight);
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
  ServedCollections<2> collections(std::move(opened->collections), {});
  rtree::Tree<2>& tree = collections.first();
  const rtree::Box<2> box{{0.5, 0.5}, {0.5, 0.5}};
  while (durability.stats().log_used_bytes < (6u << 20) / 10) {
    for (const auto kind : {protocol::OperationKind::kInsert, protocol::OperationKind::kErase}) {
      ASSERT_TRUE(kind == protocol::OperationKind::kInsert ? tree.insert({1, box})
                                                           : tree.erase({1, box}));
      durability.record({1, kind, 0, box, {}});
    }
    ASSERT_TRUE(durability.publish(collections));
  }
  durability.start(collections);
  ASSERT_TRUE(durability.find_room(1));      // has a checkpoint taken at once
  testing_support::pace(50 * kMillisecond);  // pacing: in time for the checkpoint to wait
  auto loaded = std::async(std::launch::async, [&] {
    return durability.load(collections, tree, {{1, box}, {2, box}}, {}).has_value();
  });
  const bool is_over =
      loaded.wait_for(std::chrono::nanoseconds(testing_support::patient(20 * kSecond))) ==
      std::future_status::ready;
  EXPECT_TRUE(is_over) << "a load and a checkpoint wait for each other";
  if (!is_over) durability.stop();
  EXPECT_TRUE(loaded.get());
  durability.stop();
}

/// There is no version for a checkpoint of it: that of the next load is of another batch.
TEST(Durability, ALoadOfNothingLeavesNoCheckpoint) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  const DurabilityOptions options{.path = folder / "data", .log_bytes = 1 << 20};
  constexpr std::uint64_t kEntries = 1000;
  {
    auto opened = Durability<2>::open(options, {rtree::TreeOptions{}, slabs, clock});
    ASSERT_TRUE(opened) << opened.error().message;
    ServedCollections<2> collections(std::move(opened->collections), {});
    rtree::Tree<2>& tree = collections.first();
    const rtree::Version before = tree.snapshot().version();
    const auto version = opened->durability->load(collections, tree, {}, {});
    ASSERT_TRUE(version) << version.error().message;
    EXPECT_EQ(*version, before);
    EXPECT_EQ(opened->durability->stats().checkpoints.checkpoints, 0u);
    std::vector<rtree::Entry<2>> entries;
    for (std::uint64_t id = 0; id < kEntries; ++id) {
      const auto x = static_cast<double>(id);
      entries.push_back({id, {{x, 0}, {x, 1}}});
    }
    ASSERT_TRUE(opened->durability->load(collections, tree, std::move(entries), {}));
  }
  auto again = Durability<2>::open(options, {rtree::TreeOptions{}, slabs, clock});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->collections.first().snapshot().size(), kEntries);
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
    ServedCollections<2> collections(std::move(opened->collections), {});
    rtree::Tree<2>& tree = collections.first();
    const auto entry = [](std::uint64_t id) -> rtree::Entry<2> {
      const double x = static_cast<double>(id * 7919 % 10007);
      return {id, {{x, x}, {x + 1, x + 1}}};
    };
    for (std::uint64_t id = 0; id < 10'000; ++id) {
      ASSERT_TRUE(tree.insert(entry(id)));
      durability.record({id, protocol::OperationKind::kInsert, 0, entry(id).box, {}});
      if (id % 1000 == 0) {
        ASSERT_TRUE(durability.publish(collections));
      }
    }
    for (std::uint64_t id = 0; id < 10'000; id += 2) {
      ASSERT_TRUE(tree.erase(entry(id)));
      durability.record({id, protocol::OperationKind::kErase, 0, entry(id).box, {}});
    }
    ASSERT_TRUE(durability.publish(collections));
    for (std::uint64_t cursor = 0; cursor != rtree::kCompacted;) {
      const replication::CompactPayload payload{cursor, 9500};
      const auto step = tree.compact(cursor, 0.95);
      ASSERT_TRUE(step);
      durability.record(payload);
      ASSERT_TRUE(durability.publish(collections));
      cursor = step->next;
    }
    version = tree.snapshot().version();
    nodes = tree.stats().nodes;
  }  // without a checkpoint
  rtree::AnonymousSlabs more;
  auto again = Durability<2>::open(options, {rtree::TreeOptions{}, more, clock});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->collections.first().snapshot().version(), version);
  EXPECT_EQ(again->collections.first().snapshot().size(), 5000u);
  EXPECT_EQ(again->collections.first().stats().nodes, nodes);
}

/// A batch of one entry.
void publish_one(Durability<2>& durability, ServedCollections<2>& collections, std::uint64_t id) {
  rtree::Tree<2>& tree = collections.first();
  const rtree::Box<2> box{{0.5, 0.5}, {0.5, 0.5}};
  ASSERT_TRUE(tree.insert({id, box}));
  durability.record({id, protocol::OperationKind::kInsert, 0, box, {}});
  ASSERT_TRUE(durability.publish(collections));
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
    ServedCollections<2> collections(std::move(opened->collections), {});
    EXPECT_GT(durability.stamp(), last) << "at the start of life " << life;
    for (int batch = 0; batch < 3; ++batch) {
      last = std::max(last, durability.stamp());
      publish_one(durability, collections, ++id);
      EXPECT_GT(durability.stamp(), last) << "life " << life << " batch " << batch;
    }
    last = std::max(last, durability.stamp());
    if (!with_last_checkpoint) continue;
    durability.start(collections);
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
    ServedCollections<2> collections(std::move(opened->collections), {});
    for (std::uint64_t id = 1; id <= 3; ++id) {
      publish_one(durability, collections, id);
      const DurabilityStats stats = durability.stats();
      EXPECT_EQ(stats.log_durable == stats.log_end, sync) << id;
    }
    durability.flush_if_due(clock.now());
    EXPECT_EQ(durability.stats().log_durable, durability.stats().log_end);
  }
}

/// Publishes without a flush; nothing: flushes are not put off here.
struct AsyncWorld {
  explicit AsyncWorld(Nanoseconds flush_interval) {
    auto opened = Durability<2>::open({.path = folder / "data",
                                       .sync = false,
                                       .flush_interval = flush_interval,
                                       .log_bytes = 1 << 20},
                                      {rtree::TreeOptions{}, slabs, clock});
    EXPECT_TRUE(opened) << opened.error().message;
    collections.emplace(std::move(opened->collections), HistoryOptions{});
    tree = &collections->first();
    durability = std::move(opened->durability);
  }
  bool is_flushed() const {
    const DurabilityStats stats = durability->stats();
    return stats.log_durable == stats.log_end;
  }
  void publish() { publish_one(*durability, *collections, next_id++); }
  /// Two batches that leave the tree as it was.
  void publish_and_erase() {
    publish();
    const rtree::Box<2> box{{0.5, 0.5}, {0.5, 0.5}};
    ASSERT_TRUE(tree->erase({next_id - 1, box}));
    durability->record({next_id - 1, protocol::OperationKind::kErase, 0, box, {}});
    ASSERT_TRUE(durability->publish(*collections));
  }

  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  std::optional<ServedCollections<2>> collections;
  rtree::Tree<2>* tree = nullptr;
  std::unique_ptr<Durability<2>> durability;
  std::uint64_t next_id = 1;
};

TEST(Durability, AFlushThatIsAskedForTooEarlyIsStillDue) {
  AsyncWorld world(kSecond);
  Durability<2>& durability = *world.durability;
  if (!durability.waits_for_device()) GTEST_SKIP() << "flushes are not put off here";
  const Nanoseconds start = 1000 * kSecond;
  world.publish();
  EXPECT_EQ(durability.flush_if_due(start), 0);
  ASSERT_TRUE(world.is_flushed());
  world.publish();
  for (const Nanoseconds early : {Nanoseconds{1}, kSecond / 2, kSecond - 1}) {
    EXPECT_EQ(durability.flush_if_due(start + early), start + kSecond);
    EXPECT_FALSE(world.is_flushed());
  }
  EXPECT_EQ(durability.flush_if_due(start + kSecond), 0);
  EXPECT_TRUE(world.is_flushed());
}

TEST(Durability, ACheckpointWaitsForTheFlushOfTheLogThatItReplaces) {
  AsyncWorld world(1000 * kSecond);
  Durability<2>& durability = *world.durability;
  if (!durability.waits_for_device()) GTEST_SKIP() << "flushes are not put off here";
  while (durability.stats().log_used_bytes < (6u << 20) / 10) world.publish_and_erase();
  ASSERT_FALSE(world.is_flushed());
  durability.start(*world.collections);
  ASSERT_TRUE(durability.find_room(1));  // has a checkpoint taken at once
  // It has a version, of which later ones leave the node behind.
  ASSERT_TRUE(testing_support::wait_until([&] {
    testing_support::pace(5 * kMillisecond);  // pacing: the log has room for thousands of writes
    world.publish_and_erase();
    return world.tree->stats().bytes_held > 0;
  }));
  // The thread ends before anything is flushed: it has not written that version meanwhile.
  durability.stop();
  EXPECT_EQ(durability.stats().checkpoints.checkpoints, 1u) << "the last one, behind the flush";
  EXPECT_EQ(durability.stats().log_used_bytes, 0u);
}

TEST(Backup, SaysWhenItsVersionWasMade) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto tree = std::move(*rtree::Tree<2>::create({}, slabs, clock));
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  tree->publish();
  constexpr replication::Stamp kStamp = 0x6553f100'0000'0007;
  const auto said = backup_json<2>(*tree, replication::Collections<2>::hold_only(*tree), kStamp,
                                   replication::kMinLogBytes, folder / "b", {});
  ASSERT_TRUE(said) << said.error().message;
  const auto directory = replication::open_directory<2>(folder / "b", {.read_only = true});
  ASSERT_TRUE(directory) << directory.error().message;
  rtree::AnonymousSlabs more;
  const auto recovered =
      replication::recover<2>(directory->volume, {{}, more, clock}, {.threads = 1});
  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->root.stamp, kStamp);
  EXPECT_EQ(recovered->stamp, kStamp);
  EXPECT_EQ(recovered->collections->first().snapshot().size(), 1u);
}

TEST(Backup, MayGoWhereverAClientWantsEvenIfTheNameIsNoUtf8) {
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto tree = std::move(*rtree::Tree<2>::create({}, slabs, clock));
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  tree->publish();
  const auto said =
      backup_json<2>(*tree, replication::Collections<2>::hold_only(*tree), replication::Stamp{1},
                     replication::kMinLogBytes, folder / "\xff", {});
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_NE(said->find("/\xef\xbf\xbd\",\"version\":"), std::string::npos) << *said;
}

}  // namespace
}  // namespace silurus::server
