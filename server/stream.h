// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "protocol/encode.h"
#include "protocol/messages.h"
#include "rtree/cursor.h"
#include "rtree/join.h"
#include "rtree/tree.h"

namespace silurus::server {

/// A join with another collection of the server.
struct JoinWith {
  std::uint64_t other;  ///< protocol::collection_key()
  rtree::JoinQuery query;
};

/// A search as a client asked for it. A join is always a stream.
template <int D>
struct Search {
  std::uint32_t request_id = 0;
  std::variant<rtree::RangeQuery<D>, rtree::NearestQuery<D>, JoinWith> query;
  bool any_member = false;        ///< asked with protocol::kAnyMember
  std::optional<Moment> at = {};  ///< the version; nothing: the current one
};

/// Where a search stopped that was begun in a sweep, and what it had found.
template <int D>
struct BegunRange {
  rtree::RangeCursor<D> cursor;
  rtree::RangeResult<D> found;
};
template <int D>
struct BegunNearest {
  rtree::NearestCursor<D> cursor;
  rtree::NearestResult found;
};
template <int D>
using Begun = std::variant<BegunRange<D>, BegunNearest<D>>;

/// A search with a big answer, run in slices, on one pinned version of the tree: from its
/// beginning, or from where a sweep stopped it. Holds no more than one message of results at a time
/// (all k of a nearest search), so that neither memory nor other clients suffer from its size.
/// Belongs to a session.
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
  using Pinned = std::shared_ptr<const rtree::Snapshot<D>>;
  /// `message_bytes`: of the longest message that will be asked for.
  Stream(const Search<D>& search, Pinned snapshot, std::size_t message_bytes);
  /// Goes on with a search that was begun on that snapshot.
  Stream(const Search<D>& search, Pinned snapshot, std::size_t message_bytes, Begun<D> begun);
  /// A join of two trees, which may be the same.
  Stream(const Search<D>& search, Pinned first, Pinned second, std::size_t message_bytes);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  std::uint32_t request_id() const { return search_.request_id; }
  rtree::Version version() const { return snapshot_->version(); }
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
  void advance_range(rtree::ResultShape shape);
  void advance_nearest();
  void advance_join();

  Search<D> search_;
  Pinned snapshot_;
  std::uint64_t full_ = 0;  ///< results that nearly fill a message
  rtree::RangeCursor<D> range_cursor_;
  rtree::NearestCursor<D> nearest_cursor_;
  rtree::RangeResult<D> found_;    ///< filled by the cursor
  rtree::RangeResult<D> sending_;  ///< what message_ refers to
  rtree::NearestResult neighbors_;
  Pinned second_ = nullptr;  ///< the other tree of a join
  rtree::JoinCursor<D> join_cursor_;
  std::vector<IdPair> pairs_;
  protocol::AnswerEncoder message_;
  bool complete_ = false;  ///< the search is at its end
};

}  // namespace silurus::server
