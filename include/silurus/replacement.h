// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "silurus/api.h"
#include "silurus/map_store.h"
#include "silurus/options.h"
#include "silurus/result.h"
#include "silurus/time.h"

namespace silurus::shards {

/// The steps of a replacement, in their order: each is what is about to be done.
enum class Step : std::uint8_t {
  kIntent,   ///< writes into the map which server or group shall take the shard's place
  kFill,     ///< has the successors take writes from here only, and emptied
  kCopy,     ///< copies one version, which stays pinned
  kCatchUp,  ///< copies what has changed since, until that is little
  kFreeze,   ///< stops writes to the shard, and copies the last changes
  kRetire,   ///< stops searches of the shard, one-sided ones included
  kServe,    ///< the successors take all clients' writes
  kReplace,  ///< names the successors in the map
};
SILURUS_API std::string_view to_string(Step step);

struct ReplaceOptions {
  std::uint32_t shard = 0;
  std::size_t parts = 1;  ///< 1: move; 2: split
  /// Empty servers or groups, one for each part; none: spares.
  std::vector<std::string> targets = {};
  std::optional<std::uint64_t> at = {};  ///< first key of the second part; nothing: the median
  ClientOptions client = {};
  /// The shard refuses writes for no longer than this: if the last changes take longer, nothing is
  /// replaced.
  Nanoseconds freeze = 5 * kSecond;
  /// Told of each step before it is begun; false ends everything there and then, as if the process
  /// had been killed.
  std::function<bool(Step)> before = {};
};

struct ReplaceReport {
  std::uint32_t shard = 0;
  std::vector<Part> parts;
  std::uint64_t entries = 0;
  std::uint64_t caught_up = 0;     ///< operations that came while it was copied
  Nanoseconds refused_writes = 0;  ///< time in which writes were refused
  Nanoseconds refused_all = 0;     ///< part of it in which searches were refused, too
  std::uint64_t epoch = 0;
};

/// Replaces a shard by others that together have its range, while it serves (docs/sharding.md).
/// If a replacement of the shard has been begun already, it is taken over: `parts` and `targets`
/// are those of the map then, and the one who began it can change nothing any more. So it goes on
/// by itself if a group of replicas loses its primary. After an error that is not kInDoubt the
/// shard serves on, if it could still be reached; call it again, or abort(). kConflict: another
/// process replaces it now, or a server isn't empty.
template <int D>
SILURUS_API Result<ReplaceReport> replace_shard(MapStore& store, const ReplaceOptions& options);

/// Ends a replacement that was begun, by this process or another one: the shard serves on, and the
/// servers that were to be its successors are emptied, as far as they can be reached, and are
/// spares.
template <int D>
SILURUS_API Result<StoredMap> abort_replacement(MapStore& store, std::uint32_t shard,
                                                const ClientOptions& options);

}  // namespace silurus::shards
