// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/endpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "transport/sim/listener.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

namespace {

/// An end whose peer is silent finds out after a while, even if it has nothing to send.
void tell_later(World& world, Nanoseconds wait, const std::weak_ptr<Endpoint>& weak) {
  world.after(wait, [weak] {
    const auto endpoint = weak.lock();
    if (endpoint && endpoint->host_works()) endpoint->give_up("the peer is gone");
  });
}

/// Longest delay; the shortest is half of it.
Nanoseconds draw_late(World& world, Nanoseconds latest) {
  const Nanoseconds half = latest / 2;
  return half +
         static_cast<Nanoseconds>(world.random().below(static_cast<std::uint64_t>(half) + 1));
}

/// Whether this end reads memory that outlives the peer's process, and learns of that late.
bool learns_late(const Endpoint& endpoint) {
  return !endpoint.is_server && endpoint.listener != nullptr &&
         endpoint.listener->options.memory_outlives_process;
}

/// The pipe out of one end, and what happens to the other end when this one's host crashes.
void connect_one_way(const std::shared_ptr<Endpoint>& from, const std::shared_ptr<Endpoint>& to) {
  from->peer = to;
  const std::weak_ptr<Endpoint> weak_from = from;
  const std::weak_ptr<Endpoint> weak_to = to;
  from->out = std::make_shared<Pipe>(
      from->host, to->host, from->options,
      [weak_to](const Item& item) {
        const auto endpoint = weak_to.lock();
        return endpoint == nullptr || endpoint->deliver(item);
      },
      [weak_from, weak_to, &world = from->host.world(), wait = from->options.give_up] {
        if (const auto endpoint = weak_from.lock()) endpoint->give_up("no acknowledgement");
        tell_later(world, wait, weak_to);
      });
  const auto end = [weak_to] {
    const auto endpoint = weak_to.lock();
    if (!endpoint) return;
    World& world = endpoint->host.world();
    endpoint->peer_ended = world.now();
    const bool is_late = learns_late(*endpoint) && endpoint->listener->host.has_power();
    const FabricOptions& options = is_late ? endpoint->listener->options : endpoint->options;
    tell_later(world, draw_late(world, is_late ? options.told_late : options.give_up), weak_to);
  };
  from->crash_action = from->host.on_crash([weak_to, end] {
    const auto endpoint = weak_to.lock();
    if (!endpoint) return;
    const bool is_kept = learns_late(*endpoint) && endpoint->listener->options.is_kept &&
                         endpoint->listener->host.has_power();
    if (is_kept) return endpoint->listener->host.on_let_go(end);
    end();
  });
}

}  // namespace

void Endpoint::join(const std::shared_ptr<Endpoint>& client,
                    const std::shared_ptr<Endpoint>& server) {
  connect_one_way(client, server);
  connect_one_way(server, client);
}

void Endpoint::make_ready() {
  if (poller != nullptr && !is_ready) poller->add_ready(shared_from_this());
}

bool Endpoint::deliver(const Item& item) {
  if (is_broken) return false;
  if (is_closing || end_reason) return true;
  switch (item.kind) {
    case Item::Kind::kMessage:
      inbox.push_back(item.bytes);
      make_ready();
      if (item.number > 0) take_credit(item.number);
      break;
    case Item::Kind::kCredit:
      take_credit(item.number);
      break;
    case Item::Kind::kMailbox:
      std::copy(item.bytes.begin(), item.bytes.end(), mailbox.emplace().begin());
      break;
    case Item::Kind::kRegions:
      known_regions = item.number;
      break;
    case Item::Kind::kWindow:
      peer_window_bytes = item.number;
      break;
    case Item::Kind::kWrite:
      land(item);
      break;
    case Item::Kind::kClose:
      if (learns_late(*this)) {
        tell_later(host.world(), draw_late(host.world(), listener->options.told_late),
                   weak_from_this());
        break;
      }
      end({ErrorCode::kConnectionLost, peer_name + " closed the connection"}, false);
      break;
  }
  return true;
}

void Endpoint::take_credit(std::size_t bytes) {
  credit_used -= bytes;
  is_writable = is_blocked;
  if (is_blocked) make_ready();
}

void Endpoint::free_room(std::size_t bytes) {
  if (is_closing) return;
  credit_owed += bytes;
  if (options.is_lossless && credit_owed < ring_bytes / 4) return;
  out->send({Item::Kind::kCredit, std::exchange(credit_owed, 0), {}});
}

void Endpoint::flush() {
  if (is_closing || end_reason) return committed.clear();
  if (committed.empty()) return;
  ++counters.doorbells;
  const CpuModel& cpu = host.options().cpu;
  host.charge_within_step(cpu.doorbell);
  while (!committed.empty()) {
    const std::size_t bytes = committed.front().size();
    host.charge_within_step(
        cpu.send + static_cast<Nanoseconds>(cpu.message_byte * static_cast<double>(bytes)));
    host.world().trace(Trace::kSend, id, bytes);
    out->send({Item::Kind::kMessage, std::exchange(credit_owed, 0), std::move(committed.front())});
    committed.pop_front();
  }
}

void Endpoint::end(Error reason, bool drop_inbox) {
  if (end_reason) return;
  host.world().trace(Trace::kBroken, id, static_cast<std::uint64_t>(reason.code));
  is_closing = true;
  end_reason = std::move(reason);
  if (drop_inbox) inbox.clear();
  committed.clear();
  host.forget_crash_action(crash_action);
  if (is_server) listener->forget(*this);
  make_ready();
}

/// As a queue pair in its error state: silent from now on. The peer finds out by itself if it has
/// something to send, and otherwise by the keep-alive of its side.
void Endpoint::give_up(const std::string& why) {
  if (end_reason) return;
  is_broken = true;
  out->stop();
  end({ErrorCode::kConnectionLost, peer_name + ": connection lost: " + why}, false);
  tell_later(host.world(), options.give_up, peer);
}

/// The user may destroy other connections, but not this one, within a callback; and close any.
std::size_t Endpoint::dispatch() {
  is_ready = false;
  std::size_t events = 0;
  const auto self = shared_from_this();
  const auto goes_on = [&] { return handler != nullptr && connection != nullptr; };
  while (goes_on() && !reads.empty() && (reads.front()->is_done || end_reason)) {
    const auto read = reads.front();
    reads.pop_front();
    ++events;
    host.charge_within_step(host.options().cpu.complete_read);
    handler->on_read(*connection, read->request.cookie, read->is_done);
  }
  for (std::size_t due = inbox.size(); goes_on() && due > 0 && !inbox.empty() && !is_paused;
       --due) {
    const std::vector<std::byte> message = std::move(inbox.front());
    inbox.pop_front();
    ++events;
    ++counters.messages_received;
    counters.message_bytes_received += message.size();
    host.charge_message(message);
    handler->on_message(*connection, message);
    free_room(ring_room(message.size()));
  }
  if (goes_on() && is_writable && !is_closing) {
    is_writable = is_blocked = false;
    ++events;
    handler->on_writable(*connection);
  }
  if (goes_on() && end_reason && (inbox.empty() || is_paused) && reads.empty()) {
    ++events;
    std::exchange(handler, nullptr)->on_closed(*connection, *end_reason);
  } else if (goes_on() && end_reason) {
    make_ready();
  }
  return events;
}

SimConnection::SimConnection(std::shared_ptr<Endpoint> endpoint) : endpoint_(std::move(endpoint)) {
  endpoint_->connection = this;
}

SimConnection::~SimConnection() {
  endpoint_->handler = nullptr;
  close();
  endpoint_->connection = nullptr;
  endpoint_->poller = nullptr;
}

void SimConnection::set_handler(ConnectionHandler* handler) {
  endpoint_->handler = handler;
  Endpoint& e = *endpoint_;
  if (!e.inbox.empty() || e.end_reason || !e.reads.empty()) e.make_ready();
}

std::span<std::byte> SimConnection::reserve(std::size_t bytes) {
  Endpoint& e = *endpoint_;
  SILURUS_CHECK(e.reserved_bytes == 0);
  SILURUS_CHECK(bytes <= e.limits.max_message_bytes);
  if (e.is_closing) return {};
  if (e.credit_used + Endpoint::ring_room(bytes) > e.ring_bytes) {
    ++e.counters.would_block;
    e.is_blocked = true;
    e.is_writable = false;
    return {};
  }
  e.reserved.assign((bytes + 7) / 8, 0xa5a5a5a5a5a5a5a5u);  // not the last message, not zeros
  e.reserved_bytes = bytes;
  return std::as_writable_bytes(std::span(e.reserved)).first(bytes);
}

void SimConnection::commit(std::size_t bytes) {
  Endpoint& e = *endpoint_;
  SILURUS_CHECK(bytes <= e.reserved_bytes);
  e.reserved_bytes = 0;
  if (bytes == 0 || e.is_closing) return;
  const auto content = std::as_bytes(std::span(e.reserved)).first(bytes);
  e.committed.emplace_back(content.begin(), content.end());
  e.credit_used += Endpoint::ring_room(bytes);
  ++e.counters.messages_sent;
  e.counters.message_bytes_sent += bytes;
  if (!e.is_unflushed) e.poller->add_unflushed(endpoint_);
}

void SimConnection::write_mailbox(std::span<const std::byte> bytes) {
  SILURUS_CHECK(bytes.size() <= kMailboxBytes);
  Endpoint& e = *endpoint_;
  if (e.is_closing) return;
  e.flush();  // what was committed before must not come after
  e.out->send({Item::Kind::kMailbox, 0, {bytes.begin(), bytes.end()}});
}

void SimConnection::set_paused(bool paused) {
  endpoint_->is_paused = paused;
  if (!paused && !endpoint_->inbox.empty()) endpoint_->make_ready();
}

bool SimConnection::read_mailbox(std::array<std::byte, kMailboxBytes>& content) {
  if (!endpoint_->mailbox) return false;
  content = *endpoint_->mailbox;
  return true;
}

void SimConnection::close() {
  Endpoint& e = *endpoint_;
  if (e.is_closing) return;
  e.flush();
  e.out->send({Item::Kind::kClose, 0, {}});
  if (const auto peer = e.peer.lock()) peer->peer_ended = e.host.world().now();
  e.end({ErrorCode::kUnavailable, "connection to " + e.peer_name + " closed on this side"}, true);
}

}  // namespace silurus::transport::sim
