// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/random.h"
#include "protocol/encode.h"
#include "protocol/messages.h"
#include "tests/unit/client/memory_fabric.h"
#include "transport/fabric.h"

// A fabric of which the other end is the test: it says when messages have room, when answers and
// heartbeats come, and when one-sided reads get further.

namespace silurus::client {

/// The client's end of a connection.
class QuietConnection final : public transport::Connection {
 public:
  static constexpr Nanoseconds kBeat = 10 * kMillisecond;

  /// `slabs`: what one-sided reads read; none: there are no such reads.
  QuietConnection(const protocol::ServerHello& hello, const RegionSlabs* slabs,
                  transport::ConnectionHandler& handler)
      : handler_(&handler), hello_(hello) {
    if (slabs == nullptr) return;
    reads_.emplace(*slabs, 64);
    limits_ = reads_->limits();
  }

  // --- what the test does
  void beat() { ++heartbeat.sequence; }
  /// A heartbeat with this content is what lies in the mailbox from now on.
  void beat(protocol::Heartbeat content) {
    content.sequence = heartbeat.sequence + 1;
    heartbeat = content;
  }
  /// A message has come, of which only the number counts.
  void count_message() { ++counters_.messages_received; }
  /// The answer comes, in messages of at most `message_bytes`: as many as asked for, or all.
  void answer(protocol::AnswerEncoder encoder, std::size_t message_bytes = 4096,
              std::size_t messages = SIZE_MAX) {
    for (std::size_t i = 0; i < messages && !encoder.done(); ++i) {
      std::vector<std::byte> message(encoder.next_bytes(message_bytes));
      encoder.encode_next(message);
      count_message();
      handler_->on_message(*this, message);
    }
  }
  /// One of the reads under way gets further; false if there is none.
  bool step_read(Random& random) {
    if (reads_->in_flight() == 0) return false;
    if (const auto cookie = reads_->step(random)) handler_->on_read(*this, *cookie, true);
    return true;
  }
  MemoryConnection& reads() { return *reads_; }
  void lose() { handler_->on_closed(*this, {ErrorCode::kConnectionLost, "the test says so"}); }

  /// Messages sent that are of that type, in their order.
  template <typename Request>
  std::vector<Request> sent(protocol::MessageType type) const {
    std::vector<Request> requests;
    for (const auto& message : sent_) {
      protocol::Header header;
      std::memcpy(&header, message.data(), sizeof header);
      if (header.type != type) continue;
      Request request;
      std::memcpy(&request, message.data(), sizeof request);
      requests.push_back(request);
    }
    return requests;
  }
  std::size_t messages_sent() const { return sent_.size(); }
  /// Request id of the message that was sent last.
  std::uint32_t last_request_id() const {
    protocol::Header header;
    std::memcpy(&header, sent_.back().data(), sizeof header);
    return header.request_id;
  }

  void set_message_bytes(std::size_t most) { limits_.max_message_bytes = most; }

  std::size_t room = SIZE_MAX;  ///< messages that may still be sent
  protocol::Heartbeat heartbeat{};

  // --- transport::Connection
  void set_handler(transport::ConnectionHandler*) override {}
  const transport::ConnectionLimits& limits() const override { return limits_; }
  std::span<const std::byte> peer_hello() const override {
    return std::as_bytes(std::span(&hello_, 1));
  }
  std::string peer() const override { return "quiet://server"; }
  std::span<std::byte> reserve(std::size_t bytes) override {
    SILURUS_CHECK(bytes <= limits_.max_message_bytes);  // as of every fabric
    if (room == 0) return {};
    message_.resize(bytes);
    return message_;
  }
  void commit(std::size_t bytes) override {
    --room;
    message_.resize(bytes);
    sent_.push_back(message_);
  }
  void flush() override {}
  PostResult post_reads(std::span<const transport::ReadRequest> requests) override {
    if (!reads_) return {0, transport::PostStatus::kInvalid};
    return reads_->post_reads(requests);
  }
  void write_mailbox(std::span<const std::byte>) override {}
  bool read_mailbox(std::array<std::byte, transport::kMailboxBytes>& content) override {
    std::memcpy(content.data(), &heartbeat, sizeof heartbeat);
    return heartbeat.sequence > 0;
  }
  void set_paused(bool) override {}
  void close() override {}
  const transport::ConnectionCounters& counters() const override { return counters_; }

 private:
  transport::ConnectionHandler* handler_;
  transport::ConnectionLimits limits_{
      .max_message_bytes = 4096, .max_reads_in_flight = 0, .max_read_bytes = 0};
  transport::ConnectionCounters counters_;
  protocol::ServerHello hello_;
  std::optional<MemoryConnection> reads_;
  std::vector<std::byte> message_;
  std::vector<std::vector<std::byte>> sent_;
};

/// Makes QuietConnections.
class QuietFabric final : public transport::Fabric {
 public:
  QuietFabric() {
    hello.dimensions = 2;
    hello.max_batch = 100;
    hello.heartbeat_ns = QuietConnection::kBeat;
  }

  std::string_view scheme() const override { return "quiet"; }
  transport::Capabilities capabilities() const override { return 0; }
  Result<std::unique_ptr<transport::Poller>> create_poller() override {
    return std::make_unique<MemoryPoller>();
  }
  Result<std::unique_ptr<transport::Listener>> listen(const transport::Address&,
                                                      const transport::ListenOptions&,
                                                      std::span<transport::Poller* const>,
                                                      transport::AcceptHandler&) override {
    return fail(ErrorCode::kUnsupported, "nothing listens here");
  }
  Result<std::unique_ptr<transport::Connection>> connect(
      const transport::Address&, const transport::ConnectOptions&, transport::Poller&,
      std::span<const std::byte>, transport::ConnectionHandler& handler) override {
    auto made = std::make_unique<QuietConnection>(hello, slabs, handler);
    made->set_message_bytes(message_bytes);
    server = made.get();
    return made;
  }

  protocol::ServerHello hello;         ///< what the server says of itself
  const RegionSlabs* slabs = nullptr;  ///< for one-sided reads
  std::size_t message_bytes = 4096;    ///< that a message of the next connection may have
  QuietConnection* server = nullptr;   ///< the connection made last
};

}  // namespace silurus::client
