// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/fabric.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "transport/sim/endpoint.h"
#include "transport/sim/listener.h"
#include "transport/sim/multicast.h"
#include "transport/sim/poller.h"
#include "transport/sim/thread.h"

namespace silurus::transport::sim {
namespace {

std::string key_of(const Address& address) { return address.host + ":" + address.port; }

/// The client gives up, or is refused.
void end_attempt(const std::shared_ptr<Attempt>& attempt, Error error) {
  if (attempt->is_decided) return;
  attempt->decide(fail(std::move(error)));
}

/// Sends the hello, and again until there is an answer or the deadline.
void try_connect(World& world, const std::shared_ptr<Attempt>& attempt, Host& server_host,
                 const std::string& key, const FabricOptions& options) {
  if (attempt->is_decided || !attempt->client->host_works()) return;
  if (world.now() >= attempt->deadline) {
    return end_attempt(
        attempt, {ErrorCode::kDeadlineExceeded, "sim://" + key +
                                                    " did not answer in time; it may be stuck, "
                                                    "gone, or cut off"});
  }
  Host& client_host = attempt->client->host;
  const auto arrival =
      world.transmit(client_host, server_host, attempt->hello.size() + kPacketOverheadBytes);
  if (arrival) {
    world.at(*arrival, [&world, attempt, &server_host, key] {
      if (!server_host.has_power() || server_host.suspended()) return;
      const auto found = world.listeners().find(key);
      const auto listener = found == world.listeners().end() ? nullptr : found->second.lock();
      if (listener && listener->is_open && listener->host_works()) return listener->ask(attempt);
      const auto back = world.transmit(server_host, attempt->client->host, kPacketOverheadBytes,
                                       {.is_of_card = true});
      if (!back) return;
      world.at(*back, [attempt, key] {
        end_attempt(attempt, {ErrorCode::kUnavailable,
                              "sim://" + key + " refused: no server listens there"});
      });
    });
  }
  const Nanoseconds next = std::min(world.now() + 20 * options.retry, attempt->deadline);
  world.at(next, [&world, attempt, &server_host, key, options] {
    try_connect(world, attempt, server_host, key, options);
  });
}

}  // namespace

Result<SimPoller*> SimFabric::own_poller(Poller& poller) const {
  auto* own = dynamic_cast<SimPoller*>(&poller);
  if (own == nullptr || &own->host() != &host_) {
    return fail(ErrorCode::kInvalidArgument, "the poller is not of this fabric");
  }
  return own;
}

Result<std::unique_ptr<Poller>> SimFabric::create_poller() {
  return std::make_unique<SimPoller>(host_);
}

Result<std::unique_ptr<Listener>> SimFabric::listen(const Address& address,
                                                    const ListenOptions& options,
                                                    std::span<Poller* const> pollers,
                                                    AcceptHandler& handler) {
  if (address.scheme != "sim" || address.host != host_.name()) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot listen at " + address.to_string() + " on host " + host_.name());
  }
  if (pollers.empty()) return fail(ErrorCode::kInvalidArgument, "listening needs pollers");
  Address bound = address;
  auto& listeners = world_.listeners();
  if (bound.port == "0") bound.port = std::to_string(40000 + world_.next_id());
  const auto there = listeners.find(key_of(bound));
  const auto other = there == listeners.end() ? nullptr : there->second.lock();
  if (other && other->is_open && other->host_works()) {
    return fail(ErrorCode::kConflict,
                "cannot listen at " + bound.to_string() + ": another server is listening there");
  }
  auto state = std::make_shared<ListenerState>(host_, bound, options, options_);
  state->handler = &handler;
  for (Poller* poller : pollers) {
    auto own = own_poller(*poller);
    if (!own) return fail(own.error());
    state->pollers.push_back(*own);
  }
  listeners[key_of(bound)] = state;
  return std::make_unique<SimListener>(std::move(state));
}

void SimFabric::start(const Address& address, const ConnectOptions& options, Poller& poller,
                      std::span<const std::byte> hello, Started done) {
  auto own = own_poller(poller);
  if (!own) return done(fail(own.error()));
  if (hello.size() > kMaxClientHelloBytes) {
    return done(fail(ErrorCode::kInvalidArgument,
                     "a hello of " + std::to_string(hello.size()) + " bytes: at most " +
                         std::to_string(kMaxClientHelloBytes) + " fit"));
  }
  Host* server_host = world_.find_host(address.host);
  if (server_host == nullptr) {
    return done(fail(ErrorCode::kNotFound,
                     "no host named " + address.host + " (" + address.to_string() + ")"));
  }
  auto attempt = std::make_shared<Attempt>();
  attempt->client = std::make_shared<Endpoint>(**own, world_.next_id());
  attempt->client->options = options_;
  attempt->client->peer_name = address.to_string();
  attempt->hello.assign(hello.begin(), hello.end());
  attempt->deadline = world_.now() + options.timeout;
  attempt->done = std::move(done);
  world_.trace(Trace::kConnect, host_.index(), server_host->index());
  try_connect(world_, attempt, *server_host, key_of(address), options_);
}

void SimFabric::connect_later(const Address& address, const ConnectOptions& options, Poller& poller,
                              std::span<const std::byte> hello, ConnectionHandler& handler,
                              Connected done) {
  auto& own = static_cast<SimPoller&>(poller);
  start(address, options, poller, hello,
        [&own, &handler, done = std::move(done)](Result<std::shared_ptr<Endpoint>> client) {
          own.add_task([client = std::move(client), &handler, done] {
            if (!client) return done(fail(client.error()));
            auto connection = std::make_unique<SimConnection>(*client);
            connection->set_handler(&handler);
            done(std::move(connection));
          });
        });
}

Result<std::unique_ptr<Connection>> SimFabric::connect(const Address& address,
                                                       const ConnectOptions& options,
                                                       Poller& poller,
                                                       std::span<const std::byte> hello,
                                                       ConnectionHandler& handler) {
  using Outcome = std::optional<Result<std::shared_ptr<Endpoint>>>;
  const auto outcome = std::make_shared<Outcome>();
  Thread* const thread = host_.thread();
  start(address, options, poller, hello, [outcome, wake = thread != nullptr ? thread->waker() : [] {
        }](Result<std::shared_ptr<Endpoint>> client) {
    *outcome = std::move(client);
    wake();
  });
  if (thread != nullptr) {
    while (!outcome->has_value() && !thread->is_over()) thread->wait();
  } else {
    const std::uint32_t incarnation = host_.incarnation();
    world_.run_until(
        [&] {
          return outcome->has_value() || !host_.alive() || host_.incarnation() != incarnation;
        },
        world_.now() + options.timeout);
  }
  if (!*outcome) {
    return fail(ErrorCode::kDeadlineExceeded, address.to_string() + ": our host crashed");
  }
  if (!**outcome) return fail((*outcome)->error());
  auto connection = std::make_unique<SimConnection>(***outcome);
  connection->set_handler(&handler);
  return connection;
}

Result<std::unique_ptr<MulticastGroup>> SimFabric::join(const Address& group, const ConnectOptions&,
                                                        Poller& poller, MulticastHandler& handler) {
  if (!has(options_.capabilities, Capability::kMulticast)) {
    return fail(ErrorCode::kUnsupported, "this sim fabric is set up without multicast");
  }
  auto own = own_poller(poller);
  if (!own) return fail(own.error());
  if (host_.multicast().refuses_to_join) {
    return fail(ErrorCode::kUnavailable,
                "the network does not let " + host_.name() + " join " + group.to_string());
  }
  return join_group(key_of(group), **own, handler);
}

}  // namespace silurus::transport::sim
