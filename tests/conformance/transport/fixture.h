// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/conformance/transport/world.h"
#include "tests/support/patience.h"
#include "transport/fabric.h"

namespace silurus::transport::conformance {

inline std::vector<std::byte> to_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
inline std::string to_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Keeps what happens on a connection.
class Recorder : public ConnectionHandler {
 public:
  struct Read {
    std::uint64_t cookie;
    bool ok;
  };

  void on_message(Connection& connection, std::span<const std::byte> message) override {
    EXPECT_FALSE(closed) << "a message after on_closed";
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(message.data()) % 8, 0u);
    if (keep) messages.emplace_back(message.begin(), message.end());
    ++count;
    if (on_message_hook) on_message_hook(connection, message);
  }
  void on_read(Connection&, std::uint64_t cookie, bool ok) override {
    EXPECT_FALSE(closed) << "a completion after on_closed";
    reads.push_back({cookie, ok});
  }
  void on_writable(Connection& connection) override {
    ++writable;
    if (on_writable_hook) on_writable_hook(connection);
  }
  void on_closed(Connection&, const Error& reason) override {
    EXPECT_FALSE(closed) << "on_closed twice";
    closed = reason;
  }

  bool keep = true;
  std::vector<std::vector<std::byte>> messages;
  std::size_t count = 0;
  std::vector<Read> reads;
  std::size_t writable = 0;
  std::optional<Error> closed;
  std::function<void(Connection&, std::span<const std::byte>)> on_message_hook;
  std::function<void(Connection&)> on_writable_hook;
};

/// One end of a connection and what happened on it.
struct End {
  std::unique_ptr<Recorder> recorder = std::make_unique<Recorder>();
  std::unique_ptr<Connection> connection;
};

/// A server's side: says its hello and takes what comes.
class Acceptor : public AcceptHandler {
 public:
  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                          const transport::Caller&) override {
    hellos.emplace_back(client_hello.begin(), client_hello.end());
    if (refusal) return fail(*refusal);
    return hello;
  }
  void on_accept(std::unique_ptr<Connection> connection, Poller&) override {
    End end;
    if (prepare) prepare(*end.recorder);
    connection->set_handler(end.recorder.get());
    end.connection = std::move(connection);
    ends.push_back(std::move(end));
  }

  std::vector<std::byte> hello = to_bytes("server");
  std::optional<Error> refusal;
  std::vector<std::vector<std::byte>> hellos;
  std::deque<End> ends;
  std::function<void(Recorder&)> prepare;
};

/// Names the instances of a suite.
inline std::string name_of(const ::testing::TestParamInfo<NamedWorld>& world) {
  return world.param.name;
}

/// A server that listens and a client's poller, for each fabric. Suites derive from it and are
/// instantiated over registered_worlds().
class FabricTest : public ::testing::TestWithParam<NamedWorld> {
 protected:
  void SetUp() override {
    world = GetParam().make();
    server_poller = std::move(*world->server_fabric().create_poller());
    client_poller = std::move(*world->client_fabric().create_poller());
    pollers = {server_poller.get(), client_poller.get()};
  }
  void TearDown() override {
    clients.clear();
    acceptor.ends.clear();
    listener.reset();
  }

  void listen(const ListenOptions& options = {}) {
    Poller* const poller = server_poller.get();
    ListenOptions allowed = options;
    allowed.allow_other_users |= world->is_reachable_by_others();
    if (allowed.hello_timeout == ListenOptions{}.hello_timeout) {
      allowed.hello_timeout = testing_support::patient(allowed.hello_timeout);
    }
    auto made =
        world->server_fabric().listen(world->address(), allowed, std::span(&poller, 1), acceptor);
    ASSERT_TRUE(made) << made.error().message;
    listener = std::move(*made);
  }

  /// Waits for an answer for as long as so busy a machine needs.
  static ConnectOptions patient_connect() {
    return {.timeout = testing_support::patient(ConnectOptions{}.timeout)};
  }

  /// Connects one more client; the error if it is refused.
  Result<End*> try_connect(std::string_view hello = "client") {
    auto end = std::make_unique<End>();
    Poller* const other = server_poller.get();
    auto made = world->connect(listener->address(), patient_connect(), *client_poller,
                               to_bytes(hello), *end->recorder, std::span(&other, 1));
    if (!made) return fail(std::move(made.error()));
    end->connection = std::move(*made);
    clients.push_back(std::move(end));
    return clients.back().get();
  }

  /// Listens if need be, connects, and waits until the server has it: `client` and `server` are
  /// the ends of the newest connection.
  void connect() {
    if (!listener) listen();
    auto made = try_connect();
    ASSERT_TRUE(made) << made.error().message;
    client = *made;
    ASSERT_TRUE(run_until([&] { return acceptor.ends.size() == clients.size(); }));
    server = &acceptor.ends.back();
  }

  bool run_until(const std::function<bool()>& done) { return world->run_until(pollers, done); }
  void settle() { world->settle(pollers); }

  /// Sends one message; false if it would block.
  static bool send(Connection& connection, std::span<const std::byte> message) {
    const std::span<std::byte> room = connection.reserve(message.size());
    if (room.empty()) return false;
    EXPECT_EQ(room.size(), message.size());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(room.data()) % 8, 0u);
    std::memcpy(room.data(), message.data(), message.size());
    connection.commit(message.size());
    return true;
  }
  static bool send(Connection& connection, std::string_view text) {
    return send(connection, std::as_bytes(std::span(text)));
  }

  std::unique_ptr<World> world;
  std::unique_ptr<Poller> server_poller;
  std::unique_ptr<Poller> client_poller;
  std::vector<Poller*> pollers;
  Acceptor acceptor;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<End>> clients;
  End* client = nullptr;
  End* server = nullptr;
};

}  // namespace silurus::transport::conformance
