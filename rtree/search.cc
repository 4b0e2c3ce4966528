#include <array>
#include <string>
#include <utility>
#include <vector>

#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

inline void prefetch(const void* from, std::size_t bytes) {
  const auto* lines = static_cast<const char*>(from);
  for (std::size_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(lines + offset);
  // g++ takes a function that does nothing but prefetch for one without effects, and leaves out the
  // calls of it and of whatever does nothing but call it.
  asm volatile("");
}

/// Prefetches what a range search will read of a node. Of a leaf that stands alone, the window is
/// small, a search seldom gets further than the first dimension; of many, it reads all but the low
/// words and what the window covers.
template <int D>
void prefetch_for_range(const Node<D>& node, const typename RangeCursor<D>::Next& next) {
  constexpr std::size_t kAxisBytes = 2 * sizeof(node.leaf.high[0]);
  if (next.node.level != 0) {
    prefetch(&node, sizeof(NodeHeader) + sizeof(node.inner.bounds));
  } else if ((next.hints & kAloneHint) != 0) {
    prefetch(&node, sizeof(NodeHeader) + kAxisBytes);
  } else {
    prefetch(&node, sizeof(NodeHeader));
    for (int d = 0; d < D; ++d) {
      if ((next.hints >> d & 1) == 0) prefetch(node.leaf.high[2 * d], kAxisBytes);
    }
    prefetch(node.leaf.ids, sizeof(node.leaf.ids));
  }
}

template <int D>
Status check_query(const RangeQuery<D>& query) {
  return check_box(query.window, "window");
}

template <int D>
Status check_query(const NearestQuery<D>& query) {
  if (query.k == 0) return fail(ErrorCode::kInvalidArgument, "k must be at least 1");
  return check_point(query.point);
}

/// Searches interleaved on one thread.
constexpr std::size_t kInFlight = 8;

template <typename Cursor>
Cursor make_cursor() {
  if constexpr (requires { Cursor::LeafScan::kByDimension; }) {
    return Cursor(Cursor::LeafScan::kByDimension);
  } else {
    return Cursor();
  }
}

/// One of the searches in flight.
template <int D, typename Cursor>
struct Lane {
  Cursor cursor = make_cursor<Cursor>();
  const Node<D>* next = nullptr;          ///< prefetched, to be fed
  typename RangeCursor<D>::Next taken{};  ///< what a range search said of it
  std::size_t query = 0;                  ///< which one
  // Where a range search stops.
  std::uint32_t nodes_left = 0;
  std::uint64_t enough = 0;
};

/// Where the range searches of a batch stop, and where those go that do.
template <int D>
struct Stop {
  std::uint32_t nodes = UINT32_MAX;
  std::uint64_t entries = UINT64_MAX;
  std::vector<StoppedSearch<D>>* stopped = nullptr;  ///< null: none does

  std::uint64_t enough(const RangeQuery<D>& query) const {
    return query.shape == ResultShape::kCount ? UINT64_MAX : entries;
  }
  std::uint64_t enough(const NearestQuery<D>&) const { return UINT64_MAX; }
};

template <int D>
void advance(const Snapshot<D>& snapshot, Lane<D, RangeCursor<D>>& lane, const Stop<D>& stop) {
  if (lane.next != nullptr) lane.cursor.feed(lane.taken, *lane.next, [](const auto&) {});
  lane.next = nullptr;
  if (lane.nodes_left == 0 || lane.cursor.found() >= lane.enough) [[unlikely]] {
    if (lane.cursor.done()) return;
    auto fresh = make_cursor<RangeCursor<D>>();
    std::swap(fresh, lane.cursor);
    stop.stopped->push_back({lane.query, std::move(fresh)});
    return;
  }
  if (const auto wanted = lane.cursor.take_next()) {
    --lane.nodes_left;
    lane.next = &snapshot.node(wanted->node.ref);
    lane.taken = *wanted;
    prefetch_for_range(*lane.next, *wanted);
  }
}

template <int D>
void advance(const Snapshot<D>& snapshot, Lane<D, NearestCursor<D>>& lane, const Stop<D>&) {
  if (lane.next != nullptr) lane.cursor.feed(*lane.next);
  lane.next = nullptr;
  if (const auto wanted = lane.cursor.take()) {
    lane.next = &snapshot.node(wanted->ref);
    prefetch(lane.next, node_bytes<D>(wanted->level));
  }
}

template <int D, typename Cursor, typename Query, typename Answer>
Status run_batch(const Snapshot<D>& snapshot, std::span<const Query> queries,
                 std::span<Answer> results, const Stop<D>& stop) {
  if (results.size() < queries.size()) {
    return fail(ErrorCode::kInvalidArgument, std::to_string(queries.size()) +
                                                 " queries, but room for " +
                                                 std::to_string(results.size()) + " results");
  }
  for (const Query& query : queries) {
    if (Status checked = check_query<D>(query); !checked) return checked;
  }
  static thread_local std::array<Lane<D, Cursor>, kInFlight> lanes;
  const WantedNode root = snapshot.root();
  std::size_t started = 0;
  std::size_t running = 0;
  const auto begin = [&](Lane<D, Cursor>& lane) {
    lane.next = nullptr;
    if (started == queries.size()) return;
    lane.cursor.start(queries[started], root, results[started]);
    lane.query = started;
    lane.nodes_left = stop.nodes;
    lane.enough = stop.enough(queries[started]);
    ++started;
    advance(snapshot, lane, stop);
    if (lane.next != nullptr) ++running;
  };
  for (Lane<D, Cursor>& lane : lanes) begin(lane);
  while (running > 0 || started < queries.size()) {
    for (Lane<D, Cursor>& lane : lanes) {
      if (lane.next == nullptr) {
        begin(lane);
        continue;
      }
      advance(snapshot, lane, stop);
      if (lane.next == nullptr) {
        --running;
        begin(lane);
      }
    }
  }
  return {};
}

}  // namespace

template <int D>
Status Snapshot<D>::range(const RangeQuery<D>& query, RangeResult<D>& result) const {
  if (Status checked = check_query(query); !checked) return checked;
  static thread_local RangeCursor<D> cursor;
  cursor.start(query, root(), result);
  go_on(cursor);
  return {};
}

template <int D>
bool Snapshot<D>::go_on(RangeCursor<D>& cursor, std::uint32_t most_nodes,
                        std::uint64_t enough) const {
  using Next = typename RangeCursor<D>::Next;
  for (; most_nodes != 0 && cursor.found() < enough; --most_nodes) {
    const auto wanted = cursor.take_next();
    if (!wanted) break;
    cursor.feed(*wanted, node(wanted->node.ref),
                [this](const Next& next) { prefetch_for_range(node(next.node.ref), next); });
  }
  return cursor.done();
}

template <int D>
Status Snapshot<D>::nearest(const NearestQuery<D>& query, NearestResult& result) const {
  if (Status checked = check_query(query); !checked) return checked;
  static thread_local NearestCursor<D> cursor;
  cursor.start(query, root(), result);
  go_on(cursor);
  return {};
}

template <int D>
bool Snapshot<D>::go_on(NearestCursor<D>& cursor, std::uint32_t most_nodes) const {
  for (; most_nodes != 0; --most_nodes) {
    const auto wanted = cursor.take();
    if (!wanted) break;
    cursor.feed(node(wanted->ref));
  }
  return cursor.done();
}

template <int D>
Status Snapshot<D>::range_batch(std::span<const RangeQuery<D>> queries,
                                std::span<RangeResult<D>> results) const {
  return run_batch<D, RangeCursor<D>>(*this, queries, results, Stop<D>{});
}

template <int D>
Status Snapshot<D>::range_batch(std::span<const RangeQuery<D>> queries,
                                std::span<RangeResult<D>> results, std::uint32_t most_nodes,
                                std::uint64_t enough,
                                std::vector<StoppedSearch<D>>& stopped) const {
  return run_batch<D, RangeCursor<D>>(*this, queries, results,
                                      Stop<D>{most_nodes, enough, &stopped});
}

template <int D>
Status Snapshot<D>::nearest_batch(std::span<const NearestQuery<D>> queries,
                                  std::span<NearestResult> results) const {
  return run_batch<D, NearestCursor<D>>(*this, queries, results, Stop<D>{});
}

template Status Snapshot<2>::range(const RangeQuery<2>&, RangeResult<2>&) const;
template Status Snapshot<2>::nearest(const NearestQuery<2>&, NearestResult&) const;
template bool Snapshot<2>::go_on(RangeCursor<2>&, std::uint32_t, std::uint64_t) const;
template bool Snapshot<2>::go_on(NearestCursor<2>&, std::uint32_t) const;
template Status Snapshot<2>::range_batch(std::span<const RangeQuery<2>>,
                                         std::span<RangeResult<2>>) const;
template Status Snapshot<2>::range_batch(std::span<const RangeQuery<2>>, std::span<RangeResult<2>>,
                                         std::uint32_t, std::uint64_t,
                                         std::vector<StoppedSearch<2>>&) const;
template Status Snapshot<2>::nearest_batch(std::span<const NearestQuery<2>>,
                                           std::span<NearestResult>) const;
template Status Snapshot<3>::range(const RangeQuery<3>&, RangeResult<3>&) const;
template Status Snapshot<3>::nearest(const NearestQuery<3>&, NearestResult&) const;
template bool Snapshot<3>::go_on(RangeCursor<3>&, std::uint32_t, std::uint64_t) const;
template bool Snapshot<3>::go_on(NearestCursor<3>&, std::uint32_t) const;
template Status Snapshot<3>::range_batch(std::span<const RangeQuery<3>>,
                                         std::span<RangeResult<3>>) const;
template Status Snapshot<3>::range_batch(std::span<const RangeQuery<3>>, std::span<RangeResult<3>>,
                                         std::uint32_t, std::uint64_t,
                                         std::vector<StoppedSearch<3>>&) const;
template Status Snapshot<3>::nearest_batch(std::span<const NearestQuery<3>>,
                                           std::span<NearestResult>) const;

}  // namespace silurus::rtree
