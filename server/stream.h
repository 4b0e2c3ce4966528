#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <variant>

#include "common/clock.h"
#include "protocol/encode.h"
#include "rtree/cursor.h"
#include "rtree/tree.h"

namespace silurus::server {

/// A search as a client asked for it.
template <int D>
struct Search {
  std::uint32_t request_id = 0;
  std::variant<rtree::RangeQuery<D>, rtree::NearestQuery<D>> query;
  bool any_member = false;                      ///< asked with protocol::kAnyMember
  std::shared_ptr<rtree::Snapshot<D>> at = {};  ///< of an old version; null: the current one
};

/// A search with a big answer, run in slices, on one pinned version of the tree. Holds no more than
/// one message of results at a time (all k of a nearest search), so that neither memory nor other
/// clients suffer from its size. Belongs to a session.
///
///   while (!stream.finished()) {
///     if (!stream.has_message()) { stream.advance(); continue; }     // one slice; others' turn
///     auto room = connection.reserve(stream.next_bytes(max));
///     if (room.empty()) return;                                      // again when writable
///     stream.encode_next(room);
///     connection.commit(room.size());
///   }
template <int D>
class Stream {
 public:
  /// `message_bytes`: of the longest message that will be asked for.
  Stream(const Search<D>& search, rtree::Snapshot<D> snapshot, std::size_t message_bytes);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  std::uint32_t request_id() const { return search_.request_id; }
  rtree::Version version() const { return snapshot_.version(); }
  /// Whether the whole answer was encoded.
  bool finished() const { return complete_ && !has_message(); }
  bool has_message() const { return !message_.done(); }
  /// Goes on searching, through at most kSliceNodes nodes or until a message is full.
  void advance();
  std::size_t next_bytes(std::size_t max_message_bytes) const {
    return message_.next_bytes(max_message_bytes);
  }
  void encode_next(std::span<std::byte> out);

 private:
  template <typename Cursor, typename IsFull>
  bool run_slice(Cursor& cursor, const IsFull& is_full);
  void advance_range(rtree::ResultShape shape);
  void advance_nearest();

  Search<D> search_;
  rtree::Snapshot<D> snapshot_;
  std::size_t full_;  ///< results that nearly fill a message
  rtree::RangeCursor<D> range_cursor_;
  rtree::NearestCursor<D> nearest_cursor_;
  rtree::RangeResult<D> found_;    ///< filled by the cursor
  rtree::RangeResult<D> sending_;  ///< what message_ refers to
  rtree::NearestResult neighbors_;
  protocol::AnswerEncoder message_;
  bool complete_ = false;  ///< the search is at its end
};

}  // namespace silurus::server
