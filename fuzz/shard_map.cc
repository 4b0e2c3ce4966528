// SPDX-License-Identifier: Apache-2.0

#include "silurus/shard_map.h"

#include "fuzz/target.h"
#include "rtree/geometry.h"

// The map of a cluster's shards, as it lies in etcd: JSON. Of a map that is taken, where entries of
// its shards can be is computed.

namespace silurus::fuzz {
namespace {

using namespace shards;

template <int D>
void try_space(const ShardMap& map) {
  const Space<D> space(map);
  for (std::size_t i = 0; i < map.shards.size() && i < 4; ++i) {
    const auto reach = space.reach(map.shards[i].first, map.last_key(i));
    SILURUS_CHECK(!reach.empty() && reach.size() <= Space<D>::kMaxReachBoxes);
    for (const auto& box : reach) {
      SILURUS_CHECK(rtree::check_box(box));
      static_cast<void>(space.key(box));
    }
  }
}

std::string seed(int dimensions) {
  const auto size = static_cast<std::size_t>(dimensions);
  ShardMap map{.epoch = 3, .written_by = 5, .dimensions = dimensions, .next_id = 9};
  map.frame_min.resize(size, -180);
  map.frame_max.resize(size, 180);
  map.limit.resize(size, 0.25);
  Shard first;
  first.servers = {"tcp://a:1", "tcp://b:1"};
  Shard second;
  second.id = 1;
  second.first = std::uint64_t{1} << 63;
  second.servers = {"etcd://a:1/name/7"};
  Part left;
  left.id = 2;
  left.first = second.first;
  left.servers = {"shm:///a"};
  second.successors = {left};
  second.fencing_token = 2;
  map.shards = {first, second};
  map.spares = {"tcp://c:1,tcp://d:1"};
  return encode(map);
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  const auto map = decode(as_text(bytes));
  if (!map) return;
  SILURUS_CHECK(check(*map));
  const auto again = decode(encode(*map));
  SILURUS_CHECK(again && *again == *map);
  if (map->dimensions == 2) {
    try_space<2>(*map);
  } else {
    try_space<3>(*map);
  }
}

std::vector<std::string> seeds() { return {seed(2), seed(3)}; }

}  // namespace silurus::fuzz
