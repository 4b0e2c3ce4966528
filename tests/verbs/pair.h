// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "tests/support/patience.h"
#include "transport/fabric.h"
#include "transport/verbs/fabric.h"

// A server and its clients over rdma, on one thread and one host.

namespace silurus::transport::verbs::testing {

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

/// Keeps what it hears.
class Recorder : public ConnectionHandler {
 public:
  void on_message(Connection& connection, std::span<const std::byte> message) override {
    messages.emplace_back(message.begin(), message.end());
    if (answer) answer(connection, message);
  }
  void on_read(Connection&, std::uint64_t cookie, bool ok) override {
    reads.emplace_back(cookie, ok);
  }
  void on_writable(Connection&) override { ++writable; }
  void on_closed(Connection&, const Error& reason) override { closed = reason; }

  std::deque<Bytes> messages;
  std::vector<std::pair<std::uint64_t, bool>> reads;
  int writable = 0;
  std::optional<Error> closed;
  std::function<void(Connection&, std::span<const std::byte>)> answer;
};

inline bool send(Connection& connection, std::span<const std::byte> message) {
  const auto room = connection.reserve(message.size());
  if (room.empty()) return false;
  std::memcpy(room.data(), message.data(), message.size());
  connection.commit(message.size());
  return true;
}

/// Where this host can be reached over RDMA.
inline std::string host_address() {
  const char* host = std::getenv("SILURUS_RDMA_HOST");
  return host == nullptr ? "127.0.0.1" : host;
}

class Pair : public ::testing::Test, public AcceptHandler {
 protected:
  void SetUp() override {
    auto made = verbs::make_fabric();
    if (!made) GTEST_SKIP() << made.error().message;
    fabric = std::move(*made);
    server_poller = *fabric->create_poller();
    client_poller = *fabric->create_poller();
    options.allow_other_users = true;
  }
  void TearDown() override {
    clients.clear();
    accepted.clear();
    listener.reset();
  }

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> hello,
                                          const transport::Caller&) override {
    if (refusal) return fail(*refusal);
    client_hello.assign(hello.begin(), hello.end());
    return bytes_of("server hello");
  }
  void on_accept(std::unique_ptr<Connection> connection, Poller&) override {
    connection->set_handler(&server);
    accepted.push_back(std::move(connection));
  }

  void listen(const std::string& host = host_address()) {
    Poller* pollers[] = {server_poller.get()};
    auto made = fabric->listen({"rdma", host, "0", ""}, options, pollers, *this);
    ASSERT_TRUE(made) << made.error().message;
    listener = std::move(*made);
  }
  Result<std::unique_ptr<Connection>> try_connect(std::string_view hello = "client") {
    return fabric->connect(listener->address(), {}, *client_poller, bytes_of(hello), client);
  }
  Connection& connect() {
    auto made = try_connect();
    if (!made) ADD_FAILURE() << made.error().message;
    clients.push_back(std::move(*made));
    return *clients.back();
  }
  /// Drives both until it holds; fails after a while.
  template <typename F>
  bool until(F holds, Nanoseconds idle = testing_support::Patience::kLong) {
    testing_support::Patience patience(idle);
    while (!holds()) {
      if (patience.is_over()) return false;
      client_poller->progress();
      server_poller->progress();
    }
    return true;
  }

  std::unique_ptr<Fabric> fabric;
  std::unique_ptr<Poller> server_poller, client_poller;
  ListenOptions options;
  std::optional<Error> refusal;
  Bytes client_hello;
  Recorder server, client;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Connection>> accepted, clients;
};

}  // namespace silurus::transport::verbs::testing
