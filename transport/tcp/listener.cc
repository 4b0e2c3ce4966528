// SPDX-License-Identifier: Apache-2.0

#include "transport/tcp/listener.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/log.h"
#include "transport/peer.h"
#include "transport/ring.h"
#include "transport/tcp/handshake.h"
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
      {[raw = listener.get()](IncomingConnection& incoming) { return raw->hear(incoming); }, refuse,
       peer_of_tcp_socket, &listener->budget_->refusals()});
  if (!reception) return fail(std::move(reception.error()));
  listener->reception_ = std::move(*reception);
  return listener;
}

Status TcpListener::expose(const Region&) {
  return fail(ErrorCode::kUnsupported, "tcp has no one-sided reads: nothing can be exposed");
}

namespace {

/// What has come since, into a struct of which `received` bytes have. Nothing: no more for now; 0:
/// the client has gone.
template <typename T>
std::optional<std::size_t> receive_into(int socket, T& value, std::size_t received) {
  auto* const to = reinterpret_cast<std::byte*>(&value) + received;
  const ssize_t got = recv(socket, to, sizeof(T) - received, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  return got < 0 ? 0 : static_cast<std::size_t>(got);
}

bool is_stranger(const IncomingConnection& incoming) {
  return incoming.challenge.magic == 0 && incoming.received >= sizeof(incoming.setup.magic) &&
         incoming.setup.magic != kTcpMagic;
}

Error has_gone() { return {ErrorCode::kConnectionLost, "it has gone"}; }

}  // namespace

bool TcpListener::hear(IncomingConnection& incoming) {
  for (;;) {
    const bool was_challenged = incoming.challenge.magic != 0;
    const auto done = was_challenged ? take_proof(incoming) : take_setup(incoming);
    if (!done) {
      if (!was_challenged && incoming.challenge.magic != 0) continue;
      return false;
    }
    if (*done) return true;
    log::debug(address_.to_string() + ": refused " + peer_name(incoming.fd()) + ": " +
               done->error().message);
    if (done->error().code != ErrorCode::kConnectionLost && !is_stranger(incoming)) {
      refuse(incoming, done->error());
    }
    return true;
  }
}

std::optional<Status> TcpListener::take_setup(IncomingConnection& incoming) {
  const auto got = receive_into(incoming.fd(), incoming.setup, incoming.received);
  if (!got) return std::nullopt;
  if (*got == 0) return fail(has_gone());
  incoming.received += *got;
  if (incoming.received < sizeof(ClientSetup) && !is_stranger(incoming)) return std::nullopt;
  if (Status status = check(incoming.setup, kTcpMagic); !status) {
    budget_->refusals().add(RefusalReason::kHello);
    return status;
  }
  if (incoming.setup.has_key == 0) return welcome(incoming);
  incoming.challenge = {kChallengeMagic, access::make_nonce()};
  incoming.received = 0;
  if (send(incoming.fd(), &incoming.challenge, sizeof(Challenge), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(sizeof(Challenge))) {
    return fail(has_gone());
  }
  return std::nullopt;
}

std::optional<Status> TcpListener::take_proof(IncomingConnection& incoming) {
  const auto got = receive_into(incoming.fd(), incoming.proof, incoming.received);
  if (!got) return std::nullopt;
  if (*got == 0) return fail(has_gone());
  incoming.received += *got;
  if (incoming.received < sizeof(ClientProof)) return std::nullopt;
  return welcome(incoming);
}

void TcpListener::refuse(IncomingConnection& incoming, const Error& error) {
  const ServerSetup refusal = make_refusal(kTcpMagic, error);
  send(incoming.fd(), &refusal, sizeof(refusal), MSG_DONTWAIT | MSG_NOSIGNAL);
}

Result<std::optional<uid_t>> TcpListener::user_of(const IncomingConnection& incoming) const {
  auto user = user_of_tcp_peer(incoming.fd());
  if (allow_other_users_) return user ? *user : std::optional<uid_t>();
  if (user && *user == geteuid()) return user;
  budget_->refusals().add(RefusalReason::kPermission);
  if (!user) return fail(std::move(user.error()));
  return fail(not_for_user(*user ? "user " + std::to_string(**user) : "a client of another host"));
}

Result<Caller> TcpListener::identify(const IncomingConnection& incoming) {
  Caller caller{.name = incoming.peer()};
  if (incoming.challenge.magic != 0) {
    const auto said = said_before(incoming.setup, incoming.challenge, incoming.proof);
    auto key = verify(handler_, caller, incoming.proof.key, said, incoming.proof.tag);
    if (!key) {
      budget_->refusals().add(RefusalReason::kPermission);
      return fail(std::move(key.error()));
    }
    caller.key = std::move(*key);
    // A program between a client and its own server can hand a proof on, but not be its user.
    if (auto user = user_of_tcp_peer(incoming.fd()); user) caller.user = *user;
    return caller;
  }
  auto user = user_of(incoming);
  if (!user) return fail(std::move(user.error()));
  caller.user = *user;
  return caller;
}

Status TcpListener::welcome(IncomingConnection& incoming) {
  const auto caller = identify(incoming);
  if (!caller) return fail(caller.error());
  tune(incoming.fd());
  auto hello = ask(handler_, incoming.setup, *caller);
  if (!hello) {
    budget_->refusals().add(reason_of_handler(hello.error().code));
    return fail(std::move(hello.error()));
  }
  auto ring_bytes = budget_->take(incoming.peer());
  if (!ring_bytes) return fail(std::move(ring_bytes.error()));
  const ConnectionLimits limits{max_message_bytes(*ring_bytes), 0, 0};
  Welcome answer{make_welcome(kTcpMagic, *ring_bytes, limits, *hello), {}};
  std::size_t bytes = sizeof(ServerSetup);
  if (caller->key) {
    // It may have gone since the client proved it.
    const auto key = handler_.find_key(caller->key->id);
    if (!key) {
      budget_->give_back(*ring_bytes, incoming.peer());
      return fail(false_key());
    }
    const auto before = said_before(incoming.setup, incoming.challenge, incoming.proof);
    answer.tag =
        said_at_last(before, incoming.proof, answer.setup).tag(*key, access::Side::kServer);
    bytes = sizeof(Welcome);
  }
  if (send(incoming.fd(), &answer, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(bytes)) {
    budget_->give_back(*ring_bytes, incoming.peer());
    return fail(errno_error(ErrorCode::kConnectionLost, "cannot answer a client", errno));
  }
  const auto said = hello_of(incoming.setup);
  std::string peer = peer_name(incoming.fd());
  dealer_.deal_out({incoming.take(dealer_.loop()), *ring_bytes, limits,
                    std::vector<std::byte>(said.begin(), said.end()), std::move(peer), budget_,
                    incoming.peer(), caller->user, caller->key});
  return {};
}

}  // namespace silurus::transport::tcp
