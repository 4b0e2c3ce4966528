// SPDX-License-Identifier: Apache-2.0

#include "bench/echo.h"

#include <utility>

#include "common/check.h"

namespace silurus::bench {

void EchoServer::on_accept(std::unique_ptr<transport::Connection> connection, transport::Poller&) {
  connection->set_handler(this);
  connections_.push_back(std::move(connection));
}

void EchoServer::on_message(transport::Connection& connection, std::span<const std::byte>) {
  const auto room = connection.reserve(answer_bytes_);
  SILURUS_CHECK(!room.empty());
  connection.commit(answer_bytes_);
}

void EchoServer::flush() {
  for (const auto& connection : connections_) connection->flush();
}

Status EchoClient::connect(transport::Fabric& fabric, transport::Poller& poller,
                           const transport::Address& address) {
  auto connection = fabric.connect(address, {}, poller, {}, *this);
  if (!connection) return fail(connection.error());
  connection_ = std::move(*connection);
  return {};
}

bool EchoClient::send(std::size_t bytes) {
  const auto room = connection_->reserve(bytes);
  if (room.empty()) return false;
  connection_->commit(bytes);
  return true;
}

}  // namespace silurus::bench
