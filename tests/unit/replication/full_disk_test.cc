#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "replication/store.h"
#include "tests/support/full_memory.h"

// What lies on a disk that is full, and has room again.

namespace silurus::replication {
namespace {

using testing_support::FullDisk;
using testing_support::FullMemory;

constexpr LogPosition kBegin{.lsn = 0, .chain = 0x51};

class FullLogTest : public testing::Test {
 protected:
  std::unique_ptr<Log> open() {
    auto log = Log::open(std::make_unique<FullMemory>(disk_, content_), kBegin);
    EXPECT_TRUE(log) << log.error().message;
    return std::move(*log);
  }
  static void put(Log& log, std::uint64_t id) {
    const EntryPayload<2> payload{.id = id, .box = {}};
    ASSERT_TRUE(log.append({.checksum = 0,
                            .lsn = 0,
                            .stamp = 1,
                            .epoch = 1,
                            .length = 0,
                            .type = RecordType::kInsert,
                            .flags = 0},
                           std::as_bytes(std::span(&payload, 1))));
  }
  static Status write(Log& log, std::uint64_t id) {
    put(log, id);
    put(log, id + 100);
    log.end_batch();
    if (Status settled = log.settle_batch(); !settled) return settled;
    return log.commit();
  }
  static std::vector<std::uint64_t> ids(const Log& log) {
    std::vector<std::uint64_t> found;
    LogReader reader(log.bytes(), kBegin);
    while (reader.position().lsn < log.end().lsn) {
      const auto record = reader.next();
      if (!record) break;
      if (const auto payload = payload_as<EntryPayload<2>>(*record)) found.push_back(payload->id);
    }
    return found;
  }

  FullDisk disk_;
  std::vector<std::byte> content_ = std::vector<std::byte>(Log::kMinBytes);
};

TEST_F(FullLogTest, TakesBackABatchThatFoundNoRoomAndGoesOn) {
  const auto log = open();
  ASSERT_TRUE(write(*log, 1));
  const LogPosition before = log->end();
  disk_.takes_stores = false;
  for (int again = 0; again < 3; ++again) {
    const Status refused = write(*log, 2);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
    EXPECT_EQ(log->end(), before);
  }
  disk_.takes_stores = true;
  ASSERT_TRUE(write(*log, 3));
  EXPECT_EQ(ids(*log), (std::vector<std::uint64_t>{1, 101, 3, 103}));
  EXPECT_EQ(ids(*open()), (std::vector<std::uint64_t>{1, 101, 3, 103}));
}

TEST_F(FullLogTest, ARestartDoesNotFindABatchThatWasTakenBack) {
  {
    const auto log = open();
    ASSERT_TRUE(write(*log, 1));
    put(*log, 2);
    log->end_batch();
    // The medium has it all, and says that it has not; zeros in its place are taken.
    disk_ = {.takes_stores = false, .stores_nevertheless = true};
    put(*log, 3);
    log->end_batch();
    disk_ = {};
    ASSERT_FALSE(log->settle_batch());
  }
  EXPECT_EQ(ids(*open()), (std::vector<std::uint64_t>{1, 101, 2})) << "2 had been ended before";
}

TEST_F(FullLogTest, IsDeadIfABatchCanNeitherBeKeptNorTakenBack) {
  const auto log = open();
  disk_ = {.takes_stores = false, .stores_nevertheless = true};
  const Status refused = write(*log, 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kIo) << "nothing may be said to have not happened";
  disk_ = {};
  EXPECT_FALSE(log->commit());
}

TEST_F(FullLogTest, IsDeadAfterAFlushThatFoundNoRoom) {
  const auto log = open();
  disk_.drains = false;
  const Status failed = write(*log, 1);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kIo);
  disk_ = {};
  EXPECT_FALSE(log->commit());
}

TEST_F(FullLogTest, CopiesTheRestOfAnotherLogWhenThereIsRoom) {
  FullDisk other_disk;
  std::vector<std::byte> other_content(Log::kMinBytes);
  auto other =
      std::move(*Log::open(std::make_unique<FullMemory>(other_disk, other_content), kBegin));
  ASSERT_TRUE(write(*other, 1));
  ASSERT_TRUE(write(*other, 2));
  const auto from = [&](Lsn lsn) { return other->bytes().subspan(lsn, other->end().lsn - lsn); };
  const auto log = open();
  disk_.takes_stores = false;
  const Status refused = log->append_copied(from(0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(log->end(), kBegin);
  disk_.takes_stores = true;
  ASSERT_TRUE(log->append_copied(from(log->end().lsn)));
  ASSERT_TRUE(log->commit());
  EXPECT_EQ(ids(*log), ids(*other));
}

class FullStoreTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kTreeBytes = std::uint64_t{16} << 20;

  FullStoreTest() {
    for (auto& area : areas_) area.resize(kTreeBytes);
    Volume fresh = volume();
    EXPECT_TRUE(format_store<2>(fresh, 5, 0, 5));
    open();
  }
  Volume volume() {
    Volume volume;
    volume.name = "the test's disk";
    volume.super = std::make_unique<FullMemory>(disk_, super_);
    volume.log = std::make_unique<FullMemory>(disk_, log_);
    for (int i = 0; i < 2; ++i) volume.nodes[i] = std::make_unique<FullMemory>(disk_, areas_[i]);
    return volume;
  }
  void open() {
    opened_ = {};
    auto opened = Store<2>::open(volume(), {{.memory_budget_bytes = kTreeBytes}, slabs_, clock_},
                                 {.threads = 1}, 1, 2);
    ASSERT_TRUE(opened) << opened.error().message;
    opened_ = std::move(*opened);
  }
  /// A batch that is not logged: a checkpoint keeps it.
  void insert(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const double x = static_cast<double>(next_id_) / 1000;
      ASSERT_TRUE(opened_.tree->insert({next_id_++, {{x, 0}, {x, 1}}}));
    }
    opened_.tree->publish();
  }
  Status checkpoint() {
    const auto snapshot = opened_.tree->snapshot();
    return opened_.store->checkpoint(*opened_.tree, snapshot.root().ref, opened_.store->log().end(),
                                     1);
  }
  Status make_room() {
    return opened_.store->make_room(*opened_.tree, opened_.tree->snapshot().root().ref);
  }

  FullDisk disk_;
  std::vector<std::byte> super_ = std::vector<std::byte>(super_bytes(1 << 20));
  std::vector<std::byte> log_ = std::vector<std::byte>(Log::kMinBytes);
  std::vector<std::byte> areas_[2];
  rtree::AnonymousSlabs slabs_;
  SystemClock clock_;
  std::uint64_t next_id_ = 1;
  Store<2>::Opened opened_;
};

TEST_F(FullStoreTest, ACheckpointThatFoundNoRoomIsTakenOnceThereIsSome) {
  insert(100);
  ASSERT_TRUE(checkpoint());
  insert(20'000);
  disk_.free_bytes = 0;
  const Status refused = checkpoint();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
  disk_ = {.drains = false};
  EXPECT_EQ(checkpoint().error().code, ErrorCode::kNoSpace) << "told by the flush";
  disk_ = {.takes_stores = false};
  EXPECT_EQ(checkpoint().error().code, ErrorCode::kNoSpace) << "told by the stores";
  disk_ = {};
  open();
  EXPECT_EQ(opened_.tree->snapshot().size(), 100u) << "the last checkpoint is whole";
  insert(200);
  ASSERT_TRUE(checkpoint());
  open();
  EXPECT_EQ(opened_.tree->snapshot().size(), 300u);
  EXPECT_TRUE(opened_.tree->snapshot().validate());
}

TEST_F(FullStoreTest, ACheckpointIsTakenByTheStoreThatFoundNoRoom) {
  insert(10'000);
  disk_ = {.drains = false};
  ASSERT_FALSE(checkpoint());
  disk_ = {.takes_stores = false};
  ASSERT_FALSE(checkpoint());
  disk_ = {};
  insert(10'000);
  ASSERT_TRUE(checkpoint());
  open();
  EXPECT_EQ(opened_.tree->snapshot().size(), 20'000u);
  EXPECT_TRUE(opened_.tree->snapshot().validate());
}

TEST_F(FullStoreTest, RoomForACheckpointIsTakenWholeOrNotAtAll) {
  insert(100'000);  // more than an extent of 4 MiB
  disk_.free_bytes = 5 << 20;
  const Status refused = make_room();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
  EXPECT_GE(disk_.free_bytes, (std::uint64_t{5} << 20) - 64 * 1024) << "all but the map's";
  disk_.free_bytes = 16 << 20;
  ASSERT_TRUE(make_room());
  disk_.free_bytes = 0;
  ASSERT_TRUE(checkpoint()) << "there is room for all of it";
  open();
  EXPECT_EQ(opened_.tree->snapshot().size(), 100'000u);
}

}  // namespace
}  // namespace silurus::replication
