// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/cluster/scripted_group.h"

#include <cstring>
#include <utility>

#include "common/check.h"

namespace silurus::simulation {
namespace {

constexpr Nanoseconds kHeartbeat = kMillisecond;

}  // namespace

class ScriptedMember::Session final : public transport::ConnectionHandler {
 public:
  Session(ScriptedMember& member, std::uint64_t client,
          std::unique_ptr<transport::Connection> connection)
      : member_(member), client_(client), connection_(std::move(connection)) {
    connection_->set_handler(this);
  }

  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    ++received_;
    if (!member_.answers) return;
    const auto header = protocol::decode_header(message);
    SILURUS_CHECK(header.has_value());
    const protocol::AnswerTo to{header->request_id, member_.version()};
    using protocol::MessageType;
    if (header->type == MessageType::kCluster) {
      const std::string json = member_.cluster_json();
      return send(protocol::AnswerEncoder::text(to, json));
    }
    if (header->type == MessageType::kWrite) return on_write(message, to);
    if (header->type == MessageType::kTask) {
      if (!member_.leads()) return refuse(to);
      ++member_.tasks;
      return send(protocol::AnswerEncoder::text(to, "{}"));
    }
    SILURUS_CHECK(header->type == MessageType::kRange);
    const auto range = protocol::decode_range<2>(message);
    SILURUS_CHECK(range.has_value());
    if (!member_.leads() && (header->flags & protocol::kAnyMember) == 0) return refuse(to);
    ++member_.searches;
    member_.host_.charge(member_.thinks);
    send(protocol::AnswerEncoder::count(to, member_.version()));
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override { closed_ = true; }

  bool closed() const { return closed_; }
  void beat(protocol::Heartbeat heartbeat) {
    heartbeat.received = received_;
    if (!closed_) connection_->write_mailbox(std::as_bytes(std::span(&heartbeat, 1)));
  }
  void flush() {
    if (!closed_) connection_->flush();
  }

 private:
  void on_write(std::span<const std::byte> message, protocol::AnswerTo to) {
    const auto write = protocol::decode_write<2>(message, 128);
    SILURUS_CHECK(write.has_value());
    if (!member_.leads()) return refuse(to);
    if (!member_.carries_out) return;
    GroupState& state = member_.state_;
    auto& outcome = state.outcomes[{client_, write->sequence}];
    if (outcome.times == 0) {
      outcome = {++state.version, 1};
      state.order.push_back(write->sequence);
    }
    member_.forgettable = write->oldest;
    to.version = outcome.version;
    send(protocol::AnswerEncoder::write(to, {}));
  }
  void refuse(protocol::AnswerTo to) {
    ++member_.refused;
    send(protocol::AnswerEncoder::error(to, {ErrorCode::kNotPrimary, "another one is"}));
  }
  void send(protocol::AnswerEncoder encoder) {
    while (!encoder.done()) {
      const std::size_t bytes = encoder.next_bytes(connection_->limits().max_message_bytes);
      const auto room = connection_->reserve(bytes);
      SILURUS_CHECK(!room.empty());
      encoder.encode_next(room.first(bytes));
      connection_->commit(bytes);
    }
  }

  ScriptedMember& member_;
  const std::uint64_t client_;
  std::unique_ptr<transport::Connection> connection_;
  std::uint64_t received_ = 0;
  bool closed_ = false;
};

ScriptedMember::ScriptedMember(transport::sim::World& world, transport::sim::Host& host, int number,
                               GroupState& state)
    : host_(host),
      number_(number),
      state_(state),
      fabric_(world, host, {.give_up = 60 * kMillisecond}),
      poller_(std::move(*fabric_.create_poller())) {
  transport::Poller* const pollers[] = {poller_.get()};
  auto listener = fabric_.listen({"sim", host.name(), "1", ""}, {}, pollers, *this);
  SILURUS_CHECK(listener.has_value());
  listener_ = std::move(*listener);
  process_ = host.spawn("member", [this](transport::sim::Process& process) { step(process); });
  process_->watch(*poller_);
  process_->wake();
}

ScriptedMember::~ScriptedMember() { process_.reset(); }

void ScriptedMember::step(transport::sim::Process& process) {
  host_.charge(2 * kMicrosecond);
  const bool is_busy = poller_->progress() > 0;
  const Nanoseconds now = host_.clock().now();
  if (now >= next_heartbeat_ && answers) {
    next_heartbeat_ = now + kHeartbeat;
    const protocol::Heartbeat heartbeat{.sequence = ++heartbeats_,
                                        .version = version(),
                                        .cpu_busy_permyriad = cpu_busy_permyriad,
                                        .queued = 0,
                                        .lease_ns = leads() ? static_cast<std::uint64_t>(lease) : 0,
                                        .staleness_ns = leads() ? 0 : staleness,
                                        .epoch = state_.epoch,
                                        .received = 0};
    for (auto& session : sessions_) session->beat(heartbeat);
  }
  for (auto& session : sessions_) session->flush();
  std::erase_if(sessions_, [](const auto& session) { return session->closed(); });
  if (is_busy) return process.wake();
  process.wake_at(now + kHeartbeat);
}

Result<std::vector<std::byte>> ScriptedMember::on_hello(std::span<const std::byte> hello,
                                                        const transport::Caller&) {
  const auto client = protocol::decode_client_hello(hello, 2);
  if (!client) return fail(client.error());
  client_ = client->client;
  const protocol::ServerHello server{
      .dimensions = 2, .heartbeat_ns = kHeartbeat, .max_batch = 128, .epoch = state_.epoch};
  std::vector<std::byte> bytes(sizeof server);
  std::memcpy(bytes.data(), &server, sizeof server);
  return bytes;
}

void ScriptedMember::on_accept(std::unique_ptr<transport::Connection> connection,
                               transport::Poller&) {
  sessions_.push_back(std::make_unique<Session>(*this, client_, std::move(connection)));
}

std::string ScriptedMember::cluster_json() const {
  std::string members;
  for (int i = 0; i < 3; ++i) {
    members += (i == 0 ? "" : ",") + std::string("{\"id\":\"") + std::to_string(i + 1) +
               "\",\"url\":\"sim://member" + std::to_string(i) + ":1\",\"in_view\":true}";
  }
  return "{\"self\":\"" + std::to_string(number_ + 1) + "\",\"primary\":" +
         (state_.primary < 0 ? "null" : "\"" + std::to_string(state_.primary + 1) + "\"") +
         ",\"role\":\"" + (leads() ? "primary" : "backup") + "\",\"members\":[" + members + "]}";
}

}  // namespace silurus::simulation
