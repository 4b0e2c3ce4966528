// SPDX-License-Identifier: Apache-2.0

#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "rtree/tree.h"
#include "rtree/walk.h"

namespace silurus::rtree {
namespace {

inline void prefetch(const void* from, std::size_t bytes) {
  const auto* lines = static_cast<const char*>(from);
  for (std::size_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(lines + offset);
  // g++ takes a function that does nothing but prefetch for one without effects, and leaves out the
  // calls of it and of whatever does nothing but call it.
  asm volatile("");
}

template <int D>
Status check_query(const RangeQuery<D>& query) {
  return check_coordinates(query.window, query.lonlat, "window");
}

template <int D>
Status check_query(const NearestQuery<D>& query) {
  if (query.k == 0) return fail(ErrorCode::kInvalidArgument, "k must be at least 1");
  if (!(query.max_distance >= 0)) {
    return fail(ErrorCode::kInvalidArgument, "the greatest distance must be at least 0");
  }
  return check_coordinates(query.point, query.lonlat);
}

/// Searches interleaved on one thread: range searches, and those of neighbours.
constexpr std::size_t kRangesInFlight = 16;
constexpr std::size_t kNearestInFlight = 8;

/// Refuses a batch before it begins.
template <int D, typename Query>
Status check_batch(std::span<const Query> queries, std::size_t room) {
  if (room < queries.size()) {
    return fail(ErrorCode::kInvalidArgument, std::to_string(queries.size()) +
                                                 " queries, but room for " + std::to_string(room) +
                                                 " results");
  }
  for (const Query& query : queries) {
    if (Status checked = check_query<D>(query); !checked) return checked;
  }
  return {};
}

/// Where the range searches of a batch stop, and where those go that do.
template <int D>
struct Stop {
  std::uint32_t nodes = UINT32_MAX;
  std::uint64_t entries = UINT64_MAX;
  std::vector<StoppedSearch<D>>* stopped = nullptr;  ///< null: none does

  std::uint64_t enough(const RangeQuery<D>& query) const {
    return query.shape == ResultShape::kCount ? UINT64_MAX : entries;
  }
};

template <int D>
Status run_ranges(const Snapshot<D>& snapshot, std::span<const RangeQuery<D>> queries,
                  std::span<RangeResult<D>> results, const Stop<D>& stop) {
  if (Status checked = check_batch<D>(queries, results.size()); !checked) return checked;
  static thread_local std::array<RangeLane<D>, kRangesInFlight> lanes;
  const WantedNode root = snapshot.root();
  const Walks<D>& walk = walks<D>();
  std::size_t started = 0;
  std::size_t running = 0;
  const auto begin = [&](RangeLane<D>& lane) {
    lane.is_running = started < queries.size();
    if (!lane.is_running) return;
    ++running;
    lane.cursor.start(queries[started], root, results[started]);
    lane.query = started;
    lane.nodes_left = stop.nodes;
    lane.enough = stop.enough(queries[started]);
    ++started;
  };
  for (RangeLane<D>& lane : lanes) begin(lane);
  while (running > 0) {
    walk.turn(lanes, snapshot);
    for (RangeLane<D>& lane : lanes) {
      if (!lane.is_running || lane.may_go_on()) continue;
      lane.cursor.state().finish_if_done();
      if (lane.may_go_on()) continue;  // with the next window
      if (!lane.cursor.done()) {
        RangeCursor<D> fresh;
        std::swap(fresh, lane.cursor);
        stop.stopped->push_back({lane.query, std::move(fresh)});
      }
      --running;
      begin(lane);
    }
  }
  return {};
}

/// One of the searches for neighbours in flight.
template <int D>
struct NearestLane {
  NearestCursor<D> cursor;
  const Node<D>* next = nullptr;  ///< prefetched, to be fed
};

template <int D>
void advance(const Snapshot<D>& snapshot, NearestLane<D>& lane) {
  if (lane.next != nullptr) lane.cursor.feed(*lane.next);
  lane.next = nullptr;
  if (const auto wanted = lane.cursor.take()) {
    lane.next = &snapshot.node(wanted->ref);
    prefetch(lane.next, node_bytes<D>(wanted->level));
  }
}

}  // namespace

template <int D>
Status Snapshot<D>::range(const RangeQuery<D>& query, RangeResult<D>& result) const {
  if (Status checked = check_query(query); !checked) return checked;
  static thread_local RangeCursor<D> cursor;
  cursor.start(query, root(), result);
  walks<D>().go_on(cursor.state(), *this, UINT32_MAX, UINT64_MAX);
  return {};
}

template <int D>
bool Snapshot<D>::go_on(RangeCursor<D>& cursor, std::uint32_t most_nodes,
                        std::uint64_t enough) const {
  return walks<D>().go_on(cursor.state(), *this, most_nodes, enough);
}

template <int D>
Status Snapshot<D>::nearest(const NearestQuery<D>& query, NearestResult& result) const {
  if (Status checked = check_query(query); !checked) return checked;
  const bool is_plain =
      !query.lonlat && query.max_distance == std::numeric_limits<double>::infinity();
  if (is_plain && query.k <= kFewNeighbors && walks<D>().nearest(query, *this, result)) return {};
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
  return run_ranges<D>(*this, queries, results, Stop<D>{});
}

template <int D>
Status Snapshot<D>::range_batch(std::span<const RangeQuery<D>> queries,
                                std::span<RangeResult<D>> results, std::uint32_t most_nodes,
                                std::uint64_t enough,
                                std::vector<StoppedSearch<D>>& stopped) const {
  return run_ranges<D>(*this, queries, results, Stop<D>{most_nodes, enough, &stopped});
}

template <int D>
Status Snapshot<D>::nearest_batch(std::span<const NearestQuery<D>> queries,
                                  std::span<NearestResult> results) const {
  if (Status checked = check_batch<D>(queries, results.size()); !checked) return checked;
  static thread_local std::array<NearestLane<D>, kNearestInFlight> lanes;
  std::size_t started = 0;
  std::size_t running = 0;
  const auto begin = [&](NearestLane<D>& lane) {
    if (started == queries.size()) return;
    lane.cursor.start(queries[started], root(), results[started]);
    ++started;
    advance(*this, lane);
    ++running;  // the root at least is looked at, since k is not 0
  };
  for (NearestLane<D>& lane : lanes) begin(lane);
  while (running > 0) {
    for (NearestLane<D>& lane : lanes) {
      if (lane.next == nullptr) continue;
      advance(*this, lane);
      if (lane.next != nullptr) continue;
      --running;
      begin(lane);
    }
  }
  return {};
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
