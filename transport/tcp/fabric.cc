#include "transport/tcp/fabric.h"

#include <sys/socket.h>

#include <algorithm>

#include "transport/setup.h"
#include "transport/tcp/connection.h"
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
  const auto setup = make_client_setup(kTcpMagic, hello);
  if (!setup) return fail(setup.error());
  auto socket = connect_to(address, deadline);
  if (!socket) return fail(std::move(socket.error()));
  // A new socket has room for this; should it fail, then the server has hung up.
  send(socket->get(), &*setup, sizeof(*setup), MSG_DONTWAIT | MSG_NOSIGNAL);
  ServerSetup answer{};
  const auto bytes = std::as_writable_bytes(std::span(&answer, 1));
  // The magic first: a stranger may never send as much as a server's answer.
  auto status = receive_all(socket->get(), bytes.first(sizeof(answer.magic)), deadline, name);
  if (status && answer.magic == kTcpMagic) {
    status = receive_all(socket->get(), bytes.subspan(sizeof(answer.magic)), deadline, name);
  }
  if (status) status = check(answer, kTcpMagic, name);
  if (!status) return fail(std::move(status.error()));
  const auto said = hello_of(answer);
  auto connection = TcpConnection::create(
      *own, {std::move(*socket), answer.ring_bytes, limits_of(answer),
             std::vector<std::byte>(said.begin(), said.end()), name, nullptr});
  if (!connection) return fail(std::move(connection.error()));
  (*connection)->set_handler(&handler);
  return std::unique_ptr<Connection>(std::move(*connection));
}

}  // namespace

Result<std::unique_ptr<Fabric>> make_fabric() { return std::make_unique<TcpFabric>(); }

}  // namespace silurus::transport::tcp
