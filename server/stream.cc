// SPDX-License-Identifier: Apache-2.0

#include "server/stream.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "server/limits.h"

namespace silurus::server {

namespace {

/// Results that nearly fill a message: a node adds up to its fanout, so that the next one might not
/// fit any more.
template <int D>
std::uint64_t enough_for_a_message(const rtree::RangeQuery<D>& query, std::size_t message_bytes) {
  if (query.shape == rtree::ResultShape::kCount) return UINT64_MAX;
  const bool entries = query.shape == rtree::ResultShape::kEntries;
  const std::size_t element = entries ? sizeof(rtree::Entry<D>) : sizeof(std::uint64_t);
  const std::size_t fit = (message_bytes - sizeof(protocol::AnswerHeader)) / element;
  return fit > 2 * rtree::kMaxFanout ? fit - rtree::kMaxFanout : std::max<std::size_t>(fit, 1);
}

/// A search that has done nothing yet.
template <int D>
Begun<D> nothing_of(const Search<D>& search) {
  if (std::holds_alternative<rtree::RangeQuery<D>>(search.query)) return BegunRange<D>();
  return BegunNearest<D>();
}

}  // namespace

template <int D>
Stream<D>::Stream(const Search<D>& search, Pinned snapshot, std::size_t message_bytes)
    : Stream(search, std::move(snapshot), message_bytes, nothing_of(search)) {
  if (const auto* range = std::get_if<rtree::RangeQuery<D>>(&search_.query)) {
    range_cursor_.start(*range, snapshot_->root(), found_);
  } else {
    nearest_cursor_.start(std::get<rtree::NearestQuery<D>>(search_.query), snapshot_->root(),
                          neighbors_);
  }
}

template <int D>
Stream<D>::Stream(const Search<D>& search, Pinned snapshot, std::size_t message_bytes,
                  Begun<D> begun)
    : search_(search), snapshot_(std::move(snapshot)) {
  if (const auto* range = std::get_if<rtree::RangeQuery<D>>(&search_.query)) {
    full_ = enough_for_a_message(*range, message_bytes);
    auto& of_range = std::get<BegunRange<D>>(begun);
    range_cursor_ = std::move(of_range.cursor);
    found_ = std::move(of_range.found);
    range_cursor_.redirect(found_);
  } else {
    auto& of_nearest = std::get<BegunNearest<D>>(begun);
    nearest_cursor_ = std::move(of_nearest.cursor);
    neighbors_ = std::move(of_nearest.found);
    nearest_cursor_.redirect(neighbors_);
  }
}

template <int D>
Stream<D>::Stream(const Search<D>& search, Pinned first, Pinned second, std::size_t message_bytes)
    : search_(search),
      snapshot_(std::move(first)),
      full_((message_bytes - sizeof(protocol::AnswerHeader)) / sizeof(IdPair)),
      second_(std::move(second)) {
  join_cursor_.start(std::get<JoinWith>(search_.query).query, snapshot_->root(), second_->root());
}

template <int D>
void Stream<D>::advance() {
  SILURUS_CHECK(!complete_ && !has_message());
  if (const auto* range = std::get_if<rtree::RangeQuery<D>>(&search_.query)) {
    advance_range(range->shape);
  } else if (std::holds_alternative<JoinWith>(search_.query)) {
    advance_join();
  } else {
    advance_nearest();
  }
}

template <int D>
void Stream<D>::advance_range(rtree::ResultShape shape) {
  complete_ = snapshot_->go_on(range_cursor_, kSliceNodes, full_);
  if (!complete_ && range_cursor_.found() < full_) return;
  range_cursor_.drain(sending_);
  message_ = protocol::AnswerEncoder::range<D>({request_id(), version()}, shape, sending_);
}

template <int D>
void Stream<D>::advance_nearest() {
  complete_ = snapshot_->go_on(nearest_cursor_, kSliceNodes);
  if (complete_) message_ = protocol::AnswerEncoder::nearest({request_id(), version()}, neighbors_);
}

template <int D>
void Stream<D>::advance_join() {
  if (pairs_.size() >= full_) pairs_.clear();  // they were sent
  complete_ = join_cursor_.go_on(*snapshot_, *second_, kSliceNodes, full_ - pairs_.size(), pairs_);
  if (!complete_ && pairs_.size() < full_) return;
  message_ = protocol::AnswerEncoder::join({request_id(), version()}, pairs_);
}

template <int D>
void Stream<D>::encode_next(std::span<std::byte> out) {
  message_.encode_next(out);
  if (has_message() || complete_) return;
  // The last message of these results, though not of the answer.
  out[offsetof(protocol::Header, flags)] |= std::byte{protocol::kMore};
}

template class Stream<2>;
template class Stream<3>;

}  // namespace silurus::server
