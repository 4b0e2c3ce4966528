#include "client/core.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "common/units.h"
#include "protocol/encode.h"

namespace silurus::client {
namespace {

/// settle() looks at deadlines once in so many times.
constexpr std::uint32_t kSettlesPerLook = 64;
/// Under so many lost connections an operation is ended: a server that ends every connection is
/// none.
constexpr int kMaxLosses = 4;

}  // namespace

// --- set-up --------------------------------------------------------------------------------------

template <int D>
ClientCore<D>::ClientCore(transport::Poller& poller, const Clock& clock,
                          const ClientOptions& options, Family<D>* family)
    : poller_(poller),
      clock_(clock),
      options_(options),
      own_family_(family == nullptr ? std::make_unique<Family<D>>() : nullptr),
      family_(family == nullptr ? own_family_.get() : family) {}

template <int D>
Result<std::unique_ptr<ClientCore<D>>> ClientCore<D>::connect(
    transport::Fabric& fabric, transport::Poller& poller, const transport::Address& address,
    const Clock& clock, const ClientOptions& options, Family<D>* family) {
  std::unique_ptr<ClientCore> core(new ClientCore(poller, clock, options, family));
  protocol::ClientHello hello;
  hello.dimensions = D;
  hello.client = options.client_id;
  auto connection =
      fabric.connect(address, {.timeout = options.connect_timeout}, poller,
                     std::as_bytes(std::span<const protocol::ClientHello, 1>(&hello, 1)), *core);
  if (!connection) return fail(connection.error());
  if (auto ok = core->attach(std::move(*connection)); !ok) return fail(ok.error());
  return core;
}

template <int D>
Status ClientCore<D>::attach(std::unique_ptr<transport::Connection> connection) {
  connection_ = std::move(connection);
  auto server = protocol::decode_server_hello(connection_->peer_hello(), D);
  if (!server) {
    return fail(server.error().code, connection_->peer() + ": " + server.error().message);
  }
  server_ = *server;
  is_group_ = server_.epoch != 0;
  if (connection_->limits().max_message_bytes < protocol::kMinMessageBytes) {
    return fail(ErrorCode::kUnsupported,
                "the connection to " + connection_->peer() + " carries only messages of up to " +
                    std::to_string(connection_->limits().max_message_bytes) + " bytes");
  }
  if (options_.mode == Mode::kMessaging) return {};
  auto offloader = Offloader<D>::create(options_.offload, server_, *connection_, poller_, clock_);
  if (offloader) {
    offloader_ = std::move(*offloader);
    policy_ = options_.shared_policy != nullptr ? options_.shared_policy
                                                : make_policy(options_.policy, options_.seed);
  } else if (options_.mode == Mode::kOffload) {
    return fail(offloader.error());
  } else if (server_.one_sided != 0) {
    // Where there are no one-sided reads adaptive is messaging; where there are, it's a surprise.
    log::warning(offloader.error().message);
  }
  return {};
}

template <int D>
ClientCore<D>::~ClientCore() {
  if (!lost_) lost_ = Error{ErrorCode::kConnectionLost, "the client was closed"};
  end_all();
  offloader_.reset();
  connection_.reset();
}

template <int D>
std::size_t ClientCore<D>::max_batch() const {
  const std::size_t fit =
      (connection_->limits().max_message_bytes - sizeof(protocol::WriteRequest)) /
      sizeof(protocol::Operation<D>);
  return std::min<std::size_t>(fit, server_.max_batch);
}

template <int D>
std::size_t ClientCore<D>::max_load_batch() const {
  return (connection_->limits().max_message_bytes - sizeof(protocol::LoadEntries)) /
         sizeof(rtree::Entry<D>);
}

// --- slots ---------------------------------------------------------------------------------------

template <int D>
std::uint32_t ClientCore<D>::acquire(CallKind kind, Nanoseconds deadline, Nanoseconds patience) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(operations_.size()));
    operations_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Call<D>& operation = operations_[index];
  operation.kind = kind;
  operation.chosen = Access::kMessaging;
  operation.chosen_by_policy = false;
  operation.as_of = 0;
  operation.holding = false;
  operation.any = false;
  operation.harmless = false;
  operation.in_doubt = false;
  operation.losses = 0;
  operation.started = clock_.now();
  operation.deadline = operation.started + (patience != 0 ? patience : deadline);
  operation.patience = patience;
  operation.bytes = 0;
  operation.cost = {};
  operation.error_text.clear();
  next_deadline_ = std::min(next_deadline_, operation.next_look(operation.started));
  ++in_flight_;
  return index;
}

template <int D>
void ClientCore<D>::release(std::uint32_t index) {
  operations_[index].state = CallState::kFree;
  ++operations_[index].generation;
  free_.push_back(index);
}

// --- driving it ----------------------------------------------------------------------------------

template <int D>
void ClientCore<D>::flush() {
  if (lost_) return;
  if (waiting_first_ < waiting_.size()) send_waiting();
  if (unanswered_ > 0) connection_->flush();
  if (offloader_ != nullptr) offloader_->flush();
}

template <int D>
std::size_t ClientCore<D>::settle(bool look_at_deadlines) {
  std::size_t settled = offloader_ != nullptr ? deliver_offloaded() : 0;
  if (look_at_deadlines || ++settles_ % kSettlesPerLook == 0) settled += end_overdue();
  return settled;
}

// --- endings -------------------------------------------------------------------------------------

template <int D>
AccessStatistics& ClientCore<D>::statistics_of(const Call<D>& operation) {
  if (operation.kind == CallKind::kRange || operation.kind == CallKind::kNearest) {
    const Access access =
        operation.kind == CallKind::kRange ? operation.range.access : operation.nearest.access;
    return access == Access::kOffload ? statistics_.offload : statistics_.messaging;
  }
  return statistics_.writes;
}

template <int D>
void ClientCore<D>::record(const Call<D>& operation, bool failed) {
  if (operation.kind == CallKind::kText || operation.kind == CallKind::kLoad) return;
  AccessStatistics& statistics = statistics_of(operation);
  if (failed) {
    ++statistics.failed;
    if (operation.chosen_by_policy) policy_->forget(operation.chosen);
    return;
  }
  const Nanoseconds now = clock_.now();
  const Nanoseconds latency = std::max<Nanoseconds>(0, now - operation.started);
  ++statistics.completed;
  statistics.latency.add(static_cast<std::uint64_t>(latency));
  statistics.round_trips += operation.cost.round_trips;
  statistics.bytes += operation.bytes + operation.cost.bytes_read;
  statistics.nodes_read += operation.cost.nodes_read;
  statistics.cache_hits += operation.cost.cache_hits;
  statistics.cache_misses += operation.cost.cache_misses;
  statistics.restarts += operation.cost.restarts;
  if (operation.chosen_by_policy) {
    policy_->on_search({.search_class = operation.search_class,
                        .access = operation.chosen,
                        .latency = latency,
                        .completed_at = now});
  }
}

/// Calls the callback and gives the slot back. `operation` may be any kind, in any state but free.
template <int D>
void ClientCore<D>::end(std::uint32_t index, const Error* error) {
  Call<D>& operation = operations_[index];
  if (error == nullptr && operation.any && !is_fresh(operation)) {
    return hand_over(index, ErrorCode::kUnavailable);
  }
  const bool answer_to_come = operation.state == CallState::kForgotten;
  if (error == nullptr && operation.as_of == 0) {
    family_->newest = std::max(family_->newest, version_of(operation));
  }
  if (!answer_to_come) operation.state = CallState::kDelivering;
  record(operation, error != nullptr);
  --in_flight_;
  if (operation.kind == CallKind::kWrite) family_->writes.resolve(operation.sequence);
  operation.deliver(error);
  if (!answer_to_come) release(index);
}

template <int D>
Error ClientCore<D>::overdue_error(const Call<D>& operation) const {
  if (operation.patience != 0) {
    return operation.failure(
        {ErrorCode::kDeadlineExceeded, "no answer and no sign of life from " + connection_->peer() +
                                           " for " + format_duration(operation.patience)});
  }
  return operation.failure(
      {ErrorCode::kDeadlineExceeded, "no answer from " + connection_->peer() + " within " +
                                         format_duration(operation.deadline - operation.started)});
}

/// Whether the server has sent anything since the last look: it is there, and works.
template <int D>
bool ClientCore<D>::shows_life(Nanoseconds now) {
  look_at_heartbeat(now);
  const std::uint64_t messages = connection_->counters().messages_received;
  const bool shows = messages != messages_seen_ || heartbeat_sequence_ != heartbeats_seen_;
  messages_seen_ = messages;
  heartbeats_seen_ = heartbeat_sequence_;
  return shows;
}

template <int D>
std::size_t ClientCore<D>::end_overdue() {
  const Nanoseconds now = clock_.now();
  if (now < next_deadline_) return 0;
  std::size_t count = 0;
  std::optional<bool> alive;
  next_deadline_ = INT64_MAX;
  for (std::uint32_t index = 0; index < operations_.size(); ++index) {
    Call<D>& operation = operations_[index];
    const CallState state = operation.state;
    if (!operation.is_live()) continue;
    if (operation.patience != 0) {
      if (!alive) alive = shows_life(now);
      if (*alive) operation.deadline = now + operation.patience;
    }
    if (operation.deadline > now) {
      next_deadline_ = std::min(next_deadline_, operation.next_look(now));
      continue;
    }
    const Error error = overdue_error(operation);
    if (state == CallState::kOffloading) offloader_->cancel(index);
    if (state == CallState::kSent) operation.state = CallState::kForgotten;
    ++statistics_.deadlines_exceeded;
    ++count;
    end(index, &error);
  }
  return count;
}

template <int D>
void ClientCore<D>::on_closed(transport::Connection& connection, const Error& reason) {
  if (!lost_) {
    lost_ = Error{ErrorCode::kConnectionLost,
                  "connection to " + connection.peer() + " lost: " + reason.message};
  }
  end_all();
}

/// The server doesn't keep to the protocol: nothing that it says can be believed any more.
template <int D>
void ClientCore<D>::break_off(Error error) {
  lost_ = Error{error.code, connection_->peer() + " broke the protocol: " + error.message};
  connection_->close();
}

template <int D>
void ClientCore<D>::end_all() {
  for (std::uint32_t index = 0; index < operations_.size(); ++index) {
    Call<D>& operation = operations_[index];
    if (!operation.is_live()) continue;
    if (operation.state == CallState::kOffloading) offloader_->cancel(index);
    if (may_keep(operation)) {
      ++operation.losses;
      operation.in_doubt |=
          operation.kind == CallKind::kWrite && operation.state == CallState::kSent;
      hand_over(index, ErrorCode::kConnectionLost);
      continue;
    }
    const Error error = operation.failure(*lost_);
    end(index, &error);
  }
}

/// Whether what was under way when the connection was lost can be begun again.
template <int D>
bool ClientCore<D>::may_keep(const Call<D>& operation) const {
  if (family_->keeper == nullptr || lost_->code != ErrorCode::kConnectionLost ||
      operation.losses + 1 >= kMaxLosses) {
    return false;
  }
  if (operation.is_search()) return true;
  const bool was_sent = operation.state == CallState::kSent;
  if (operation.kind == CallKind::kWrite) {
    return !was_sent || (is_group_ && options_.client_id != 0);
  }
  return operation.harmless;
}

template <int D>
void ClientCore<D>::hand_over(std::uint32_t index, ErrorCode why) {
  Call<D>& operation = operations_[index];
  if (operation.chosen_by_policy) policy_->forget(operation.chosen);
  const std::uint32_t generation = operation.generation;
  Call<D> call = std::exchange(operation, Call<D>{});
  operation.generation = generation;
  release(index);
  --in_flight_;
  call.state = CallState::kWaiting;
  call.holding = false;
  if (call.patience != 0) call.deadline = clock_.now() + call.patience;
  call.error_text.clear();
  call.text.json.clear();
  call.write.failed.clear();
  call.range.clear();
  call.nearest.neighbors.clear();
  family_->keeper->keep(std::move(call), why);
}

template <int D>
bool ClientCore<D>::adopt(Call<D>& call) {
  if (!check_ready()) return false;
  const std::uint32_t index = acquire(call.kind, 0);
  Call<D>& operation = operations_[index];
  const std::uint32_t generation = operation.generation;
  operation = std::move(call);
  operation.generation = generation;
  const Nanoseconds now = clock_.now();
  if (operation.patience != 0) operation.deadline = now + operation.patience;
  next_deadline_ = std::min(next_deadline_, operation.next_look(now));
  if (operation.is_search()) {
    begin_search(index);
  } else if (operation.message.size() <= connection_->limits().max_message_bytes) {
    send_again(index);
  } else {
    const Error error{ErrorCode::kTooLarge, "the connection to " + connection_->peer() +
                                                " takes no messages of " +
                                                std::to_string(operation.message.size()) +
                                                " bytes, as the one before did"};
    end(index, &error);
  }
  return true;
}

template <int D>
void ClientCore<D>::give_up(std::string why) {
  if (lost_) return;
  lost_ = Error{ErrorCode::kConnectionLost,
                "connection to " + connection_->peer() + " given up: " + std::move(why)};
  connection_->close();
  end_all();
}

template <int D>
std::size_t ClientCore<D>::unanswered_calls() const {
  return static_cast<std::size_t>(std::ranges::count_if(operations_, [](const Call<D>& operation) {
    return operation.state == CallState::kSent &&
           (operation.is_search() || operation.kind == CallKind::kWrite);
  }));
}

template <int D>
ClientStatistics ClientCore<D>::statistics() const {
  ClientStatistics statistics = statistics_;
  const transport::ConnectionCounters& counters = connection_->counters();
  statistics.doorbells = counters.doorbells - counters_at_reset_.doorbells;
  statistics.work_requests = counters.work_requests - counters_at_reset_.work_requests;
  if (offloader_ != nullptr) statistics.cached_nodes = offloader_->cache().size();
  return statistics;
}

template class ClientCore<2>;
template class ClientCore<3>;

}  // namespace silurus::client
