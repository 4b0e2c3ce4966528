// SPDX-License-Identifier: Apache-2.0

#include "client/link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "common/units.h"
#include "protocol/encode.h"

namespace silurus::client {

// --- set-up --------------------------------------------------------------------------------------

template <int D>
Link<D>::Link(transport::Poller& poller, const Clock& clock, const ClientOptions& options,
              PendingCalls<D>& calls)
    : poller_(poller), clock_(clock), options_(options), calls_(calls) {}

template <int D>
Result<std::unique_ptr<Link<D>>> Link<D>::connect(transport::Fabric& fabric,
                                                  transport::Poller& poller,
                                                  const transport::Address& address,
                                                  const Clock& clock, const ClientOptions& options,
                                                  PendingCalls<D>& calls, bool needs_key) {
  std::unique_ptr<Link> link(new Link(poller, clock, options, calls));
  protocol::ClientHello hello;
  hello.dimensions = D;
  hello.client = options.client_id;
  hello.collection = protocol::collection_key(options.collection);
  auto connection =
      fabric.connect(address, {.timeout = options.connect_timeout, .needs_key = needs_key}, poller,
                     std::as_bytes(std::span<const protocol::ClientHello, 1>(&hello, 1)), *link);
  if (!connection) {
    Error error = connection.error();
    if (error.code == ErrorCode::kNoCollection) {
      error.message = "collection '" + options.collection + "': " + error.message;
    }
    return fail(std::move(error));
  }
  if (auto ok = link->attach(std::move(*connection)); !ok) return fail(ok.error());
  return link;
}

template <int D>
Status Link<D>::attach(std::unique_ptr<transport::Connection> connection) {
  connection_ = std::move(connection);
  auto server = protocol::decode_server_hello(connection_->peer_hello(), D);
  if (!server) {
    return fail(server.error().code, connection_->peer() + ": " + server.error().message);
  }
  server_ = *server;
  heartbeats_ = Heartbeats(is_of_group());
  silence_ = Silence(static_cast<Nanoseconds>(server_.heartbeat_ns));
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
Link<D>::~Link() {
  if (!lost_) lost_ = Error{ErrorCode::kConnectionLost, "the client was closed"};
  lose_all();
  offloader_.reset();
  connection_.reset();
}

template <int D>
request::Limits Link<D>::limits() const {
  const std::size_t bytes = connection_->limits().max_message_bytes;
  const std::size_t operations =
      (bytes - sizeof(protocol::WriteRequest)) / sizeof(protocol::Operation<D>);
  return {.operations = std::min<std::size_t>(operations, server_.max_batch),
          .entries = (bytes - sizeof(protocol::LoadEntries)) / sizeof(rtree::Entry<D>),
          .ids = std::min<std::size_t>(request::ids_in(bytes), protocol::kMaxGetIds),
          .lonlat = is_lonlat(),
          .keyed = is_keyed(),
          .records = (server_.collection_flags & protocol::kWithRecords) != 0};
}

// --- calls out -----------------------------------------------------------------------------------

template <int D>
void Link<D>::begin(std::uint32_t index, const Request<D>& request) {
  Call<D>& call = calls_[index];
  call.link = this;
  ++in_flight_;
  if (call.is_search()) {
    begin_search(index);
  } else {
    send(index, request);
  }
}

template <int D>
void Link<D>::resume(std::uint32_t index) {
  Call<D>& call = calls_[index];
  call.link = this;
  ++in_flight_;
  if (call.patience != 0) {
    call.deadline = clock_.now() + call.patience;
    calls_.note_deadline(call, clock_.now());
  }
  if (call.is_search()) return begin_search(index);
  SILURUS_CHECK(!call.message.empty());
  if (call.message.size() > connection_->limits().max_message_bytes && !call.is_write()) {
    return end_too_large(index, call.message.size());
  }
  if (call.is_write()) {
    protocol::WriteRequest request;
    std::memcpy(&request, call.message.data(), sizeof request);
    request.outstanding = calls_.writes.outstanding(call.sequence);
    std::memcpy(call.message.data(), &request, sizeof request);
  }
  call.bytes = call.message.size();
  call.state = CallState::kWaiting;
  waiting_.push_back(calls_.id(index));
}

/// A call that was begun on another connection, whose messages were longer.
template <int D>
void Link<D>::end_too_large(std::uint32_t index, std::size_t bytes) {
  const Error error{ErrorCode::kTooLarge, "the connection to " + connection_->peer() +
                                              " takes no messages of " + std::to_string(bytes) +
                                              " bytes, as the one before did"};
  finish(index, &error);
}

template <int D>
void Link<D>::begin_search(std::uint32_t index) {
  Call<D>& call = calls_[index];
  call.chosen = Access::kMessaging;
  call.chosen_by_policy = false;
  // The collection may be another one than that for which it was checked: one of the same name.
  if (call.is_of_degrees != is_lonlat()) [[unlikely]] {
    if (const Status ok = fit<D>(call.search, is_lonlat()); !ok) return finish(index, &ok.error());
    call.is_of_degrees = is_lonlat();
  }
  if (may_offload(call)) {
    const bool is_leased = needs_lease(call);
    const Nanoseconds now = is_leased ? clock_.now() : 0;
    if (is_leased) renew_lease(now);
    // Without a lease the message is what gets one again.
    if (!is_leased || has_lease(now)) {
      call.chosen = Access::kOffload;
      call.chosen_by_policy = options_.mode == Mode::kAdaptive;
    }
  }
  if (silence_.is_silent()) call.chosen_by_policy = false;  // its memory is all that answers
  if (call.chosen_by_policy) {
    look_at_heartbeat(call.started);
    call.search_class = search_class<D>(call.search);
    call.chosen = policy_->choose(call.search_class);
  }
  call.set_access(call.chosen);
  if (call.chosen == Access::kMessaging) return send_search(index);
  if (call.as_of() != 0) return begin_search_of_old_version(index);
  start_offload(index, std::nullopt);
}

template <int D>
void Link<D>::begin_search_of_old_version(std::uint32_t index) {
  Call<D>& call = calls_[index];
  // What the policy learns about is searches of the current version.
  if (std::exchange(call.chosen_by_policy, false)) policy_->forget(call.chosen);
  if (const auto held = held_.find(call.as_of(), clock_.now())) return start_offload(index, held);
  call.holding = true;
  send_bytes(index, sizeof(protocol::HoldRequest), [&](std::span<std::byte> out) {
    protocol::encode_hold(out, calls_.id(index), call.as_of());
  });
}

template <int D>
void Link<D>::start_offload(std::uint32_t index, const std::optional<LeasedRoot>& held) {
  Call<D>& call = calls_[index];
  call.state = CallState::kOffloading;
  if (const auto* range = std::get_if<request::Range<D>>(&call.search)) {
    offloader_->start_range(index, range->query, call.range(), held);
  } else if (call.is_get()) {
    offloader_->start_get(index, call.ids, call.get().entries);
  } else {
    offloader_->start_nearest(index, std::get<request::Nearest<D>>(call.search).query,
                              call.nearest().neighbors, held);
  }
}

template <int D>
void Link<D>::send_by_message_instead(std::uint32_t index) {
  Call<D>& call = calls_[index];
  ++calls_.statistics.offload.given_back;
  call.holding = false;
  call.given_back = silence_.is_silent();
  call.clear_answer();
  send_search(index);
}

/// By message; fails if the connection takes none that is as long. Range and nearest searches find
/// room in any (kMinMessageBytes).
template <int D>
void Link<D>::send_search(std::uint32_t index) {
  const Call<D>& call = calls_[index];
  if (call.is_get()) {
    const std::size_t bytes = message_bytes(call.search);
    if (bytes > connection_->limits().max_message_bytes) return end_too_large(index, bytes);
  }
  send(index, call.search);
}

/// Sends the message of a Request or a Search.
template <int D>
template <typename AnyRequest>
void Link<D>::send(std::uint32_t index, const AnyRequest& request) {
  const request::Envelope envelope = calls_.envelope(index);
  send_bytes(index, message_bytes(request),
             [&](std::span<std::byte> out) { client::encode(request, envelope, out); });
}

/// Sends a message of known size, or keeps it until there is room: messages never overtake.
template <int D>
template <typename Encode>
void Link<D>::send_bytes(std::uint32_t index, std::size_t bytes, Encode&& encode) {
  Call<D>& call = calls_[index];
  call.bytes = bytes;
  const bool is_long = bytes > connection_->limits().max_message_bytes;
  if (waiting_first_ == waiting_.size() && may_send() && !is_long) {
    if (auto room = connection_->reserve(bytes); !room.empty()) {
      if (!call.is_search() && keeps_message(call)) {
        call.message.resize(bytes);
        encode(std::span(call.message));
        std::memcpy(room.data(), call.message.data(), bytes);
      } else {
        encode(room.first(bytes));
      }
      count_sent(call);
      connection_->commit(bytes);
      return;
    }
  }
  call.message.resize(bytes);
  encode(std::span(call.message));
  call.state = CallState::kWaiting;
  waiting_.push_back(calls_.id(index));
}

/// Just before a message goes.
template <int D>
void Link<D>::count_sent(Call<D>& call) {
  call.state = CallState::kSent;
  ++unanswered_;
  heartbeats_.count_message(clock_);
}

template <int D>
void Link<D>::send_waiting() {
  while (waiting_first_ < waiting_.size() && may_send()) {
    const auto index = calls_.find(waiting_[waiting_first_]);
    if (index && calls_[*index].link == this && calls_[*index].state == CallState::kWaiting) {
      if (!send_kept(calls_[*index], *index)) return;
    }
    segments_sent_ = 0;
    ++waiting_first_;
  }
  if (waiting_first_ == waiting_.size()) {
    waiting_.clear();
    waiting_first_ = 0;
  }
}

/// Sends the message of a call that had to wait, or what is left of it; false: there is no room.
template <int D>
bool Link<D>::send_kept(Call<D>& call, std::uint32_t index) {
  const std::span<const std::byte> message(call.message);
  const std::size_t most = connection_->limits().max_message_bytes;
  if (message.size() <= most) {
    auto room = connection_->reserve(message.size());
    if (room.empty()) return false;
    std::memcpy(room.data(), message.data(), message.size());
    count_sent(call);
    connection_->commit(message.size());
    return true;
  }
  for (bool more = true; more;) {
    const auto rest = message.subspan(segments_sent_);
    const auto part = rest.first(std::min(rest.size(), most - sizeof(protocol::Header)));
    const std::size_t bytes = sizeof(protocol::Header) + part.size();
    auto room = connection_->reserve(bytes);
    if (room.empty()) return false;
    more = part.size() < rest.size();
    protocol::encode_segment(room, calls_.id(index), part, more);
    segments_sent_ += part.size();
    more ? heartbeats_.count_message(clock_) : count_sent(call);
    connection_->commit(bytes);
  }
  return true;
}

template <int D>
void Link<D>::flush() {
  if (lost_) return;
  if (waiting_first_ < waiting_.size()) send_waiting();
  if (unanswered_ > 0 || segments_sent_ > 0) connection_->flush();
  if (offloader_ != nullptr) offloader_->flush();
}

// --- ends of calls -------------------------------------------------------------------------------

template <int D>
void Link<D>::inform_policy(const Call<D>& call, bool has_failed, Nanoseconds now) {
  if (!call.chosen_by_policy) return;
  if (has_failed) return policy_->forget(call.chosen);
  policy_->on_search({.search_class = call.search_class,
                      .access = call.chosen,
                      .latency = std::max<Nanoseconds>(0, now - call.started),
                      .completed_at = now});
}

template <int D>
void Link<D>::finish(std::uint32_t index, const Error* error) {
  const Call<D>& call = calls_[index];
  const Nanoseconds now = clock_.now();
  if (error == nullptr && call.any && !calls_.is_fresh(call, now)) {
    leave(index);
    return calls_.refuse_answer(index, now);
  }
  --in_flight_;
  if (is_lonlat() && error == nullptr && call.kind() == CallKind::kRange) {
    for (rtree::Box<D>& box : calls_[index].range().boxes) box = rtree::told_box(box, true);
  }
  if (is_lonlat() && error == nullptr && call.is_get()) {
    for (KeyedEntry<D>& entry : calls_[index].get().entries) {
      entry.box = rtree::told_box(entry.box, true);
    }
  }
  inform_policy(call, error != nullptr, now);
  calls_.end(index, error, now);
}

/// The call is for another link.
template <int D>
void Link<D>::leave(std::uint32_t index) {
  --in_flight_;
  inform_policy(calls_[index], true, 0);
}

template <int D>
void Link<D>::end_overdue(std::uint32_t index) {
  Call<D>& call = calls_[index];
  const std::string what = call.patience != 0
                               ? "no answer and no sign of life from " + connection_->peer() +
                                     " for " + format_duration(call.patience)
                               : "no answer from " + connection_->peer() + " within " +
                                     format_duration(call.deadline - call.started);
  const Error error = call.failure({ErrorCode::kDeadlineExceeded, what});
  if (call.state == CallState::kOffloading) offloader_->cancel(index);
  if (call.state == CallState::kSent) call.state = CallState::kForgotten;
  finish(index, &error);
}

template <int D>
bool Link<D>::look_for_life(Nanoseconds now) {
  look_at_heartbeat(now);
  const std::uint64_t messages = connection_->counters().messages_received;
  const bool shows_life = messages != messages_seen_ || heartbeats_.sequence() != heartbeats_seen_;
  messages_seen_ = messages;
  heartbeats_seen_ = heartbeats_.sequence();
  return shows_life;
}

template <int D>
void Link<D>::on_closed(transport::Connection& connection, const Error& reason) {
  if (!lost_) {
    lost_ = Error{ErrorCode::kConnectionLost,
                  "connection to " + connection.peer() + " lost: " + reason.message};
  }
  lose_all();
}

/// The server doesn't keep to the protocol: nothing that it says can be believed any more.
template <int D>
void Link<D>::break_off(const Error& error) {
  lost_ = Error{error.code, connection_->peer() + " broke the protocol: " + error.message};
  connection_->close();
}

template <int D>
void Link<D>::give_up(std::string why) {
  if (lost_) return;
  lost_ = Error{ErrorCode::kConnectionLost,
                "connection to " + connection_->peer() + " given up: " + std::move(why)};
  connection_->close();
  lose_all();
}

template <int D>
void Link<D>::lose_all() {
  for (std::uint32_t index = 0; index < calls_.size(); ++index) {
    Call<D>& call = calls_[index];
    if (call.link != this || call.state == CallState::kDelivering) continue;
    if (call.state == CallState::kOffloading) offloader_->cancel(index);
    if (call.is_live()) leave(index);
    calls_.lose(index, *lost_, is_of_group());
  }
}

template <int D>
std::size_t Link<D>::unanswered_calls() const {
  std::size_t count = 0;
  for (std::uint32_t index = 0; index < calls_.size(); ++index) {
    const Call<D>& call = calls_[index];
    count += call.link == this && call.state == CallState::kSent &&
             (call.is_search() || call.is_write());
  }
  return count;
}

template <int D>
void Link<D>::add_counters(ClientStatistics& statistics) const {
  const transport::ConnectionCounters& counters = connection_->counters();
  statistics.doorbells += counters.doorbells - counters_at_reset_.doorbells;
  statistics.work_requests += counters.work_requests - counters_at_reset_.work_requests;
  if (offloader_ != nullptr) statistics.cached_nodes += offloader_->cache().size();
}

template class Link<2>;
template class Link<3>;

}  // namespace silurus::client
