// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/fabric.h"
#include "transport/ring_budget.h"
#include "transport/sim/endpoint.h"
#include "transport/sim/kept_memory.h"
#include "transport/sim/options.h"
#include "transport/sim/poller.h"

namespace silurus::transport::sim {

/// A client that is connecting; lives until both sides know how it ended.
struct Attempt {
  std::shared_ptr<Endpoint> client;  ///< without a handler until it is connected
  std::vector<std::byte> hello;
  Nanoseconds deadline = 0;
  bool is_asked = false;             ///< the server has been given the hello
  std::shared_ptr<Endpoint> server;  ///< once accepted
  Status answer;                     ///< the server's, once it has decided
  bool is_answered = false;
  bool is_decided = false;  ///< the client knows the outcome, or has given up
  bool is_given_up = false;
  std::function<void(Result<std::shared_ptr<Endpoint>>)> done;

  /// At the client's card, once.
  void decide(const Status& outcome);
};

/// A listening address: what events refer to, after the user has destroyed the Listener as well.
struct ListenerState : std::enable_shared_from_this<ListenerState> {
  ListenerState(Host& host_, Address address_, const ListenOptions& listen_options,
                const FabricOptions& options_)
      : host(host_),
        incarnation(host_.incarnation()),
        power_failures(host_.power_failures()),
        address(std::move(address_)),
        options(options_),
        budget(listen_options, address.to_string()) {}

  Host& host;
  const std::uint32_t incarnation;
  const std::uint32_t power_failures;
  const Address address;
  const FabricOptions options;
  RingBudget budget;
  AcceptHandler* handler = nullptr;
  std::vector<SimPoller*> pollers;
  std::size_t next_poller = 0;
  bool is_open = true;
  std::vector<std::span<std::byte>> regions;
  std::vector<std::weak_ptr<Endpoint>> endpoints;  ///< the ends on the server's side

  std::vector<std::unique_ptr<KeptMemory>> kept;  ///< what the process left, which has ended

  bool host_works() const { return host.alive() && host.incarnation() == incarnation; }
  /// Whether there still is something behind the regions.
  bool has_memory() const { return is_open || !kept.empty(); }
  /// Whether a card answers reads of them, be it with an error.
  bool answers_reads() const {
    return host_works() ||
           (!kept.empty() && host.has_power() && host.power_failures() == power_failures);
  }
  /// The process ends: keeps what it had exposed, where that outlives it.
  void keep_memory();
  /// A client's hello has arrived: handled within the first poller's progress().
  void ask(const std::shared_ptr<Attempt>& attempt);
  void forget(Endpoint& endpoint);

 private:
  Result<std::shared_ptr<Endpoint>> decide(Attempt& attempt);
  void answer(const std::shared_ptr<Attempt>& attempt);
};

class SimListener final : public Listener {
 public:
  explicit SimListener(std::shared_ptr<ListenerState> state);
  ~SimListener() override;
  Address address() const override { return state_->address; }
  Status expose(const Region& region) override;
  std::uint64_t ring_bytes() const override { return state_->budget.bytes(); }
  RefusalCounts refusals() const override { return state_->budget.refusals().get(); }

 private:
  std::shared_ptr<ListenerState> state_;
  std::uint64_t crash_action_;
};

}  // namespace silurus::transport::sim
