// SPDX-License-Identifier: Apache-2.0

#include "client/offload.h"

#include <algorithm>
#include <bit>
#include <string>
#include <type_traits>

#include "common/check.h"

namespace silurus::client {
namespace {

/// Part of the grace period that a client may use. The rest, 2 %, allows for the differences of the
/// clocks' rates (quartz clocks differ by less than 0.02 %) and for the server's own reaction.
constexpr Nanoseconds lease_of(std::uint64_t grace_ns) {
  return static_cast<Nanoseconds>(grace_ns - grace_ns / 50);
}

/// Time that a search waits for a region to be announced before it is given back.
constexpr Nanoseconds kRegionPatience = 50 * kMillisecond;

/// Pieces of a leaf that are read separately at most; more are read as one, with what lies between.
constexpr std::uint32_t kMostPieces = 2;

/// A search for more neighbours than that needs most groups of the leaves that it comes to.
constexpr std::uint32_t kMostByGroups = 32;
/// Groups that such a search reads at once where another one reads a leaf: as few round trips, and
/// half of the bytes.
constexpr std::uint32_t kGroupsForALeaf = 4;

/// Whether a header is that of the leaf of that name.
template <int D>
bool is_header_of(const rtree::Node<D>& leaf, rtree::NodeRef ref) {
  return ref.is_born_in(leaf.birth()) && leaf.is_leaf() && leaf.count() <= rtree::kLeafFanout<D> &&
         leaf.header.entries == leaf.count();
}

}  // namespace

template <int D>
Result<std::unique_ptr<Offloader<D>>> Offloader<D>::create(const OffloadOptions& options,
                                                           const protocol::ServerHello& server,
                                                           transport::Connection& connection,
                                                           transport::Poller& poller,
                                                           const Clock& clock) {
  const transport::ConnectionLimits& limits = connection.limits();
  if (server.one_sided == 0 || limits.max_reads_in_flight == 0) {
    return fail(
        ErrorCode::kUnsupported,
        "the connection to " + connection.peer() +
            " has no one-sided reads: use mode messaging or adaptive, or an shm:// address");
  }
  if (server.node_format != rtree::kNodeFormat<D> || server.chunk_bytes != rtree::kChunkBytes<D> ||
      server.chunks_per_region != rtree::kChunksPerSlab) {
    return fail(ErrorCode::kUnsupported,
                "the server at " + connection.peer() + " has nodes of format " +
                    std::to_string(server.node_format) + ", this client reads format " +
                    std::to_string(rtree::kNodeFormat<D>) +
                    ": use mode messaging, or client and server of the same release");
  }
  if (limits.max_read_bytes < kLargestNode) {
    return fail(ErrorCode::kUnsupported,
                "the connection to " + connection.peer() + " reads at most " +
                    std::to_string(limits.max_read_bytes) + " bytes at once, a node has " +
                    std::to_string(kLargestNode));
  }
  OffloadOptions checked = options;
  checked.slots = std::max<std::uint32_t>(checked.slots, 8);
  checked.nearest_width = std::clamp<std::uint32_t>(checked.nearest_width, 1, checked.slots);
  auto buffer = poller.allocate_buffer(std::size_t{checked.slots} * kLargestNode +
                                       kRootReads * kRootReadBytes);
  if (!buffer) return fail(buffer.error());
  SILURUS_CHECK(reinterpret_cast<std::uintptr_t>((*buffer)->bytes().data()) % 64 == 0);
  return std::unique_ptr<Offloader>(
      new Offloader(checked, server, connection, clock, std::move(*buffer)));
}

template <int D>
Offloader<D>::Offloader(const OffloadOptions& options, const protocol::ServerHello& server,
                        transport::Connection& connection, const Clock& clock,
                        std::unique_ptr<transport::Buffer> buffer)
    : options_(options),
      server_(server),
      connection_(connection),
      clock_(clock),
      buffer_(std::move(buffer)),
      lease_(lease_of(server.grace_ns)),
      cache_(options.cache_bytes, kLargestNode),
      changes_(cache_, indexes_, connection.limits().max_read_bytes),
      slots_(options.slots) {
  for (std::uint32_t slot = options.slots; slot-- > 0;) free_slots_.push_back(slot);
  queued_reads_.reserve(std::size_t{options.slots} * kMostPieces);
  batch_.reserve(std::size_t{options.slots} * kMostPieces + 1);
}

template <int D>
std::byte* Offloader<D>::slot_bytes(std::uint32_t slot) {
  return buffer_->bytes().data() + std::size_t{slot} * kLargestNode;
}

// --- searches -----------------------------------------------------------------------------------

template <int D>
typename Offloader<D>::Search& Offloader<D>::prepare(std::uint32_t index) {
  if (index >= searches_.size()) searches_.resize(index + 1);
  if (searches_[index] == nullptr) searches_[index] = std::make_unique<Search>();
  Search& search = *searches_[index];
  SILURUS_CHECK(search.state == SearchState::kDone);
  search.state = SearchState::kWalking;
  ++search.generation;
  search.root = rtree::NodeRef();
  search.version = 0;
  search.depth = search.root_depth = search.outstanding = 0;
  search.pending.reset();
  search.wants_mirror = false;
  search.cost = {};
  return search;
}

template <int D>
void Offloader<D>::start_range(std::uint32_t index, const rtree::RangeQuery<D>& query,
                               rtree::RangeResult<D>& result,
                               const std::optional<LeasedRoot>& held) {
  Search& search = prepare(index);
  search.kind = SearchKind::kRange;
  search.range_query = query;
  search.range_result = &result;
  start(index, held);
}

template <int D>
void Offloader<D>::start_nearest(std::uint32_t index, const rtree::NearestQuery<D>& query,
                                 rtree::NearestResult& result,
                                 const std::optional<LeasedRoot>& held) {
  Search& search = prepare(index);
  search.kind = SearchKind::kNearest;
  search.nearest_query = query;
  search.nearest_result = &result;
  start(index, held);
}

template <int D>
void Offloader<D>::start_get(std::uint32_t index, std::span<const std::uint64_t> ids,
                             std::vector<KeyedEntry<D>>& result) {
  Search& search = prepare(index);
  search.kind = SearchKind::kGet;
  search.ids.assign(ids.begin(), ids.end());
  search.get_result = &result;
  // What names the index cannot be read.
  if (!may_read_mirror()) return finish(index, true);
  search.wants_mirror = !known_root_ || !knows_index(search, known_root_);
  start(index, std::nullopt);
}

/// Whether the search can begin at that root.
template <int D>
bool Offloader<D>::knows_index(const Search& search, rtree::NodeRef root) const {
  return search.kind != SearchKind::kGet || indexes_.find(root) != nullptr;
}

/// The same; and that there is an index, if it is a look-up.
template <int D>
bool Offloader<D>::has_index(const Search& search, rtree::NodeRef root) const {
  if (search.kind != SearchKind::kGet) return true;
  const IndexRoots::Known* known = indexes_.find(root);
  return known != nullptr && known->index;
}

template <int D>
void Offloader<D>::start(std::uint32_t index, const std::optional<LeasedRoot>& held) {
  Search& search = *searches_[index];
  search.held_until = held ? held->until : 0;
  if (held) {
    restart_cursor(search, held->root);
    advance(index);
    return;
  }
  const bool may_trust =
      known_root_ && options_.max_staleness > 0 && has_index(search, known_root_) &&
      clock_.now() - known_started_ < std::min(options_.max_staleness, lease_ / 2);
  if (may_trust) {
    search.lease_start = known_started_;
  } else {
    search.lease_start = clock_.now();  // until the root word is here, which is asked for later
    request_root(index, false);
  }
  if (!known_root_ || !has_index(search, known_root_)) return;
  // The walk that is hoped to be right: what it leads to is read in the doorbell of the root word.
  restart_cursor(search, known_root_);
  advance(index);
}

template <int D>
void Offloader<D>::restart_cursor(Search& search, rtree::NodeRef root) {
  search.root = root;
  search.version = 0;
  search.outstanding = 0;
  search.pending.reset();
  for (const std::uint32_t slot : search.slots) slots_[slot].wanted_now = false;
  if (search.kind == SearchKind::kGet) {
    const IndexRoots::Known& known = *indexes_.find(root);
    search.version = known.version;
    search.id_cursor.start(search.ids, {known.index, rtree::kAnyIndexLevel}, *search.get_result);
  } else if (search.kind == SearchKind::kNearest) {
    search.by_groups = search.nearest_query.k <= kMostByGroups && !needs_checksums(search);
    search.nearest_cursor.start(search.nearest_query, {root, rtree::kAnyLevel},
                                *search.nearest_result, search.by_groups);
  } else {
    search.range.start(search.range_query, {root, rtree::kAnyLevel}, *search.range_result);
  }
}

template <int D>
void Offloader<D>::cancel(std::uint32_t index) {
  if (index >= searches_.size() || searches_[index] == nullptr) return;
  Search& search = *searches_[index];
  if (search.state == SearchState::kDone) return;
  search.state = SearchState::kDone;
  ++search.generation;
  abandon_slots(search, false);
}

template <int D>
void Offloader<D>::finish(std::uint32_t index, bool given_back) {
  Search& search = *searches_[index];
  search.state = SearchState::kDone;
  ++search.generation;
  abandon_slots(search, false);
  finished_.push_back(
      {.search = index, .given_back = given_back, .version = search.version, .cost = search.cost});
}

template <int D>
std::optional<typename Offloader<D>::Finished> Offloader<D>::take_finished() {
  if (finished_taken_ == finished_.size()) {
    finished_.clear();
    finished_taken_ = 0;
    return std::nullopt;
  }
  return finished_[finished_taken_++];
}

/// Throws away what was found and starts from a root yet to be read.
template <int D>
void Offloader<D>::begin_again(std::uint32_t index) {
  Search& search = *searches_[index];
  if (++search.cost.restarts > options_.max_restarts || search.held_until != 0) {
    finish(index, true);
    return;
  }
  search.root = rtree::NodeRef();
  search.pending.reset();
  abandon_slots(search, false);
  request_root(index, false);
}

// --- the walk -----------------------------------------------------------------------------------

template <int D>
void Offloader<D>::advance(std::uint32_t index) {
  Search& search = *searches_[index];
  if (search.kind == SearchKind::kGet) {
    advance_with(index, search.id_cursor);
  } else if (search.kind == SearchKind::kNearest) {
    advance_with(index, search.nearest_cursor);
  } else {
    advance_with(index, search.range);
  }
}

/// Takes from the cursor what can be had now: from the cache, from what was read ahead, or by a new
/// read.
template <int D>
template <typename Cursor>
void Offloader<D>::advance_with(std::uint32_t index, Cursor& cursor) {
  Search& search = *searches_[index];
  const std::uint32_t width = search.kind != SearchKind::kNearest ? UINT32_MAX
                              : search.by_groups ? options_.nearest_width * kGroupsForALeaf
                                                 : options_.nearest_width;
  while (!cursor.done()) {
    if (!search.pending) {
      if (search.outstanding >= width) return;
      search.pending = cursor.take();
      if (!search.pending && cursor.done()) break;
      if (!search.pending) return;
      ++search.outstanding;
    }
    const rtree::WantedNode node = *search.pending;
    if (const rtree::Node<D>* cached = find_cached(node)) {
      search.pending.reset();
      --search.outstanding;
      ++search.cost.cache_hits;
      if (node.ref == search.root) search.version = cached->birth();
      if constexpr (std::is_same_v<Cursor, rtree::IdCursor<D>>) {
        cursor.feed(node.ref, *cached);
      } else {
        cursor.feed(*cached);
      }
      continue;
    }
    if (const auto slot = find_read_ahead(search, node)) {
      slots_[*slot].wanted_now = true;
      slots_[*slot].node.groups = node.groups;
      search.pending.reset();
      if (search.state == SearchState::kAwaitingRoot) return;
      if (slots_[*slot].state == SlotState::kLanded && !feed(index, *slot)) return;
      continue;
    }
    if (!acquire_slot(index, node)) return;
    search.pending.reset();
  }
  if (search.state != SearchState::kAwaitingRoot) finish(index, false);
}

template <int D>
const rtree::Node<D>* Offloader<D>::find_cached(rtree::WantedNode wanted) {
  if (rtree::is_bottom(wanted.level)) return nullptr;
  const std::byte* bytes = cache_.find(wanted.ref);
  if (bytes == nullptr) return nullptr;
  const auto* node = reinterpret_cast<const rtree::Node<D>*>(bytes);
  // A parent that lies about the level could lead a walk round in circles, and a root word that
  // names a node of the other kind, astray.
  const std::uint32_t any = node->is_of_index() ? rtree::kAnyIndexLevel : rtree::kAnyLevel;
  return wanted.level == any || node->level() == wanted.level ? node : nullptr;
}

/// The slot of a node that was asked for before the root turned out to be another.
template <int D>
std::optional<std::uint32_t> Offloader<D>::find_read_ahead(const Search& search,
                                                           rtree::WantedNode node) const {
  const auto found = std::ranges::find_if(search.slots, [&](std::uint32_t slot) {
    const Slot& read = slots_[slot];
    return !read.wanted_now && read.node.ref == node.ref && read.has(node.groups);
  });
  return found == search.slots.end() ? std::nullopt : std::optional(*found);
}

/// To be asked after the node landed: if the lease lasts until now, it was intact when it was read.
template <int D>
typename Offloader<D>::Lease Offloader<D>::lease_left(const Search& search) const {
  const Nanoseconds now = clock_.now();
  if (search.held_until != 0) return now < search.held_until ? Lease::kLong : Lease::kOver;
  const Nanoseconds held = now - search.lease_start;
  if (held >= lease_) return Lease::kOver;
  return held >= lease_ / 2 ? Lease::kShort : Lease::kLong;
}

/// The lease is over: what landed counts only if the root word proves that nothing has changed.
template <int D>
void Offloader<D>::leave_walk(std::uint32_t index) {
  const Search& search = *searches_[index];
  if (search.held_until != 0) return finish(index, true);
  if (search.state == SearchState::kOutlived) return begin_again(index);
  request_root(index, false);
}

/// Whether an eighth of the lease has passed since the root was asked for. Searches take a
/// thousandth of it, so this program or its machine has paused, and the clock of a virtual machine
/// may have stood still for part of the pause: what it shows proves less than usual. An old version
/// is held from long before its search begins.
template <int D>
bool Offloader<D>::needs_checksums(const Search& search) const {
  return options_.verify_checksums || search.held_until != 0 ||
         clock_.now() - search.lease_start >= lease_ / 8;
}

/// Gives a landed node to its cursor, or reads it again. False if the search has left its walk
/// instead: finished, or waiting for a root.
template <int D>
bool Offloader<D>::feed(std::uint32_t index, std::uint32_t slot_index) {
  Search& search = *searches_[index];
  Slot& slot = slots_[slot_index];
  const Lease lease = lease_left(search);
  if (lease == Lease::kOver) {
    leave_walk(index);
    return false;
  }
  if (lease == Lease::kShort && search.state == SearchState::kWalking) request_root(index, true);
  const rtree::Node<D>* node = slot.content;
  if (node == nullptr && slot.has_groups_alone) {  // the whole leaf has a checksum
    slot.state = SlotState::kReading;
    slot.has_groups_alone = false;
    ++slot.depth;
    queue_reads(slot_index);
    return true;
  }
  if (node == nullptr) {
    begin_again(index);
    return false;
  }
  if (slot.node.ref == search.root && !slot.has_groups_alone) search.version = node->birth();
  if (!slot.has_groups_alone && !node->is_bottom()) {
    ++search.cost.cache_misses;
    cache_.put(slot.node.ref,
               {reinterpret_cast<const std::byte*>(node), rtree::node_bytes<D>(node->level())});
  }
  search.depth = std::max(search.depth, slot.depth);
  search.cost.round_trips = std::max(search.cost.round_trips, search.depth);
  --search.outstanding;
  feed_cursor(search, slot);
  std::erase(search.slots, slot_index);
  release_slot(slot_index);
  return true;
}

template <int D>
void Offloader<D>::feed_cursor(Search& search, const Slot& slot) {
  const rtree::Node<D>& node = *slot.content;
  if (search.kind == SearchKind::kGet) {
    search.id_cursor.feed(slot.node.ref, node);
  } else if (search.kind == SearchKind::kNearest && slot.node.groups != rtree::kAllGroups) {
    search.nearest_cursor.feed_groups(node, slot.node.groups);
  } else if (search.kind == SearchKind::kNearest) {
    search.nearest_cursor.feed(node);
  } else if (slot.has_groups_alone) {
    search.range.feed_groups(node, slot.node.groups);
  } else {
    search.range.feed(node);
  }
}

/// Feeds all that was held back, then goes on.
template <int D>
void Offloader<D>::feed_landed(std::uint32_t index) {
  Search& search = *searches_[index];
  for (std::size_t i = 0; i < search.slots.size();) {
    const std::uint32_t slot = search.slots[i];
    if (slots_[slot].state != SlotState::kLanded || !slots_[slot].wanted_now) {
      ++i;
      continue;
    }
    if (search.is_walked()) break;
    if (!feed(index, slot)) return;
  }
  advance(index);
}

// --- slots and reads ----------------------------------------------------------------------------

template <int D>
bool Offloader<D>::acquire_slot(std::uint32_t index, rtree::WantedNode node) {
  Search& search = *searches_[index];
  if (free_slots_.empty()) {
    // What was read on speculation may be holding the very slots that are waited for.
    if (search.state != SearchState::kAwaitingRoot) abandon_slots(search, true);
    if (free_slots_.empty()) {
      starving_.push_back({index, search.generation, false});
      return false;
    }
  }
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = Slot{};
  slots_[slot].state = SlotState::kReading;
  slots_[slot].wanted_now = true;
  slots_[slot].search = index;
  slots_[slot].depth = search.depth + 1;
  slots_[slot].node = node;
  slots_[slot].has_groups_alone = may_read_groups(search, node);
  search.slots.push_back(slot);
  queue_reads(slot);
  return true;
}

/// Whether groups of a leaf do: they have no header by which to check them.
template <int D>
bool Offloader<D>::may_read_groups(const Search& search, rtree::WantedNode node) const {
  return node.level == 0 && node.groups != rtree::kAllGroups && !needs_checksums(search);
}

template <int D>
void Offloader<D>::queue_reads(std::uint32_t slot_index) {
  Slot& slot = slots_[slot_index];
  if (slot.has_groups_alone) return queue_groups(slot_index);
  std::size_t bytes = rtree::bytes_to_read<D>(slot.node);
  const bool is_current = searches_[slot.search]->held_until == 0;
  if (slot.node.level == rtree::kAnyLevel && known_level_ >= 2 && is_current) {
    bytes = std::min(bytes, rtree::node_bytes<D>(known_level_));
  }
  slot.bytes = static_cast<std::uint32_t>(bytes);
  slot.unposted = 1;
  queued_reads_.push_back({slot_index, 0, slot.bytes});
}

/// Queues reads of the groups that are wanted, of those side by side together; or of the header.
template <int D>
void Offloader<D>::queue_groups(std::uint32_t slot_index) {
  Slot& slot = slots_[slot_index];
  const auto queue = [&](int first, int end) {
    const auto from = static_cast<std::uint32_t>(first);
    const auto offset = static_cast<std::uint32_t>(rtree::group_offset<D>(from));
    const auto length = static_cast<std::uint32_t>((end - first) * sizeof(rtree::LeafGroup<D>));
    queued_reads_.push_back({slot_index, offset, length});
    ++slot.unposted;
  };
  const std::uint32_t wanted = slot.node.groups;
  if (wanted == 0) {
    queued_reads_.push_back({slot_index, 0, sizeof(rtree::NodeHeader)});
    ++slot.unposted;
    return;
  }
  if (std::popcount(wanted & ~(wanted << 1)) > static_cast<int>(kMostPieces)) {
    const int end = std::bit_width(wanted);
    slot.node.groups = static_cast<rtree::GroupMask>((1u << end) - (wanted & ~(wanted - 1)));
    return queue(std::countr_zero(wanted), end);
  }
  for (std::uint32_t rest = wanted; rest != 0;) {
    const int first = std::countr_zero(rest);
    const int end = first + std::countr_one(rest >> first);
    queue(first, end);
    rest &= ~std::uint32_t{0} << end;
  }
}

template <int D>
void Offloader<D>::release_slot(std::uint32_t slot) {
  slots_[slot].state = SlotState::kFree;
  free_slots_.push_back(slot);
}

template <int D>
void Offloader<D>::abandon_slots(Search& search, bool only_read_ahead) {
  std::erase_if(search.slots, [&](std::uint32_t slot) {
    if (only_read_ahead && slots_[slot].wanted_now) return false;
    if (slots_[slot].state == SlotState::kLanded) {
      release_slot(slot);
    } else {
      slots_[slot].orphan = true;  // until it lands, or before it is posted
    }
    return true;
  });
}

template <int D>
void Offloader<D>::feed_starving() {
  if (starving_.empty() || free_slots_.empty()) return;
  starving_now_.swap(starving_);
  for (const Waiter& waiter : starving_now_) {
    if (!is_waiting(waiter) || !searches_[waiter.search]->pending) continue;
    if (free_slots_.empty()) {
      starving_.push_back(waiter);
    } else {
      advance(waiter.search);
    }
  }
  starving_now_.clear();
}

template <int D>
void Offloader<D>::flush() {
  feed_starving();
  if (root_waiters_.empty() && queued_reads_.empty() && !wants_rest()) {
    unknown_since_ = 0;
    return;
  }
  batch_.clear();
  for (std::uint32_t i = 0; i < kRootReads; ++i) {
    if (root_reads_[i].wants_rest) add_changes_request(i);
  }
  add_root_request();
  add_node_requests();
  post();
}

template <int D>
void Offloader<D>::add_node_requests() {
  std::erase_if(queued_reads_, [&](const QueuedRead& read) {
    Slot& slot = slots_[read.slot];
    if (!slot.orphan) return false;
    --slot.unposted;
    if (!slot.has_reads_left()) release_slot(read.slot);
    return true;
  });
  for (const QueuedRead& read : queued_reads_) {
    const std::uint32_t chunk = slots_[read.slot].node.ref.chunk();
    batch_.push_back({.region = chunk / rtree::kChunksPerSlab,
                      .offset = rtree::offset_in_slab<D>(chunk) + read.offset,
                      .length = read.length,
                      .buffer = buffer_.get(),
                      .buffer_offset = std::uint64_t{read.slot} * kLargestNode + read.offset,
                      .cookie = read.slot});
  }
}

template <int D>
void Offloader<D>::mark_posted(const transport::ReadRequest& request) {
  if ((request.cookie & kRootCookie) != 0) return mark_root_posted(request);
  Slot& slot = slots_[request.cookie];
  --slot.unposted;
  ++slot.in_flight;
  if (slot.orphan) return;
  SearchCost& cost = searches_[slot.search]->cost;
  if (slot.unposted == 0) ++cost.nodes_read;
  ++cost.reads;
  cost.bytes_read += request.length;
}

template <int D>
void Offloader<D>::post() {
  std::size_t posted = 0;
  bool refused = false;
  const std::size_t of_nodes = queued_reads_.size();
  while (posted < batch_.size()) {
    const auto result = connection_.post_reads(std::span(batch_).subspan(posted));
    for (std::size_t i = posted; i < posted + result.posted; ++i) mark_posted(batch_[i]);
    posted += result.posted;
    if (result.posted > 0) unknown_since_ = 0;
    if (result.status != transport::PostStatus::kUnknownRegion &&
        result.status != transport::PostStatus::kInvalid) {
      break;  // all posted, or full for now, or closed
    }
    if (result.status == transport::PostStatus::kUnknownRegion) {
      // It may be announced a moment after the root that leads into it, or after connecting.
      const Nanoseconds now = clock_.now();
      if (unknown_since_ == 0) unknown_since_ = now;
      if (now - unknown_since_ < kRegionPatience) break;
    }
    drop_unpostable(batch_[posted]);
    ++posted;
    refused = true;
  }
  // Those of nodes come behind that of a root. A search that was finished here has queued none.
  const std::size_t done = posted - std::min(posted, batch_.size() - of_nodes);
  queued_reads_.erase(queued_reads_.begin(),
                      queued_reads_.begin() + static_cast<std::ptrdiff_t>(done));
  if (refused) feed_starving();
}

/// A region that is never announced, or a name that makes no sense: the search is given back.
template <int D>
void Offloader<D>::drop_unpostable(const transport::ReadRequest& request) {
  if ((request.cookie & kRootCookie) != 0) return drop_root(request);
  const auto index = static_cast<std::uint32_t>(request.cookie);
  Slot& slot = slots_[index];
  if (!slot.orphan) finish(slot.search, true);
  --slot.unposted;
  if (!slot.has_reads_left()) release_slot(index);
}

template <int D>
void Offloader<D>::on_read(std::uint64_t cookie) {
  if ((cookie & kRootCookie) != 0) {
    const auto read = static_cast<std::uint32_t>(cookie & kReadMask);
    SILURUS_CHECK(read < kRootReads && root_reads_[read].in_flight != 0);
    if (--root_reads_[read].in_flight == 0 && root_reads_[read].busy) on_root(read);
    return;
  }
  SILURUS_CHECK(cookie < slots_.size() && slots_[cookie].in_flight != 0);
  const auto index = static_cast<std::uint32_t>(cookie);
  Slot& slot = slots_[index];
  --slot.in_flight;
  if (slot.has_reads_left()) return;
  if (slot.orphan) {
    release_slot(index);
    return;
  }
  slot.state = SlotState::kLanded;
  slot.content = landed(index);
  if (searches_[slot.search]->state == SearchState::kAwaitingRoot || !slot.wanted_now) return;
  const std::uint32_t search = slot.search;
  if (feed(search, index)) advance(search);
}

/// What a slot holds now that all of it is here; nullptr if it is not to be believed.
template <int D>
const rtree::Node<D>* Offloader<D>::landed(std::uint32_t index) {
  const Slot& slot = slots_[index];
  const bool needs_checksum = needs_checksums(*searches_[slot.search]);
  if (slot.has_groups_alone) {
    const auto* leaf = reinterpret_cast<const rtree::Node<D>*>(slot_bytes(index));
    const bool is_wrong = slot.node.groups == 0 && !is_header_of(*leaf, slot.node.ref);
    return needs_checksum || is_wrong ? nullptr : leaf;
  }
  const auto* node = rtree::check_node<D>({slot_bytes(index), slot.bytes}, slot.node,
                                          rtree::NodeRef::kMaxChunks, needs_checksum);
  if (node == nullptr && slot.node.level == rtree::kAnyLevel) known_level_ = 0;
  return node;
}

template class Offloader<2>;
template class Offloader<3>;

}  // namespace silurus::client
