// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/replication/group/member_fixture.h"

// What a primary commits, answers and proposes.

namespace silurus::replication::group::test {
namespace {

class Lead : public MemberTest {
 protected:
  /// The log of an earlier primary, of which no member knows what is committed, and the first
  /// record of this one behind it.
  void lead(const std::vector<MemberId>& members, Ack ack) {
    old_end_ = append(3);
    start(view_of(5, members, ack));
    ASSERT_EQ(member_->role(), Role::kPrimary);
    ASSERT_GT(log_->end().lsn, old_end_);
  }
  /// Members have all, and go on saying so.
  std::function<void()> rows(const std::vector<MemberId>& members) {
    return [this, members] {
      for (const MemberId id : members) row(id, log_->end().lsn);
    };
  }

  Lsn old_end_ = 0;
};

TEST_F(Lead, CommitsNothingBelowItsOwnFirstRecord) {
  lead({1, 2, 3}, Ack::kQuorum);
  row(2, old_end_);
  step();
  EXPECT_EQ(member_->committed(), 0u) << "a later primary may lack what two have of an old epoch";
  row(2, log_->end().lsn);
  step();
  EXPECT_EQ(member_->committed(), log_->end().lsn);
}

TEST_F(Lead, AQuorumOfFourIsThree) {
  lead({1, 2, 3, 4}, Ack::kQuorum);
  row(2, log_->end().lsn);
  step();
  EXPECT_EQ(member_->committed(), 0u);
  row(3, log_->end().lsn);
  step();
  EXPECT_EQ(member_->committed(), log_->end().lsn);
}

TEST_F(Lead, RowsOfOthersThanTheViewsMembersCommitNothingAndPromiseNothing) {
  lead({1, 2, 3}, Ack::kQuorum);
  run(50 * kMillisecond, [this] {
    for (const MemberId id : {4, 5, 6, 7}) row(id, log_->end().lsn);
  });
  EXPECT_EQ(member_->committed(), 0u);
  EXPECT_FALSE(member_->may_read());
  EXPECT_EQ(member_->joiners().size(), 4u) << "but it knows of those that want to join";
}

TEST_F(Lead, RemembersFewMembersOutsideOfTheView) {
  lead({1, 2}, Ack::kQuorum);
  row(2, log_->end().lsn);
  for (MemberId id = 3; id < 3 + 2 * kMaxJoiners; ++id) {
    row(id, log_->end().lsn);
    run(kMillisecond);
  }
  EXPECT_EQ(member_->joiners().size(), kMaxJoiners);
  row(2, log_->end().lsn);
  step();
  EXPECT_EQ(member_->committed(), log_->end().lsn) << "members of the view are not forgotten";
}

/// A process that says that it is member 2, in a life that no view store knows.
TEST_F(Lead, ALifeThatIsNotRegisteredTakesNoLinkThatIsUp) {
  store_.state.registrations = {registration_of(2)};
  lead({1, 2}, Ack::kAll);
  const auto tick = [this](Links& links) {
    return [this, &links] {
      others_links_->tick(now());
      links.tick(now());
      row(2, log_->end().lsn);
    };
  };
  others_links_->set_primary(info(1), kLife, now());
  run(10 * kMillisecond, tick(*others_links_));
  ASSERT_TRUE(others_links_->is_connected());
  Side forger(world_, "forger");
  const auto forged = forger.links(2, 4711);
  forged->set_primary(info(1), kLife, now());
  const std::size_t reads = store_.reads;
  run(500 * kMillisecond, [&] {
    forger.poller->progress();
    tick (*forged)();
  });
  // It dials again and again: the store is asked between its polls, which are 25, too, and not more
  // often than there are heartbeats.
  EXPECT_GE(store_.reads - reads, 30u);
  EXPECT_LE(store_.reads - reads, 51u);
  EXPECT_FALSE(forged->is_connected());
  EXPECT_TRUE(others_links_->is_connected());
  // Once the store knows that life, it takes the place of the one that is over.
  store_.state.registrations[0].incarnation = 4711;
  run(100 * kMillisecond, [&] {
    forger.poller->progress();
    forged->tick(now());
    row(2, log_->end().lsn);
  });
  EXPECT_TRUE(forged->is_connected());
  EXPECT_FALSE(others_links_->is_connected());
}

TEST_F(Lead, WaitsForEveryMemberToKnowUnderAckMetadata) {
  lead({1, 2, 3}, Ack::kMetadata);
  row(2, log_->end().lsn);
  step();
  EXPECT_EQ(member_->committed(), 0u) << "nothing is known of member 3";
  row(3, log_->end().lsn);
  step();
  EXPECT_EQ(member_->committed(), log_->end().lsn);
}

TEST_F(Lead, AMembersNewLifeCountsForNothingInTheOldView) {
  lead({1, 2}, Ack::kQuorum);
  store_.ignores_proposals = true;
  row(2, log_->end().lsn, kInStep | kReturned);
  step();
  EXPECT_EQ(member_->committed(), 0u);
}

TEST_F(Lead, AMembersNewLifePromisesNothingInTheOldView) {
  lead({1, 2}, Ack::kQuorum);
  row(2, log_->end().lsn);
  run(kMillisecond);
  ASSERT_TRUE(member_->may_read());
  const Nanoseconds until = member_->read_until();
  store_.ignores_proposals = true;
  run(50 * kMillisecond, [this] { row(2, log_->end().lsn, kInStep | kReturned); });
  EXPECT_EQ(member_->read_until(), until);
}

TEST_F(Lead, AMembersNewLifeIsTakenIntoTheNextView) {
  lead({1, 2}, Ack::kQuorum);
  row(2, log_->end().lsn);
  run(20 * kMillisecond,
      [this] { row(2, log_->end().lsn, member_->epoch() == 5 ? kInStep | kReturned : kInStep); });
  EXPECT_EQ(member_->epoch(), 6u);
  EXPECT_EQ(proposed(), Ids({1, 2}));
  EXPECT_EQ(member_->committed(), log_->end().lsn);
}

TEST_F(Lead, NoViewFollowsBeforeWhatWasCommittedIsSoInIt) {
  lead({1, 2, 3}, Ack::kQuorum);
  run(3 * kTestTiming.silence, [this] { row(2, old_end_); });
  EXPECT_EQ(proposed(), Ids()) << "member 3 may have what an earlier primary committed";
  run(3 * kTestTiming.heartbeat, rows({2}));
  EXPECT_EQ(proposed(), Ids({1, 2}));
}

TEST_F(Lead, TheOnlySecondCopyIsNotVotedOutBeforeThereIsAnother) {
  lead({1, 2, 3}, Ack::kQuorum);
  rows({2})();
  step();
  ASSERT_EQ(member_->committed(), log_->end().lsn);
  run(3 * kTestTiming.silence, [this] { row(3, old_end_); });
  EXPECT_EQ(proposed(), Ids());
  run(3 * kTestTiming.heartbeat, rows({3}));
  EXPECT_EQ(proposed(), Ids({1, 3}));
}

TEST_F(Lead, WhoMakesNothingDurableIsVotedOutThoughItIsHeard) {
  lead({1, 2, 3}, Ack::kQuorum);
  run(2 * kTestTiming.heartbeat, rows({2, 3}));
  append(5);
  const auto slow = [this] {
    row(2, log_->end().lsn);
    row(3, old_end_);
  };
  run(kTestTiming.slowness / 2, slow);
  EXPECT_EQ(proposed(), Ids());
  run(kTestTiming.slowness, slow);
  EXPECT_EQ(proposed(), Ids({1, 2}));
}

TEST_F(Lead, AnOldAnswerOfTheStoreDoesNotSetTheRevisionBack) {
  lead({1, 2, 3}, Ack::kQuorum);
  run(2 * kTestTiming.heartbeat, rows({2, 3}));
  store_.holds_reads = true;
  run(3 * kTestTiming.silence, rows({2}));
  ASSERT_EQ(member_->epoch(), 6u);
  store_.release_reads();  // and no later one is answered
  run(2 * kMillisecond, rows({2}));
  run(2 * kTestTiming.lease);  // member 2 falls silent, too
  ASSERT_EQ(proposed(), Ids({1}));
  EXPECT_EQ(store_.proposals.back().revision, kRevision + 1);
  EXPECT_EQ(member_->epoch(), 7u);
}

TEST_F(Lead, AProposalWhoseFateIsUnknownStaysOne) {
  lead({1, 2, 3}, Ack::kQuorum);
  run(2 * kTestTiming.heartbeat, rows({2, 3}));
  store_.fails_proposals = true;
  run(2 * kTestTiming.silence, rows({2}));
  ASSERT_GE(store_.proposals.size(), 2u);
  const View first = store_.proposals.front().view;
  const std::size_t tried = store_.proposals.size();
  run(3 * kTestTiming.candidacy, rows({2, 3}));
  EXPECT_GT(store_.proposals.size(), tried) << "member 3 is back, but that may be the view";
  EXPECT_EQ(store_.proposals.back().view, first);
}

TEST_F(Lead, TakesInNoMoreThanTheMostMembers) {
  lead({1, 2, 3, 4, 5, 6}, Ack::kQuorum);
  store_.state.registrations = {registration_of(7), registration_of(8)};
  run(4 * kTestTiming.poll, rows({2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(member_->view().members.size(), kMaxMembers);
  EXPECT_EQ(proposed(), Ids({1, 2, 3, 4, 5, 6, 7}));
}

TEST_F(Lead, TakesInNoMemberThatLacksWhatIsCommitted) {
  lead({1, 2, 3}, Ack::kQuorum);
  store_.state.registrations = {registration_of(4)};
  run(2 * kTestTiming.poll, [this] {
    row(2, log_->end().lsn);
    row(3, log_->end().lsn);
    row(4, old_end_);
  });
  ASSERT_GT(member_->committed(), old_end_);
  EXPECT_EQ(proposed(), Ids());
  run(2 * kTestTiming.poll, rows({2, 3, 4}));
  EXPECT_EQ(proposed(), Ids({1, 2, 3, 4}));
}

TEST_F(Lead, ItsRecordBeginsEachViewUnderAQuorum) {
  lead({1, 2}, Ack::kQuorum);
  store_.state.registrations = {registration_of(3)};
  run(2 * kTestTiming.poll, rows({2, 3}));
  ASSERT_EQ(member_->epoch(), 6u);
  EXPECT_EQ(log_->last_epoch(), 6u) << "by which the new member's log counts";
}

TEST_F(Lead, AnswersNoReadsBeforeAllThatWasCommittedIsApplied) {
  machine_.is_stuck = true;
  lead({1, 2}, Ack::kAll);
  run(2 * kMillisecond, rows({2}));
  ASSERT_EQ(member_->committed(), log_->end().lsn);
  EXPECT_FALSE(member_->may_read());
  machine_.is_stuck = false;
  run(2 * kMillisecond, rows({2}));
  EXPECT_TRUE(member_->may_read());
}

TEST_F(Lead, TellsAsCommittedOnlyWhatItHasApplied) {
  machine_.is_stuck = true;
  lead({1, 2}, Ack::kAll);
  run(3 * kTestTiming.heartbeat, rows({2}));
  ASSERT_EQ(member_->committed(), log_->end().lsn);
  EXPECT_EQ(replicator_.told_commit, 0u);
  machine_.is_stuck = false;
  run(3 * kTestTiming.heartbeat, rows({2}));
  EXPECT_EQ(replicator_.told_commit, log_->end().lsn);
}

TEST_F(Lead, ItsLeaseAsksMembersOfTheViewThatMayBeTheNext) {
  lead({1}, Ack::kAll);
  run(kMillisecond);
  ASSERT_EQ(member_->read_until(), INT64_MAX);
  store_.state.registrations = {registration_of(2)};
  store_.ignores_proposals = true;
  run(2 * kTestTiming.lease, [this] {
    if (store_.proposals.empty()) rows({2})();
  });
  ASSERT_EQ(proposed(), Ids({1, 2}));
  EXPECT_FALSE(member_->may_read()) << "member 2 may be in a view without it by now";
}

TEST_F(Lead, TakesInNoMemberThatHasNotPromisedWhatClientsWereTold) {
  lead({1}, Ack::kAll);
  run(kTestTiming.lease);
  store_.state.registrations = {registration_of(2)};
  const auto unpromised = [this] {
    hand_over(2, member_->epoch(), Kind::kRow, kInStep,
              RowBody{.received = log_->end().lsn,
                      .durable = log_->end().lsn,
                      .applied = 0,
                      .known = log_->end().lsn,
                      .promised = 0});
  };
  run(3 * kTestTiming.poll, unpromised);
  EXPECT_EQ(proposed(), Ids());
  run(3 * kTestTiming.poll, rows({2}));
  EXPECT_EQ(proposed(), Ids({1, 2}));
}

TEST_F(Lead, AMemberThatPromisesNothingIsTakenInWhenAllThatWasToldIsOver) {
  lead({1, 2}, Ack::kMetadata);
  run(50 * kMillisecond, rows({2}));
  const Nanoseconds told_until = member_->told_until();
  ASSERT_GT(told_until, now());
  // It leads anew, with one that has started again within that view.
  store_.state.view = view_of(6, {1, 3}, Ack::kMetadata, 3);
  ++store_.state.revision;
  run(2 * kTestTiming.poll);
  store_.state.view = view_of(7, {1, 3}, Ack::kMetadata);
  ++store_.state.revision;
  const auto returned = [this] { row(3, log_->end().lsn, kInStep | kReturned); };
  run(2 * kTestTiming.poll, returned);
  ASSERT_EQ(member_->role(), Role::kPrimary);
  run(told_until - kMillisecond - now(), returned);
  EXPECT_EQ(proposed(), Ids()) << "clients may be reading what another primary would not know of";
  run(20 * kMillisecond, returned);
  EXPECT_EQ(proposed(), Ids({1, 3}));
}

/// Alone it reads for ever, also while no step is taken; and what a member promised before that is
/// over.
TEST_F(Lead, TakesInNoMemberByAnOldPromiseAfterItWasSuspended) {
  lead({1}, Ack::kAll);
  run(kTestTiming.lease);
  store_.state.registrations = {registration_of(2)};
  store_.ignores_proposals = true;
  const auto told = replicator_.heartbeat;
  run(2 * kTestTiming.poll);
  ASSERT_EQ(proposed(), Ids());
  world_.run_for(10 * kTestTiming.lease);
  const auto by_an_old_promise = [&] {
    hand_over(2, member_->epoch(), Kind::kRow, kInStep,
              RowBody{.received = log_->end().lsn,
                      .durable = log_->end().lsn,
                      .applied = 0,
                      .known = log_->end().lsn,
                      .promised = told});
  };
  run(3 * kTestTiming.poll, by_an_old_promise);
  EXPECT_EQ(proposed(), Ids());
  run(3 * kTestTiming.poll, rows({2}));
  EXPECT_EQ(proposed(), Ids({1, 2}));
}

TEST_F(Lead, SaysWhatIsCommittedOnlyWhileItMayRead) {
  lead({1, 2}, Ack::kAll);
  others_links_->set_primary(info(1), kLife, now());
  run(10 * kMillisecond, [this] {
    others_links_->tick(now());
    row(2, log_->end().lsn);
  });
  ASSERT_TRUE(others_links_->is_connected());
  store_.ignores_proposals = true;
  const auto probe = [this](std::uint64_t number) {
    hand_over(2, member_->epoch(), Kind::kProbe, 0, ProbeBody{.number = number, .committed = 0});
    run(3 * kMillisecond);
  };
  probe(7);
  ASSERT_EQ(listens_.probes.size(), 1u);
  EXPECT_EQ(listens_.probes[0].body.number, 7u);
  EXPECT_EQ(listens_.probes[0].body.committed, log_->end().lsn);
  run(kTestTiming.lease);
  ASSERT_FALSE(member_->may_read());
  probe(8);
  EXPECT_EQ(listens_.probes.size(), 1u) << "another one may have committed more";
}

}  // namespace
}  // namespace silurus::replication::group::test
