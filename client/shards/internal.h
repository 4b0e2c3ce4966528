// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string_view>

#include "client/environment.h"
#include "common/result.h"
#include "silurus/replacement.h"

// The public functions on a cluster in a world of one's own: a simulated host's. Not installed.
// Client and Router: client/internal.h.

namespace silurus::shards {

Result<std::unique_ptr<MapStore>> open_map_store(std::string_view url,
                                                 client::Environment& environment,
                                                 Nanoseconds timeout = 5 * kSecond);
template <int D>
Result<ReplaceReport> replace_shard(MapStore& store, const ReplaceOptions& options,
                                    client::Environment& environment);
template <int D>
Result<StoredMap> abort_replacement(MapStore& store, std::uint32_t shard,
                                    const ClientOptions& options, client::Environment& environment);

}  // namespace silurus::shards
