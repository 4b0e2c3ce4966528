// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"

namespace silurus::bench {

/// Three members of etcd of our own on this machine, as Debian's package (etcd-server) makes them
/// by default: a put is durable at two of them before it is answered. Stopped when this object
/// goes. One thread.
class EtcdCluster {
 public:
  /// Members keep their logs in that new directory and listen on free ports of the loopback;
  /// returns when they have a leader. kUnsupported if this build has no gRPC (scripts/setup
  /// --peers), kNotFound if there is no etcd.
  static Result<std::unique_ptr<EtcdCluster>> start(const std::string& directory);
  virtual ~EtcdCluster() = default;

  /// All members, for silurus-server's --cluster: "etcd://127.0.0.1:2379/name", of the first one.
  virtual std::string url(const std::string& name) const = 0;
  /// Puts a second, over gRPC to the leader, that many under way at once: new keys of eight bytes,
  /// with 32 bytes, as much as a box.
  virtual Result<double> put_rate(std::size_t in_flight, double seconds, std::uint64_t seed) = 0;
};

}  // namespace silurus::bench
