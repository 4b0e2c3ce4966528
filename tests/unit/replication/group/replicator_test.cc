// SPDX-License-Identifier: Apache-2.0

#include "replication/group/multicast.h"
#include "tests/support/full_memory.h"
#include "tests/unit/replication/group/member_fixture.h"

// How the log of a member falls in step with that of a primary, which is the test.

namespace silurus::replication::group::test {
namespace {

class FallInStep : public MemberTest {
 protected:
  FallInStep() {
    theirs_ =
        std::move(*Log::open(std::make_unique<CrashMemory>(power_, their_content_), kLogStart));
    links_ = self_.links(1, kLife);
    links_->set_primary(info(2), life_of(2), now());
    for (int i = 0; i < 20; ++i) pass(kMillisecond);
    EXPECT_TRUE(links_->is_connected());
    replicator_ =
        std::make_unique<MulticastReplicator>(ReplicatorOptions(), kGroupOfOne, *log_, *links_);
  }
  ~FallInStep() override { replicator_.reset(); }

  void pass(Nanoseconds time) {
    world_.run_for(time);
    links_->tick(now());
    self_.poller->progress();
    other_.poller->progress();
  }
  /// The primary of that term says where its log ends.
  void heartbeat(LogPosition end) {
    replicator_->on_log(
        {.envelope = envelope(0),
         .body =
             {.lsn = end.lsn, .end = end.lsn, .end_chain = end.chain, .commit = 0, .heartbeat = 1},
         .payload = {}},
        now());
  }
  void follow(Epoch since) {
    replicator_->follow({1, kLife, since, since}, {2, life_of(2), since, since}, kLogStart, now());
  }
  /// Answers what is asked for of the primary's log.
  void answer() {
    for (const Message<FetchBody>& fetch : std::exchange(listens_.fetches, {})) {
      const Lsn end = theirs_->end().lsn;
      const Lsn lsn = fetch.body.lsn;
      const bool is_beyond = lsn >= end;
      const std::uint64_t bytes = is_beyond ? 0 : std::min(fetch.body.bytes, end - lsn);
      replicator_->on_fetched({.envelope = envelope(is_beyond ? kBeyond : 0),
                               .body = {.lsn = is_beyond ? end : lsn, .bytes = bytes},
                               .payload = theirs_->bytes().subspan(is_beyond ? 0 : lsn, bytes)},
                              now());
    }
  }
  void run(int times = 200) {
    for (int i = 0; i < times; ++i) {
      ASSERT_TRUE(replicator_->step(now()));
      pass(200 * kMicrosecond);
      answer();
    }
  }
  static Envelope envelope(std::uint8_t flags) {
    return {.checksum = 0,
            .sender = 2,
            .incarnation = life_of(2),
            .epoch = 5,
            .length = 0,
            .kind = Kind::kFetched,
            .flags = flags};
  }

  CrashMemory::Content their_content_ = CrashMemory::fresh(std::size_t{256} << 10);
  std::unique_ptr<Log> theirs_;
  std::unique_ptr<LogReplicator> replicator_;
};

TEST_F(FallInStep, TakesBackRecordsThatDifferThoughTheyAreAsLong) {
  append(*log_, 3, 1);
  const Lsn both = append(*theirs_, 3, 1);
  append(*log_, 3, 2);
  append(*theirs_, 4, 3);
  ASSERT_EQ(log_->end().lsn, theirs_->end().lsn);
  follow(5);
  heartbeat(theirs_->end());
  run(40);
  EXPECT_TRUE(replicator_->in_step());
  EXPECT_EQ(replicator_->counters().truncations, 1u);
  EXPECT_EQ(log_->end(), theirs_->end()) << "and takes theirs instead";
  EXPECT_GT(log_->end().lsn, both);
  const Lsn end = theirs_->end().lsn;
  EXPECT_TRUE(std::ranges::equal(log_->bytes().first(end), theirs_->bytes().first(end)));
}

TEST_F(FallInStep, WhatTheLastPrimarySaidOfItsEndIsNotBelievedOfTheNext) {
  append(*log_, 3, 1);
  append(*theirs_, 3, 1);
  const LogPosition short_end = theirs_->end();
  append(*log_, 3, 2);
  follow(5);
  heartbeat(short_end);
  // It is asked where its log ends, and answers; the next primary comes before the next step.
  for (bool is_asked_for_end = false; !is_asked_for_end;) {
    ASSERT_TRUE(replicator_->step(now()));
    pass(200 * kMicrosecond);
    is_asked_for_end =
        !listens_.fetches.empty() && listens_.fetches.back().body.lsn >= short_end.lsn;
    answer();
  }
  append(*theirs_, 3, 2);
  follow(6);
  heartbeat(short_end);  // from long ago
  run(40);
  EXPECT_EQ(replicator_->counters().truncations, 0u);
  heartbeat(theirs_->end());
  run(40);
  EXPECT_TRUE(replicator_->in_step());
  EXPECT_EQ(log_->end(), theirs_->end());
}

TEST_F(FallInStep, GoesOnWhenPartOfWhatCameHadRoomOnTheDisk) {
  testing_support::FullDisk disk;
  std::vector<std::byte> content(std::size_t{256} << 10);
  log_ = std::move(
      *Log::open(std::make_unique<testing_support::FullMemory>(disk, content), kLogStart));
  replicator_ =
      std::make_unique<MulticastReplicator>(ReplicatorOptions(), kGroupOfOne, *log_, *links_);
  for (std::uint64_t id = 1; id <= 4; ++id) append(*theirs_, 3, id);
  follow(5);
  heartbeat(theirs_->end());
  disk.stores_left = 2;
  run(20);
  EXPECT_LT(log_->end().lsn, theirs_->end().lsn);
  disk.stores_left = UINT64_MAX;
  run(40);
  EXPECT_EQ(log_->end(), theirs_->end());
}

}  // namespace
}  // namespace silurus::replication::group::test
