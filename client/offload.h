// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "client/change_follower.h"
#include "client/index_roots.h"
#include "client/node_cache.h"
#include "client/version_leases.h"
#include "common/clock.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "rtree/cursor.h"
#include "rtree/geometry.h"
#include "rtree/id_cursor.h"
#include "rtree/node.h"
#include "rtree/root_block.h"
#include "silurus/options.h"
#include "transport/fabric.h"

namespace silurus::client {

/// What one search took.
struct SearchCost {
  std::uint32_t round_trips = 0;  ///< one after the other, the first included
  std::uint32_t nodes_read = 0;   ///< or parts of leaves
  std::uint32_t reads = 0;        ///< reads of nodes or parts of them, and of roots; where
                                  ///< several searches share one of a root, the first has it
  std::uint64_t bytes_read = 0;   ///< by those reads
  std::uint32_t cache_hits = 0;
  std::uint32_t cache_misses = 0;  ///< inner nodes that had to be read
  std::uint32_t restarts = 0;      ///< times that all was thrown away
};

/// Walks the server's tree with one-sided reads, many searches at once.
///
/// What makes an answer right (docs/decisions/0040): it is made of exactly one version of the tree,
/// the one whose root was read from the root word at some moment not before the clock showed t0,
/// and each node fed to the search had landed here before t0 + lease. Until then the server did not
/// recycle its memory, since the root word still led to it at t0 or later, and the server keeps
/// retired nodes for longer than the lease. When the lease runs out in mid-search the root word is
/// read again: if it hasn't changed, then nothing was retired at all, and the search goes on with a
/// fresh lease; if it has, everything is thrown away.
///
/// One round trip: while the root word is on its way, the search already walks the cache from the
/// root known last, and reads the nodes that this leads to in the same doorbell. They are held back
/// until the root word is here. Same root: they are fed. Another root: the search starts over from
/// there, and those of them that the new tree still names are used, the others dropped. When the
/// root is seen to change often, the records of what has changed are read with it, by which the
/// cached nodes become those of the new tree (ChangeFollower); or a copy of the root node, if it
/// isn't known where these records lie.
///
/// A range search reads of a leaf the groups of entries that may hold answers, and no header, or
/// the header alone if it counts entries that are all answers: the time lease vouches for them as
/// for a node. Where the lease alone is not trusted (checksums are asked for, the search has
/// paused, an old version), and by searches for many neighbours, whole leaves are read. A search
/// for few neighbours reads groups, the nearest first.
///
/// max_staleness > 0 lets a search use a root that was read no longer ago than that (and still
/// within its lease) without looking: the answer is then that of a version that was current at most
/// that long before the call.
///
/// A look-up of entries by their ids walks the id index of a keyed tree, as a search walks the
/// tree. Which root the index has in the version of a root, its mirror tells, or the record of what
/// that version has changed (IndexRoots). Where neither was read, the mirror is, in a round trip
/// more.
///
/// An old version has no root word: the server holds it for a time of its own (LeasedRoot), and
/// what landed before that ends counts. When it ends in mid-search, the search is given back.
///
/// One thread. Searches have numbers given by the caller, small and dense. Nothing is allocated or
/// registered in steady state.
template <int D>
class Offloader {
 public:
  /// kUnsupported if the server's nodes aren't laid out as this build knows them. Everything given
  /// must outlive it.
  static Result<std::unique_ptr<Offloader>> create(const OffloadOptions& options,
                                                   const protocol::ServerHello& server,
                                                   transport::Connection& connection,
                                                   transport::Poller& poller, const Clock& clock);

  /// Begin a search; the result must live until it is finished or cancelled. Nothing is posted
  /// before flush(). `held`: of that old version instead of the current one.
  void start_range(std::uint32_t search, const rtree::RangeQuery<D>& query,
                   rtree::RangeResult<D>& result, const std::optional<LeasedRoot>& held = {});
  void start_nearest(std::uint32_t search, const rtree::NearestQuery<D>& query,
                     rtree::NearestResult& result, const std::optional<LeasedRoot>& held = {});
  /// The same of entries by their ids, of a keyed tree in its current version; ids of which there
  /// is none are left out. The ids are copied.
  void start_get(std::uint32_t search, std::span<const std::uint64_t> ids,
                 std::vector<KeyedEntry<D>>& result);
  void cancel(std::uint32_t search);

  /// Posts what is to be read, in one doorbell.
  void flush();
  /// Is to be told of each read that ended well.
  void on_read(std::uint64_t cookie);

  struct Finished {
    std::uint32_t search;
    bool given_back;  ///< couldn't be done in this way: send a message instead
    rtree::Version version;
    SearchCost cost;
  };
  /// Searches that have ended, in that order.
  std::optional<Finished> take_finished();

  /// Whether something waits for a region to be announced, of which no event will tell.
  bool waiting_for_region() const { return unknown_since_ != 0; }

  const NodeCache& cache() const { return cache_; }

 private:
  enum class SearchState : std::uint8_t {
    kDone,          ///< finished, cancelled, or never begun
    kAwaitingRoot,  ///< nothing read may be fed before the root word is here
    kWalking,
    kRenewing,  ///< walking, and the root word is on its way to prolong the lease
    kOutlived,  ///< walking, but the root has changed: the lease can't be prolonged
  };
  /// What is left of the time in which landed nodes count.
  enum class Lease : std::uint8_t {
    kLong,
    kShort,  ///< less than half: to be renewed
    kOver,
  };
  enum class SearchKind : std::uint8_t { kRange, kNearest, kGet };
  /// One search.
  struct Search {
    SearchState state = SearchState::kDone;
    SearchKind kind = SearchKind::kRange;
    bool by_groups = false;     ///< a nearest search that reads groups of leaves
    bool wants_mirror = false;  ///< the root word alone does not tell the root of the id index
    std::uint32_t generation = 0;
    rtree::NodeRef root;  ///< that the cursor works from; null: none yet
    rtree::Version version = 0;
    Nanoseconds lease_start = 0;
    Nanoseconds held_until = 0;     ///< end of the hold of an old version; 0: the current one
    std::uint32_t depth = 0;        ///< round trips behind what is being fed now
    std::uint32_t root_depth = 0;   ///< round trips behind the root word, once it is here
    std::uint32_t outstanding = 0;  ///< nodes taken from the cursor and not fed
    std::optional<rtree::WantedNode> pending;  ///< taken, but there is no slot for it yet
    std::vector<std::uint32_t> slots;
    SearchCost cost;
    rtree::RangeQuery<D> range_query;
    rtree::NearestQuery<D> nearest_query;
    std::vector<std::uint64_t> ids;
    rtree::RangeResult<D>* range_result = nullptr;
    rtree::NearestResult* nearest_result = nullptr;
    rtree::RangeCursor<D> range;
    rtree::NearestCursor<D> nearest_cursor;
    std::vector<KeyedEntry<D>>* get_result = nullptr;
    rtree::IdCursor<D> id_cursor;

    bool is_walked() const {
      if (kind == SearchKind::kGet) return id_cursor.done();
      return kind == SearchKind::kNearest ? nearest_cursor.done() : range.done();
    }
  };

  enum class SlotState : std::uint8_t { kFree, kReading, kLanded };
  /// Where one node lands, or the groups that are wanted of a leaf.
  struct Slot {
    SlotState state = SlotState::kFree;
    bool wanted_now = false;  ///< by the cursor as it stands; else read on speculation
    bool orphan = false;      ///< no search waits for it any more
    std::uint32_t search = 0;
    std::uint32_t depth = 0;
    rtree::WantedNode node{};
    bool has_groups_alone = false;            ///< a leaf, but groups or the header alone
    std::uint32_t bytes = 0;                  ///< bytes that are read of a whole node
    std::uint32_t unposted = 0;               ///< reads not yet posted,
    std::uint32_t in_flight = 0;              ///< and those that have not landed
    const rtree::Node<D>* content = nullptr;  ///< once landed, if intact

    bool has_reads_left() const { return unposted != 0 || in_flight != 0; }
    bool has(rtree::GroupMask groups) const {
      if (!has_groups_alone) return true;
      if (groups == 0 || node.groups == 0) return groups == node.groups;  // the header alone
      return (groups & ~node.groups) == 0;
    }
  };
  /// A part of a node to be read, in bytes.
  struct QueuedRead {
    std::uint32_t slot;
    std::uint32_t offset;
    std::uint32_t length;
  };

  struct Waiter {
    std::uint32_t search;
    std::uint32_t generation;
    bool renewal;
  };
  /// Where one root word (or block) lands, with a piece of the ring of changes, and which searches
  /// wait for it.
  struct RootRead {
    bool busy = false;
    std::uint32_t bytes = 0;
    std::uint32_t in_flight = 0;  ///< reads
    typename ChangeFollower<D>::Piece changes;
    bool has_changes = false;  ///< the piece was posted
    bool has_ended = false;    ///< so was the look at RootBlock::ended, where that is apart
    bool wants_rest = false;   ///< the piece is the rest of the changes, and is to be posted
    rtree::NodeRef root;       ///< once it is here
    std::uint32_t later = 0;   ///< round trips since then
    Nanoseconds started = 0;
    std::vector<Waiter> waiters;
  };
  /// What a node of any level has room in: where it lands, and where it is cached.
  static constexpr std::size_t kLargestNode = sizeof(rtree::Node<D>);
  static constexpr std::uint32_t kRootReads = 8;
  static constexpr std::uint64_t kRootCookie = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kChangesCookie = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kEndedCookie = std::uint64_t{1} << 61;
  static constexpr std::uint64_t kReadMask = kEndedCookie - 1;  ///< which of the root reads
  static constexpr std::size_t kRootReadBytes =
      rtree::kAnyRootMirrorBytes<D> + rtree::kMostChangeBytes + 64;

  Offloader(const OffloadOptions& options, const protocol::ServerHello& server,
            transport::Connection& connection, const Clock& clock,
            std::unique_ptr<transport::Buffer> buffer);

  Search& prepare(std::uint32_t search);
  void start(std::uint32_t index, const std::optional<LeasedRoot>& held);
  void restart_cursor(Search& search, rtree::NodeRef root);
  bool knows_index(const Search& search, rtree::NodeRef root) const;
  bool has_index(const Search& search, rtree::NodeRef root) const;
  void seek_index(std::uint32_t index);
  void request_root(std::uint32_t index, bool renewal);
  void on_root(std::uint32_t index);
  void look_at_root(std::uint32_t index);
  void read_rest(std::uint32_t index);
  void know_root(const RootRead& read);
  void continue_from_root(const Waiter& waiter, const RootRead& read);
  void continue_all(RootRead& read);
  void advance(std::uint32_t index);
  template <typename Cursor>
  void advance_with(std::uint32_t index, Cursor& cursor);
  std::optional<std::uint32_t> find_read_ahead(const Search& search, rtree::WantedNode node) const;
  Lease lease_left(const Search& search) const;
  void leave_walk(std::uint32_t index);
  bool is_waiting(const Waiter& waiter) const;
  bool needs_checksums(const Search& search) const;
  const rtree::Node<D>* landed(std::uint32_t slot);
  bool feed(std::uint32_t index, std::uint32_t slot);
  void feed_cursor(Search& search, const Slot& slot);
  void feed_landed(std::uint32_t index);
  void begin_again(std::uint32_t index);
  void finish(std::uint32_t index, bool given_back);

  const rtree::Node<D>* find_cached(rtree::WantedNode node);
  bool acquire_slot(std::uint32_t index, rtree::WantedNode node);
  void queue_reads(std::uint32_t slot);
  void queue_groups(std::uint32_t slot);
  bool may_read_groups(const Search& search, rtree::WantedNode node) const;
  std::size_t mirror_bytes() const;
  bool may_read_mirror() const;
  std::uint32_t bytes_of_root_read() const;
  void release_slot(std::uint32_t slot);
  void abandon_slots(Search& search, bool only_read_ahead);
  void feed_starving();
  void add_root_request();
  void add_changes_request(std::uint32_t index);
  void add_ended_request(std::uint32_t index);
  bool wants_rest() const;
  void add_node_requests();
  void post();
  void mark_posted(const transport::ReadRequest& request);
  void mark_root_posted(const transport::ReadRequest& request);
  void drop_unpostable(const transport::ReadRequest& request);
  void drop_root(const transport::ReadRequest& request);
  std::byte* slot_bytes(std::uint32_t slot);
  std::span<std::byte> root_bytes(std::uint32_t read);
  std::span<std::byte> change_bytes(std::uint32_t read);
  std::span<std::byte> ended_bytes(std::uint32_t read);
  bool is_over(std::uint32_t read);
  /// Whether the tree is not the first one of its server: then what says that the server's life is
  /// over lies elsewhere than its root.
  bool is_of_others() const { return server_.root_region != 0 || server_.root_offset != 0; }

  OffloadOptions options_;
  protocol::ServerHello server_;
  transport::Connection& connection_;
  const Clock& clock_;
  std::unique_ptr<transport::Buffer> buffer_;
  Nanoseconds lease_;
  NodeCache cache_;
  IndexRoots indexes_;
  ChangeFollower<D> changes_;

  std::vector<std::unique_ptr<Search>> searches_;  ///< by number; kept for their memory
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<QueuedRead> queued_reads_;
  std::vector<Waiter> starving_;  ///< searches with a pending node, in order of arrival
  std::vector<Waiter> starving_now_;
  RootRead root_reads_[kRootReads];
  std::vector<Waiter> root_waiters_;  ///< for the root read that is posted next
  std::vector<transport::ReadRequest> batch_;
  std::vector<Finished> finished_;
  std::size_t finished_taken_ = 0;

  Nanoseconds unknown_since_ = 0;  ///< a region not announced yet is being waited for; 0: none
  rtree::NodeRef known_root_;      ///< the newest one seen
  Nanoseconds known_started_ = 0;  ///< before it was read
  std::uint32_t known_level_ = 0;  ///< level of a root seen lately; 0: not known
  rtree::Node<D> mirrored_root_;
  double root_changes_ = 1;  ///< moving average: share of root reads that find another root
};

}  // namespace silurus::client
