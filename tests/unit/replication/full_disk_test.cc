// SPDX-License-Identifier: Apache-2.0

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
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

TEST_F(FullLogTest, ProvesDamageBeforeABatchThatFollowsOneThatWasTakenBack) {
  {
    const auto log = open();
    ASSERT_TRUE(write(*log, 1));
    disk_.takes_stores = false;
    ASSERT_FALSE(write(*log, 2));
    disk_.takes_stores = true;
    ASSERT_TRUE(write(*log, 3));
  }
  content_[40] ^= std::byte{1};
  const Log::Tail tail = Log::find_tail(content_, kBegin);
  EXPECT_EQ(tail.records, 0u);
  EXPECT_EQ(tail.proof_of_damage, 2 * 72u) << "the last batch was written after a flush";
}

/// A file in memory, mapped as PersistentFile::map() does it, with what a test wants of it: that it
/// counts as one on a disk, and that nothing can be written by its descriptor.
class MappedPages {
 public:
  static constexpr std::uint64_t kPage = 4096;
  struct Kind {
    bool is_on_disk = false;
    bool is_read_only = false;
  };

  MappedPages(std::uint64_t pages, Kind kind) {
    int fd = ::memfd_create("silurus-test", MFD_CLOEXEC);
    SILURUS_CHECK(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(pages * kPage)) == 0);
    at_ = ::mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SILURUS_CHECK(at_ != MAP_FAILED);
    if (kind.is_read_only) {
      const std::string path = "/proc/self/fd/" + std::to_string(fd);
      const int other = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      SILURUS_CHECK(other >= 0);
      ::close(fd);
      fd = other;
    }
    file_ = std::make_shared<PersistentFile>("the test's file",
                                             std::span(static_cast<std::byte*>(at_), pages * kPage),
                                             fd, false, false, !kind.is_on_disk);
  }
  std::unique_ptr<PersistentMemory> view(std::uint64_t first_page, std::uint64_t pages) const {
    return PersistentFile::view(file_, first_page * kPage, pages * kPage);
  }
  /// The page is mapped no more: writing it to the disk fails.
  void lose(std::uint64_t page) {
    SILURUS_CHECK(::munmap(static_cast<std::byte*>(at_) + page * kPage, kPage) == 0);
  }

 private:
  void* at_;
  std::shared_ptr<PersistentFile> file_;
};

TEST_F(FullLogTest, AStoreToAFileThatFailsForAnotherReasonIsNeverForgotten) {
  const MappedPages pages(2, {.is_on_disk = true, .is_read_only = true});
  const auto memory = pages.view(0, 2);
  const std::vector<std::byte> data(100, std::byte{1});
  memory->store(0, data);
  memory->flush(0, data.size());
  for (int again = 0; again < 2; ++again) {
    const Status stored = memory->check_stores();
    ASSERT_FALSE(stored);
    EXPECT_EQ(stored.error().code, ErrorCode::kIo) << stored.error().message;
    const Status drained = memory->drain();
    ASSERT_FALSE(drained);
    EXPECT_EQ(drained.error().code, ErrorCode::kIo) << drained.error().message;
  }
}

TEST_F(FullLogTest, AFlushOfAFileThatFailsIsTold) {
  MappedPages pages(2, {});
  const auto memory = pages.view(0, 2);
  memory->flush(0, MappedPages::kPage);
  EXPECT_TRUE(memory->drain());
  memory->flush(0, MappedPages::kPage);
  pages.lose(0);
  const Status drained = memory->drain();
  ASSERT_FALSE(drained);
  EXPECT_EQ(drained.error().code, ErrorCode::kIo) << drained.error().message;
}

class FullStoreTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kTreeBytes = std::uint64_t{16} << 20;

  FullStoreTest() {
    for (auto& area : areas_) area.resize(kTreeBytes);
    format();
    open();
  }
  void format() {
    Volume fresh = volume();
    EXPECT_TRUE(format_store<2>(fresh, 5, 0, 5));
  }
  Volume volume() {
    Volume volume;
    volume.name = "the test's disk";
    volume.super = std::make_unique<FullMemory>(super_disk_, super_);
    volume.log = std::make_unique<FullMemory>(disk_, log_);
    for (int i = 0; i < 2; ++i) {
      volume.nodes[i] = std::make_unique<FullMemory>(disk_, areas_[i], true);
    }
    return volume;
  }
  void open() {
    opened_ = {};
    auto opened = Store<2>::open(volume(), {tree_options_, slabs_, clock_}, {.threads = 1}, 1, 2);
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
  /// A batch of one entry that is logged, durably; false, with nothing done, if the log is full.
  bool write() {
    Log& log = opened_.store->log();
    if (!log.has_room(kMaxRecordBytes)) return false;
    const double x = static_cast<double>(next_id_) / 1000;
    const EntryPayload<2> payload{.id = next_id_++, .box = {{x, 0}, {x, 1}}};
    const RecordHeader header{.checksum = 0,
                              .lsn = 0,
                              .stamp = 1,
                              .epoch = 1,
                              .length = 0,
                              .type = RecordType::kInsert,
                              .flags = 0};
    EXPECT_TRUE(log.append(header, std::as_bytes(std::span(&payload, 1))));
    log.end_batch();
    EXPECT_TRUE(log.commit());
    EXPECT_TRUE(opened_.tree->insert({payload.id, payload.box}));
    opened_.tree->publish();
    return true;
  }
  void expect_after_restart(std::uint64_t entries) {
    open();
    ASSERT_NE(opened_.tree, nullptr);
    EXPECT_EQ(opened_.tree->snapshot().size(), entries);
    EXPECT_TRUE(opened_.tree->snapshot().validate());
  }
  /// Chunks of the arena up to the last one that the tree uses.
  std::uint64_t chunks() const {
    const rtree::Snapshot<2> snapshot = opened_.tree->snapshot();
    std::uint64_t end = 0;
    std::vector<rtree::NodeRef> to_visit{snapshot.root().ref};
    while (!to_visit.empty()) {
      const rtree::NodeRef ref = to_visit.back();
      to_visit.pop_back();
      const rtree::Node<2>& node = snapshot.node(ref);
      end = std::max(end, std::uint64_t{ref.chunk()} + rtree::chunks_of<2>(node.level()));
      for (std::uint32_t i = 0; !node.is_leaf() && i < node.count(); ++i) {
        to_visit.push_back(node.child(i));
      }
    }
    return end;
  }
  Status checkpoint() {
    const auto snapshot = opened_.tree->snapshot();
    return opened_.store->checkpoint(*opened_.tree, only_tree(*opened_.tree, snapshot.root().ref),
                                     opened_.store->log().end(), 1);
  }
  Status make_room() {
    return opened_.store->make_room(*opened_.tree,
                                    only_tree(*opened_.tree, opened_.tree->snapshot().root().ref));
  }

  FullDisk disk_;
  FullDisk super_disk_;  ///< for the roots and maps alone
  rtree::TreeOptions tree_options_{.memory_budget_bytes = kTreeBytes};
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
  disk_.free_bytes = super_disk_.free_bytes = 0;
  const Status refused = checkpoint();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
  super_disk_ = {};
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
  EXPECT_EQ(disk_.free_bytes, std::uint64_t{5} << 20) << "all of it";
  disk_.free_bytes = 16 << 20;
  ASSERT_TRUE(make_room());
  EXPECT_LE(disk_.free_bytes, std::uint64_t{16 - 8} << 20) << "it was taken anew";
  disk_.free_bytes = 0;
  ASSERT_TRUE(checkpoint()) << "there is room for all of it";
  open();
  EXPECT_EQ(opened_.tree->snapshot().size(), 100'000u);
}

TEST_F(FullStoreTest, RoomForACheckpointIsRoomForItsMapToo) {
  for (const std::uint64_t entries : {100, 200}) {  // the maps of successive ones alternate
    insert(entries);
    super_disk_.free_bytes = UINT64_MAX;
    ASSERT_TRUE(make_room());
    super_disk_.free_bytes = 0;
    const Status made = checkpoint();
    EXPECT_TRUE(made) << made.error().message;
  }
}

TEST_F(FullStoreTest, RoomThatWasRefusedIsAskedForAgain) {
  insert(100'000);  // more than an extent of 4 MiB
  disk_.free_bytes = 0;
  ASSERT_FALSE(checkpoint());
  ASSERT_FALSE(checkpoint());
  disk_.free_bytes = 16 << 20;
  ASSERT_TRUE(checkpoint());
  EXPECT_LE(disk_.free_bytes, std::uint64_t{16 - 8} << 20);
  expect_after_restart(100'000);
}

/// What recovery finds is the last checkpoint, whatever part of the next one was refused, and
/// though the one after that is written to where chunks that are used again lay.
TEST_F(FullStoreTest, ACheckpointThatFailedAtItsMapOrRootSpoilsNothing) {
  const auto fail_at = [&](std::uint64_t stores, int batches) {
    for (int i = 0; i < batches; ++i) insert(1);
    super_disk_.stores_left = stores;
    const Status refused = checkpoint();
    super_disk_ = {};
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
  };
  for (const std::uint64_t stores : {std::uint64_t{0}, std::uint64_t{1}}) {  // the map, the root
    for (int batches = 50; batches < 54; ++batches) {
      insert(1'000);
      ASSERT_TRUE(checkpoint());
      const std::uint64_t whole = next_id_ - 1;
      fail_at(stores, batches);
      disk_.drains = false;
      ASSERT_FALSE(checkpoint()) << "half written";
      disk_ = {};
      ASSERT_NO_FATAL_FAILURE(expect_after_restart(whole));
      next_id_ = whole + 1;
      fail_at(stores, batches);
      insert(10);
      ASSERT_TRUE(checkpoint()) << "the store goes on";
      ASSERT_NO_FATAL_FAILURE(expect_after_restart(next_id_ - 1));
    }
  }
}

TEST_F(FullStoreTest, ARootThatMayNotBeDurableEndsAllCheckpoints) {
  insert(100);
  ASSERT_TRUE(checkpoint());
  insert(100);
  super_disk_.drains_left = 1;  // that of the map
  const Status failed = checkpoint();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kIo) << "it may have happened";
  super_disk_ = {};
  EXPECT_FALSE(checkpoint());
  EXPECT_FALSE(make_room());
}

TEST_F(FullStoreTest, NoCheckpointIsBelievedAfterAFlushThatFailedForAnotherReason) {
  insert(100);
  ASSERT_TRUE(checkpoint());
  insert(100);
  disk_ = {.drains = false, .drain_error = ErrorCode::kIo};
  EXPECT_EQ(checkpoint().error().code, ErrorCode::kIo);
  disk_ = {};
  EXPECT_EQ(checkpoint().error().code, ErrorCode::kIo);
  next_id_ = 101;
  expect_after_restart(100);
  insert(100);
  EXPECT_TRUE(checkpoint()) << "by another life";
}

TEST_F(FullStoreTest, EitherCopyOfTheNewestRootWillDo) {
  for (int round = 0; round < 3; ++round) {
    insert(100);
    ASSERT_TRUE(checkpoint());
    const std::uint64_t sequence = opened_.store->checkpointer().last().sequence;
    for (std::uint64_t copy = 0; copy < 2; ++copy) {
      std::byte& hit = super_[root_offset(sequence, copy) + offsetof(RootRecord, version)];
      hit ^= std::byte{1};
      ASSERT_NO_FATAL_FAILURE(expect_after_restart(next_id_ - 1));
      hit ^= std::byte{1};
    }
  }
}

TEST_F(FullStoreTest, CheckpointsGoOnWhereBirthsWrapAround) {
  insert(1'000);
  ASSERT_TRUE(checkpoint());
  constexpr rtree::Version kWrap = rtree::Version{1} << rtree::NodeRef::kBirthBits;
  opened_.tree->skip_to(kWrap - 3);
  for (int i = 0; i < 8; ++i) {  // version by version across it
    insert(10);
    if (i % 2 == 0) continue;
    ASSERT_TRUE(checkpoint());
    const rtree::Version version = kWrap - 3 + static_cast<rtree::Version>(i);
    EXPECT_EQ(opened_.store->checkpointer().last().version, version);
    ASSERT_NO_FATAL_FAILURE(expect_after_restart(next_id_ - 1));
    EXPECT_EQ(opened_.tree->snapshot().version(), version);
  }
  EXPECT_EQ(next_id_, 1'081u);
}

TEST_F(FullStoreTest, ATreeThatFillsItsAreasToTheLastNodeIsKept) {
  insert(10'000);
  const std::uint64_t needed = chunks();
  for (auto& area : areas_) area.resize(needed * rtree::kChunkBytes<2>);
  open();
  next_id_ = 1;
  insert(10'000);
  ASSERT_EQ(chunks(), needed);
  EXPECT_TRUE(make_room());
  const Status made = checkpoint();
  EXPECT_TRUE(made) << made.error().message;
  expect_after_restart(10'000);
}

TEST_F(FullStoreTest, TheMapHasABitForEachChunkOfTheTree) {
  insert(10'000);
  const std::uint64_t map_bytes = (chunks() + 63) / 64 * 8;
  super_.assign(super_bytes(map_bytes), std::byte{0});
  log_.assign(log_.size(), std::byte{0});
  format();
  open();
  next_id_ = 1;
  insert(10'000);
  ASSERT_LE(chunks(), 8 * map_bytes);
  const Status made = checkpoint();
  EXPECT_TRUE(made) << made.error().message;
  expect_after_restart(10'000);
  insert(10'000);
  ASSERT_GT(chunks(), 8 * map_bytes);
  EXPECT_EQ(checkpoint().error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(make_room().error().code, ErrorCode::kTooLarge);
}

TEST_F(FullStoreTest, ATreeWithoutChecksumsIsKeptWithThem) {
  tree_options_.checksums = false;
  open();
  insert(1'000);
  ASSERT_GT(opened_.tree->stats().height, 1u);
  ASSERT_TRUE(checkpoint());
  expect_after_restart(1'000);
}

TEST_F(FullStoreTest, AnInnerNodesChunksThatHoldLeavesLaterSpoilNoCheckpoint) {
  for (const std::uint64_t more : {10'000, 100}) {  // in the one area, and in the other
    insert(more);
    ASSERT_TRUE(checkpoint());
    const rtree::Snapshot<2> snapshot = opened_.tree->snapshot();
    rtree::NodeRef leaf = snapshot.root().ref;
    while (!snapshot.node(leaf).is_leaf()) leaf = snapshot.node(leaf).child(0);
    const rtree::NodeRef root = snapshot.root().ref;
    ASSERT_GE(snapshot.root().level, 1u);
    // As if leaves of later versions lay there, of a checkpoint that never became whole.
    for (std::uint32_t i = 0; i < rtree::kInnerChunks<2>; ++i) {
      const rtree::NodeRef later(root.chunk() + i, snapshot.version() + 1);
      ASSERT_TRUE(opened_.store->take_of_run(later, snapshot.node(leaf)));
    }
  }
  expect_after_restart(next_id_ - 1);
}

TEST_F(FullStoreTest, TheLogIsKeptUntilTheCheckpointThatReplacesItIsDurable) {
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(write());
  super_disk_.stores_left = 0;
  ASSERT_FALSE(checkpoint());
  super_disk_ = {};
  while (write()) {
    ASSERT_LT(next_id_ * 72, log_.size()) << "what is needed is overwritten";
  }
  expect_after_restart(next_id_ - 1);
  ASSERT_TRUE(checkpoint());
  EXPECT_TRUE(write()) << "there is room again";
}

TEST_F(FullStoreTest, TheLogIsHeldForAReaderThroughCheckpointsAsFarAsItMayBe) {
  Store<2>& store = *opened_.store;
  const auto checkpoint_behind = [&](int batches) {
    for (int i = 0; i < batches; ++i) ASSERT_TRUE(write());
    ASSERT_TRUE(checkpoint());
  };
  checkpoint_behind(10);
  const Lsn held = store.log().end().lsn;
  store.hold_log(held);
  checkpoint_behind(10);
  EXPECT_EQ(store.log().start(), store.log().end().lsn) << "none may be held";

  const Lsn later = store.log().end().lsn;
  store.keep_log(0, 100 * kMaxRecordBytes);
  store.hold_log(later);
  checkpoint_behind(10);
  EXPECT_EQ(store.log().start(), later);
  checkpoint_behind(10);
  EXPECT_EQ(store.log().start(), later);
  checkpoint_behind(300);
  EXPECT_EQ(store.log().start(), store.log().end().lsn) << "it is too far behind";

  const Lsn last = store.log().end().lsn;
  store.hold_log(last);
  checkpoint_behind(10);
  ASSERT_EQ(store.log().start(), last);
  store.hold_log(Store<2>::kNobody);
  checkpoint_behind(10);
  EXPECT_EQ(store.log().start(), store.log().end().lsn) << "it has no reader any more";
}

TEST_F(FullStoreTest, AViewOfAFileKnowsAndGivesBackItsOwnRoomAlone) {
  constexpr std::uint64_t kPages = 64;
  const MappedPages pages(2 * kPages, {});
  const auto first = pages.view(0, kPages);
  const auto second = pages.view(kPages, kPages);
  const std::vector<std::byte> ones(kPages * MappedPages::kPage, std::byte{1});
  const std::vector<std::byte> twos(2 * MappedPages::kPage, std::byte{2});
  first->store(0, ones);
  second->store(0, twos);
  first->flush(0, ones.size());
  second->flush(0, twos.size());
  ASSERT_TRUE(first->drain() && second->drain());
  EXPECT_TRUE(first->holds_data(0, ones.size()));
  EXPECT_TRUE(second->holds_data(0, twos.size()));
  const std::uint64_t behind = 16 * MappedPages::kPage;
  EXPECT_FALSE(second->holds_data(behind, behind));
  ASSERT_TRUE(second->reserve(behind, behind));
  second->release(behind, behind);
  EXPECT_TRUE(std::ranges::equal(first->bytes(), ones));
  EXPECT_TRUE(std::ranges::equal(second->bytes().first(twos.size()), twos));
}

TEST_F(FullStoreTest, EachOfManyRangesIsFlushed) {
  constexpr std::uint64_t kRanges = 100;
  for (const std::uint64_t lost :
       {std::uint64_t{0}, std::uint64_t{63}, std::uint64_t{64}, std::uint64_t{70}, kRanges - 1}) {
    MappedPages pages(2 * kRanges, {});
    const auto memory = pages.view(0, 2 * kRanges);
    const auto flush_all = [&] {
      for (std::uint64_t i = 0; i < kRanges; ++i) memory->flush(2 * i * MappedPages::kPage, 8);
    };
    flush_all();
    EXPECT_TRUE(memory->drain());
    pages.lose(2 * lost);
    flush_all();
    EXPECT_FALSE(memory->drain()) << "range " << lost << " was not written";
  }
}

}  // namespace
}  // namespace silurus::replication
