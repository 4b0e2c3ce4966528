// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "replication/group/member.h"
#include "replication/state_transfer/source.h"

namespace silurus::server {

/// What a member of a group says of itself and of the group to all threads of its server: whether
/// it may read for the group just now, and which other members are there. The group's thread
/// updates it after each step of the member; any thread may ask.
class MemberStatus {
 public:
  /// `cluster`, `shard`: for people. `self`: this member.
  MemberStatus(std::string cluster, std::uint32_t shard, replication::group::MemberId self)
      : cluster_(std::move(cluster)), shard_(shard), self_(self) {}

  // --- the group's thread
  void update(const replication::group::Member& member, Nanoseconds now);
  /// The member was given up, for that reason: it neither reads nor writes any more.
  void give_up(const Error& reason);
  /// Why this member cannot copy another one's tree; empty: it can, as far as is known.
  void note_copy_obstacle(const std::string& why);
  /// What others copied here.
  void note_copies(const replication::TransferSourceCounters& copies);
  /// A bulk load that is under way here, for people.
  struct BulkLoad {
    std::string phase;  ///< empty: there is none
    std::uint64_t entries = 0;
    std::uint64_t nodes = 0;
    std::uint64_t copied = 0;  ///< at the member that has the fewest
  };
  void note_load(const BulkLoad& load);

  // --- any thread
  /// Whether what is published here is, at that time, the newest that any client can have seen. To
  /// be asked after a snapshot was taken, with the time after it.
  bool may_read(Nanoseconds now) const { return now < read_until(); }
  /// Until when it may; 0: not now.
  Nanoseconds read_until() const {
    // Acquire: pairs with the release in update(): whatever was applied before is seen.
    return read_until_.load(std::memory_order_acquire);
  }
  /// Until when clients may be told so (Member::told_until()).
  // Acquire: as in read_until().
  Nanoseconds told_until() const { return told_until_.load(std::memory_order_acquire); }
  /// Whether writes are taken here, as far as is known.
  bool is_primary() const { return is_primary_.load(std::memory_order_relaxed); }
  replication::group::Epoch epoch() const { return epoch_.load(std::memory_order_relaxed); }
  /// An upper bound on how long ago a version was published that is newer than ours: 0 where
  /// may_read(), protocol::kNoEnd if nothing is known.
  std::uint64_t staleness_ns(Nanoseconds now) const;
  /// The answer to a client that must ask the primary.
  Error not_primary() const;

  /// For statistics and for kCluster.
  struct Facts {
    struct Member {
      replication::group::MemberInfo info;
      bool in_view = true;
      std::optional<std::uint64_t> applied_lsn;  ///< only the primary knows others'
    };
    std::string cluster;
    std::uint32_t shard = 0;
    replication::group::MemberId self = 0;
    replication::group::MemberId primary = 0;
    replication::group::Epoch epoch = 0;
    std::string role;
    std::uint64_t committed_lsn = 0;
    std::uint64_t applied_lsn = 0;
    Nanoseconds lease_left = 0;  ///< INT64_MAX: a member alone
    bool store_is_away = false;
    bool fails_over = true;  ///< false: of a static group
    bool needs_copy = false;
    bool contradicts = false;
    /// Members of the view, all of which have whole copies, and those without which no write is
    /// acknowledged.
    std::size_t copies = 0;
    std::size_t copies_needed = 0;
    std::uint32_t min_members = 0;  ///< as the group was told; 0: a majority of the most there were
    std::string refusal;            ///< why the primary takes no writes for that; empty: it does
    std::vector<replication::group::Joiner> joiners;   ///< as the primary has heard of them
    replication::TransferSourceCounters copies_given;  ///< to others
    BulkLoad load;
    std::string copy_obstacle;  ///< why this member cannot copy another one's tree, or empty
    std::string failure;        ///< why it was given up, or empty
    replication::group::MemberCounters counters;
    replication::group::ReplicatorCounters replicated;
    std::vector<Member> members;
  };
  Facts facts(Nanoseconds now) const;

 private:
  void note_copies_of(const replication::group::Member& member);

  const std::string cluster_;
  const std::uint32_t shard_;
  const replication::group::MemberId self_;
  std::atomic<Nanoseconds> read_until_{0};
  std::atomic<Nanoseconds> told_until_{0};
  std::atomic<bool> is_primary_{false};
  std::atomic<replication::group::Epoch> epoch_{0};
  std::atomic<Nanoseconds> complete_at_{-1};  ///< all committed by then is applied; -1: not known
  std::atomic<std::uint64_t> committed_{0};
  std::atomic<std::uint64_t> applied_{0};

  // The group's thread's.
  Nanoseconds next_look_ = 0;
  replication::group::Role role_ = replication::group::Role::kOutside;

  mutable std::mutex mutex_;
  Facts facts_;  ///< but for what the atomics say
};

}  // namespace silurus::server
