// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/fabric.h"

namespace silurus::transport::conformance {

/// What the suite needs to know of a fabric in order to drive both sides of it in one thread. One
/// world per test. Virtual time or real time: the suite cannot tell.
class World {
 public:
  virtual ~World() = default;

  /// The fabric as a server's host and a client's host see it (they may be one object).
  virtual Fabric& server_fabric() = 0;
  virtual Fabric& client_fabric() = 0;
  /// An address to listen at; the same one every time.
  virtual Address address() = 0;
  /// An address of the same scheme at which no server listens.
  virtual Address empty_address() = 0;

  /// Drives the pollers until done() holds: false if it does not within a generous time.
  virtual bool run_until(std::span<Poller* const> pollers, const std::function<bool()>& done) = 0;
  /// Drives them until all that is under way has arrived.
  virtual void settle(std::span<Poller* const> pollers) = 0;
  /// Lets that time pass in which no side is driven.
  virtual void pass(Nanoseconds time) = 0;
  /// Fabric::connect(), while `others` (the server's pollers) are driven.
  virtual Result<std::unique_ptr<Connection>> connect(const Address& address,
                                                      const ConnectOptions& options, Poller& poller,
                                                      std::span<const std::byte> hello,
                                                      ConnectionHandler& handler,
                                                      std::span<Poller* const> others) = 0;
  /// Zeroed memory that Listener::expose() takes; lives as long as the world.
  virtual Result<Region> allocate_region(std::size_t bytes) = 0;
  /// Whether another thread may write to exposed memory while reads are served (not in virtual
  /// time).
  virtual bool has_threads() const = 0;
  /// Whether address() is one that a listener takes only if it allows other users.
  virtual bool is_reachable_by_others() const { return false; }
  /// Whether a client can connect though no thread drives the server's poller.
  virtual bool answers_without_poller() const { return false; }
};

struct NamedWorld {
  std::string name;
  std::function<std::unique_ptr<World>()> make;
};

/// All fabrics that registered themselves, in order of name.
std::vector<NamedWorld> registered_worlds();

/// At namespace scope: `const RegisterWorld registration("shm", [] { return ...; });`
struct RegisterWorld {
  RegisterWorld(std::string name, std::function<std::unique_ptr<World>()> make);
};

}  // namespace silurus::transport::conformance
