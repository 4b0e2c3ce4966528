// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <utility>

#include "bench/peers/peer.h"
#include "bench/server_process.h"
#include "silurus/client.h"

namespace silurus::bench {

/// Silurus, to be asked just as its peers are: a server of one thread, over shm.
class SilurusPeer {
 public:
  /// With that data set loaded.
  static Result<SilurusPeer> start(const PeerPlace& place, const std::string& data);
  Result<Client<2>> client() const;
  Result<std::unique_ptr<PeerSession>> connect();
  double cpu_seconds() const { return server_.cpu_seconds(); }

 private:
  explicit SilurusPeer(ServerProcess server) : server_(std::move(server)) {}
  ServerProcess server_;
};

}  // namespace silurus::bench
