// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/group_rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

// Single promises of a group, each in a run made for it.

namespace silurus::simulation {
namespace {

TEST_F(GroupRules, ABackupFillsAGapWithoutThePrimarysProcessor) {
  begin();
  MemberLife& leads = *primary();
  MemberLife& follows = backup();
  sim::LinkModel deaf = world_.link(leads.host(), follows.host());
  const sim::LinkModel usual = deaf;
  deaf.loss = 1;
  world_.set_link(leads.host(), follows.host(), deaf);
  put(leads);
  world_.run_for(50 * kMicrosecond);  // sent, and lost on the way
  world_.set_link(leads.host(), follows.host(), usual);
  const auto reads = follows.replicator().counters().reads;
  ASSERT_TRUE(world_.run_until([&] { return follows.replicator().counters().reads > reads; },
                               kSecond * 10));
  const Lsn end = leads.log().end().lsn;
  ASSERT_LT(follows.log().end().lsn, end);
  leads.host().pause();
  world_.run_for(kMillisecond);
  EXPECT_EQ(follows.log().durable(), end);
  leads.host().resume();
  EXPECT_TRUE(world_.run_until([&] { return done_ == 1; }, world_.now() + kSecond));
}

TEST_F(GroupRules, APrimaryAlonePromisesHalfALeaseAtATimeAndKeepsItWhenAMemberJoins) {
  begin();
  MemberLife& leads = *primary();
  std::size_t other = 0;
  for (MemberLife* life : std::vector(lives_)) {
    if (life != &leads) other = crash(*life);
  }
  const auto members = [&] { return leads.member().view().members.size(); };
  ASSERT_TRUE(world_.run_until([&] { return members() == 1; }, world_.now() + kSecond));
  world_.run_for(kQuick.lease);
  EXPECT_EQ(leads.member().read_until(), INT64_MAX) << "itself it may read for ever";
  const Nanoseconds now = leads.host().clock().now();
  EXPECT_GT(leads.member().told_until(), now + kQuick.lease / 4);
  EXPECT_LE(leads.member().told_until(), now + kQuick.lease / 2);
  restart(other);
  Nanoseconds told = 0;
  ASSERT_TRUE(world_.run_until(
      [&] {
        if (members() == 1) told = std::max(told, leads.member().told_until());
        return members() == 2;
      },
      world_.now() + kSecond));
  EXPECT_GE(leads.member().read_until(), told) << "the new member has promised as much";
  EXPECT_LT(leads.member().read_until(), INT64_MAX);
}

TEST_F(GroupRules, ThePrimarySendsHardlyMoreThanOneCopyOfItsLog) {
  begin();
  EXPECT_LE(bytes_per_byte_of_the_log(), 1.15);
}

TEST_F(GroupRules, ThePrimaryOfAChainSendsHardlyMoreThanOneCopyOfItsLog) {
  begin(kQuick, ReplicationProtocol::kChain);
  EXPECT_LE(bytes_per_byte_of_the_log(), 1.15);
}

TEST_F(GroupRules, APrimaryThatWritesToEachMemberSendsHardlyMoreThanACopyForEach) {
  begin(kQuick, ReplicationProtocol::kLogWrite);
  const double bytes = bytes_per_byte_of_the_log();
  EXPECT_GE(bytes, 2);
  EXPECT_LE(bytes, 2 * 1.15);
}

TEST_F(GroupRules, WhatIsWrittenIntoALogWindowNeedsNoProcessorOfItsMember) {
  begin(kQuick, ReplicationProtocol::kLogWrite);
  MemberLife& leads = *primary();
  ASSERT_TRUE(put_and_wait(leads));
  const Lsn from = leads.log().end().lsn;
  for (MemberLife* life : lives_) {
    if (life != &leads) life->host().pause();
  }
  for (int i = 0; i < 10; ++i) put(leads);
  world_.run_for(kMillisecond);
  const Lsn end = leads.log().end().lsn;
  ASSERT_GT(end, from);
  const auto written = leads.log().bytes().subspan(from, end - from);
  for (MemberLife* life : lives_) {
    if (life == &leads) continue;
    EXPECT_EQ(life->log().end().lsn, from) << "its processes stand still";
    const std::span window = life->links().pushed_window();
    ASSERT_FALSE(window.empty());
    EXPECT_NE(std::search(window.begin(), window.end(), written.begin(), written.end()),
              window.end())
        << "the bytes are in its memory";
    life->host().resume();
  }
  EXPECT_TRUE(world_.run_until([&] { return done_ == sequence_; }, world_.now() + kSecond));
}

TEST_F(GroupRules, LateWritesOfAPrimaryThatIsNoneAnyMoreAreNotSeen) {
  begin(kQuick, ReplicationProtocol::kLogWrite);
  MemberLife& old = *primary();
  ASSERT_TRUE(put_and_wait(old));
  // It stands still while the others go on without it, and then it writes, as if nothing had been.
  old.host().pause();
  MemberLife* const found = next_primary(&old);
  ASSERT_NE(found, nullptr);
  MemberLife& leads = *found;
  ASSERT_TRUE(put_and_wait(leads));
  world_.cut(old.host(), etcd_->host());
  const std::uint64_t done = done_;
  old.host().resume();
  for (int i = 0; i < 5; ++i) put(old);
  world_.run_for(5 * kMillisecond);
  EXPECT_EQ(done_, done) << "it acknowledges nothing";
  for (MemberLife* life : lives_) {
    if (life == &old) continue;
    EXPECT_EQ(life->log().end(), leads.log().end());
  }
  world_.heal_all();
  ASSERT_TRUE(put_and_wait(leads));
  EXPECT_TRUE(world_.run_until([&] { return old.log().end() == leads.log().end(); },
                               world_.now() + kSecond));
}

TEST_F(GroupRules, AChainGoesOnAroundAMemberThatStandsStill) {
  begin(kQuick, ReplicationProtocol::kChain);
  MemberLife& leads = *primary();
  ASSERT_TRUE(put_and_wait(leads));
  const auto middle = std::ranges::find_if(
      lives_, [](const MemberLife* life) { return life->replicator().counters().forwarded > 0; });
  ASSERT_NE(middle, lives_.end());
  (*middle)->host().pause();
  const MemberLife* last = nullptr;
  for (const MemberLife* life : lives_) {
    if (life != &leads && life != *middle) last = life;
  }
  put(leads);
  world_.run_for(4 * kMillisecond);
  EXPECT_EQ(last->log().durable(), leads.log().durable()) << "it fetches what does not come";
  EXPECT_TRUE(world_.run_until([&] { return done_ == sequence_; }, world_.now() + kSecond))
      << "who stands still is voted out";
  (*middle)->host().resume();
}

TEST_F(GroupRules, AnOldDatagramMakesNoRestartedMemberTakeBackWhatIsCommitted) {
  begin();
  MemberLife& leads = *primary();
  const LogPosition old_end = leads.log().end();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(put_and_wait(leads));
  const Lsn committed = leads.member().committed();
  MemberLife& back = restart(crash(backup()));
  const group::View& view = leads.member().view();
  ASSERT_TRUE(world_.run_until([&] { return back.member().epoch() == view.epoch; },
                               world_.now() + kSecond));
  ASSERT_FALSE(back.replicator().in_step());
  // What the primary said long ago, and the network has kept until now.
  const group::LogBody body{.lsn = old_end.lsn,
                            .end = old_end.lsn,
                            .end_chain = old_end.chain,
                            .commit = 0,
                            .heartbeat = 1};
  std::array<std::byte, 256> bytes;
  const std::size_t length = group::encode_message(kTestGroup,
                                                   {.checksum = 0,
                                                    .sender = view.primary,
                                                    .incarnation = view.incarnation,
                                                    .epoch = view.epoch,
                                                    .length = 0,
                                                    .kind = group::Kind::kLog,
                                                    .flags = 0},
                                                   std::as_bytes(std::span(&body, 1)), {}, bytes);
  back.member().on_group_message(std::span(bytes).first(length));
  ASSERT_TRUE(
      world_.run_until([&] { return back.replicator().in_step(); }, world_.now() + kSecond));
  EXPECT_EQ(back.replicator().counters().truncations, 0u);
  EXPECT_GE(back.log().durable(), committed);
}

TEST_F(GroupRules, ASlowMemberIsVotedOutAndNotWaitedFor) {
  slow_member_is_voted_out(ReplicationProtocol::kMulticast);
}

TEST_F(GroupRules, ASlowMemberIsVotedOutThoughItsWindowTakesAll) {
  slow_member_is_voted_out(ReplicationProtocol::kLogWrite);
}

TEST_F(GroupRules, ASlowMemberOfAChainIsVotedOut) {
  slow_member_is_voted_out(ReplicationProtocol::kChain);
}

TEST_F(GroupRules, WritesGoOnWhileTheViewStoreIsAway) {
  begin();
  MemberLife& leads = *primary();
  etcd_->host().pause();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(put_and_wait(leads));
    world_.run_for(5 * kMillisecond);
    ASSERT_TRUE(leads.member().may_read());
  }
  EXPECT_TRUE(leads.member().store_is_away());
}

TEST_F(GroupRules, AClientWaitsNoLongerThanTheLeaseAndHalfASecondForTheNextPrimary) {
  const group::Timing usual;
  begin(usual);
  MemberLife& first = *primary();
  ASSERT_TRUE(put_and_wait(first));
  world_.run_for(700 * kMillisecond);
  const Nanoseconds crash = world_.now();
  first.power().cut();
  first.host().crash();
  *std::ranges::find(lives_, &first) = nullptr;
  ASSERT_TRUE(world_.run_until([&] { return primary() != nullptr; }, crash + 10 * usual.lease));
  ASSERT_TRUE(put_and_wait(*primary()));
  EXPECT_LE(world_.now() - crash, usual.lease + 500 * kMillisecond);
  std::cout << static_cast<double>(world_.now() - crash) / kMillisecond << " ms\n";
}

TEST_F(GroupRules, AReadIsRefusedOnceTheLeaseHasEnded) {
  begin();
  MemberLife& leads = *primary();
  ASSERT_TRUE(leads.member().may_read());
  for (MemberLife* other : lives_) {
    if (other == &leads) continue;
    world_.cut(leads.host(), other->host());
    world_.cut(other->host(), leads.host());
  }
  world_.cut(leads.host(), etcd_->host());
  world_.run_for(kQuick.lease);
  EXPECT_FALSE(leads.member().may_read());
  world_.run_for(2 * kQuick.lease);
  EXPECT_EQ(
      std::ranges::count_if(nodes_, [](const auto& node) { return node->member().may_read(); }), 1);
}

}  // namespace
}  // namespace silurus::simulation
