#include "transport/tcp/listener.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/log.h"
#include "transport/peer.h"
#include "transport/ring.h"
#include "transport/tcp/socket.h"

namespace silurus::transport::tcp {

TcpListener::TcpListener(Address address, const ListenOptions& options,
                         std::vector<TcpPoller*> pollers, AcceptHandler& handler)
    : address_(std::move(address)),
      handler_(handler),
      allow_other_users_(options.allow_other_users),
      budget_(std::make_shared<SharedBudget>(options, address_.to_string())),
      dealer_(std::move(pollers), handler) {}

Result<std::unique_ptr<TcpListener>> TcpListener::create(const Address& address,
                                                         const ListenOptions& options,
                                                         std::vector<TcpPoller*> pollers,
                                                         AcceptHandler& handler) {
  auto socket = listen_on(address, options.allow_other_users);
  if (!socket) return fail(std::move(socket.error()));
  std::unique_ptr<TcpListener> listener(
      new TcpListener(local_address(socket->get()), options, std::move(pollers), handler));
  auto reception = Reception::create(
      listener->dealer_.loop(), std::move(*socket), listener->address_.to_string(), options,
      {[raw = listener.get()](Guest& guest) { return raw->hear(guest); }, refuse,
       peer_of_tcp_socket, &listener->budget_->refusals()});
  if (!reception) return fail(std::move(reception.error()));
  listener->reception_ = std::move(*reception);
  return listener;
}

Status TcpListener::expose(const Region&) {
  return fail(ErrorCode::kUnsupported, "tcp has no one-sided reads: nothing can be exposed");
}

bool TcpListener::hear(Guest& guest) {
  auto* const to = reinterpret_cast<std::byte*>(&guest.setup) + guest.received;
  const ssize_t got = recv(guest.fd(), to, sizeof(ClientSetup) - guest.received, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) return true;
  guest.received += static_cast<std::size_t>(got);
  const bool stranger =
      guest.received >= sizeof(guest.setup.magic) && guest.setup.magic != kTcpMagic;
  if (guest.received < sizeof(ClientSetup) && !stranger) return false;
  Status status = check(guest.setup, kTcpMagic);
  if (!status) budget_->refusals().add(RefusalReason::kHello);
  if (status) status = welcome(guest);
  if (!status) {
    log::debug(address_.to_string() + ": refused " + peer_name(guest.fd()) + ": " +
               status.error().message);
    if (!stranger) refuse(guest, status.error());
  }
  return true;
}

void TcpListener::refuse(Guest& guest, const Error& error) {
  const ServerSetup refusal = make_refusal(kTcpMagic, error);
  send(guest.fd(), &refusal, sizeof(refusal), MSG_DONTWAIT | MSG_NOSIGNAL);
}

Result<std::optional<uid_t>> TcpListener::user_of(const Guest& guest) const {
  auto user = user_of_tcp_peer(guest.fd());
  if (allow_other_users_) return user ? *user : std::optional<uid_t>();
  if (user && *user == geteuid()) return user;
  budget_->refusals().add(RefusalReason::kPermission);
  if (!user) return fail(std::move(user.error()));
  return fail(not_for_user(*user ? "user " + std::to_string(**user) : "a client of another host"));
}

Status TcpListener::welcome(Guest& guest) {
  const auto user = user_of(guest);
  if (!user) return fail(user.error());
  tune(guest.fd());
  auto hello = ask(handler_, guest.setup, {.user = *user, .name = guest.peer()});
  if (!hello) {
    budget_->refusals().add(reason_of_handler(hello.error().code));
    return fail(std::move(hello.error()));
  }
  auto ring_bytes = budget_->take(guest.peer());
  if (!ring_bytes) return fail(std::move(ring_bytes.error()));
  const ConnectionLimits limits{max_message_bytes(*ring_bytes), 0, 0};
  const ServerSetup answer = make_welcome(kTcpMagic, *ring_bytes, limits, *hello);
  if (send(guest.fd(), &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(sizeof(answer))) {
    budget_->give_back(*ring_bytes, guest.peer());
    return fail(errno_error(ErrorCode::kConnectionLost, "cannot answer a client", errno));
  }
  const auto said = hello_of(guest.setup);
  std::string peer = peer_name(guest.fd());
  dealer_.deal_out({guest.take(dealer_.loop()), *ring_bytes, limits,
                    std::vector<std::byte>(said.begin(), said.end()), std::move(peer), budget_,
                    guest.peer(), *user});
  return {};
}

}  // namespace silurus::transport::tcp
