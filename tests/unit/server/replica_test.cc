// SPDX-License-Identifier: Apache-2.0

#include "server/replica.h"

#include <optional>
#include <span>

#include "tests/unit/server/replica_fixture.h"

// What a member makes of batches that are under way.

namespace silurus::server::test {
namespace {

using replication::RecordType;

/// A record at a time.
constexpr std::uint32_t kSmallestSlice = rtree::kWorkOfAnOperation;

TEST_F(ReplicaTest, DoesAWriteThatIsCommitted) {
  lead({1});
  submit(3);
  for (int i = 0; i < 10 && done_.empty(); ++i) turn();
  ASSERT_EQ(done_.size(), 1u);
  EXPECT_FALSE(done_[0]->error);
  EXPECT_EQ(done_[0]->version, opened_.tree->snapshot().version());
  EXPECT_EQ(opened_.tree->snapshot().size(), 3u);
}

TEST_F(ReplicaTest, IsNoSourceOfCopiesWithinABatch) {
  lead({1}, kSmallestSlice);
  EXPECT_TRUE(replica_->hold());
  submit(3);
  int within = 0;
  for (int i = 0; i < 20 && done_.empty(); ++i) {
    turn();
    if (!replica_->machine().has_more()) continue;
    ++within;
    const auto held = replica_->hold();
    ASSERT_FALSE(held) << "its table of writes is ahead of its tree";
    EXPECT_EQ(held.error().code, ErrorCode::kUnavailable);
  }
  EXPECT_GE(within, 3);
  ASSERT_EQ(done_.size(), 1u);
  const auto held = replica_->hold();
  ASSERT_TRUE(held);
  EXPECT_EQ(held->tree->size(), 3u);
  EXPECT_EQ(held->log.lsn, log().end().lsn);
}

TEST_F(ReplicaTest, TakesNoCheckpointWithinABatch) {
  lead({1}, kSmallestSlice);
  ASSERT_TRUE(replica_->checkpoint_basis()) << "the log has a record that no checkpoint has";
  submit(3);
  int within = 0;
  for (int i = 0; i < 20 && done_.empty(); ++i) {
    turn();
    if (!replica_->machine().has_more()) continue;
    ++within;
    ASSERT_FALSE(replica_->checkpoint_basis()) << "its table of writes is ahead of its tree";
  }
  EXPECT_GE(within, 3);
  ASSERT_EQ(done_.size(), 1u);
  const auto basis = replica_->checkpoint_basis();
  ASSERT_TRUE(basis);
  EXPECT_EQ(basis->held.pins.front().size(), 3u);
  EXPECT_EQ(basis->position, log().end());
}

TEST_F(ReplicaTest, AWriteIsNotAnsweredWithWhatAnotherPrimarysBatchAtItsPlaceCameTo) {
  lead({1, 2});
  const replication::LogPosition before = log().end();
  submit(1);
  turn();
  const replication::LogPosition ours = log().end();
  ASSERT_GT(ours.lsn, before.lsn) << "it is logged";
  ASSERT_TRUE(done_.empty()) << "and not committed";
  // The log of the next primary, which never had ours: a batch as long as that one.
  ASSERT_TRUE(log().truncate(before));
  const auto append = [&](RecordType type, const auto& payload) {
    ASSERT_TRUE(log().append(
        {.checksum = 0, .lsn = 0, .stamp = 1, .epoch = 6, .length = 0, .type = type, .flags = 0},
        std::as_bytes(std::span(&payload, 1))));
  };
  append(RecordType::kRequest, replication::RequestPayload{.client = 8, .sequence = 1, .first = 1});
  append(RecordType::kInsert, replication::EntryPayload<2>{.id = 1000, .box = box_of(1000)});
  log().end_batch();
  ASSERT_TRUE(log().commit());
  ASSERT_EQ(log().end().lsn, ours.lsn);
  ASSERT_TRUE(replica_->machine().apply(log(), before, ours.lsn));
  ASSERT_EQ(done_.size(), 1u);
  ASSERT_TRUE(done_[0]->error);
  EXPECT_EQ(done_[0]->error->code, ErrorCode::kConnectionLost) << "the next primary knows";
}

TEST_F(ReplicaTest, SnapshotsAreAnsweredWithBeforeTheReadLeaseIsOver) {
  lead({1, 2});
  run(20 * kMillisecond, [this] { row(2, log().end().lsn); });
  member_status_.update(*member_, now());
  const Nanoseconds until = member_status_.read_until();
  ASSERT_GT(until, now());
  ManualClock clock;
  const Served<2> served{.clock = &clock, .member_status = &member_status_};
  clock.advance(until - 1 - clock.now());
  EXPECT_TRUE(served.check_lease(false));
  clock.advance(1);
  EXPECT_EQ(served.check_lease(false).error().code, ErrorCode::kNotPrimary);
  EXPECT_TRUE(served.check_lease(true)) << "any member's will do";
}

}  // namespace
}  // namespace silurus::server::test
