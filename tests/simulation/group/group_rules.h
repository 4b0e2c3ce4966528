// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common/log.h"
#include "tests/simulation/group/group_node.h"

namespace silurus::simulation {

using group::ReplicationProtocol;

/// Three members, an etcd and one client, without faults but those that a test makes.
class GroupRules : public testing::Test {
 protected:
  static constexpr std::size_t kMembers = 3;

  void begin(const group::Timing& timing = kQuick,
             ReplicationProtocol protocol = ReplicationProtocol::kMulticast,
             group::Ack ack = group::Ack::kAll, std::size_t push_bytes = std::size_t{64} << 10) {
    log::set_level(log::Level::kError);
    etcd_ = std::make_unique<SimEtcd>(world_, world_.add_host("etcd"), 2 * timing.lease);
    group_ = std::unique_ptr<GroupWorld>(
        new GroupWorld{world_, *etcd_, timing,
                       sim::FabricOptions{.capabilities = capabilities_, .give_up = timing.silence},
                       protocol, push_bytes, ack, offers_copies_});
    group_->min_members = min_members_;
    if (is_static_) group_->static_views.emplace();
    lives_.resize(kMembers);
    for (std::size_t i = 0; i < kMembers; ++i) {
      contents_.push_back(CrashMemory::fresh(std::size_t{256} << 10));
    }
    for (std::size_t i = 0; i < kMembers; ++i) {
      auto& host = world_.add_host("member" + std::to_string(i + 1));
      nodes_.push_back(std::make_unique<MemberLife>(*group_, host, i + 1, contents_[i], 2 * i + 3,
                                                    Power::Failure::kPowerCut));
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
  void begin_with_copies(sim::FabricOptions fabric, group::Ack ack = group::Ack::kAll) {
    offers_copies_ = true;
    capabilities_ = fabric.capabilities;
    begin(kQuick, ReplicationProtocol::kMulticast, ack);
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
  /// The power of a member fails; its place in lives_.
  std::size_t crash(MemberLife& life) {
    const auto which = static_cast<std::size_t>(std::ranges::find(lives_, &life) - lives_.begin());
    life.power().cut();
    life.host().crash();
    CrashMemory::end_life(life.power(), contents_[which]);
    lives_[which] = nullptr;
    return which;
  }
  MemberLife& restart(std::size_t which) {
    sim::Host& host = *world_.find_host("member" + std::to_string(which + 1));
    host.restart();
    nodes_.push_back(std::make_unique<MemberLife>(*group_, host, which + 1, contents_[which],
                                                  99 + 2 * nodes_.size(),
                                                  Power::Failure::kPowerCut));
    return *(lives_[which] = nodes_.back().get());
  }
  /// Waits for a primary that is not this one.
  MemberLife* next_primary(const MemberLife* old, Nanoseconds wait = kSecond) {
    const auto other = [&]() -> MemberLife* {
      for (MemberLife* life : lives_) {
        if (life != nullptr && life != old && life->member().may_write()) return life;
      }
      return nullptr;
    };
    world_.run_until([&] { return other() != nullptr; }, world_.now() + wait);
    return other();
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
  std::deque<CrashMemory::Content> contents_;  ///< members hold on to theirs
  std::vector<std::unique_ptr<MemberLife>> nodes_;
  std::vector<MemberLife*> lives_;
  bool offers_copies_ = false;
  std::optional<std::uint32_t> min_members_ = {};
  bool is_static_ = false;  ///< the first member keeps the views, not etcd
  transport::Capabilities capabilities_ = sim::FabricOptions().capabilities;
  std::uint64_t sequence_ = 0;
  std::uint64_t done_ = 0;
};

}  // namespace silurus::simulation
