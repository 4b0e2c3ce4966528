// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>

#include "transport/fabric.h"
#include "transport/sim/host.h"
#include "transport/sim/options.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

struct Endpoint;
class SimPoller;

/// The fabric as the code of one host sees it. Addresses are "sim://host:port", port any text; port
/// 0 when listening: a number that is free. Made anew after a restart of the host.
class SimFabric final : public Fabric {
 public:
  SimFabric(World& world, Host& host, const FabricOptions& options = {})
      : world_(world), host_(host), options_(options) {}

  std::string_view scheme() const override { return "sim"; }
  Capabilities capabilities() const override { return options_.capabilities; }
  Result<std::unique_ptr<Poller>> create_poller() override;
  Result<std::unique_ptr<Listener>> listen(const Address& address, const ListenOptions& options,
                                           std::span<Poller* const> pollers,
                                           AcceptHandler& handler) override;
  /// Runs the world until it is connected, or not; within a process's step too, which then waits
  /// while all others go on. Within a Thread: blocks that.
  Result<std::unique_ptr<Connection>> connect(const Address& address, const ConnectOptions& options,
                                              Poller& poller, std::span<const std::byte> hello,
                                              ConnectionHandler& handler) override;
  Result<std::unique_ptr<MulticastGroup>> join(const Address& group, const ConnectOptions& options,
                                               Poller& poller, MulticastHandler& handler) override;

  /// As connect(), but tells the outcome from within a later progress() of the poller.
  using Connected = std::function<void(Result<std::unique_ptr<Connection>>)>;
  void connect_later(const Address& address, const ConnectOptions& options, Poller& poller,
                     std::span<const std::byte> hello, ConnectionHandler& handler, Connected done);

 private:
  using Started = std::function<void(Result<std::shared_ptr<Endpoint>>)>;
  /// Calls `done` at the instant at which the client's card knows.
  void start(const Address& address, const ConnectOptions& options, Poller& poller,
             std::span<const std::byte> hello, Started done);
  Result<SimPoller*> own_poller(Poller& poller) const;

  World& world_;
  Host& host_;
  const FabricOptions options_;
};

}  // namespace silurus::transport::sim
