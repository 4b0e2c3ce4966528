// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "tests/support/patience.h"
#include "transport/fabric.h"
#include "transport/waiter.h"

namespace silurus::testing_support {

/// A client with no manners: sends whatever bytes it is told to over a connection of its own, and
/// keeps whatever comes. One thread.
class RawClient final : public transport::ConnectionHandler {
 public:
  static Result<std::unique_ptr<RawClient>> connect(const std::string& url,
                                                    std::uint32_t dimensions = 2) {
    const protocol::ClientHello hello{.dimensions = dimensions};
    return connect(url, std::as_bytes(std::span(&hello, 1)));
  }
  static Result<std::unique_ptr<RawClient>> connect(const std::string& url,
                                                    std::span<const std::byte> hello) {
    auto address = transport::Address::parse(url);
    if (!address) return fail(address.error());
    std::unique_ptr<RawClient> client(new RawClient());
    auto fabric = transport::make_fabric(address->scheme);
    if (!fabric) return fail(fabric.error());
    client->fabric_ = std::move(*fabric);
    auto poller = client->fabric_->create_poller();
    if (!poller) return fail(poller.error());
    client->poller_ = std::move(*poller);
    auto waiter = transport::Waiter::create({}, {client->poller_.get()});
    if (!waiter) return fail(waiter.error());
    client->waiter_ = std::move(*waiter);
    auto connection = client->fabric_->connect(*address, {.timeout = patient(5 * kSecond)},
                                               *client->poller_, hello, *client);
    if (!connection) return fail(connection.error());
    client->connection_ = std::move(*connection);
    return client;
  }

  transport::Connection& connection() { return *connection_; }
  transport::Poller& poller() { return *poller_; }
  bool closed() const { return closed_; }
  const std::string& close_reason() const { return close_reason_; }
  protocol::ServerHello server_hello() const {
    return protocol::decode_server_hello(connection_->peer_hello(), 0).value();
  }

  /// Sends the bytes as one message, waiting for room; false if the connection is closed or there
  /// is no room for long.
  bool send(std::span<const std::byte> message) {
    Patience patience;
    while (!closed_ && !patience.is_over()) {
      const auto room = connection_->reserve(message.size());
      if (room.empty()) {
        waiter_->wait(10 * kMillisecond);
        continue;
      }
      std::memcpy(room.data(), message.data(), message.size());
      connection_->commit(message.size());
      connection_->flush();
      return true;
    }
    return false;
  }
  bool range(std::uint32_t id, const rtree::RangeQuery<2>& query, std::uint8_t flags = 0) {
    std::array<std::byte, sizeof(protocol::RangeRequest<2>)> bytes;
    protocol::encode_range<2>(bytes, id, query, flags);
    return send(bytes);
  }
  bool write(std::uint32_t id, const std::vector<protocol::Operation<2>>& operations) {
    std::vector<std::byte> bytes(protocol::write_bytes<2>(operations.size()));
    protocol::encode_write<2>(bytes, id, id, operations);
    return send(bytes);
  }
  bool bare(std::uint32_t id, protocol::MessageType type) {
    std::array<std::byte, sizeof(protocol::Header)> bytes;
    protocol::encode_bare(bytes, type, id);
    return send(bytes);
  }

  struct Reply {
    rtree::Version version = 0;
    std::uint64_t count = 0;  ///< entries in all segments
    std::optional<Error> error;
    std::vector<std::byte> payload;
    std::string text() const {
      return {reinterpret_cast<const char*>(payload.data()), payload.size()};
    }
  };
  /// The whole answer to the request of that id, of which nothing has been taken yet; others that
  /// come before it are kept. Nothing if it doesn't come within the time of an idle machine, or the
  /// connection ends.
  std::optional<Reply> reply(std::uint32_t id, Nanoseconds idle = Patience::kLong) {
    Patience patience(idle);
    Reply reply;
    for (;;) {
      for (auto message = messages_.begin(); message != messages_.end();) {
        const auto answer = protocol::decode_answer(*message);
        if (!answer) return std::nullopt;
        if (answer->header.request_id != id) {
          ++message;
          continue;
        }
        reply.version = answer->version;
        reply.count += answer->count;
        if (answer->is_error()) reply.error = protocol::answer_error(*answer);
        reply.payload.insert(reply.payload.end(), answer->payload.begin(), answer->payload.end());
        const bool last = !answer->more();
        message = messages_.erase(message);
        if (last) return reply;
      }
      if (closed_ || patience.is_over()) return std::nullopt;
      waiter_->wait(10 * kMillisecond);
    }
  }
  /// Whether the connection ends.
  bool wait_closed() {
    Patience patience;
    while (!closed_ && !patience.is_over()) waiter_->wait(10 * kMillisecond);
    return closed_;
  }

  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    messages_.emplace_back(message.begin(), message.end());
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error& reason) override {
    closed_ = true;
    close_reason_ = reason.message;
  }

 private:
  RawClient() = default;

  std::unique_ptr<transport::Fabric> fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<transport::Waiter> waiter_;
  std::unique_ptr<transport::Connection> connection_;
  std::deque<std::vector<std::byte>> messages_;
  bool closed_ = false;
  std::string close_reason_;
};

}  // namespace silurus::testing_support
