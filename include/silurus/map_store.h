// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "silurus/api.h"
#include "silurus/result.h"
#include "silurus/shard_map.h"
#include "silurus/time.h"

namespace silurus::shards {

/// A map, and which change of the store it came with.
struct StoredMap {
  ShardMap map;
  std::uint64_t revision = 0;
};

/// Where the shard map of one cluster lies. Linearizable. Calls block; one thread.
class SILURUS_API MapStore {
 public:
  virtual ~MapStore() = default;
  /// kNotFound: there is none yet. kUnavailable: the store can't be asked. kProtocol: see decode().
  virtual Result<StoredMap> load() = 0;
  /// Puts `next` in the place of the map that was loaded with `base` (revision 0: of none), as its
  /// next epoch. kConflict: another process has changed it. kInDoubt: whether it happened could not
  /// be learnt. kInvalidArgument: see check().
  virtual Result<StoredMap> replace(const StoredMap& base, ShardMap next) = 0;
};

/// In etcd, as "silurus/<name>/map". `url`: "etcd://host:port/name". `timeout`: what a call may
/// take while etcd does not answer.
SILURUS_API Result<std::unique_ptr<MapStore>> open_map_store(std::string_view url,
                                                             Nanoseconds timeout = 5 * kSecond);

}  // namespace silurus::shards
