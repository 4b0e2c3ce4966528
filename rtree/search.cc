#include <array>
#include <string>

#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

/// Lines of a node that a search will certainly read.
template <int D>
void prefetch(const Node<D>& node, std::uint32_t level) {
  const auto* bytes = reinterpret_cast<const char*>(&node);
  const std::size_t hot =
      sizeof(NodeHeader) + (level == 0 ? sizeof(node.leaf.high) : sizeof(node.inner.bounds));
  for (std::size_t offset = 0; offset < hot; offset += 64) __builtin_prefetch(bytes + offset);
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

template <int D, typename Cursor, typename Query, typename Answer>
Status run_batch(const Snapshot<D>& snapshot, std::span<const Query> queries,
                 std::span<Answer> results) {
  if (results.size() < queries.size()) {
    return fail(ErrorCode::kInvalidArgument, std::to_string(queries.size()) +
                                                 " queries, but room for " +
                                                 std::to_string(results.size()) + " results");
  }
  for (const Query& query : queries) {
    if (Status checked = check_query<D>(query); !checked) return checked;
  }
  struct Lane {
    Cursor cursor;
    const Node<D>* next = nullptr;
  };
  static thread_local std::array<Lane, kInFlight> lanes;
  const auto advance = [&](Lane& lane) {
    lane.next = nullptr;
    if (const auto wanted = lane.cursor.take()) {
      lane.next = &snapshot.node(wanted->ref);
      prefetch(*lane.next, wanted->level);
    }
  };
  const WantedNode root = snapshot.root();
  std::size_t started = 0;
  std::size_t running = 0;
  const auto begin = [&](Lane& lane) {
    if (started == queries.size()) return;
    lane.cursor.start(queries[started], root, results[started]);
    ++started;
    ++running;
    advance(lane);
  };
  for (Lane& lane : lanes) {
    lane.next = nullptr;
    begin(lane);
  }
  while (running > 0) {
    for (Lane& lane : lanes) {
      if (lane.next == nullptr) continue;
      lane.cursor.feed(*lane.next);
      advance(lane);
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
  while (const auto wanted = cursor.take()) {
    cursor.feed(node(wanted->ref),
                [this](WantedNode child) { prefetch(node(child.ref), child.level); });
  }
  return {};
}

template <int D>
Status Snapshot<D>::nearest(const NearestQuery<D>& query, NearestResult& result) const {
  if (Status checked = check_query(query); !checked) return checked;
  static thread_local NearestCursor<D> cursor;
  cursor.start(query, root(), result);
  while (const auto wanted = cursor.take()) cursor.feed(node(wanted->ref));
  return {};
}

template <int D>
Status Snapshot<D>::range_batch(std::span<const RangeQuery<D>> queries,
                                std::span<RangeResult<D>> results) const {
  return run_batch<D, RangeCursor<D>>(*this, queries, results);
}

template <int D>
Status Snapshot<D>::nearest_batch(std::span<const NearestQuery<D>> queries,
                                  std::span<NearestResult> results) const {
  return run_batch<D, NearestCursor<D>>(*this, queries, results);
}

template Status Snapshot<2>::range(const RangeQuery<2>&, RangeResult<2>&) const;
template Status Snapshot<3>::range(const RangeQuery<3>&, RangeResult<3>&) const;
template Status Snapshot<2>::nearest(const NearestQuery<2>&, NearestResult&) const;
template Status Snapshot<3>::nearest(const NearestQuery<3>&, NearestResult&) const;
template Status Snapshot<2>::range_batch(std::span<const RangeQuery<2>>,
                                         std::span<RangeResult<2>>) const;
template Status Snapshot<3>::range_batch(std::span<const RangeQuery<3>>,
                                         std::span<RangeResult<3>>) const;
template Status Snapshot<2>::nearest_batch(std::span<const NearestQuery<2>>,
                                           std::span<NearestResult>) const;
template Status Snapshot<3>::nearest_batch(std::span<const NearestQuery<3>>,
                                           std::span<NearestResult>) const;

}  // namespace silurus::rtree
