// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/replication/group/member_fixture.h"

// What a member that is not the primary tells, believes and promises, and when it stands for
// election.

namespace silurus::replication::group::test {
namespace {

class Follow : public MemberTest {
 protected:
  /// Member 2 leads, and is connected.
  void follow(Ack ack = Ack::kAll, const std::vector<MemberId>& members = {1, 2, 3}) {
    append(5);
    View view = view_of(5, members, ack, 2);
    view.min_members = needed_;
    start(view);
    ASSERT_EQ(member_->role(), Role::kBackup);
    run(20 * kMillisecond);
    ASSERT_TRUE(links_->is_connected());
  }
  const Message<RowBody>& last_row() const { return listens_.rows.back(); }
  /// Nothing is heard of the primary until the member stands for election.
  void stand() {
    for (int i = 0; i < 2 * kTestTiming.lease / kMillisecond; ++i) {
      if (member_->role() == Role::kCandidate) return;
      run(kMillisecond);
    }
    FAIL() << "it does not stand";
  }
  static Registration candidate(MemberId id, Lsn durable, Epoch log_epoch) {
    return {.member = info(id),
            .incarnation = life_of(id),
            .candidate_for = 6,
            .durable = durable,
            .log_epoch = log_epoch};
  }

  std::uint32_t needed_ = 1;  ///< copies without which no write is acknowledged
};

TEST_F(Follow, TellsAsDurableOnlyWhatIs) {
  follow();
  replicator_.has_received = log_->end().lsn + 640;
  run(2 * kMillisecond);
  ASSERT_FALSE(listens_.rows.empty());
  EXPECT_EQ(last_row().body.received, log_->end().lsn + 640);
  EXPECT_EQ(last_row().body.durable, log_->end().lsn);
}

TEST_F(Follow, SaysThatItStartedInThisViewUnlessAllMustHaveWhatIsCommitted) {
  follow(Ack::kQuorum);
  ASSERT_FALSE(listens_.rows.empty());
  EXPECT_NE(last_row().envelope.flags & kReturned, 0);
  store_.state.view = view_of(6, {1, 2, 3}, Ack::kQuorum, 2);
  run(3 * kTestTiming.poll);
  ASSERT_EQ(last_row().envelope.epoch, 6u);
  EXPECT_EQ(last_row().envelope.flags & kReturned, 0);
}

TEST_F(Follow, SaysNothingOfItsLastLifeWhereAllMustHaveWhatIsCommitted) {
  follow(Ack::kAll);
  ASSERT_FALSE(listens_.rows.empty());
  EXPECT_EQ(last_row().envelope.flags & kReturned, 0);
}

TEST_F(Follow, TakesForCommittedOnlyWhatItWasTold) {
  follow();
  const Lsn told = log_->end().lsn;
  append(5);
  run(2 * kMillisecond, [&] { heartbeat(told); });
  EXPECT_EQ(member_->committed(), told);
}

TEST_F(Follow, StandsForElectionWhenItsPromiseHasEndedAndNotBefore) {
  follow();
  run(kTestTiming.lease * 9 / 10);  // what its last life may have promised is nearly over
  heartbeat(0);
  run(kTestTiming.lease * 9 / 10);
  EXPECT_EQ(member_->role(), Role::kBackup);
  run(kTestTiming.lease / 5);
  EXPECT_EQ(member_->role(), Role::kCandidate);
}

TEST_F(Follow, PromisesTheNextPrimaryItsOwnHeartbeatsOnly) {
  follow();
  heartbeat(0, 900);
  run(2 * kMillisecond);
  ASSERT_EQ(last_row().body.promised, 900u);
  View next = view_of(6, {1, 2, 3}, Ack::kAll, 2);
  next.since = 6;  // another term
  store_.state.view = next;
  run(3 * kTestTiming.poll);
  ASSERT_EQ(last_row().envelope.epoch, 6u);
  EXPECT_EQ(last_row().body.promised, 0u);
}

TEST_F(Follow, IsAsOldAsTheQuestionThatWasAnswered) {
  follow();
  const std::size_t before = listens_.probes.size();
  for (int i = 0; i < 50 && listens_.probes.size() == before; ++i) run(kMillisecond);
  ASSERT_EQ(listens_.probes.size(), before + 1);
  const std::uint64_t asked = listens_.probes.back().body.number;
  const Nanoseconds latest = now();  // it was asked before
  run(4 * kMillisecond);
  hand_over(2, 5, Kind::kProbed, 0, ProbeBody{.number = asked, .committed = 0});
  run(kMillisecond);
  EXPECT_GE(member_->complete_at(), 0);
  EXPECT_LE(member_->complete_at(), latest);
}

TEST_F(Follow, TakesTheAnswerToAnOldQuestionForNothing) {
  follow();
  run(50 * kMillisecond);
  ASSERT_GE(listens_.probes.size(), 2u);
  const std::uint64_t old = listens_.probes.back().body.number - 1;
  hand_over(2, 5, Kind::kProbed, 0, ProbeBody{.number = old, .committed = 0});
  run(kMillisecond);
  EXPECT_EQ(member_->complete_at(), -1);
}

TEST_F(Follow, OfAQuorumTheNewerLogLeadsThoughItIsShorter) {
  follow(Ack::kQuorum);
  const Lsn end = log_->end().lsn;
  stand();
  // Its log is shorter, but a later primary wrote it.
  store_.state.registrations = {registration_of(1), candidate(3, end - 64, 7)};
  run(2 * kTestTiming.candidacy + kTestTiming.candidacy / 2);
  EXPECT_EQ(proposed(), Ids()) << "member 3 is to lead";
}

TEST_F(Follow, OfAQuorumALongerLogOfAnOlderPrimaryDoesNotLead) {
  follow(Ack::kQuorum);
  const Lsn end = log_->end().lsn;
  stand();
  store_.state.registrations = {registration_of(1), candidate(3, end + 6400, 4)};
  run(2 * kTestTiming.candidacy);
  ASSERT_FALSE(store_.proposals.empty());
  EXPECT_EQ(store_.proposals.back().view.primary, 1u);
}

TEST_F(Follow, LeadsOnlyWithSoManyCandidatesThatOneIsOfEveryQuorum) {
  follow(Ack::kQuorum, {1, 2, 3, 4, 5});
  const Lsn end = log_->end().lsn;
  stand();
  store_.state.registrations = {registration_of(1), candidate(3, end, 5)};
  run(5 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids()) << "two of five: three others may have what is committed";
  store_.state.registrations.push_back(candidate(4, end, 5));
  run(5 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids({1, 2, 3, 4, 5}));
}

/// With two copies it takes writes at once, alone it would refuse them until the other has come.
TEST_F(Follow, WaitsForAnotherWithoutWhichItWouldTakeNoWrites) {
  needed_ = 2;
  follow(Ack::kAll);
  const Lsn end = log_->end().lsn;
  stand();
  store_.state.registrations = {registration_of(1), registration_of(3)};
  run(5 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids());
  store_.state.registrations = {registration_of(1), candidate(3, end, 5)};
  run(2 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids({1, 3}));
}

TEST_F(Follow, LeadsAloneForReadsIfTheOtherDoesNotStand) {
  needed_ = 2;
  follow(Ack::kAll);
  stand();
  store_.state.registrations = {registration_of(1), registration_of(3)};
  run(kTestTiming.lease / 2 + 2 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids({1}));
}

TEST_F(Follow, DoesNotWaitIfThereAreTooFewForWritesAnyway) {
  needed_ = 3;
  follow(Ack::kAll);
  stand();
  store_.state.registrations = {registration_of(1), registration_of(3)};
  run(2 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids({1}));
}

TEST_F(Follow, LeadsUnderAckMetadataOnlyIfItKnowsHowLongTheLogMustBe) {
  replicator_.is_in_step = false;  // in this life
  follow(Ack::kMetadata);
  stand();
  store_.state.registrations = {registration_of(1)};
  run(5 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids());
}

TEST_F(Follow, LeadsUnderAckMetadataIfItHasAllThatItKnowsOf) {
  follow(Ack::kMetadata);
  replicator_.knows = log_->end().lsn;
  run(kMillisecond);
  stand();
  store_.state.registrations = {registration_of(1)};
  run(5 * kTestTiming.candidacy);
  ASSERT_FALSE(store_.proposals.empty());
  EXPECT_EQ(store_.proposals.back().view.primary, 1u);
}

TEST_F(Follow, DoesNotLeadUnderAckMetadataWithLessThanItKnowsOf) {
  follow(Ack::kMetadata);
  replicator_.knows = log_->end().lsn + 64;
  run(kMillisecond);
  stand();
  store_.state.registrations = {registration_of(1)};
  run(5 * kTestTiming.candidacy);
  EXPECT_EQ(proposed(), Ids());
}

}  // namespace
}  // namespace silurus::replication::group::test
