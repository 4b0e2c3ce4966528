#include "client/core.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "protocol/encode.h"

namespace silurus::client {
namespace {

/// settle() looks at deadlines once in so many times.
constexpr std::uint32_t kSettlesPerLook = 64;
/// An answer is not believed to be longer than this.
constexpr std::uint64_t kMaxStatsBytes = std::uint64_t{16} << 20;
/// Of search classes, the last are for nearest searches.
constexpr int kNearestClasses = 16;
constexpr int kRangeClasses = static_cast<int>(kSearchClasses) - kNearestClasses;

/// Windows of like size, in octaves of their mean edge: 2^-40 and less are class 0, 2^7 and more
/// the last one.
template <int D>
std::uint8_t range_class(const rtree::Box<D>& window) {
  int octaves = 0;
  for (int d = 0; d < D; ++d) {
    const double edge = window.max[d] - window.min[d];
    octaves += edge > 0 ? std::clamp(std::ilogb(edge), -40, 40) : -40;
  }
  return static_cast<std::uint8_t>(std::clamp(octaves / D + 40, 0, kRangeClasses - 1));
}

std::uint8_t nearest_class(std::uint32_t k) {
  return static_cast<std::uint8_t>(kRangeClasses + std::min(std::ilogb(k), kNearestClasses - 1));
}

}  // namespace

// --- set-up -------------------------------------------------------------------------------------

template <int D>
ClientCore<D>::ClientCore(transport::Poller& poller, const Clock& clock,
                          const ClientOptions& options)
    : poller_(poller), clock_(clock), options_(options) {}

template <int D>
Result<std::unique_ptr<ClientCore<D>>> ClientCore<D>::connect(transport::Fabric& fabric,
                                                              transport::Poller& poller,
                                                              const transport::Address& address,
                                                              const Clock& clock,
                                                              const ClientOptions& options) {
  std::unique_ptr<ClientCore> core(new ClientCore(poller, clock, options));
  protocol::ClientHello hello;
  hello.dimensions = D;
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

// --- operations ---------------------------------------------------------------------------------

template <int D>
Status ClientCore<D>::check_ready() const {
  if (lost_) return fail(*lost_);
  if (free_.empty() && operations_.size() >= kMaxInFlight) {
    return fail(ErrorCode::kUnavailable, std::to_string(kMaxInFlight) +
                                             " operations are in flight on this client: wait for "
                                             "some of them");
  }
  return {};
}

template <int D>
std::uint32_t ClientCore<D>::acquire(Kind kind, Nanoseconds deadline) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(operations_.size()));
    operations_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Operation& operation = operations_[index];
  operation.kind = kind;
  operation.chosen = Access::kMessaging;
  operation.chosen_by_policy = false;
  operation.holding = false;
  operation.started = clock_.now();
  operation.deadline = operation.started + deadline;
  operation.bytes = 0;
  operation.cost = {};
  operation.error_text.clear();
  next_deadline_ = std::min(next_deadline_, operation.deadline);
  ++in_flight_;
  return index;
}

template <int D>
void ClientCore<D>::release(std::uint32_t index) {
  operations_[index].state = State::kFree;
  ++operations_[index].generation;
  free_.push_back(index);
}

template <int D>
std::uint32_t ClientCore<D>::request_id(std::uint32_t index) const {
  return (operations_[index].generation << kIndexBits) | index;
}

template <int D>
Status ClientCore<D>::range(const rtree::RangeQuery<D>& query, Callback<RangeAnswer<D>> callback,
                            protocol::Moment as_of) {
  if (auto ok = rtree::check_box(query.window, "window"); !ok) return ok;
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(Kind::kRange, options_.deadline);
  Operation& operation = operations_[index];
  operation.range_query = query;
  // What the wire can't say is no limit at all: both ways must mean the same.
  if (query.limit >= protocol::kNoLimit) operation.range_query.limit = UINT64_MAX;
  operation.as_of = as_of;
  operation.search_class = range_class(query.window);
  operation.range.clear();
  operation.on_range = std::move(callback);
  begin_search(index);
  return {};
}

template <int D>
Status ClientCore<D>::nearest(const rtree::NearestQuery<D>& query, Callback<NearestAnswer> callback,
                              protocol::Moment as_of) {
  if (auto ok = rtree::check_point(query.point); !ok) return ok;
  if (query.k == 0) return fail(ErrorCode::kInvalidArgument, "k is 0: it must be at least 1");
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(Kind::kNearest, options_.deadline);
  Operation& operation = operations_[index];
  operation.nearest_query = query;
  operation.as_of = as_of;
  operation.search_class = nearest_class(query.k);
  operation.nearest.neighbors.clear();
  operation.on_nearest = std::move(callback);
  begin_search(index);
  return {};
}

template <int D>
void ClientCore<D>::begin_search(std::uint32_t index) {
  Operation& operation = operations_[index];
  if (offloader_ != nullptr) {
    operation.chosen_by_policy = options_.mode == Mode::kAdaptive;
    if (operation.chosen_by_policy) look_at_heartbeat(operation.started);
    operation.chosen =
        operation.chosen_by_policy ? policy_->choose(operation.search_class) : Access::kOffload;
  }
  operation.range.access = operation.nearest.access = operation.chosen;
  if (operation.chosen == Access::kMessaging) {
    send_search(index);
    return;
  }
  if (operation.as_of != 0) {
    begin_search_of_old_version(index);
  } else {
    start_offload(index, std::nullopt);
  }
}

template <int D>
void ClientCore<D>::begin_search_of_old_version(std::uint32_t index) {
  Operation& operation = operations_[index];
  // What the policy learns about is searches of the current version.
  operation.chosen_by_policy = false;
  if (const auto held = held_.find(operation.as_of, clock_.now())) {
    start_offload(index, held);
    return;
  }
  operation.holding = true;
  send(index, sizeof(protocol::HoldRequest), [&](std::span<std::byte> out) {
    protocol::encode_hold(out, request_id(index), operation.as_of);
  });
}

template <int D>
void ClientCore<D>::start_offload(std::uint32_t index, const std::optional<HeldRoot>& held) {
  Operation& operation = operations_[index];
  operation.state = State::kOffloading;
  if (operation.kind == Kind::kRange) {
    offloader_->start_range(index, operation.range_query, operation.range, held);
  } else {
    offloader_->start_nearest(index, operation.nearest_query, operation.nearest.neighbors, held);
  }
}

template <int D>
void ClientCore<D>::send_by_message_instead(std::uint32_t index) {
  Operation& operation = operations_[index];
  ++statistics_.offload.given_back;
  operation.holding = false;
  operation.error_text.clear();
  operation.range.clear();
  operation.nearest.neighbors.clear();
  send_search(index);
}

/// The server holds the version: from here on it is read one-sidedly.
template <int D>
void ClientCore<D>::on_held(std::uint32_t index, const protocol::Answer& answer) {
  Operation& operation = operations_[index];
  const auto held = protocol::decode_held(answer);
  if (!held) return break_off(held.error());
  --unanswered_;
  operation.holding = false;
  start_offload(index, held_.put(operation.as_of, rtree::NodeRef::from_word(held->root),
                                 operation.started, static_cast<Nanoseconds>(held->lease_ns)));
}

template <int D>
void ClientCore<D>::look_at_heartbeat(Nanoseconds now) {
  if (now - heartbeat_looked_ < static_cast<Nanoseconds>(server_.heartbeat_ns / 4)) return;
  heartbeat_looked_ = now;
  std::array<std::byte, transport::kMailboxBytes> content;
  if (!connection_->read_mailbox(content)) return;
  protocol::Heartbeat heartbeat;
  std::memcpy(&heartbeat, content.data(), sizeof(heartbeat));
  if (heartbeat.sequence == heartbeat_sequence_) return;
  heartbeat_sequence_ = heartbeat.sequence;
  ++statistics_.heartbeats;
  statistics_.server_cpu_busy = std::min(heartbeat.cpu_busy_permyriad, 10'000u) / 10'000.0;
  policy_->on_heartbeat({.cpu_busy = statistics_.server_cpu_busy, .queued = heartbeat.queued});
}

template <int D>
Status ClientCore<D>::write(std::span<const protocol::Operation<D>> operations,
                            Callback<WriteAnswer> callback) {
  if (operations.empty()) {
    return fail(ErrorCode::kInvalidArgument, "a batch of no operations");
  }
  if (operations.size() > max_batch()) {
    return fail(ErrorCode::kTooLarge, "a batch of " + std::to_string(operations.size()) +
                                          " operations; this connection takes " +
                                          std::to_string(max_batch()) + " at once: send several");
  }
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (auto ok = protocol::check_operation<D>(operations[i]); !ok) {
      return fail(ok.error().code,
                  (operations.size() > 1 ? "operation " + std::to_string(i) + ": " : "") +
                      ok.error().message);
    }
  }
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(Kind::kWrite, options_.deadline);
  operations_[index].write.failed.clear();
  operations_[index].on_write = std::move(callback);
  const std::uint64_t sequence = ++write_sequence_;
  send(index, protocol::write_bytes<D>(operations.size()), [&](std::span<std::byte> out) {
    protocol::encode_write<D>(out, request_id(index), sequence, operations);
  });
  return {};
}

template <int D>
Status ClientCore<D>::stats(Callback<StatsAnswer> callback) {
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(Kind::kStats, options_.deadline);
  operations_[index].stats.json.clear();
  operations_[index].on_stats = std::move(callback);
  send(index, sizeof(protocol::Header), [&](std::span<std::byte> out) {
    protocol::encode_bare(out, protocol::MessageType::kStats, request_id(index));
  });
  return {};
}

template <int D>
Status ClientCore<D>::task(protocol::TaskKind kind, protocol::Moment from, protocol::Moment to,
                           std::string_view text, Callback<StatsAnswer> callback) {
  if (text.size() > protocol::kMaxTaskText) {
    return fail(ErrorCode::kTooLarge, "'" + std::string(text) + "' is longer than " +
                                          std::to_string(protocol::kMaxTaskText) + " bytes");
  }
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(Kind::kStats, options_.load_deadline);
  operations_[index].stats.json.clear();
  operations_[index].on_stats = std::move(callback);
  send(index, sizeof(protocol::TaskRequest) + text.size(), [&](std::span<std::byte> out) {
    protocol::encode_task(out, request_id(index), kind, from, to, text);
  });
  return {};
}

template <int D>
template <typename Encode>
Status ClientCore<D>::load_step(std::size_t bytes, Nanoseconds deadline,
                                Callback<LoadAnswer> callback, Encode&& encode) {
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(Kind::kLoad, deadline);
  operations_[index].load = {};
  operations_[index].on_load = std::move(callback);
  send(index, bytes, [&](std::span<std::byte> out) { encode(out, request_id(index)); });
  return {};
}

template <int D>
Status ClientCore<D>::load_begin(Callback<LoadAnswer> callback) {
  return load_step(sizeof(protocol::Header), options_.deadline, std::move(callback),
                   [](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_bare(out, protocol::MessageType::kLoadBegin, id);
                   });
}

template <int D>
Status ClientCore<D>::load_entries(std::span<const rtree::Entry<D>> entries,
                                   Callback<LoadAnswer> callback) {
  if (entries.empty() || entries.size() > max_load_batch()) {
    return fail(ErrorCode::kTooLarge, "a load batch of " + std::to_string(entries.size()) +
                                          " entries; this connection takes 1 to " +
                                          std::to_string(max_load_batch()));
  }
  for (const auto& entry : entries) {
    if (auto ok = rtree::check_box(entry.box); !ok) {
      return fail(ok.error().code,
                  "entry with id " + std::to_string(entry.id) + ": " + ok.error().message);
    }
  }
  return load_step(protocol::load_entries_bytes<D>(entries.size()), options_.load_deadline,
                   std::move(callback), [&](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_load_entries<D>(out, id, entries);
                   });
}

template <int D>
Status ClientCore<D>::load_commit(double fill, std::uint64_t entries,
                                  Callback<LoadAnswer> callback) {
  if (!(fill >= 0 && fill <= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                "fill is " + std::to_string(fill) + ": it must be above 0 and at most 1");
  }
  return load_step(sizeof(protocol::LoadCommit), options_.load_deadline, std::move(callback),
                   [&](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_load_commit(out, id, fill, entries);
                   });
}

template <int D>
Status ClientCore<D>::load_abort(Callback<LoadAnswer> callback) {
  return load_step(sizeof(protocol::Header), options_.deadline, std::move(callback),
                   [](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_bare(out, protocol::MessageType::kLoadAbort, id);
                   });
}

// --- messages out -------------------------------------------------------------------------------

template <int D>
bool ClientCore<D>::may_send() const {
  return unanswered_ < protocol::kMaxRequestsInFlight;
}

/// Sends a message of known size, or keeps it until there is room: messages never overtake.
template <int D>
template <typename Encode>
void ClientCore<D>::send(std::uint32_t index, std::size_t bytes, Encode&& encode) {
  Operation& operation = operations_[index];
  operation.bytes = bytes;
  if (waiting_first_ == waiting_.size() && may_send()) {
    if (auto room = connection_->reserve(bytes); !room.empty()) {
      encode(room.first(bytes));
      connection_->commit(bytes);
      operation.state = State::kSent;
      ++unanswered_;
      return;
    }
  }
  operation.message.resize(bytes);
  encode(std::span(operation.message));
  operation.state = State::kWaiting;
  waiting_.push_back(request_id(index));
}

template <int D>
void ClientCore<D>::send_search(std::uint32_t index) {
  const Operation& operation = operations_[index];
  const std::size_t front = operation.as_of == 0 ? 0 : sizeof(protocol::AtRequest);
  const auto encode_front = [&](std::span<std::byte> out) {
    if (front != 0) protocol::encode_at(out, request_id(index), operation.as_of);
    return out.subspan(front);
  };
  if (operation.kind == Kind::kRange) {
    send(index, front + sizeof(protocol::RangeRequest<D>), [&](std::span<std::byte> out) {
      protocol::encode_range<D>(encode_front(out), request_id(index), operation.range_query);
    });
  } else {
    send(index, front + sizeof(protocol::NearestRequest<D>), [&](std::span<std::byte> out) {
      protocol::encode_nearest<D>(encode_front(out), request_id(index), operation.nearest_query);
    });
  }
}

template <int D>
void ClientCore<D>::send_waiting() {
  while (waiting_first_ < waiting_.size() && may_send()) {
    const std::uint32_t id = waiting_[waiting_first_];
    const std::uint32_t index = id & (kMaxInFlight - 1);
    Operation& operation = operations_[index];
    if (operation.state == State::kWaiting && request_id(index) == id) {
      auto room = connection_->reserve(operation.message.size());
      if (room.empty()) return;
      std::memcpy(room.data(), operation.message.data(), operation.message.size());
      connection_->commit(operation.message.size());
      operation.state = State::kSent;
      ++unanswered_;
    }
    ++waiting_first_;
  }
  if (waiting_first_ == waiting_.size()) {
    waiting_.clear();
    waiting_first_ = 0;
  }
}

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

// --- answers in ---------------------------------------------------------------------------------

template <int D>
void ClientCore<D>::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (lost_) return;
  const auto answer = protocol::decode_answer(message);
  if (!answer) return break_off(answer.error());
  const std::uint32_t index = answer->header.request_id & (kMaxInFlight - 1);
  if (index >= operations_.size() || request_id(index) != answer->header.request_id ||
      (operations_[index].state != State::kSent && operations_[index].state != State::kForgotten)) {
    return break_off({ErrorCode::kProtocol, "an answer to a request that was not made"});
  }
  Operation& operation = operations_[index];
  operation.bytes += message.size();
  if (operation.state == State::kForgotten) {
    if (answer->more()) return;
    --unanswered_;
    release(index);
    return;
  }
  if (answer->is_error()) {
    Error error = protocol::answer_error(*answer);
    operation.error_text += error.message;
    if (operation.error_text.size() > protocol::kMaxErrorText) {
      return break_off({ErrorCode::kProtocol, "an error of endless text"});
    }
    if (answer->more()) return;
    --unanswered_;
    if (operation.holding && error.code == ErrorCode::kUnavailable) {
      return send_by_message_instead(index);
    }
    error.message = operation.error_text;
    end(index, &error);
    return;
  }
  if (operation.holding) return on_held(index, *answer);
  if (auto ok = take_answer(operation, *answer); !ok) return break_off(ok.error());
  if (answer->more()) return;
  --unanswered_;
  operation.cost.round_trips += 1;
  end(index, nullptr);
}

/// Appends one segment of an answer to the operation's own.
template <int D>
Status ClientCore<D>::take_answer(Operation& operation, const protocol::Answer& answer) {
  switch (operation.kind) {
    case Kind::kRange: {
      RangeAnswer<D>& range = operation.range;
      range.version = answer.version;
      range.access = Access::kMessaging;
      range.count += answer.count;
      if (range.count > operation.range_query.limit) {
        return fail(ErrorCode::kProtocol, "an answer of more entries than were asked for");
      }
      if (operation.range_query.shape == rtree::ResultShape::kCount) return {};
      if (operation.range_query.shape == rtree::ResultShape::kIds) {
        const auto ids = protocol::answer_array<std::uint64_t>(answer);
        if (!ids) return fail(ids.error());
        const std::size_t before = range.ids.size();
        range.ids.resize(before + ids->size());
        if (!ids->empty()) {
          std::memcpy(range.ids.data() + before, ids->bytes().data(), ids->bytes().size());
        }
        return {};
      }
      const auto entries = protocol::answer_array<rtree::Entry<D>>(answer);
      if (!entries) return fail(entries.error());
      for (std::size_t i = 0; i < entries->size(); ++i) {
        const rtree::Entry<D> entry = (*entries)[i];
        range.ids.push_back(entry.id);
        range.boxes.push_back(entry.box);
      }
      return {};
    }
    case Kind::kNearest: {
      const auto neighbors = protocol::answer_array<rtree::Neighbor>(answer);
      if (!neighbors) return fail(neighbors.error());
      auto& into = operation.nearest.neighbors;
      if (into.size() + neighbors->size() > operation.nearest_query.k) {
        return fail(ErrorCode::kProtocol, "an answer of more neighbours than were asked for");
      }
      for (std::size_t i = 0; i < neighbors->size(); ++i) into.push_back((*neighbors)[i]);
      operation.nearest.version = answer.version;
      operation.nearest.access = Access::kMessaging;
      return {};
    }
    case Kind::kWrite: {
      const auto failed = protocol::answer_array<protocol::FailedOperation>(answer);
      if (!failed) return fail(failed.error());
      for (std::size_t i = 0; i < failed->size(); ++i) {
        const protocol::FailedOperation one = (*failed)[i];
        operation.write.failed.push_back({one.index, static_cast<ErrorCode>(one.code)});
      }
      if (operation.write.failed.size() > server_.max_batch) {
        return fail(ErrorCode::kProtocol, "an answer of more failures than operations");
      }
      operation.write.version = answer.version;
      return {};
    }
    case Kind::kStats: {
      const auto text = protocol::answer_array<char>(answer);
      if (!text) return fail(text.error());
      const std::size_t before = operation.stats.json.size();
      if (before + text->size() > kMaxStatsBytes) {
        return fail(ErrorCode::kProtocol, "statistics without end");
      }
      operation.stats.json.resize(before + text->size());
      if (!text->empty()) {
        std::memcpy(operation.stats.json.data() + before, text->bytes().data(), text->size());
      }
      return {};
    }
    case Kind::kLoad:
      operation.load = {.version = answer.version, .entries = answer.count};
      return {};
  }
  return {};
}

template <int D>
void ClientCore<D>::on_read(transport::Connection&, std::uint64_t cookie, bool ok) {
  if (ok && !lost_) offloader_->on_read(cookie);
}

template <int D>
void ClientCore<D>::on_writable(transport::Connection&) {
  if (!lost_) send_waiting();
}

template <int D>
std::size_t ClientCore<D>::deliver_offloaded() {
  std::size_t count = 0;
  while (const auto finished = offloader_->take_finished()) {
    ++count;
    const std::uint32_t index = finished->search;
    Operation& operation = operations_[index];
    if (operation.state != State::kOffloading) continue;  // past its deadline
    operation.cost = finished->cost;
    if (finished->given_back) {
      send_by_message_instead(index);
      continue;
    }
    operation.range.version = operation.nearest.version = finished->version;
    operation.range.access = operation.nearest.access = Access::kOffload;
    end(index, nullptr);
  }
  return count;
}

// --- endings ------------------------------------------------------------------------------------

template <int D>
AccessStatistics& ClientCore<D>::statistics_of(const Operation& operation) {
  if (operation.kind == Kind::kRange || operation.kind == Kind::kNearest) {
    const Access access =
        operation.kind == Kind::kRange ? operation.range.access : operation.nearest.access;
    return access == Access::kOffload ? statistics_.offload : statistics_.messaging;
  }
  return statistics_.writes;
}

template <int D>
void ClientCore<D>::record(const Operation& operation, bool failed) {
  if (operation.kind == Kind::kStats || operation.kind == Kind::kLoad) return;
  AccessStatistics& statistics = statistics_of(operation);
  if (failed) {
    ++statistics.failed;
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
  Operation& operation = operations_[index];
  const bool answer_to_come = operation.state == State::kForgotten;
  if (!answer_to_come) operation.state = State::kDelivering;
  record(operation, error != nullptr);
  --in_flight_;
  const auto call = [&]<typename Answer>(Callback<Answer>& stored, Answer& answer) {
    Callback<Answer> callback = std::move(stored);
    if (error != nullptr) {
      callback(fail(*error));
    } else {
      callback(&answer);
    }
  };
  switch (operation.kind) {
    case Kind::kRange:
      call(operation.on_range, operation.range);
      break;
    case Kind::kNearest:
      call(operation.on_nearest, operation.nearest);
      break;
    case Kind::kWrite:
      call(operation.on_write, operation.write);
      break;
    case Kind::kStats:
      call(operation.on_stats, operation.stats);
      break;
    case Kind::kLoad:
      call(operation.on_load, operation.load);
      break;
  }
  if (!answer_to_come) release(index);
}

template <int D>
Error ClientCore<D>::overdue_error(const Operation& operation) const {
  std::string message = "no answer from " + connection_->peer() + " within " +
                        std::to_string((operation.deadline - operation.started) / kMillisecond) +
                        " ms";
  if (operation.kind == Kind::kWrite && operation.state == State::kSent) {
    message += "; whether the write happened is unknown";
  }
  return {ErrorCode::kDeadlineExceeded, std::move(message)};
}

template <int D>
Error ClientCore<D>::lost_error(const Operation& operation) const {
  Error error = *lost_;
  if (operation.kind == Kind::kWrite && operation.state == State::kSent) {
    error.message += "; whether the write happened is unknown";
  }
  return error;
}

template <int D>
std::size_t ClientCore<D>::end_overdue() {
  const Nanoseconds now = clock_.now();
  if (now < next_deadline_) return 0;
  std::size_t count = 0;
  next_deadline_ = INT64_MAX;
  for (std::uint32_t index = 0; index < operations_.size(); ++index) {
    Operation& operation = operations_[index];
    const State state = operation.state;
    if (state != State::kWaiting && state != State::kSent && state != State::kOffloading) continue;
    if (operation.deadline > now) {
      next_deadline_ = std::min(next_deadline_, operation.deadline);
      continue;
    }
    const Error error = overdue_error(operation);
    if (state == State::kOffloading) offloader_->cancel(index);
    if (state == State::kSent) operation.state = State::kForgotten;
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
    Operation& operation = operations_[index];
    const State state = operation.state;
    if (state != State::kWaiting && state != State::kSent && state != State::kOffloading) continue;
    const Error error = lost_error(operation);
    if (state == State::kOffloading) offloader_->cancel(index);
    end(index, &error);
  }
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
