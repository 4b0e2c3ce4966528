// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "replication/group/lease.h"
#include "replication/group/links.h"
#include "replication/group/replicator.h"
#include "replication/group/view.h"
#include "replication/group/view_store.h"
#include "replication/log.h"

namespace silurus::replication::group {

/// What all members of a group agree on beforehand.
struct Timing {
  Nanoseconds lease = 2 * kSecond;  ///< lease of reads; also how soon a primary can be replaced
  Nanoseconds heartbeat = 100 * kMillisecond;
  /// Silence after which a member is voted out.
  Nanoseconds silence = kSecond;
  /// So is one that takes longer than this to make durable what was there when it began.
  Nanoseconds slowness = kSecond;
  /// How often the view store is asked, when nothing is known to have happened.
  Nanoseconds poll = 500 * kMillisecond;
  /// How long a candidate waits for others to become one too.
  Nanoseconds candidacy = 100 * kMillisecond;
};

/// Bytes of the log that the slowest member may lack before writes have to wait.
constexpr std::uint64_t kMaxLagBytes = std::uint64_t{2} << 20;
/// Time for which the log that members outside of the view will need is kept for them,
/// if there is room.
constexpr Nanoseconds kLogKeptFor = 30 * kSecond;
/// Time after which a member that has not joined is not waited for, until as much again has passed.
constexpr Nanoseconds kLongestJoin = 900 * kSecond;
/// Epochs between the last view of a static group's first member that is known where another one
/// takes its place, and the first of that one: no more views were made meanwhile by far.
constexpr Epoch kEpochsOfALeader = Epoch{1} << 16;
/// Members outside of the view that the primary remembers.
constexpr std::size_t kMaxJoiners = 4 * kMaxMembers;
/// A member that lacks no more is taken into the view.
constexpr std::uint64_t kJoinLagBytes = std::uint64_t{64} << 10;

/// What the log is the log of.
class Machine {
 public:
  virtual ~Machine() = default;
  /// Applies the records from `from` to `commit` (or to an end of a batch before it): all of them
  /// are committed. Returns where it has got to.
  virtual Result<LogPosition> apply(const Log& log, LogPosition from, Lsn commit) = 0;
  /// Whether it has stopped before `commit` only to let others have their turn.
  virtual bool has_more() const { return false; }
  /// Stamp of the last record applied.
  virtual Stamp stamp() const = 0;
};

enum class Role : std::uint8_t {
  kOutside,    ///< knows of no view yet
  kJoining,    ///< follows the primary, but does not count
  kBackup,     ///< in the view: what it has counts for what is committed (see Ack)
  kCandidate,  ///< has left its view, never to return, for the next one
  kPrimary,
};
std::string_view to_string(Role role);

/// Which member leads.
enum class Leads : std::uint8_t {
  kIfElected,  ///< any member may: the one that is elected when the one before is gone
  kAlways,     ///< this one: the first member of a static group, whenever it runs
  kNever,      ///< another one: a member of a static group that is not the first
};

struct MemberOptions {
  MemberInfo self;
  Incarnation incarnation = 0;
  GroupId group = 0;
  Timing timing;
  /// Which member leads; it also makes the first view, if there is none.
  Leads leads = Leads::kIfElected;
  Ack ack = Ack::kAll;  ///< when a write is acknowledged: fixed by the first view of a group
  /// View::min_members of the views that it leads; nothing: what the view before says, or 0.
  std::optional<std::uint32_t> min_members = {};
};

/// A member that is not in the view yet, as the primary has heard of it.
struct Joiner {
  MemberInfo info;  ///< addresses are empty while the store has not told them
  /// It copies the tree of another member, of which it has that number of nodes; else it takes the
  /// log.
  bool copies = false;
  std::uint64_t nodes = 0;
  Lsn at = 0;              ///< from there on it needs the log, if that is there still
  bool keeps_log = false;  ///< the log is kept from there on for it
};

struct MemberCounters {
  std::uint64_t views = 0;         ///< entered
  std::uint64_t elections = 0;     ///< times that it became the primary
  std::uint64_t voted_out = 0;     ///< members that it voted out
  std::uint64_t refused = 0;       ///< messages of another epoch, or not understood
  std::uint64_t store_errors = 0;  ///< calls to the view store that failed
};

/// One member of a group: takes part in views, brings its log in step with the primary's or, as the
/// primary, decides what is committed. Has no thread or wait of its own: its owner calls
/// step() after the poller's progress() whenever something may have happened and at deadline() at
/// the latest. One thread.
///
/// Guarantees (docs/replication.md): what is committed is in the log of every later view's primary
/// (with Ack::kAll it is durable at every member); two primaries never both commit, nor may both
/// read; apply() sees what is committed, in the order of the log, and nothing else.
///
///   if (member.may_write()) { log.append(...); log.end_batch(); member.wrote(); }
///   if (member.committed() >= lsn) { /* answer */ }
class Member final : public LinksHandler {
 public:
  /// `applied`: where the machine has got to; all before it is committed. Everything must outlive
  /// it.
  Member(const MemberOptions& options, Log& log, LogPosition applied, Machine& machine,
         Replicator& replicator, Links& links, ViewStore& store, const Clock& clock);

  /// An error is that of the log or the machine, and final: the member must be given up.
  Status step();
  Nanoseconds deadline() const { return deadline_; }

  // --- the primary's user
  /// Whether batches may be appended to the log, with epoch() in their records.
  bool may_write() const;
  /// Batches were ended: sends them, and makes them durable here.
  Status wrote();
  /// Whether what the machine has applied is, now, what any client may see: no other member can
  /// have committed anything since.
  bool may_read() const;
  /// When that ends, if nothing is heard until then; 0 if it may not read now. Other threads may
  /// use it between two steps: a step makes it earlier only if it has said so first.
  Nanoseconds read_until() const;
  /// Until when others may be told that it may: what was told once cannot be taken back. A member
  /// that is alone in its view may read for ever; it promises half a lease at a time, and takes in
  /// only members that lead no view before the end of that.
  Nanoseconds told_until() const { return std::min(read_until(), told_until_); }

  /// What it is called in lines of the log: "member 12, epoch 3".
  std::string label() const {
    return "member " + std::to_string(options_.self.id) + ", epoch " + std::to_string(view_.epoch);
  }
  Role role() const { return role_; }
  Epoch epoch() const { return view_.epoch; }
  const View& view() const { return view_; }
  Lsn committed() const { return commit_; }
  /// The primary: all writes before it may be acknowledged: they were durable here, and as the view
  /// says elsewhere, while it had enough members (View::needed()).
  Lsn acknowledged() const { return acknowledged_; }
  LogPosition applied() const { return applied_; }
  /// What a member has applied, as far as the primary has heard; its own at any member.
  std::optional<Lsn> applied_at(MemberId member) const;
  /// What a member in step has said of bulk loads, as far as the primary has heard.
  std::optional<LoadRow> load_at(MemberId member) const;
  /// What is to be said of them in this member's row.
  void report(const LoadRow& load) { load_row_ = load; }
  /// Whether it can go on only with a copy of the tree.
  bool needs_copy() const { return replicator_.needs_copy(); }
  /// What that must have of the log: all of ours that was ever committed.
  Lsn copy_needs() const { return replicator_.copy_needs(); }
  /// What it has applied is not what the group has: it can go on only with an empty directory.
  bool contradicts() const { return replicator_.contradicts(); }
  ReplicatorCounters replicated() const { return replicator_.counters(); }
  /// A copy that is on its way: from where on the log will be needed behind it, and how many of its
  /// nodes are here. Nothing: there is none.
  struct TransferUnderWay {
    Lsn log = 0;
    std::uint64_t nodes = 0;
  };
  void expect_transfer(const std::optional<TransferUnderWay>& copy) { copy_ = copy; }
  /// The primary: where the log begins that members outside of the view still need, of what is
  /// there; nothing: none needs any.
  std::optional<Lsn> wanted_log() const;
  /// The primary: members outside of the view that were heard of lately.
  std::vector<Joiner> joiners() const;
  /// The last call to the view store failed: no view can be changed just now.
  bool store_is_away() const { return store_is_away_; }
  /// A call to it has succeeded once.
  bool has_heard_of_store() const { return has_heard_of_store_; }
  /// Whether another member takes over when the primary is gone.
  bool fails_over() const { return options_.leads == Leads::kIfElected; }
  /// By that time, on this member's clock, all that was committed is applied here; -1: not known.
  Nanoseconds complete_at() const { return complete_at_; }
  const MemberCounters& counters() const { return counters_; }

  // --- from the links
  void on_group_message(std::span<const std::byte> message) override;
  void on_window_bytes(std::uint64_t cookie, std::span<const std::byte> bytes) override;

 private:
  /// The table of the shared state: a row for each member that was heard of.
  struct Row {
    Incarnation incarnation = 0;
    Epoch epoch = 0;
    bool in_step = false;
    bool returned = false;  ///< it counts for nothing before the next view
    bool copies = false;    ///< the tree of another member
    /// Since when it has wanted to join, in whichever of its lives; 0: it is in the view.
    Nanoseconds wants_since = 0;
    RowBody body{};
    Nanoseconds heard = 0;
    /// What was there at that time; it is to be durable in due time.
    Lsn mark = 0;
    Nanoseconds marked = 0;
  };
  /// A view that may be, or become, the store's: it is tried until it is, or another one is.
  struct Proposal {
    View next;
    std::uint64_t revision = 0;
    bool under_way = false;
    Nanoseconds retry_at = 0;
  };

  // member.cc
  Status lead(Nanoseconds now);
  Status follow(Nanoseconds now);
  void on_log(const Message<LogBody>& message);
  void on_row(const Message<RowBody>& message);
  void make_room_for_row();
  void send_row();
  std::size_t encode(Kind kind, std::uint8_t flags, std::span<const std::byte> body,
                     std::span<std::byte> to) const;
  void on_probe(const Message<ProbeBody>& message);
  void probe();
  bool rest_is_coming();
  Status apply();
  void wake_at(Nanoseconds time) { deadline_ = std::min(deadline_, time); }
  SenderId self() const {
    return {options_.self.id, options_.incarnation, view_.epoch, view_.since};
  }
  // member_lead.cc
  void find_commit();
  Nanoseconds lease_until() const;
  Lsn agreed(const View& view) const;
  bool keeps_log_for(const Row& row) const;
  const Row* row_of(MemberId member) const;
  Lsn durable_at(MemberId member) const;
  bool is_enough(const View& next) const;
  bool keeps_promises(const View& next) const;
  void make_promises();
  bool may_follow(const View& next) const;
  void look_after_members(Nanoseconds now);
  void take_in_joiners();
  void take_back_in();
  // member_views.cc
  void ask_store(Nanoseconds now);
  void on_store(Result<ViewStore::State> state);
  void enter(const View& view);
  void log_change(const View& before) const;
  void become_primary();
  void mark_log();
  void stand_for_election(Nanoseconds now);
  void lead_again(Nanoseconds now);
  void give_up_place();
  void consider_candidates(Nanoseconds now);
  bool has_all_committed() const;
  bool is_copy() const;
  bool has_all_of_copy(const Registration& other) const;
  MemberInfo newest(const MemberInfo& member) const;
  void propose(View next);
  void try_proposal(Nanoseconds now);
  void on_replaced(Result<std::uint64_t> revision);
  Registration registration() const;

  const MemberOptions options_;
  Log& log_;
  Machine& machine_;
  Replicator& replicator_;
  Links& links_;
  ViewStore& store_;
  const Clock& clock_;

  Nanoseconds now_;
  Nanoseconds deadline_;
  Role role_ = Role::kOutside;
  View view_;                   ///< the newest one known; epoch 0: none
  std::uint64_t revision_ = 0;  ///< revision of view_ in the view store
  Lsn commit_ = 0;
  Lsn acknowledged_ = 0;
  LogPosition applied_;
  std::optional<Error> failed_;

  // The primary.
  ReadLease lease_;
  std::map<MemberId, Row> rows_;
  Nanoseconds next_heartbeat_ = 0;
  Nanoseconds told_until_ = 0;  ///< the latest that others may have been told
  Lsn ready_at_ = 0;            ///< it may write and read once the log is applied up to there

  // Any other.
  Promise promise_;
  Lsn told_commit_ = 0;
  std::optional<TransferUnderWay> copy_;
  Nanoseconds patient_until_ = 0;
  Nanoseconds complete_at_ = -1;
  /// The last probe, and what was answered: all that was committed when it was sent.
  std::uint64_t probe_ = 0;
  Nanoseconds probed_at_ = 0;
  std::optional<Lsn> probe_answer_;
  /// Since when part of a batch has been here, without a moment of having none.
  std::optional<Nanoseconds> parts_since_;
  LoadRow load_row_;
  std::optional<RowBody> sent_row_;
  Epoch sent_epoch_ = 0;
  bool sent_in_step_ = false;
  bool row_was_lost_ = false;
  Nanoseconds candidate_since_ = 0;
  /// The view that it was a member of when it started, having left it perhaps in an earlier life;
  /// 0: none.
  std::optional<Epoch> born_in_;
  /// All that was ever committed lies before it, as far as can be known of the last primary that
  /// this member, in this life, was in step with.
  std::optional<Lsn> noted_;

  // Views.
  std::vector<Registration> registrations_;
  std::optional<Proposal> proposal_;
  Nanoseconds next_poll_ = 0;
  Nanoseconds polled_at_ = 0;
  bool is_reading_ = false;
  bool read_again_ = false;
  bool is_announcing_ = false;
  bool announce_now_ = true;
  bool store_is_away_ = false;
  bool has_heard_of_store_ = false;
  MemberCounters counters_;
};

}  // namespace silurus::replication::group
