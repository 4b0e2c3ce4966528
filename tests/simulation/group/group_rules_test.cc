#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "common/log.h"
#include "tests/simulation/group/group_node.h"

// Single promises of a group, each in a run made for it.

namespace silurus::simulation {
namespace {

constexpr group::Timing kQuick = {.lease = 40 * kMillisecond,
                                  .heartbeat = 2 * kMillisecond,
                                  .silence = 15 * kMillisecond,
                                  .slowness = 20 * kMillisecond,
                                  .poll = 8 * kMillisecond,
                                  .candidacy = 4 * kMillisecond};

using group::ReplicationProtocol;

class GroupRules : public testing::Test {
 protected:
  static constexpr std::size_t kMembers = 3;

  void begin(const group::Timing& timing = kQuick,
             ReplicationProtocol protocol = ReplicationProtocol::kMulticast) {
    log::set_level(log::Level::kError);
    etcd_ = std::make_unique<SimEtcd>(world_, world_.add_host("etcd"), 2 * timing.lease);
    group_ = std::make_unique<GroupWorld>(world_, *etcd_, timing,
                                          sim::FabricOptions{.give_up = timing.silence}, protocol);
    lives_.resize(kMembers);
    for (std::size_t i = 0; i < kMembers; ++i) {
      contents_.push_back(CrashMemory::fresh(std::size_t{256} << 10));
    }
    for (std::size_t i = 0; i < kMembers; ++i) {
      auto& host = world_.add_host("member" + std::to_string(i + 1));
      nodes_.push_back(std::make_unique<MemberLife>(*group_, host, i + 1, contents_[i], 2 * i + 3,
                                                    Power::Failure::kPowerCut, lives_));
      lives_[i] = nodes_.back().get();
    }
    ASSERT_TRUE(world_.run_until(
        [this] {
          return std::ranges::all_of(nodes_, [](const auto& node) {
            return node->member().view().members.size() == kMembers;
          });
        },
        world_.now() + 10 * timing.lease));
    world_.run_for(2 * timing.heartbeat);
    ASSERT_NE(primary(), nullptr);
  }
  ~GroupRules() override {
    EXPECT_EQ(group_->complaints, std::vector<std::string>());
    nodes_.clear();
  }

  MemberLife* primary() {
    for (MemberLife* life : lives_) {
      if (life != nullptr && life->host().alive() && life->member().may_write()) return life;
    }
    return nullptr;
  }
  MemberLife& backup() { return *lives_[primary() == lives_[0] ? 1 : 0]; }

  /// Asks for one write; the answer is counted.
  void put(MemberLife& at) {
    ++sequence_;
    at.ask({.kind = Request::Kind::kAdd,
            .key = static_cast<unsigned>(sequence_ / kValues % kKeys),
            .value = static_cast<unsigned>(sequence_ % kValues),
            .client = 1,
            .sequence = sequence_},
           [this](const Answer& answer) { done_ += answer.done; });
  }
  bool put_and_wait(MemberLife& at) {
    const std::uint64_t before = done_;
    put(at);
    return world_.run_until([&] { return done_ > before; }, world_.now() + kSecond);
  }

  /// What the primary's link carries, to two others: what it sends, heartbeats included, and what
  /// they read. In batches of a datagram or two.
  double bytes_per_byte_of_the_log() {
    MemberLife& leads = *primary();
    const auto carried = [&] {
      std::uint64_t bytes = leads.links().bytes_sent();
      for (const MemberLife* life : lives_) bytes += life->links().bytes_read();
      return bytes;
    };
    const std::uint64_t before = carried();
    const Lsn end = leads.log().end().lsn;
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 48; ++i) put(leads);
      EXPECT_TRUE(world_.run_until([&] { return done_ == sequence_; }, world_.now() + kSecond));
    }
    const auto bytes = static_cast<double>(carried() - before);
    const auto copy = static_cast<double>(leads.log().end().lsn - end);
    std::cout << to_string(group_->protocol) << ": " << bytes / copy
              << " bytes sent for each byte of the log, to two others; "
              << bytes / static_cast<double>(done_) << " for each insert\n";
    return bytes / copy;
  }

  void slow_member_is_voted_out(ReplicationProtocol protocol) {
    begin(kQuick, protocol);
    MemberLife& leads = *primary();
    MemberLife& slow = backup();
    slow.turn = 60 * kMillisecond;
    const Nanoseconds start = world_.now();
    ASSERT_TRUE(put_and_wait(leads));
    EXPECT_LT(world_.now() - start, kQuick.slowness + kQuick.silence + 3 * kQuick.poll);
    EXPECT_FALSE(leads.member().view().has(slow.member().view().primary == 1 ? 2 : 1));
    slow.turn = kMicrosecond;
    EXPECT_TRUE(world_.run_until([&] { return leads.member().view().members.size() == kMembers; },
                                 world_.now() + kSecond))
        << "it comes back when it is slow no more";
  }

  sim::World world_{11};
  std::unique_ptr<SimEtcd> etcd_;
  std::unique_ptr<GroupWorld> group_;
  std::vector<CrashMemory::Content> contents_;
  std::vector<std::unique_ptr<MemberLife>> nodes_;
  std::vector<MemberLife*> lives_;
  std::uint64_t sequence_ = 0;
  std::uint64_t done_ = 0;
};

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
    EXPECT_FALSE(std::ranges::search(window, written).empty()) << "the bytes are in its memory";
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
  const auto others_primary = [&] {
    const auto found = std::ranges::find_if(
        lives_, [&](const MemberLife* life) { return life != &old && life->member().may_write(); });
    return found == lives_.end() ? nullptr : *found;
  };
  ASSERT_TRUE(world_.run_until([&] { return others_primary() != nullptr; },
                               world_.now() + 10 * kQuick.lease));
  MemberLife& leads = *others_primary();
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
  const std::size_t which = &backup() == lives_[0] ? 0 : 1;
  sim::Host& host = lives_[which]->host();
  lives_[which]->power().cut();
  host.crash();
  CrashMemory::end_life(lives_[which]->power(), contents_[which]);
  host.restart();
  nodes_.push_back(std::make_unique<MemberLife>(*group_, host, which + 1, contents_[which], 99,
                                                Power::Failure::kPowerCut, lives_));
  MemberLife& back = *nodes_.back();
  lives_[which] = &back;
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
