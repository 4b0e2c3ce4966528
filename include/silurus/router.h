// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "silurus/api.h"
#include "silurus/client.h"
#include "silurus/map_store.h"
#include "silurus/result.h"
#include "silurus/shard_map.h"

namespace silurus {

/// What one shard's server says of itself.
struct ShardStatistics {
  shards::Part shard;
  Result<ServerStatistics> statistics;  ///< or why it could not be asked
};

/// A client of all shards of a cluster: sends each search to the shards that can have an answer and
/// merges what they say, and each write to the shard that its box belongs to. One thread at a time,
/// as many routers as you like. Movable.
///
///   auto router = silurus::Router<2>::connect("etcd://127.0.0.1:2379/maps");
///   auto found = router->range({{-25, 63}, {-13, 67}});
///
/// What it promises (docs/sharding.md): an operation on one shard is what it is for a Client:
/// linearizable. A search of several shards sees each of them at some moment of its own within the
/// call; a batch is atomic at each shard, not across them. An update that moves an entry from one
/// shard to another is an insertion there and then an erasure here: the entry is never lost, and
/// may be seen at both places for a moment; kInDoubt if it may have stayed at both.
/// While a shard is being replaced by others, calls wait as long as it takes, up to
/// ClientOptions::deadline: kDeadlineExceeded says that nothing happened (of a batch: what didn't).
/// Versions are those of one shard: 0 where several have answered.
/// After fork() it belongs to the parent, as a Client does: kInvalidArgument in the child.
template <int D>
class SILURUS_API Router {
 public:
  /// kNotFound: there is no such cluster; kUnsupported: it has another number of dimensions.
  /// Servers are connected to when they are needed.
  static Result<Router> connect(std::string_view url, const ClientOptions& options = {});
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;
  ~Router();

  // --- searches
  using RangeOptions = silurus::RangeOptions;
  /// kUnsupported if `options` ask for an older version: shards have versions of their own.
  Result<RangeAnswer<D>> range(const Box<D>& window, const RangeOptions& options = {});
  Result<std::uint64_t> count(const Box<D>& window, Predicate predicate = Predicate::kIntersects);
  Result<NearestAnswer> nearest(const Point<D>& point, std::uint32_t k,
                                double max_distance = std::numeric_limits<double>::infinity());

  // --- writes
  Result<Version> insert(std::uint64_t id, const Box<D>& box);
  /// kNotFound if there is no entry of that id and box; so does update.
  Result<Version> erase(std::uint64_t id, const Box<D>& box);
  Result<Version> update(std::uint64_t id, const Box<D>& from, const Box<D>& to);
  /// Any number of operations, in their order at each shard. An error other than kInvalidArgument:
  /// those at other shards than the one that it tells of may have happened.
  Result<WriteAnswer> write(const WriteBatch<D>& batch);

  // --- bulk load into shards that are all empty (kConflict if one isn't)
  Status load_begin();
  Status load_add(std::span<const Entry<D>> entries);
  Result<LoadAnswer> load_commit(double fill = 0);
  Status load_abort();

  // --- about it
  /// As known here: another one may be in force.
  const shards::ShardMap& map() const;
  /// Statistics of all shards, in the order of the map.
  Result<std::vector<ShardStatistics>> server_statistics();
  /// Requests that went to shards, of each kind of call: what a search cost in visits.
  std::uint64_t visits() const;

 private:
  struct SILURUS_INTERNAL Impl;
  friend class client::Internal;
  explicit Router(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace silurus
