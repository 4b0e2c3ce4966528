// SPDX-License-Identifier: Apache-2.0

#include "transport/tcp/fabric.h"

#include <algorithm>

#include "transport/keys.h"
#include "transport/setup.h"
#include "transport/tcp/connection.h"
#include "transport/tcp/handshake.h"
#include "transport/tcp/listener.h"
#include "transport/tcp/poller.h"
#include "transport/tcp/socket.h"

namespace silurus::transport::tcp {
namespace {

class TcpFabric final : public Fabric {
 public:
  std::string_view scheme() const override { return "tcp"; }
  Capabilities capabilities() const override { return 0; }
  Result<std::unique_ptr<Poller>> create_poller() override {
    auto poller = TcpPoller::create();
    if (!poller) return fail(std::move(poller.error()));
    return std::unique_ptr<Poller>(std::move(*poller));
  }

  Result<std::unique_ptr<Listener>> listen(const Address& address, const ListenOptions& options,
                                           std::span<Poller* const> pollers,
                                           AcceptHandler& handler) override {
    std::vector<TcpPoller*> own;
    for (Poller* poller : pollers) own.push_back(dynamic_cast<TcpPoller*>(poller));
    if (own.empty() || std::find(own.begin(), own.end(), nullptr) != own.end()) {
      return fail(ErrorCode::kInvalidArgument, "listening on tcp needs pollers of that fabric");
    }
    auto listener = TcpListener::create(address, options, std::move(own), handler);
    if (!listener) return fail(std::move(listener.error()));
    return std::unique_ptr<Listener>(std::move(*listener));
  }

  Result<std::unique_ptr<Connection>> connect(const Address& address, const ConnectOptions& options,
                                              Poller& poller, std::span<const std::byte> hello,
                                              ConnectionHandler& handler) override;
};

Result<std::unique_ptr<Connection>> TcpFabric::connect(const Address& address,
                                                       const ConnectOptions& options,
                                                       Poller& poller,
                                                       std::span<const std::byte> hello,
                                                       ConnectionHandler& handler) {
  auto* const own = dynamic_cast<TcpPoller*>(&poller);
  if (own == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "connecting over tcp needs a poller of that fabric");
  }
  const Nanoseconds deadline = SystemClock().now() + options.timeout;
  const std::string name = address.to_string();
  auto socket = connect_to(address, deadline);
  if (!socket) return fail(std::move(socket.error()));
  const auto key = key_for(address, options, other_end(socket->get()));
  if (!key) return fail(key.error());
  const auto answer = shake_hands(socket->get(), hello, *key, deadline, name);
  if (!answer) return fail(answer.error());
  const auto said = hello_of(*answer);
  auto connection =
      TcpConnection::create(*own, {std::move(*socket), answer->ring_bytes, limits_of(*answer),
                                   std::vector<std::byte>(said.begin(), said.end()), name, nullptr,
                                   /*owner=*/{}, /*user=*/{}, label_of(*key)});
  if (!connection) return fail(std::move(connection.error()));
  (*connection)->set_handler(&handler);
  return std::unique_ptr<Connection>(std::move(*connection));
}

}  // namespace

Result<std::unique_ptr<Fabric>> make_fabric() { return std::make_unique<TcpFabric>(); }

}  // namespace silurus::transport::tcp
