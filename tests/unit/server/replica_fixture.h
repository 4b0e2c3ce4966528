// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "replication/store.h"
#include "server/replica.h"
#include "tests/support/full_memory.h"
#include "tests/unit/replication/group/member_fixture.h"
#include "tests/unit/server/world.h"

namespace silurus::server::test {

/// A member of a group by itself (MemberTest) with what a server has of one: a store, a tree, and
/// the writes of clients. The log is that of the store.
class ReplicaTest : public replication::group::test::MemberTest, protected JobOwner<WriteJob<2>> {
 protected:
  static constexpr std::uint64_t kTreeBytes = std::uint64_t{16} << 20;
  static constexpr std::uint64_t kLogBytes = std::uint64_t{256} << 10;

  ReplicaTest() {
    for (auto& area : areas_) area.resize(kTreeBytes);
    replication::Volume fresh = volume();
    EXPECT_TRUE(replication::format_store<2>(fresh, 5, 0, 7));
    auto opened = replication::Store<2>::open_member(
        volume(), {{.memory_budget_bytes = kTreeBytes}, slabs_, tree_clock_}, {.threads = 1});
    EXPECT_TRUE(opened) << opened.error().message;
    opened_ = std::move(*opened);
  }
  ~ReplicaTest() override {
    if (replica_ != nullptr) replica_->give_up({ErrorCode::kUnavailable, "the test is over"});
  }

  /// `slice`: work on a batch in one step.
  void start(const replication::group::View& view, std::uint32_t slice = rtree::kSliceOfWork) {
    replica_ = std::make_unique<Replica<2>>(
        Replica<2>::Parts{*opened_.store, *opened_.tree, queue_, admission_, history_,
                          member_status_, slice},
        replication::group::MachineState(), opened_.stamp, opened_.applied);
    store_.state.view = view;
    store_.state.revision = kRevision;
    links_ = self_.links(1, kLife);
    member_ = std::make_unique<replication::group::Member>(
        replication::group::MemberOptions{.self = info(1),
                                          .incarnation = kLife,
                                          .group = replication::group::test::kGroupOfOne,
                                          .timing = replication::group::test::kTestTiming},
        opened_.store->log(), opened_.applied, replica_->machine(), replicator_, *links_, store_,
        self_.host.clock());
    replica_->attach(*member_);
    replicator_.has_received = log().end().lsn;
    run(4 * kMillisecond);
  }
  /// The member leads that view, and takes writes.
  void lead(const std::vector<replication::group::MemberId>& members,
            std::uint32_t slice = rtree::kSliceOfWork) {
    start(view_of(5, members), slice);
    for (const replication::group::MemberId id : members) {
      if (id != 1) row(id, log().end().lsn);
    }
    for (int i = 0; i < 10; ++i) turn();
    ASSERT_TRUE(member_->may_write());
  }
  replication::Log& log() { return opened_.store->log(); }

  /// A step of the member, and one of the replica.
  void turn() {
    step();
    ASSERT_TRUE(replica_->step(now()));
  }
  /// A write of that number of entries.
  void submit(std::uint64_t entries) {
    auto job = std::make_unique<WriteJob<2>>();
    job->owner = this;
    job->request = {.client = 9, .sequence = ++writes_, .first = 1};
    for (std::uint64_t i = 0; i < entries; ++i) job->operations.push_back(insert_of(next_id_++));
    ASSERT_EQ(queue_.submit(std::move(job)).refused, nullptr);
  }
  void complete(std::unique_ptr<WriteJob<2>> job) override { done_.push_back(std::move(job)); }

  std::vector<std::unique_ptr<WriteJob<2>>> done_;  ///< given back
  testing_support::FullDisk disk_;
  std::vector<std::byte> super_ =
      std::vector<std::byte>(replication::super_bytes(std::uint64_t{1} << 16));
  std::vector<std::byte> ring_ = std::vector<std::byte>(kLogBytes);
  std::vector<std::byte> areas_[2];
  std::vector<std::byte> extras_[2] = {std::vector<std::byte>(1 << 16),
                                       std::vector<std::byte>(1 << 16)};
  rtree::AnonymousSlabs slabs_;
  ManualClock tree_clock_;
  replication::Store<2>::OpenedMember opened_;
  WriteQueue<2> queue_;
  AdmissionControl admission_;
  History<2> history_{{}};
  MemberStatus member_status_{"group", 0, 1};
  std::unique_ptr<Replica<2>> replica_;
  std::uint64_t writes_ = 0;
  std::uint64_t next_id_ = 1;

 private:
  replication::Volume volume() {
    using testing_support::FullMemory;
    replication::Volume volume;
    volume.name = "the test's disk";
    volume.super = std::make_unique<FullMemory>(disk_, super_);
    volume.log = std::make_unique<FullMemory>(disk_, ring_);
    for (int i = 0; i < 2; ++i) {
      volume.nodes[i] = std::make_unique<FullMemory>(disk_, areas_[i], true);
      volume.extras[i] = std::make_unique<FullMemory>(disk_, extras_[i]);
    }
    return volume;
  }
};

}  // namespace silurus::server::test
