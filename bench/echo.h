// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/fabric.h"

// Two programs that do nothing but send messages to and fro, over any fabric: what a transport
// costs by itself.

namespace silurus::bench {

/// Answers each message with one of a set size.
class EchoServer final : public transport::AcceptHandler, public transport::ConnectionHandler {
 public:
  void set_answer_bytes(std::size_t bytes) { answer_bytes_ = bytes; }
  void flush();

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte>,
                                          const transport::Caller&) override {
    return std::vector<std::byte>{};
  }
  void on_accept(std::unique_ptr<transport::Connection> connection, transport::Poller&) override;
  void on_message(transport::Connection& connection, std::span<const std::byte> message) override;
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}

 private:
  std::size_t answer_bytes_ = 64;
  std::vector<std::unique_ptr<transport::Connection>> connections_;
};

/// Sends, and counts what comes back.
class EchoClient final : public transport::ConnectionHandler {
 public:
  Status connect(transport::Fabric& fabric, transport::Poller& poller,
                 const transport::Address& address);
  /// False if there is no room.
  bool send(std::size_t bytes);
  transport::Connection& connection() { return *connection_; }
  std::uint64_t received() const { return received_; }

  void on_message(transport::Connection&, std::span<const std::byte>) override { ++received_; }
  void on_read(transport::Connection&, std::uint64_t, bool) override { ++received_; }
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}

 private:
  std::unique_ptr<transport::Connection> connection_;
  std::uint64_t received_ = 0;
};

}  // namespace silurus::bench
