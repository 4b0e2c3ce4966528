// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/group_rules.h"

// What each way of acknowledging promises, and what it doesn't.

namespace silurus::simulation {
namespace {

using group::Ack;

class AckRules : public GroupRules {
 protected:
  std::vector<MemberLife*> others(const MemberLife& one) const {
    std::vector<MemberLife*> all;
    for (MemberLife* life : lives_) {
      if (life != nullptr && life != &one) all.push_back(life);
    }
    return all;
  }
  static std::uint64_t values(const MemberLife& life) {
    std::uint64_t count = 0;
    for (unsigned key = 0; key < kKeys; ++key) count += std::popcount(life.machine().values(key));
    return count;
  }
};

TEST_F(AckRules, AQuorumWaitsForNoSlowMember) {
  begin(kQuick, ReplicationProtocol::kMulticast, Ack::kQuorum);
  MemberLife& leads = *primary();
  MemberLife& slow = *others(leads)[0];
  slow.host().pause();
  const Nanoseconds start = world_.now();
  ASSERT_TRUE(put_and_wait(leads));
  EXPECT_LT(world_.now() - start, kMillisecond);
  EXPECT_EQ(leads.member().view().members.size(), kMembers);
  slow.host().resume();
}

TEST_F(AckRules, AfterAQuorumsAnswerTheOneThatHasItLeads) {
  begin(kQuick, ReplicationProtocol::kMulticast, Ack::kQuorum);
  MemberLife& leads = *primary();
  MemberLife& slow = *others(leads)[0];
  MemberLife& quick = *others(leads)[1];
  world_.cut(leads.host(), slow.host());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(put_and_wait(leads));
  ASSERT_LT(slow.log().end().lsn, leads.log().durable());
  crash(leads);
  MemberLife* const next = next_primary(nullptr);
  ASSERT_EQ(next, &quick);
  EXPECT_EQ(values(*next), 5u);
}

TEST_F(AckRules, WithAQuorumNoMemberLeadsAlone) {
  begin(kQuick, ReplicationProtocol::kMulticast, Ack::kQuorum);
  MemberLife& leads = *primary();
  MemberLife& other = *others(leads)[0];
  ASSERT_TRUE(put_and_wait(leads));
  crash(leads);
  const std::size_t which = crash(other);
  EXPECT_EQ(next_primary(nullptr, 20 * kQuick.lease), nullptr);
  restart(which);
  MemberLife* const next = next_primary(nullptr);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(values(*next), 1u);
}

TEST_F(AckRules, APrimaryWithAQuorumOutlivesBothOthers) {
  min_members_ = 1;
  begin(kQuick, ReplicationProtocol::kMulticast, Ack::kQuorum);
  MemberLife& leads = *primary();
  for (MemberLife* one : others(leads)) crash(*one);
  ASSERT_TRUE(put_and_wait(leads)) << "it votes them out";
  EXPECT_EQ(leads.member().view().members.size(), 1u);
}

TEST_F(AckRules, AMemberThatCameBackIsTakenIntoTheNextView) {
  begin(kQuick, ReplicationProtocol::kMulticast, Ack::kQuorum);
  MemberLife& leads = *primary();
  ASSERT_TRUE(put_and_wait(leads));
  const group::Epoch epoch = leads.member().epoch();
  MemberLife& back = restart(crash(*others(leads)[0]));
  ASSERT_TRUE(
      world_.run_until([&] { return back.replicator().in_step(); }, world_.now() + kSecond));
  ASSERT_TRUE(
      world_.run_until([&] { return back.member().epoch() > epoch; }, world_.now() + kSecond));
  EXPECT_EQ(leads.member().view().members.size(), kMembers);
  ASSERT_TRUE(put_and_wait(leads));
}

/// A chain whose windows are so small that much of a batch has to be fetched, later.
class MetadataRules : public AckRules {
 protected:
  static constexpr int kPuts = 48;
  /// Has writes acknowledged that no member but the primary has; then that one crashes: its place.
  std::size_t answer_early_and_crash() {
    begin(kQuick, ReplicationProtocol::kChain, Ack::kMetadata, transport::kWindowGrain);
    MemberLife& leads = *primary();
    EXPECT_TRUE(put_and_wait(leads));
    for (int i = 0; i < kPuts; ++i) put(leads);
    EXPECT_TRUE(world_.run_until([&] { return done_ == sequence_; }, world_.now() + kSecond));
    for (const MemberLife* one : others(leads)) {
      EXPECT_LT(one->log().end().lsn, leads.log().durable()) << "acknowledged before it was there";
    }
    return crash(leads);
  }
};

TEST_F(MetadataRules, AnswersBeforeThePayloadIsWithTheOthersAndWaitsForThePrimaryThatHasIt) {
  const std::size_t which = answer_early_and_crash();
  EXPECT_EQ(next_primary(nullptr, 20 * kQuick.lease), nullptr)
      << "they know that something is missing";
  restart(which);
  MemberLife* const next = next_primary(nullptr);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(values(*next), 1u + kPuts) << "nothing that was acknowledged is lost";
}

TEST_F(MetadataRules, LetsNoMemberLeadThatHasForgottenWhatItKnew) {
  const std::size_t which = answer_early_and_crash();
  for (std::size_t i = 0; i < kMembers; ++i) {
    if (i == which) continue;
    crash(*lives_[i]);
    restart(i);
  }
  EXPECT_EQ(next_primary(nullptr, 20 * kQuick.lease), nullptr);
  restart(which);
  MemberLife* const next = next_primary(nullptr);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(values(*next), 1u + kPuts);
}

TEST_F(MetadataRules, GoOnAtOnceWhenAMemberHasEverything) {
  begin(kQuick, ReplicationProtocol::kChain, Ack::kMetadata);
  MemberLife& leads = *primary();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(put_and_wait(leads));
  world_.run_for(10 * kMillisecond);
  crash(leads);
  MemberLife* const next = next_primary(nullptr);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(values(*next), 5u);
}

}  // namespace
}  // namespace silurus::simulation
