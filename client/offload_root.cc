// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "client/offload.h"

// How an Offloader reads the root, and what has changed since the root that it read before.

namespace silurus::client {
namespace {

/// Above this share of changed roots the root node is read along with the root word, if changes
/// can't be followed: three kilobytes cost less than a round trip in one search of twenty.
constexpr double kWholeBlockAbove = 0.05;
constexpr double kChangeRate = 1.0 / 16;

}  // namespace

template <int D>
std::span<std::byte> Offloader<D>::root_bytes(std::uint32_t read) {
  const std::size_t at = slots_.size() * kLargestNode + read * kRootReadBytes;
  return buffer_->bytes().subspan(at, root_reads_[read].bytes);
}

template <int D>
std::span<std::byte> Offloader<D>::change_bytes(std::uint32_t read) {
  const std::size_t at = slots_.size() * kLargestNode + read * kRootReadBytes;
  return buffer_->bytes().subspan(at + rtree::kAnyRootMirrorBytes<D>,
                                  root_reads_[read].changes.length);
}

template <int D>
std::span<std::byte> Offloader<D>::ended_bytes(std::uint32_t read) {
  const std::size_t at = slots_.size() * kLargestNode + (read + 1) * kRootReadBytes - 64;
  return buffer_->bytes().subspan(at, sizeof(std::uint64_t));
}

/// Whether the server's life is over, by the look at its first root block: or it is not known.
template <int D>
bool Offloader<D>::is_over(std::uint32_t read) {
  if (!is_of_others()) return false;  // read_root_block() has looked
  std::uint64_t ended = 0;
  std::memcpy(&ended, ended_bytes(read).data(), sizeof ended);
  return !root_reads_[read].has_ended || ended != 0;
}

/// The root word alone; or with what tells the root node too, if it changes often and the changes
/// don't tell it.
template <int D>
std::uint32_t Offloader<D>::bytes_of_root_read() const {
  const bool follows = changes_.is_following() && changes_.is_worthwhile();
  const bool wants_node = root_changes_ > kWholeBlockAbove && !follows;
  const bool wants_index = std::ranges::any_of(root_waiters_, [&](const Waiter& waiter) {
    return is_waiting(waiter) && searches_[waiter.search]->wants_mirror;
  });
  const bool reads_mirror = (wants_node || wants_index) && may_read_mirror();
  return static_cast<std::uint32_t>(reads_mirror ? mirror_bytes() : rtree::kRootWordBytes);
}

/// Bytes of a RootBlock in which there is a whole mirror, as far as is known of the root.
template <int D>
std::size_t Offloader<D>::mirror_bytes() const {
  return known_level_ >= 2 ? rtree::kRootMirrorBytes<D> : rtree::kAnyRootMirrorBytes<D>;
}

template <int D>
bool Offloader<D>::may_read_mirror() const {
  return connection_.limits().max_read_bytes >= mirror_bytes();
}

template <int D>
void Offloader<D>::request_root(std::uint32_t index, bool renewal) {
  Search& search = *searches_[index];
  if (renewal) {
    search.state = SearchState::kRenewing;
  } else {
    search.state = SearchState::kAwaitingRoot;
    search.root_depth = search.depth + 1;
  }
  root_waiters_.push_back({index, search.generation, renewal});
}

/// All that was posted of it has landed.
template <int D>
void Offloader<D>::on_root(std::uint32_t index) {
  RootRead& read = root_reads_[index];
  const bool is_rest = static_cast<bool>(read.root);
  if (!is_rest) look_at_root(index);
  const bool has_found =
      read.root && read.has_changes && changes_.apply(change_bytes(index), read.changes, read.root);
  if (read.root && !changes_.has_reached(read.root)) {
    // The rest of the changes is read as long as that leads on.
    if (!is_rest || has_found) read_rest(index);
    if (read.wants_rest) return;
    changes_.lose();
  }
  if (read.root) know_root(read);
  continue_all(read);
  read.root = rtree::NodeRef();
  read.busy = false;
}

template <int D>
void Offloader<D>::look_at_root(std::uint32_t index) {
  RootRead& read = root_reads_[index];
  const std::span<const std::byte> bytes = root_bytes(index);
  const auto view = rtree::read_root_block<D>(bytes, rtree::NodeRef::kMaxChunks, mirrored_root_,
                                              server_.collection);
  const auto* block = reinterpret_cast<const rtree::RootBlock<D>*>(bytes.data());
  // Our own copy, which no other thread writes: relaxed loads pair with nothing.
  if (cache_.observe(block->version.load(std::memory_order_relaxed))) indexes_.clear();
  if (bytes.size() > rtree::kRootWordBytes) {
    const std::uint64_t level = block->level.load(std::memory_order_relaxed);
    known_level_ = level <= rtree::kMaxLevel ? static_cast<std::uint32_t>(level) : 0;
  }
  read.root = is_over(index) ? rtree::NodeRef() : view.root;
  read.later = 0;
  if (!read.root) return;
  root_changes_ += kChangeRate * ((view.root == known_root_ ? 0.0 : 1.0) - root_changes_);
  changes_.observe(view.root, read.changes);
  if (view.node == nullptr) return;
  cache_.put(view.root, {reinterpret_cast<const std::byte*>(view.node),
                         rtree::node_bytes<D>(view.node->level())});
  indexes_.note(view.node->birth(), view.index);
  // Where it follows, the mirror was read for an index: the records lead on from the nodes there
  // are.
  const bool follows = changes_.is_following() && changes_.is_worthwhile();
  if (!follows && !changes_.has_reached(view.root)) {
    changes_.begin(view.root, view.next_change, view.records);
  }
}

/// Lets those of the searches go on that don't need the changes up to this root, and sees to it
/// that the rest of them is read for the others, if that is worth it.
template <int D>
void Offloader<D>::read_rest(std::uint32_t index) {
  RootRead& read = root_reads_[index];
  const auto rest = changes_.rest(read.root);
  if (rest.length == 0) return;
  std::erase_if(read.waiters, [&](const Waiter& waiter) {
    if (!is_waiting(waiter)) return true;
    const bool needs_none = waiter.renewal || searches_[waiter.search]->root == read.root;
    if (needs_none) continue_from_root(waiter, read);
    return needs_none;
  });
  if (read.waiters.empty()) return;
  read.changes = rest;
  read.has_changes = false;
  read.wants_rest = true;
  ++read.later;
}

/// It is where the next searches begin; unless a newer one has come in the meantime.
template <int D>
void Offloader<D>::know_root(const RootRead& read) {
  constexpr rtree::Version kAllBirths = rtree::Version{1} << rtree::NodeRef::kBirthBits;
  const rtree::Version newer = (read.root.birth() - known_root_.birth()) & (kAllBirths - 1);
  if (known_root_ && newer > kAllBirths / 2) return;
  known_root_ = read.root;
  known_started_ = read.started;
}

template <int D>
void Offloader<D>::continue_all(RootRead& read) {
  for (const Waiter& waiter : read.waiters) {
    if (is_waiting(waiter)) continue_from_root(waiter, read);
  }
  read.waiters.clear();
}

/// Whether the search that asked is still that search.
template <int D>
bool Offloader<D>::is_waiting(const Waiter& waiter) const {
  const Search& search = *searches_[waiter.search];
  return search.state != SearchState::kDone && search.generation == waiter.generation;
}

template <int D>
void Offloader<D>::continue_from_root(const Waiter& waiter, const RootRead& read) {
  Search& search = *searches_[waiter.search];
  const rtree::NodeRef root = read.root;
  if (!root) {  // nothing is published yet
    finish(waiter.search, true);
    return;
  }
  if (waiter.renewal) {
    // If the lease has run out meanwhile, the search waits for a root that is read later.
    if (search.state != SearchState::kRenewing) return;
    if (root != search.root) {
      search.state = SearchState::kOutlived;
      return;
    }
    search.state = SearchState::kWalking;
    search.lease_start = read.started;
    return;
  }
  search.state = SearchState::kWalking;
  search.lease_start = read.started;
  search.depth = search.root_depth + read.later;
  search.cost.round_trips = std::max(search.cost.round_trips, search.depth);
  if (root == search.root) {
    feed_landed(waiter.search);
    return;
  }
  // A search that had fed nothing yet loses nothing by starting over; one that had, does.
  if (search.root_depth > 1 && search.root && ++search.cost.restarts > options_.max_restarts) {
    finish(waiter.search, true);
    return;
  }
  if (!knows_index(search, root)) return seek_index(waiter.search);
  if (!has_index(search, root)) return finish(waiter.search, true);  // it is no keyed tree
  restart_cursor(search, root);
  advance(waiter.search);
}

/// The root is known, but not that of its index: its mirror is read. One that was torn is read
/// again, and not for ever.
template <int D>
void Offloader<D>::seek_index(std::uint32_t index) {
  Search& search = *searches_[index];
  const bool is_torn = std::exchange(search.wants_mirror, true);
  if (is_torn && ++search.cost.restarts > options_.max_restarts) return finish(index, true);
  search.root = rtree::NodeRef();
  search.pending.reset();
  request_root(index, false);
}

template <int D>
void Offloader<D>::add_root_request() {
  if (root_waiters_.empty()) return;
  for (std::uint32_t i = 0; i < kRootReads; ++i) {
    RootRead& read = root_reads_[i];
    if (read.busy || read.in_flight != 0) continue;
    read.bytes = bytes_of_root_read();
    read.changes = changes_.ahead();
    read.has_changes = false;
    // The lease begins before the read is posted: t0.
    read.started = clock_.now();
    read.has_ended = false;
    // Before it: so it is here when the root is.
    if (is_of_others()) add_ended_request(i);
    const std::span<std::byte> bytes = root_bytes(i);
    batch_.push_back(
        {.region = server_.root_region,
         .offset = server_.root_offset,
         .length = static_cast<std::uint32_t>(bytes.size()),
         .buffer = buffer_.get(),
         .buffer_offset = static_cast<std::uint64_t>(bytes.data() - buffer_->bytes().data()),
         .cookie = kRootCookie | i});
    // Behind it, so that the records of the version that it names are there.
    if (read.changes.length != 0) add_changes_request(i);
    return;
  }
}

template <int D>
void Offloader<D>::add_ended_request(std::uint32_t index) {
  const std::span<std::byte> bytes = ended_bytes(index);
  batch_.push_back(
      {.region = 0,
       .offset = offsetof(rtree::RootBlock<D>, ended),
       .length = static_cast<std::uint32_t>(bytes.size()),
       .buffer = buffer_.get(),
       .buffer_offset = static_cast<std::uint64_t>(bytes.data() - buffer_->bytes().data()),
       .cookie = kRootCookie | kEndedCookie | index});
}

template <int D>
void Offloader<D>::add_changes_request(std::uint32_t index) {
  const std::span<const std::byte> bytes = change_bytes(index);
  batch_.push_back(
      {.region = server_.root_region,
       .offset =
           server_.root_offset + rtree::kAnyRootMirrorBytes<D> + root_reads_[index].changes.offset,
       .length = static_cast<std::uint32_t>(bytes.size()),
       .buffer = buffer_.get(),
       .buffer_offset = static_cast<std::uint64_t>(bytes.data() - buffer_->bytes().data()),
       .cookie = kRootCookie | kChangesCookie | index});
}

template <int D>
bool Offloader<D>::wants_rest() const {
  return std::ranges::any_of(root_reads_, [](const RootRead& read) { return read.wants_rest; });
}

/// A read of a root, or of changes. The first of the searches that wait for it has its cost.
template <int D>
void Offloader<D>::mark_root_posted(const transport::ReadRequest& request) {
  RootRead& read = root_reads_[request.cookie & kReadMask];
  const bool is_of_ended = (request.cookie & kEndedCookie) != 0;
  if ((request.cookie & kChangesCookie) != 0) {
    read.has_changes = true;
    read.wants_rest = false;
  } else if (is_of_ended) {
    read.has_ended = true;
  } else {
    read.busy = true;
    read.waiters.swap(root_waiters_);
  }
  ++read.in_flight;
  const std::vector<Waiter>& waiters = is_of_ended ? root_waiters_ : read.waiters;
  const auto first =
      std::ranges::find_if(waiters, [&](const Waiter& waiter) { return is_waiting(waiter); });
  if (first == waiters.end()) return;
  SearchCost& cost = searches_[first->search]->cost;
  ++cost.reads;
  cost.bytes_read += request.length;
}

template <int D>
void Offloader<D>::drop_root(const transport::ReadRequest& request) {
  RootRead& read = root_reads_[request.cookie & kReadMask];
  const bool is_of_changes = (request.cookie & kChangesCookie) != 0;
  if (is_of_changes && !read.wants_rest) return;  // what is read ahead is not needed
  std::vector<Waiter>& waiters = is_of_changes ? read.waiters : root_waiters_;
  for (const Waiter& waiter : waiters) {
    if (is_waiting(waiter)) finish(waiter.search, true);
  }
  waiters.clear();
  if (!is_of_changes) return;
  read.wants_rest = false;
  read.root = rtree::NodeRef();
  read.busy = false;
}

template void Offloader<2>::request_root(std::uint32_t, bool);
template void Offloader<2>::on_root(std::uint32_t);
template bool Offloader<2>::may_read_mirror() const;
template bool Offloader<2>::is_waiting(const Waiter&) const;
template void Offloader<2>::add_root_request();
template void Offloader<2>::add_changes_request(std::uint32_t);
template bool Offloader<2>::wants_rest() const;
template void Offloader<2>::mark_root_posted(const transport::ReadRequest&);
template void Offloader<2>::drop_root(const transport::ReadRequest&);
template void Offloader<3>::request_root(std::uint32_t, bool);
template void Offloader<3>::on_root(std::uint32_t);
template bool Offloader<3>::may_read_mirror() const;
template bool Offloader<3>::is_waiting(const Waiter&) const;
template void Offloader<3>::add_root_request();
template void Offloader<3>::add_changes_request(std::uint32_t);
template bool Offloader<3>::wants_rest() const;
template void Offloader<3>::mark_root_posted(const transport::ReadRequest&);
template void Offloader<3>::drop_root(const transport::ReadRequest&);

}  // namespace silurus::client
