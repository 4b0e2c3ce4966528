// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/group_rules.h"

// Multicast that does not do what it should: a group goes on over its connections.

namespace silurus::simulation {
namespace {

class MulticastRules : public GroupRules {
 protected:
  /// Writes for that time, and expects each to be done in less than a heartbeat or two, in the view
  /// that there is.
  void goes_on(Nanoseconds time) {
    MemberLife& leads = *primary();
    const group::View view = leads.member().view();
    EXPECT_EQ(view.members.size(), kMembers);
    for (const Nanoseconds until = world_.now() + time; world_.now() < until;) {
      const Nanoseconds begun = world_.now();
      ASSERT_TRUE(put_and_wait(leads));
      ASSERT_LT(world_.now() - begun, 3 * kQuick.heartbeat);
      ASSERT_EQ(leads.member().view(), view);
      world_.run_for(kQuick.heartbeat / 2);
    }
  }
  /// Counts the reads of gaps by all members.
  std::uint64_t count_reads() const {
    std::uint64_t reads = 0;
    for (const MemberLife* life : lives_) reads += life->replicator().counters().reads;
    return reads;
  }
};

TEST_F(MulticastRules, AMemberThatCannotJoinFollowsOverItsConnection) {
  begin();
  const std::size_t which = static_cast<std::size_t>(&backup() == lives_[0] ? 0 : 1);
  sim::Host& host = backup().host();
  crash(backup());
  host.set_multicast({.refuses_to_join = true});
  restart(which);
  ASSERT_TRUE(world_.run_until(
      [&] {
        return primary() != nullptr && primary()->member().view().members.size() == kMembers &&
               lives_[which]->replicator().in_step();
      },
      world_.now() + kSecond));
  world_.run_for(2 * kQuick.heartbeat);
  goes_on(4 * kQuick.slowness);
  EXPECT_GT(lives_[which]->replicator().counters().reads, 0u) << "it reads what it did not hear";
}

TEST_F(MulticastRules, APrimaryWhoseDatagramsAreRefusedSendsThemOverItsConnections) {
  begin();
  const std::uint64_t before = count_reads();
  primary()->host().set_multicast({.refuses_sends = true});
  goes_on(4 * kQuick.slowness);
  EXPECT_EQ(count_reads(), before);
}

TEST_F(MulticastRules, DatagramsThatAreHeldBackAreNotWaitedFor) {
  begin();
  sim::Host& host = backup().host();
  for (int round = 0; round < 3; ++round) {
    host.set_multicast({.holds_back = true});
    goes_on(2 * kQuick.slowness);
    host.set_multicast({});  // all at once, in any order
    goes_on(kQuick.slowness);
  }
  for (MemberLife* life : lives_) {
    EXPECT_EQ(life->replicator().counters().truncations, 0u);
    EXPECT_TRUE(world_.run_until([&] { return life->log().end() == primary()->log().end(); },
                                 world_.now() + kSecond));
  }
}

TEST_F(MulticastRules, WhatIsSentIsOnItsWayWhileThePrimaryFlushes) {
  begin();
  constexpr Nanoseconds kFlush = kMillisecond;
  for (MemberLife* life : lives_) {
    life->power().set_on_drain([life] { life->host().charge(kFlush); });
  }
  const Nanoseconds begun = world_.now();
  ASSERT_TRUE(put_and_wait(*primary()));
  const Nanoseconds taken = world_.now() - begun;
  EXPECT_GE(taken, kFlush);
  EXPECT_LT(taken, kFlush + kFlush / 2) << "all members flush at the same time";
  for (MemberLife* life : lives_) life->power().set_on_drain({});
}

TEST_F(MulticastRules, ABurstThatHasNoRoomGoesOverTheConnections) {
  begin();
  primary()->host().set_multicast({.slots = 2});
  const std::uint64_t reads = count_reads();
  for (int i = 0; i < 600; ++i) put(*primary());  // far more than two datagrams in one batch
  ASSERT_TRUE(world_.run_until([&] { return done_ == sequence_; }, world_.now() + kSecond));
  EXPECT_GT(primary()->replicator().counters().refused_datagrams, 0u);
  EXPECT_EQ(count_reads(), reads) << "nothing was lost on the way";
}

/// All of them: a switch that forgets who listens.
TEST_F(MulticastRules, AGroupThatNoDatagramReachesGoesOnAsItIs) {
  begin();
  for (MemberLife* life : lives_) life->host().set_multicast({.holds_back = true});
  goes_on(4 * kQuick.slowness);
}

}  // namespace
}  // namespace silurus::simulation
