#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/log_limiter.h"
#include "common/result.h"
#include "replication/group/member.h"
#include "replication/group/tree_copy.h"
#include "replication/store.h"
#include "server/limits.h"
#include "server/member_status.h"
#include "server/replica.h"

namespace silurus::server {

/// Brings the tree of another member into a store of its own, beside the one that serves: on a
/// thread (StateFetchThread), or in a simulated world. Made, asked and destroyed by StateTransfer.
class StateFetch {
 public:
  /// Ends what is under way; what has not arrived is gone.
  virtual ~StateFetch() = default;
  /// Begins a copy of the tree of the member that others find there. None is under way.
  virtual void begin(const std::string& source,
                     const replication::group::TransferOptions& copy) = 0;
  /// Where the log goes on behind the version being copied; 0: none is held yet.
  virtual replication::Lsn log() const = 0;
  /// Nodes of that version that are here.
  virtual std::uint64_t nodes() const = 0;
  /// Nothing while it is under way; once it is over, why it was in vain, if it was.
  virtual std::optional<Status> outcome() const = 0;
  /// Wants it to end soon, in vain if it is not over by then.
  virtual void cancel() = 0;
};

/// Where the nodes of a copy go. One thread at a time; all but arrive() belong to the copy.
template <int D>
class StateSink {
 public:
  virtual ~StateSink() = default;
  /// A copy begins; of the one before nothing counts.
  virtual Status begin() = 0;
  /// See replication::group::TakeNode.
  virtual Status take(rtree::NodeRef ref, const rtree::Node<D>& node) = 0;
  /// All of it is there: makes it durable.
  virtual Status finish(const replication::group::TreeFacts& facts) = 0;
  /// What is whole is what the member's next life finds. After an error it may be that, or not.
  virtual Status arrive() = 0;
};

struct StateTransferOptions {
  Nanoseconds patience = kCopyPatience;
  Nanoseconds pause = kCopyPause;
  Nanoseconds longest_pause = kLongestCopyPause;
  Nanoseconds longest_pause_without_room = kLongestCopyPauseWithoutRoom;
  std::uint64_t memory_share = kCopiesShare;
};

struct StateTransferCounters {
  std::uint64_t begun = 0;    ///< copies of another one's tree
  std::uint64_t in_vain = 0;  ///< copies that were begun and not given whole
  std::uint64_t dropped = 0;  ///< copies that were whole and no longer wanted
  std::uint64_t arrived = 0;
  std::uint64_t waits = 0;  ///< steps in which a whole copy waited for a view store that is away
  std::uint64_t ended = 0;  ///< times that copies of our tree held too much
};

/// Whether a copy takes the place of a member's own tree: `log` is where it ends, `needed` where it
/// has to reach to at least if the member needs one. It may need none any more, or more of the log
/// than this copy has: another primary has what was missing, and then there may be committed writes
/// that only the member's own log has.
inline bool may_replace_tree(replication::Lsn log, bool is_needed, replication::Lsn needed) {
  return is_needed && log >= needed;
}

/// A member's part in copies of the tree (decision 0110). Others copy ours; and when the group's
/// log does not reach back to where ours ends, we copy another one's: of a backup if there is one,
/// of the next member if one cannot give it whole, and of all again after a while. The owner of the
/// member calls step() after each of its steps, on the same thread.
template <int D>
class StateTransfer {
 public:
  using MakeFetch = std::function<std::unique_ptr<StateFetch>(StateSink<D>& sink)>;
  using MakeSink = std::function<std::unique_ptr<StateSink<D>>()>;
  struct Parts {
    replication::Store<D>& store;
    rtree::Tree<D>& tree;
    const Replica<D>& replica;
    MemberStatus& member_status;
    replication::group::Member& member;
    replication::group::Links& links;
    replication::group::GroupId group;
    replication::group::MemberId self;
    MakeFetch make_fetch;
    MakeSink make_sink;
  };
  /// All parts must outlive it. The slabs of the tree are exposed next at the links' listener.
  StateTransfer(const Parts& parts, const StateTransferOptions& options);
  ~StateTransfer();
  StateTransfer(const StateTransfer&) = delete;

  /// An error is final, as the member's.
  Status step(Nanoseconds now);
  /// A copy is what the next life of this member finds: this one takes no further step.
  bool has_arrived() const { return counters_.arrived > 0; }
  /// Whether another one's tree is being copied.
  bool is_fetching() const { return fetch_ != nullptr; }
  const StateTransferCounters& counters() const { return counters_; }
  const replication::group::TransferSource<D>& source() const { return source_; }

 private:
  void give(Nanoseconds now);
  bool hold_too_much() const;
  Status take(Nanoseconds now);
  Status take_end(const Status& outcome, Nanoseconds now);
  void begin(Nanoseconds now);
  void try_next(Nanoseconds now);
  void drop(Nanoseconds now, Nanoseconds longest_pause);
  void give_up_for_want_of_room(Nanoseconds now);

  const Parts parts_;
  const StateTransferOptions options_;
  replication::group::TransferSource<D> source_;
  std::uint64_t held_before_ = 0;  ///< bytes, before the first copy under way began
  std::uint64_t messages_ = 0;     ///< as told to the status
  std::unique_ptr<StateSink<D>> sink_;
  std::unique_ptr<StateFetch> fetch_;  ///< goes before its sink
  std::deque<std::string> sources_;    ///< the one being asked, and those to ask after it
  bool is_waiting_ = false;            ///< for the view store, with a copy that is whole
  Nanoseconds again_at_ = 0;
  Nanoseconds pause_;
  bool lacks_room_ = false;  ///< the last copy was larger than this member's tree may become
  log::LogLimiter limiter_;
  StateTransferCounters counters_;
};

}  // namespace silurus::server
