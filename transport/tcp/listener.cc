#include "transport/tcp/listener.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "transport/ring.h"
#include "transport/tcp/socket.h"

namespace silurus::transport::tcp {
namespace {

/// Clients that may be in the middle of saying hello.
constexpr std::size_t kMaxGuests = 256;

}  // namespace

class TcpListener::Guest final : public EventSink {
 public:
  Guest(TcpListener& listener, UniqueFd client)
      : socket(std::move(client)),
        deadline(SystemClock().now() + listener.options_.hello_timeout),
        listener_(listener) {}
  void on_ready(std::uint32_t) override { listener_.admit(*this); }

  UniqueFd socket;
  Nanoseconds deadline;
  EventLoop::Registration registration = EventLoop::kNone;
  ClientSetup setup{};
  std::size_t received = 0;  ///< bytes of setup

 private:
  TcpListener& listener_;
};

TcpListener::TcpListener(UniqueFd socket, const ListenOptions& options,
                         std::vector<TcpPoller*> pollers, AcceptHandler& handler)
    : socket_(std::move(socket)),
      address_(local_address(socket_.get())),
      options_(options),
      pollers_(std::move(pollers)),
      handler_(handler),
      budget_(std::make_shared<SharedBudget>(options, address_.to_string())),
      alive_(std::make_shared<bool>(true)) {}

Result<std::unique_ptr<TcpListener>> TcpListener::create(const Address& address,
                                                         const ListenOptions& options,
                                                         std::vector<TcpPoller*> pollers,
                                                         AcceptHandler& handler) {
  auto socket = listen_on(address, options.allow_other_users);
  if (!socket) return fail(std::move(socket.error()));
  std::unique_ptr<TcpListener> listener(
      new TcpListener(std::move(*socket), options, std::move(pollers), handler));
  EventLoop& loop = listener->pollers_.front()->loop();
  TcpListener* const raw = listener.get();
  auto timer = Timer::create(loop, [raw] { raw->expire(); });
  if (!timer) return fail(std::move(timer.error()));
  listener->timer_ = std::move(*timer);
  auto registration = loop.add(listener->socket_.get(), EPOLLIN, *listener);
  if (!registration) return fail(std::move(registration.error()));
  listener->registration_ = *registration;
  return listener;
}

TcpListener::~TcpListener() {
  *alive_ = false;
  EventLoop& loop = pollers_.front()->loop();
  for (auto& guest : guests_) loop.remove(guest->registration, guest->socket.get());
  loop.remove(registration_, socket_.get());
}

Status TcpListener::expose(const Region&) {
  return fail(ErrorCode::kUnsupported, "tcp has no one-sided reads: nothing can be exposed");
}

void TcpListener::on_ready(std::uint32_t) {
  UniqueFd client = accepting_.accept(socket_.get());
  if (!client) return;
  if (guests_.size() >= kMaxGuests) {
    log::debug(address_.to_string() + ": too many clients are in the middle of connecting");
    return;
  }
  tune(client.get());
  auto guest = std::make_unique<Guest>(*this, std::move(client));
  auto registration = pollers_.front()->loop().add(guest->socket.get(), EPOLLIN, *guest);
  if (!registration) return;
  guest->registration = *registration;
  if (guests_.empty()) timer_->set(guest->deadline);
  guests_.push_back(std::move(guest));
}

void TcpListener::admit(Guest& guest) {
  auto* const to = reinterpret_cast<std::byte*>(&guest.setup) + guest.received;
  const ssize_t got =
      recv(guest.socket.get(), to, sizeof(ClientSetup) - guest.received, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    dismiss(guest);
    return;
  }
  guest.received += static_cast<std::size_t>(got);
  const bool stranger =
      guest.received >= sizeof(guest.setup.magic) && guest.setup.magic != kTcpMagic;
  if (guest.received < sizeof(ClientSetup) && !stranger) return;
  Status status = check(guest.setup, kTcpMagic);
  if (status) status = welcome(guest);
  if (!status) {
    log::debug(address_.to_string() + ": refused " + peer_name(guest.socket.get()) + ": " +
               status.error().message);
    const ServerSetup refusal = make_refusal(kTcpMagic, status.error());
    if (!stranger) send(guest.socket.get(), &refusal, sizeof(refusal), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  dismiss(guest);
}

Status TcpListener::welcome(Guest& guest) {
  auto hello = ask(handler_, guest.setup);
  if (!hello) return fail(std::move(hello.error()));
  auto ring_bytes = budget_->take();
  if (!ring_bytes) return fail(std::move(ring_bytes.error()));
  const ConnectionLimits limits{max_message_bytes(*ring_bytes), 0, 0};
  const ServerSetup answer = make_welcome(kTcpMagic, *ring_bytes, limits, *hello);
  if (send(guest.socket.get(), &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(sizeof(answer))) {
    budget_->give_back(*ring_bytes);
    return fail(errno_error(ErrorCode::kConnectionLost, "cannot answer a client", errno));
  }
  pollers_.front()->loop().remove(guest.registration, guest.socket.get());
  const auto said = hello_of(guest.setup);
  std::string peer = peer_name(guest.socket.get());
  deal_out({std::move(guest.socket), *ring_bytes, limits,
            std::vector<std::byte>(said.begin(), said.end()), std::move(peer), budget_});
  return {};
}

void TcpListener::deal_out(Endpoint endpoint) {
  TcpPoller* const poller = pollers_[next_poller_++ % pollers_.size()];
  auto shared = std::make_shared<Endpoint>(std::move(endpoint));
  const auto attach = [poller, shared, alive = alive_, handler = &handler_] {
    auto connection = *alive ? TcpConnection::create(*poller, std::move(*shared))
                             : fail(ErrorCode::kUnavailable, "the listener is gone");
    if (connection) {
      handler->on_accept(std::move(*connection), *poller);
    } else {
      log::warning("cannot take in a client: " + connection.error().message);
    }
  };
  if (poller == pollers_.front()) {
    attach();
  } else {
    poller->loop().post(attach);
  }
}

void TcpListener::dismiss(Guest& guest) {
  pollers_.front()->loop().remove(guest.registration, guest.socket.get());
  std::erase_if(guests_, [&](const auto& one) { return one.get() == &guest; });
}

void TcpListener::expire() {
  const Nanoseconds now = SystemClock().now();
  while (!guests_.empty() && guests_.front()->deadline <= now) {
    log::debug(address_.to_string() + ": " + peer_name(guests_.front()->socket.get()) +
               " connected and did not say hello; closed");
    dismiss(*guests_.front());
  }
  timer_->set(guests_.empty() ? 0 : guests_.front()->deadline);
}

}  // namespace silurus::transport::tcp
