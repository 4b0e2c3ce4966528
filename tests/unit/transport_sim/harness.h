// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "transport/sim/fabric.h"
#include "transport/sim/host.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Writes down what happens on connections.
class Recorder : public ConnectionHandler {
 public:
  void on_message(Connection& connection, std::span<const std::byte> message) override {
    messages.push_back(text_of(message));
    if (reaction) reaction(connection, messages.back());
  }
  void on_read(Connection&, std::uint64_t cookie, bool ok) override {
    reads.emplace_back(cookie, ok);
    if (read_reaction) read_reaction(cookie, ok);
  }
  void on_writable(Connection& connection) override {
    ++writable;
    if (write_reaction) write_reaction(connection);
  }
  void on_closed(Connection&, const Error& reason) override { closed.push_back(reason); }

  std::vector<std::string> messages;
  std::vector<std::pair<std::uint64_t, bool>> reads;
  int writable = 0;
  std::vector<Error> closed;
  std::function<void(Connection&, const std::string&)> reaction;
  std::function<void(Connection&)> write_reaction;
  std::function<void(std::uint64_t, bool)> read_reaction;
};

inline bool send(Connection& connection, const std::string& text) {
  const auto room = connection.reserve(text.size());
  if (room.empty()) return false;
  std::memcpy(room.data(), text.data(), text.size());
  connection.commit(text.size());
  connection.flush();
  return true;
}

/// A host whose one process does nothing but drive its poller.
class Node {
 public:
  Node(World& world_, Host& host_, const FabricOptions& options = {})
      : host(host_), fabric(world_, host_, options), poller(std::move(*fabric.create_poller())) {
    process = host.spawn("node", [this](Process&) {
      poller->progress();
      host.charge(step_cost);
      ++steps;
    });
    process->watch(*poller);
  }

  Host& host;
  SimFabric fabric;
  std::unique_ptr<Poller> poller;
  std::unique_ptr<Process> process;
  Nanoseconds step_cost = 0;
  int steps = 0;
  Recorder recorder;
  std::unique_ptr<Connection> connection;  ///< for a client alone
};

/// A node that listens and keeps the connections that it accepts.
class ServerNode : public Node, public AcceptHandler {
 public:
  ServerNode(World& world_, Host& host_, const FabricOptions& options = {},
             const ListenOptions& listen = {})
      : Node(world_, host_, options) {
    Poller* const pollers[] = {poller.get()};
    auto made = fabric.listen({"sim", host_.name(), "1", ""}, listen, pollers, *this);
    EXPECT_TRUE(made.has_value());
    listener = std::move(*made);
  }
  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> hello,
                                          const transport::Caller&) override {
    hellos.push_back(text_of(hello));
    if (hellos.back() == "bad") return fail(ErrorCode::kPermission, "not you");
    const auto answer = bytes_of("welcome");
    return std::vector<std::byte>(answer.begin(), answer.end());
  }
  void on_accept(std::unique_ptr<Connection> accepted, Poller&) override {
    accepted->set_handler(&recorder);
    connections.push_back(std::move(accepted));
  }

  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Connection>> connections;
  std::vector<std::string> hellos;
};

/// A server and a client that is connected to it.
class Pair {
 public:
  explicit Pair(std::uint64_t seed, const FabricOptions& options = {},
                const HostOptions& server_options = {}, const ListenOptions& listen = {})
      : world(seed),
        server_host(world.add_host("server", server_options)),
        client_host(world.add_host("client")),
        server(world, server_host, options, listen),
        client(world, client_host, options) {
    auto connected = connect();
    EXPECT_TRUE(connected.has_value()) << connected.error().message;
    client.connection = std::move(*connected);
  }

  Result<std::unique_ptr<Connection>> connect(const std::string& hello = "hi") {
    return client.fabric.connect({"sim", "server", "1", ""}, {}, *client.poller, bytes_of(hello),
                                 client.recorder);
  }
  Connection& to_server() { return *client.connection; }
  Connection& to_client() { return *server.connections.front(); }
  ReadRequest read(std::uint64_t offset, std::uint32_t length, Buffer& buffer,
                   std::uint64_t cookie = 1) {
    return {0, offset, length, &buffer, 0, cookie};
  }

  World world;
  Host& server_host;
  Host& client_host;
  ServerNode server;
  Node client;
};

}  // namespace silurus::transport::sim
