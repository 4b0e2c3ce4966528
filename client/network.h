// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "transport/fabric.h"

namespace silurus::client {

/// How a client reaches servers: real fabrics, or a simulation's. Outlives the clients that use it.
class Network {
 public:
  struct Route {
    transport::Fabric* fabric;
    transport::Poller* poller;
  };
  /// kUnsupported: no fabric of this build reaches such an address.
  virtual Result<Route> route_to(const transport::Address& address) = 0;

 protected:
  ~Network() = default;
};

/// Reaches every server by one fabric and poller.
class OneFabric final : public Network {
 public:
  OneFabric(transport::Fabric& fabric, transport::Poller& poller) : route_{&fabric, &poller} {}
  Result<Route> route_to(const transport::Address&) override { return route_; }

 private:
  Route route_;
};

/// Knows where the members of a group listen, when none of the known ones answers: etcd.
class Directory {
 public:
  virtual ~Directory() = default;
  /// Addresses for clients. May block for a second or so.
  virtual Result<std::vector<std::string>> members() = 0;
};

}  // namespace silurus::client
