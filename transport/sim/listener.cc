// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/listener.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "transport/ring.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

void Attempt::decide(const Status& outcome) {
  is_decided = true;
  is_given_up = !outcome;
  if (is_given_up) {
    client->poller = nullptr;
    // A server that has accepted meanwhile finds out as it would of any silent client.
    if (server) client->give_up("the client gave up connecting");
    return done(fail(outcome.error()));
  }
  done(client);
}

void ListenerState::ask(const std::shared_ptr<Attempt>& attempt) {
  if (attempt->is_asked) {  // sent again: the answer was lost, or is still to come
    if (attempt->is_answered) answer(attempt);
    return;
  }
  attempt->is_asked = true;
  pollers.front()->add_task([self = shared_from_this(), attempt] {
    if (!self->is_open) return;
    auto server = self->decide(*attempt);
    if (server) {
      attempt->server = *server;
    } else {
      attempt->answer = fail(server.error().code,
                             self->address.to_string() + " refused: " + server.error().message);
    }
    attempt->is_answered = true;
    self->answer(attempt);
  });
}

Result<std::shared_ptr<Endpoint>> ListenerState::decide(Attempt& attempt) {
  const Caller caller{.name = attempt.client->host.name()};
  auto hello = handler->on_hello(attempt.hello, caller);
  if (!hello) {
    budget.refusals().add(reason_of_handler(hello.error().code));
    return fail(hello.error());
  }
  SILURUS_CHECK(hello->size() <= kMaxHelloBytes);
  auto ring_bytes = budget.take(attempt.client->host.name());
  if (!ring_bytes) return fail(ring_bytes.error());
  SimPoller* poller = pollers[next_poller++ % pollers.size()];
  auto server = std::make_shared<Endpoint>(*poller, host.world().next_id());
  Endpoint& client = *attempt.client;
  const bool reads = has(options.capabilities, Capability::kOneSidedRead);
  server->limits =
      client.limits = {max_message_bytes(*ring_bytes), reads ? options.max_reads_in_flight : 0,
                       reads ? options.max_read_bytes : 0};
  server->options = options;
  server->ring_bytes = client.ring_bytes = *ring_bytes;
  server->is_server = true;
  server->owner = client.host.name();
  server->listener = client.listener = shared_from_this();
  server->peer_hello = attempt.hello;
  server->peer_name = "sim://" + client.host.name() + "#" + std::to_string(client.id);
  client.peer_hello = std::move(*hello);
  server->shows_regions = handler->may_read_regions(caller);
  client.known_regions = server->shows_regions ? regions.size() : 0;
  Endpoint::join(attempt.client, server);
  endpoints.push_back(server);
  const auto accept = [self = shared_from_this(), server, poller] {
    if (!self->is_open) return server->give_up("the listener is gone");
    self->handler->on_accept(std::make_unique<SimConnection>(server), *poller);
  };
  if (poller == pollers.front()) {
    accept();
  } else {
    poller->add_task(accept);
  }
  return server;
}

/// Tells the client; it will ask again if that is lost.
void ListenerState::answer(const std::shared_ptr<Attempt>& attempt) {
  World& world = host.world();
  Host& client_host = attempt->client->host;
  const auto arrival = world.transmit(host, client_host, kMaxHelloBytes + kPacketOverheadBytes);
  if (!arrival) return;
  world.at(*arrival, [attempt] {
    if (!attempt->client->host_works()) return;
    if (!attempt->is_decided) return attempt->decide(attempt->answer);
    if (attempt->is_given_up && attempt->server) attempt->client->give_up("too late");
  });
}

void ListenerState::forget(Endpoint& endpoint) {
  budget.give_back(endpoint.ring_bytes, endpoint.owner);
  std::erase_if(endpoints, [&](const std::weak_ptr<Endpoint>& one) {
    const auto other = one.lock();
    return other == nullptr || other.get() == &endpoint;
  });
}

void ListenerState::keep_memory() {
  if (!options.memory_outlives_process || !kept.empty() || host.power_failures() != power_failures)
    return;
  for (auto& region : regions) {
    kept.push_back(std::make_unique<KeptMemory>(region));
    region = kept.back()->bytes();
  }
  if (!options.is_kept || kept.empty()) return;
  host.on_life_end([weak = weak_from_this()](const Host::EndLife& end_life) {
    if (const auto state = weak.lock()) end_life(state->regions.front());
  });
}

SimListener::SimListener(std::shared_ptr<ListenerState> state)
    : state_(std::move(state)), crash_action_(state_->host.on_crash([weak = std::weak_ptr(state_)] {
        if (const auto ended = weak.lock()) ended->keep_memory();
      })) {}

SimListener::~SimListener() {
  state_->host.forget_crash_action(crash_action_);
  // All that read there hold on to the state.
  if (state_.use_count() > 1) state_->keep_memory();
  state_->is_open = false;
}

Status SimListener::expose(const Region& region) {
  ListenerState& state = *state_;
  if (!has(state.options.capabilities, Capability::kOneSidedRead)) {
    return fail(ErrorCode::kUnsupported,
                state.address.to_string() + " is set up without one-sided reads");
  }
  state.regions.push_back(region.bytes);
  for (const auto& weak : state.endpoints) {
    const auto endpoint = weak.lock();
    if (endpoint && endpoint->shows_regions && !endpoint->is_closing) {
      endpoint->out->send({Item::Kind::kRegions, state.regions.size(), {}});
    }
  }
  return {};
}

}  // namespace silurus::transport::sim
