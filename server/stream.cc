#include "server/stream.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "server/limits.h"

namespace silurus::server {

template <int D>
Stream<D>::Stream(const Search<D>& search, rtree::Snapshot<D> snapshot, std::size_t message_bytes)
    : search_(search), snapshot_(std::move(snapshot)) {
  if (const auto* range = std::get_if<rtree::RangeQuery<D>>(&search_.query)) {
    const bool entries = range->shape == rtree::ResultShape::kEntries;
    const std::size_t element = entries ? sizeof(rtree::Entry<D>) : sizeof(std::uint64_t);
    const std::size_t fit = (message_bytes - sizeof(protocol::AnswerHeader)) / element;
    // A node adds up to its fanout: stop where the next one might not fit any more.
    full_ = fit > 2 * rtree::kMaxFanout ? fit - rtree::kMaxFanout : std::max<std::size_t>(fit, 1);
    range_cursor_.start(*range, snapshot_.root(), found_);
  } else {
    full_ = 0;
    nearest_cursor_.start(std::get<rtree::NearestQuery<D>>(search_.query), snapshot_.root(),
                          neighbors_);
  }
}

template <int D>
void Stream<D>::advance() {
  SILURUS_CHECK(!complete_ && !has_message());
  if (const auto* range = std::get_if<rtree::RangeQuery<D>>(&search_.query)) {
    advance_range(range->shape);
  } else {
    advance_nearest();
  }
}

template <int D>
template <typename Cursor, typename IsFull>
bool Stream<D>::run_slice(Cursor& cursor, const IsFull& is_full) {
  for (std::uint32_t nodes = 0; nodes < kSliceNodes && !cursor.done() && !is_full(); ++nodes) {
    const auto wanted = cursor.take();
    SILURUS_CHECK(wanted.has_value());  // all that was taken has been fed
    cursor.feed(snapshot_.node(wanted->ref));
  }
  return cursor.done();
}

template <int D>
void Stream<D>::advance_range(rtree::ResultShape shape) {
  const auto is_full = [this, shape] {
    return shape != rtree::ResultShape::kCount && range_cursor_.found() >= full_;
  };
  complete_ = run_slice(range_cursor_, is_full);
  if (!complete_ && !is_full()) return;
  range_cursor_.drain(sending_);
  message_ = protocol::AnswerEncoder::range<D>({request_id(), version()}, shape, sending_);
}

template <int D>
void Stream<D>::advance_nearest() {
  complete_ = run_slice(nearest_cursor_, [] { return false; });
  if (complete_) message_ = protocol::AnswerEncoder::nearest({request_id(), version()}, neighbors_);
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
