// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "common/log.h"
#include "server/limits.h"
#include "tests/simulation/service/service_client.h"

// What becomes of writes on their way when a primary loses more members than --min-members allows.

namespace silurus::simulation {
namespace {

constexpr std::size_t kGroupOfThree = 3;

/// A group of three of which two copies are needed, and a client that always has writes under way.
class FewMembers : public testing::Test {
 protected:
  FewMembers() {
    log::set_level(log::Level::kOff);
    group_.min_members = 2;
    for (std::size_t i = 0; i < kGroupOfThree; ++i) {
      hosts_.push_back(&world_.add_host("member" + std::to_string(i + 1)));
      lives_.push_back(std::make_unique<ServerLife>(service_, *hosts_[i], i + 1, disks_[i], i + 3,
                                                    Power::Failure::kPowerCut));
    }
    ledger_.room = testing_support::SetHistory::kMaxOperations - 1;
    std::vector<std::string> urls;
    for (const sim::Host* host : hosts_) urls.push_back(SimServer::url(*host));
    ServiceClient::Options options{.client = {.deadline = 30 * kSecond,
                                              .connect_timeout = kSecond,
                                              .silence = 20 * kSecond,
                                              .seed = 5,
                                              .client_id = 9}};
    options.in_flight = 3;
    options.longest_rest = kMillisecond;
    client_ = std::make_unique<ServiceClient>(service_, ledger_, world_.add_host("client"), urls,
                                              options);
  }
  ~FewMembers() override {
    EXPECT_EQ(group_.complaints, std::vector<std::string>());
    client_.reset();
  }

  ServerLife* primary() {
    const auto leads = [](const auto& life) { return life->member().may_write(); };
    const auto at = std::ranges::find_if(lives_, leads);
    return at == lives_.end() ? nullptr : at->get();
  }
  bool wait_for_view(std::size_t members) {
    return world_.run_until(
        [&] {
          ServerLife* const leads = primary();
          return leads != nullptr && leads->member().view().members.size() == members;
        },
        world_.now() + kSecond);
  }
  /// The backups hear neither the primary, nor each other, nor etcd.
  void isolate_backups() {
    for (sim::Host* host : hosts_) {
      if (host == &primary()->host()) continue;
      for (sim::Host* other : hosts_) {
        if (other == host) continue;
        world_.cut(*host, *other);
        world_.cut(*other, *host);
      }
      world_.cut(*host, *world_.find_host("etcd"));
      world_.cut(*world_.find_host("etcd"), *host);
    }
  }

  sim::World world_{17};
  SimEtcd etcd_{world_, world_.add_host("etcd"), 2 * kQuick.lease};
  GroupWorld group_{world_, etcd_, kQuick, sim::FabricOptions{.give_up = kQuick.silence}};
  Service service_{.group = group_, .published = {}, .fabric = {.give_up = 10 * kSecond}};
  std::deque<ServerDisk> disks_ = std::deque<ServerDisk>(kGroupOfThree);
  std::vector<sim::Host*> hosts_;
  std::vector<std::unique_ptr<ServerLife>> lives_;
  Ledger ledger_;
  std::unique_ptr<ServiceClient> client_;
};

TEST_F(FewMembers, WritesOnTheirWayWaitForMembersThatComeBack) {
  ASSERT_TRUE(wait_for_view(kGroupOfThree));
  world_.run_for(20 * kMillisecond);
  isolate_backups();
  ASSERT_TRUE(wait_for_view(1));
  const std::uint64_t alone = client_->counters().operations;
  world_.run_for(server::kMembersMayJoin / 2);
  world_.heal_all();
  ASSERT_TRUE(wait_for_view(kGroupOfThree));
  client_->finish_with(3);
  ASSERT_TRUE(world_.run_until([&] { return client_->is_idle(); }, world_.now() + kSecond));
  const ServiceClientCounters counters = client_->counters();
  EXPECT_EQ(counters.in_doubt, 0u);
  EXPECT_EQ(counters.failed, 0u);
  EXPECT_GT(counters.operations, alone) << "what waited was answered";
}

TEST_F(FewMembers, WritesOnTheirWayAreInDoubtWhenNoMemberComesBack) {
  ASSERT_TRUE(wait_for_view(kGroupOfThree));
  world_.run_for(20 * kMillisecond);
  isolate_backups();
  ASSERT_TRUE(wait_for_view(1));
  world_.run_for(server::kMembersMayJoin / 2);
  EXPECT_EQ(client_->counters().in_doubt + client_->counters().failed, 0u);
  world_.run_for(server::kMembersMayJoin);
  EXPECT_GT(client_->counters().in_doubt, 0u) << "those that were applied";
  EXPECT_GT(client_->counters().failed, 0u) << "those that came later are refused";
}

}  // namespace
}  // namespace silurus::simulation
