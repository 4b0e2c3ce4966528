// SPDX-License-Identifier: Apache-2.0

#include <functional>

#include "bench/durable.h"
#include "bench/durable_parts.h"
#include "bench/peers/inserts.h"

namespace silurus::bench {
namespace {

/// What another system does with that many inserts in flight, a second.
using PeerRate = std::function<Result<double>(std::size_t in_flight, std::uint64_t seed)>;

Status compare_with(const std::string& name, const PeerRate& peer,
                    const DurableBenchOptions& options, Client<2>& client, Report& report) {
  for (const std::size_t in_flight : {std::size_t{1}, std::size_t{64}}) {
    Paired paired;
    for (unsigned run = 0; run < options.runs; ++run) {
      // No box twice: ids are unique in SQLite.
      const std::uint64_t seed = options.seed + 1000 * in_flight + run;
      auto ours = insert_rate(client, in_flight, options.seconds, seed);
      if (!ours) return fail(ours.error());
      auto theirs = peer(in_flight, seed);
      if (!theirs) return fail(theirs.error());
      paired.add(*ours, *theirs);
    }
    report.add(row_of("durable/peers/insert/in-flight=" + std::to_string(in_flight), paired,
                      "ops/s", name, in_flight == 1 ? 1.0 : 10.0));
  }
  return {};
}

}  // namespace

Status measure_peers(const DurableBenchOptions& options, Report& report) {
  const Folder folder(options.disk_directory);
  auto sqlite = SqlitePeer::create(folder / "sqlite.db");
  if (!sqlite) return fail(sqlite.error());
  auto postgis = PostgisPeer::start(folder / "postgres");
  if (!postgis) return fail(postgis.error());
  auto service = Service::start(folder / "peers.sock", {"--data", folder / "peers"});
  if (!service) return fail(service.error());
  const PeerRate sqlite_rate = [&](std::size_t, std::uint64_t seed) {
    return (*sqlite)->insert_rate(options.seconds, seed);
  };
  const PeerRate postgis_rate = [&](std::size_t in_flight, std::uint64_t seed) {
    return (*postgis)->insert_rate(in_flight, options.seconds, seed);
  };
  if (auto ok = compare_with("SQLite R*Tree", sqlite_rate, options, service->client, report); !ok) {
    return ok;
  }
  return compare_with("PostGIS", postgis_rate, options, service->client, report);
}

}  // namespace silurus::bench
