// SPDX-License-Identifier: Apache-2.0

#include "bench/peers/peer.h"

namespace silurus::bench {

const std::vector<PeerKind>& peer_kinds() {
  static const std::vector<PeerKind> all = {
      {"postgis", start_postgis},           {"redis", start_redis}, {"sqlite", start_sqlite},
      {"spatialindex", start_spatialindex}, {"geos", start_geos},   {"boost", start_boost},
  };
  return all;
}

}  // namespace silurus::bench
