// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/log_limiter.h"
#include "common/result.h"
#include "replication/group/member.h"
#include "replication/state_transfer/incoming_store.h"
#include "replication/state_transfer/receiver.h"
#include "replication/state_transfer/source.h"
#include "replication/store.h"

// State transfer: a member whose log ends before the primary's begins copies the tree of another
// member, node by node, and starts again with the copy (decisions 0084, 0110; Vardoulakis et al.,
// "Tebis: Index shipping for efficient replication in LSM key-value stores", EuroSys 2022).
//
// Who asks whom for what, in this order:
//
//   the member that lacks the log                         another member of its view
//   -----------------------------                         --------------------------
//   StateTransfer   asks the backups first, then the
//                   primary, one after the other
//   StateFetch      makes an empty store (IncomingStore)
//                   and connects to the source ---------> the group's listener hands the
//                   (hello: kTransferMagic)               connection to its TransferSource
//   TransferReceiver
//     kHoldMessage -------------------------------------> pins its newest version, keeps the log
//            <-------------------------------- PinnedHead  behind it: root, place in the log
//     nodes, level by level from the root:
//       one-sided reads of the slabs, where there are     does nothing
//       any; else kNodesMessage ------------------------> sends those nodes
//     kExtraMessage ------------------------------------> sends the table of clients' writes
//   IncomingStore   writes nodes as they come; when all
//                   are there, makes them durable         unpins at the end of the connection
//   StateTransfer   decides whether the tree is still
//                   wanted (may_replace_tree), renames
//                   the store (arrive), stops the member
//   the server      starts again, finds the new store,
//                   and takes the log behind it from the
//                   primary
//
// What a crash does:
// * The source dies, or is silent for kCopyPatience: the next member is asked, from the beginning.
//   When none is left, all of them again after a pause.
// * The receiver dies: the source frees the version at the end of the connection, or after
//   kLongestTransfer. The next start of the receiver removes what had not arrived and begins again.
// * In arrive(): before the rename the old store counts, after it the new one. The next start ends
//   moving its files into place (open_directory()).
// * In all of that the old tree serves searches that may be stale; it is not changed.
//
// A bulk load in a group (decision 0131) uses source, receiver and fetch in the same way, with a
// sink of its own, which puts the nodes into the tree that serves (server/load_taker.h).

namespace silurus::replication {

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

/// What a state transfer asks of the server that it belongs to. The group's thread calls it.
template <int D>
struct TransferHost {
  typename TransferSource<D>::Hold hold;
  typename TransferSource<D>::HoldLoad hold_load;
  /// Takes news of what others have copied here.
  std::function<void(const TransferSourceCounters&)> on_copied;
  /// Takes the reason why this member cannot copy another one's tree; empty: it can again.
  std::function<void(const std::string& why)> on_obstacle;
  MakeFetch<D> make_fetch;
  /// Makes the place of what becomes the store of the member's next life.
  std::function<std::unique_ptr<IncomingPlace>()> make_place;
};

/// Whether a copy takes the place of a member's own tree: `log` is where it ends, `needed` where it
/// has to reach to at least if the member needs one. It may need none any more, or more of the log
/// than this copy has: another primary has what was missing, and then there may be committed writes
/// that only the member's own log has.
inline bool may_replace_tree(Lsn log, bool is_needed, Lsn needed) {
  return is_needed && log >= needed;
}

/// A member's part in state transfer, both ways. The owner of the member calls step() after each of
/// its steps, on the same thread.
template <int D>
class StateTransfer {
 public:
  struct Parts {
    Store<D>& store;
    rtree::Tree<D>& tree;
    group::Member& member;
    group::Links& links;
    group::GroupId group;
    group::MemberId self;
  };
  /// All parts must outlive it. The slabs of the tree are exposed next at the links' listener.
  StateTransfer(const Parts& parts, TransferHost<D> host, const StateTransferOptions& options);
  ~StateTransfer();
  StateTransfer(const StateTransfer&) = delete;
  StateTransfer& operator=(const StateTransfer&) = delete;

  /// An error is final, as the member's.
  Status step(Nanoseconds now);
  /// A copy is what the next life of this member finds: this one takes no further step.
  bool has_arrived() const { return counters_.arrived > 0; }
  /// Whether another one's tree is being copied.
  bool is_fetching() const { return fetch_ != nullptr; }
  const StateTransferCounters& counters() const { return counters_; }
  const TransferSource<D>& source() const { return source_; }

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
  const TransferHost<D> host_;
  const StateTransferOptions options_;
  TransferSource<D> source_;
  std::uint64_t held_before_ = 0;  ///< bytes, before the first copy under way began
  std::uint64_t messages_ = 0;     ///< as the host was told
  std::unique_ptr<IncomingStore<D>> sink_;
  std::unique_ptr<StateFetch> fetch_;  ///< goes before its sink
  std::deque<std::string> sources_;    ///< the one being asked, and those to ask after it
  bool is_waiting_ = false;            ///< for the view store, with a copy that is whole
  Nanoseconds again_at_ = 0;
  Nanoseconds pause_;
  bool lacks_room_ = false;  ///< the last copy was larger than this member's tree may become
  log::LogLimiter limiter_;
  StateTransferCounters counters_;
};

}  // namespace silurus::replication
