// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "replication/record.h"

// The members that replicate a shard. A view is agreed upon in a ViewStore, and only there; between
// two changes of it no consensus is needed.

namespace silurus::replication::group {

/// Counts the views of a shard: 1, 2, 3, ... Travels in each record, datagram and row.
using Epoch = std::uint32_t;
/// Names a member for ever: the id of its store (Superblock), not of a process. Never 0.
using MemberId = std::uint64_t;
/// Names one life of a member: random for each process. Never 0.
using Incarnation = std::uint64_t;

constexpr std::size_t kMaxMembers = 7;         ///< members in one group
constexpr std::size_t kMaxAddressBytes = 256;  ///< length of an address where a member listens

/// How much must be the case before a write is committed, and its client answered; of a view, for
/// it says as well which member may lead the next one (docs/decisions/0083).
enum class Ack : std::uint8_t {
  kAll,       ///< durable at every member
  kQuorum,    ///< durable at more than half of the members, the primary among them
  kMetadata,  ///< durable at the primary, and every member knows that it is there
};
/// "all", "quorum", "metadata".
std::string_view to_string(Ack ack);
/// kInvalidArgument names those that there are.
Result<Ack> parse_ack(std::string_view text);
/// View::min_members of "majority", or of a number of members; kInvalidArgument says what would be
/// right.
Result<std::uint32_t> parse_min_members(std::string_view text);

struct MemberInfo {
  MemberId id = 0;
  std::string peers;    ///< where it listens for other members: "rdma://10.0.0.1:7471"
  std::string clients;  ///< where it listens for clients; may be empty
  friend bool operator==(const MemberInfo&, const MemberInfo&) = default;
};

/// The members that count for what is committed (each of them, or as many as `ack` asks for), and
/// which of them orders the writes. Immutable once agreed.
struct View {
  Epoch epoch = 0;
  std::vector<MemberInfo> members;
  MemberId primary = 0;
  /// The one life of the primary that leads this view: should it restart, it leads no more.
  Incarnation incarnation = 0;
  /// Names the primary's term: the epoch of the first view of those, one after the other, that it
  /// leads. Should it come back after another one, its log may be another.
  Epoch since = 0;
  Ack ack = Ack::kAll;
  /// Members that must be in the view for writes to be acknowledged; 0: a majority of the most that
  /// ever were in one at once.
  std::uint32_t min_members = 0;
  std::uint32_t most_members = 1;

  /// Members at which a write must be durable with Ack::kQuorum.
  std::size_t quorum() const { return members.size() / 2 + 1; }
  /// Members without which no write is acknowledged, the primary among them.
  std::size_t needed() const { return min_members != 0 ? min_members : most_members / 2 + 1; }
  bool has_enough() const { return members.size() >= needed(); }
  /// Takes note of how many members it has, as part of what every later view knows.
  void count() {
    most_members = std::max(most_members, static_cast<std::uint32_t>(members.size()));
  }
  bool is_same_term(const View& other) const {
    return primary == other.primary && incarnation == other.incarnation && since == other.since;
  }
  const MemberInfo* find(MemberId id) const;
  bool has(MemberId id) const { return find(id) != nullptr; }
  friend bool operator==(const View&, const View&) = default;
};

/// Why a primary of that view takes no writes, if it has too few members (View::has_enough()), and
/// what to do.
std::string too_few_members(const View& view);

/// What a member says of itself in the store, under a lease.
struct Registration {
  MemberInfo member;
  Incarnation incarnation = 0;
  /// The epoch that it would lead or join: it has left the one before, never to return. 0: it
  /// stands by its view.
  Epoch candidate_for = 0;
  Lsn durable = 0;      ///< end of its log when it left, ...
  Epoch log_epoch = 0;  ///< epoch of the last record in it; 0: unknown
  /// If all that it has is a copy of a tree, and so committed: the chain at `durable`; else 0.
  std::uint64_t copy_chain = 0;
};

/// What each member of a static group (one without etcd) keeps of its views on disk.
struct PersistedView {
  /// The store of the member that founded the group: names it, for one that was founded anew is
  /// another group.
  MemberId founder = 0;
  /// The last view before the present leader took the place of another member, as far as it knew;
  /// 0: the founder leads.
  Epoch taken_over_at = 0;
  View view;
  friend bool operator==(const PersistedView&, const PersistedView&) = default;
};

/// As JSON, for the store and for people.
std::string encode(const View& view);
std::string encode(const Registration& registration);
std::string encode(const PersistedView& kept);
/// Check all: kProtocol says what is wrong.
Result<View> decode_view(std::string_view text);
Result<Registration> decode_registration(std::string_view text);
Result<PersistedView> decode_persisted_view(std::string_view text);

}  // namespace silurus::replication::group
