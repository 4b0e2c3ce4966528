// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/group/faults.h"
#include "tests/simulation/group/group_node.h"
#include "tests/support/seed.h"

// What runs through faults have in common: a fabric, hosts and lives drawn from a seed, members
// that die and start again, and a sum of what happened in all seeds.

namespace silurus::simulation {

constexpr Nanoseconds kEtcdLease = 30 * kMillisecond;

/// One of `plain_in` has connections and nothing else, as tcp has.
sim::FabricOptions draw_fabric(Random& random, std::uint64_t plain_in);
/// A host whose clock is off, and drifts.
sim::Host& add_drifting_host(sim::World& world, Random& random, const std::string& name);
Power::Failure draw_failure(Random& random);
/// The host crashes, or its process is killed, when the power of its life fails. What the life was
/// about goes on to its end, and nothing comes of it; `reap` is called after that.
void crash_with(Power& power, GroupWorld& group, sim::Host& host, std::function<void()> reap);
/// The power fails within the next stores and flushes, if it has not failed yet.
void cut_soon(Power& power, Random& random);
/// The power does not fail any more.
void keep_on(Power& power);

/// A member has a copy of another one's tree: it ends as harshly as any, and is soon there again.
void start_again(Faults::Victims& victims, std::size_t member, GroupWorld& group, sim::Host& host);

/// Adds counters, of which the struct consists.
template <typename Counters>
void add_counters(Counters& sum, const Counters& more) {
  using Words = std::array<std::uint64_t, sizeof(Counters) / sizeof(std::uint64_t)>;
  static_assert(sizeof(Words) == sizeof(Counters));
  auto words = std::bit_cast<Words>(sum);
  std::ranges::transform(words, std::bit_cast<Words>(more), words.begin(), std::plus());
  sum = std::bit_cast<Counters>(words);
}

/// A run for each seed, until one complains, which fails the test.
template <typename Run, typename... Arguments>
auto run_seeds(testing_support::Seeds& seeds, Arguments... arguments) {
  typename Run::Counters all{};
  while (seeds.next()) {
    Run run(seeds.current(), arguments...);
    const std::string wrong = run.run();
    EXPECT_EQ(wrong, "") << "SEED=" << seeds.current() << "\n" << run.trace();
    if (!wrong.empty()) break;
    if (seeds.is_again()) std::cout << run.trace();
    add_counters(all, run.counters());
  }
  return all;
}

/// A group of three members through the faults of one seed. `Life`: one life of a member, `Disk`:
/// what all of its lives have.
template <typename Life, typename Disk>
class FaultRun : public Faults::Victims {
 public:
  /// What happened, for people.
  std::string trace() const;
  std::uint64_t trace_hash() const { return world_.trace_hash(); }

 protected:
  static constexpr std::size_t kMembers = 3;
  struct Node {
    sim::Host* host;
    group::MemberId id;
    Disk disk;
    std::unique_ptr<Life> life = {};
  };

  FaultRun(std::uint64_t seed, std::uint64_t salt, std::uint64_t plain_in, std::size_t push_bytes);
  ~FaultRun() = default;
  /// Members, with those disks, and hosts for clients, with links of any quality between them; the
  /// members start.
  void add_hosts(const std::function<Disk()>& make_disk, std::size_t clients);
  bool is_up(std::size_t member) const override { return nodes_[member].life != nullptr; }
  void start(std::size_t member) override;
  void crash(std::size_t member) override { nodes_[member].life->power().cut(); }
  void set_turn(std::size_t member, Nanoseconds turn) override {
    if (is_up(member)) nodes_[member].life->turn = turn;
  }
  void crash_while_writing(std::size_t member) override {
    cut_soon(nodes_[member].life->power(), random_);
  }
  virtual std::unique_ptr<Life> make_life(Node& node, std::uint64_t seed,
                                          Power::Failure failure) = 0;
  /// The node's life has ended.
  virtual void on_end(Node& node) = 0;
  /// More about a life, or a client, for people.
  virtual std::string describe(const Life& life) const = 0;
  virtual std::string describe_clients() const = 0;
  /// Faults between these times, and until all hosts are well again.
  void run_faults(Nanoseconds from, Nanoseconds until);
  /// All members are there, in one view, and have applied the same.
  bool have_members_converged() const;

  const std::uint64_t seed_;
  sim::World world_;
  Random random_;
  std::unique_ptr<SimEtcd> etcd_;
  std::unique_ptr<GroupWorld> group_;
  std::unique_ptr<Faults> faults_;
  std::deque<Node> nodes_;  ///< lives hold on to their disks
  std::vector<std::unique_ptr<Life>> dead_;
  std::vector<sim::Host*> client_hosts_;
  std::uint64_t lives_begun_ = 0;
};

template <typename Life, typename Disk>
FaultRun<Life, Disk>::FaultRun(std::uint64_t seed, std::uint64_t salt, std::uint64_t plain_in,
                               std::size_t push_bytes)
    : seed_(seed), world_(seed), random_(seed ^ salt) {
  etcd_ = std::make_unique<SimEtcd>(world_, world_.add_host("etcd"), kEtcdLease);
  group_ = std::unique_ptr<GroupWorld>(
      new GroupWorld{world_, *etcd_, kQuick, draw_fabric(random_, plain_in),
                     static_cast<group::ReplicationProtocol>(seed % 3), push_bytes,
                     static_cast<group::Ack>(seed / 3 % 3)});
  if (seed % 5 > 1) group_->min_members = static_cast<std::uint32_t>(seed % 5 - 1);
}

template <typename Life, typename Disk>
void FaultRun<Life, Disk>::add_hosts(const std::function<Disk()>& make_disk, std::size_t clients) {
  Faults::Hosts hosts;
  for (std::size_t i = 1; i <= kMembers; ++i) {
    hosts.members.push_back(&add_drifting_host(world_, random_, "member" + std::to_string(i)));
    nodes_.push_back({.host = hosts.members.back(), .id = i, .disk = make_disk()});
  }
  for (std::size_t i = 1; i <= clients; ++i) {
    hosts.clients.push_back(&add_drifting_host(world_, random_, "client" + std::to_string(i)));
  }
  client_hosts_ = hosts.clients;
  faults_ = std::make_unique<Faults>(*group_, random_, std::move(hosts), *this);
  faults_->draw_links();
  for (std::size_t i = 0; i < kMembers; ++i) start(i);
}

template <typename Life, typename Disk>
void FaultRun<Life, Disk>::start(std::size_t member) {
  Node& node = nodes_[member];
  const std::uint64_t life = seed_ * 1000 + ++lives_begun_;
  node.life = make_life(node, life * 2, draw_failure(random_));
  crash_with(node.life->power(), *group_, *node.host, [this, &node] {
    on_end(node);
    dead_.push_back(std::move(node.life));
  });
  group_->note(node.host->name() + " starts");
}

template <typename Life, typename Disk>
void FaultRun<Life, Disk>::run_faults(Nanoseconds from, Nanoseconds until) {
  faults_->schedule(from, until);
  world_.run_until(until + 150 * kMillisecond);
  for (const Node& node : nodes_) {
    if (node.life != nullptr) keep_on(node.life->power());
  }
  faults_->heal();
  world_.run_for(100 * kMillisecond);
}

template <typename Life, typename Disk>
bool FaultRun<Life, Disk>::have_members_converged() const {
  return std::ranges::all_of(nodes_, [&](const Node& node) {
    const Life* const first = nodes_.front().life.get();
    return first != nullptr && node.life != nullptr &&
           node.life->member().view() == first->member().view() &&
           first->member().view().members.size() == kMembers &&
           node.life->member().applied() == first->member().applied();
  });
}

template <typename Life, typename Disk>
std::string FaultRun<Life, Disk>::trace() const {
  std::string text = std::string(to_string(group_->protocol)) + ", ack " +
                     std::string(to_string(group_->ack)) + "\n";
  for (const std::string& line : group_->trace) text += line + "\n";
  for (const Node& node : nodes_) {
    if (node.life == nullptr) continue;
    const group::Member& member = node.life->member();
    text += node.host->name() + ": " + std::string(to_string(member.role())) + " in view " +
            encode(member.view()) + ", committed " + std::to_string(member.committed()) +
            ", applied " + std::to_string(member.applied().lsn) + describe(*node.life) + "\n";
  }
  return text + describe_clients();
}

}  // namespace silurus::simulation
