#include "transport/reception.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace silurus::transport {
namespace {

/// Clients that may be in the middle of saying hello.
constexpr std::size_t kMaxGuests = 1024;
/// Clients that are taken from the queue in one round: a burst of them costs a few rounds, and none
/// keeps those that are connected from being served for long.
constexpr int kMaxAcceptsPerRound = 64;

UniqueFd open_spare() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Status Guest::watch(EventLoop& loop) {
  auto registration = loop.add(fd(), EPOLLIN, *this);
  if (!registration) return fail(std::move(registration.error()));
  registration_ = *registration;
  return {};
}

UniqueFd Guest::take(EventLoop& loop) {
  loop.remove(registration_, fd());
  return std::move(socket_);
}

/// May be the end of it.
void Guest::on_ready(std::uint32_t) { reception_.hear(*this); }

Reception::Reception(EventLoop& loop, UniqueFd listening, std::string name,
                     Nanoseconds hello_timeout, Hear hear)
    : loop_(loop),
      listening_(std::move(listening)),
      name_(std::move(name)),
      hello_timeout_(hello_timeout),
      hear_(std::move(hear)),
      spare_(open_spare()) {}

Result<std::unique_ptr<Reception>> Reception::create(EventLoop& loop, UniqueFd listening,
                                                     std::string name, Nanoseconds hello_timeout,
                                                     Hear hear) {
  std::unique_ptr<Reception> made(
      new Reception(loop, std::move(listening), std::move(name), hello_timeout, std::move(hear)));
  auto timer = Timer::create(loop, [raw = made.get()] { raw->expire(); });
  if (!timer) return fail(std::move(timer.error()));
  made->timer_ = std::move(*timer);
  auto registration = loop.add(made->listening_.get(), EPOLLIN, *made);
  if (!registration) return fail(std::move(registration.error()));
  made->registration_ = *registration;
  return made;
}

Reception::~Reception() {
  for (auto& guest : guests_) guest->take(loop_);
  loop_.remove(registration_, listening_.get());
}

/// None if there is none, or if it had to be turned away.
UniqueFd Reception::accept() {
  UniqueFd client(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (client || (errno != EMFILE && errno != ENFILE)) return client;
  log::debug("no file descriptor left for a new connection (raise the limit: ulimit -n)");
  spare_.reset();
  UniqueFd(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  spare_ = open_spare();
  return {};
}

void Reception::on_ready(std::uint32_t) {
  for (int i = 0; i < kMaxAcceptsPerRound; ++i) {
    UniqueFd client = accept();
    if (!client) return;
    admit(std::move(client));
  }
}

void Reception::admit(UniqueFd client) {
  if (guests_.size() >= kMaxGuests) {
    log::debug(name_ + ": too many clients are in the middle of connecting");
    return;
  }
  auto made =
      std::make_unique<Guest>(*this, std::move(client), SystemClock().now() + hello_timeout_);
  if (!made->watch(loop_)) return;
  if (guests_.empty()) timer_->set(made->deadline());
  Guest& guest = *guests_.emplace_back(std::move(made));
  hear(guest);  // its hello is mostly there already: no need for another round
}

void Reception::hear(Guest& guest) {
  if (hear_(guest)) dismiss(guest);
}

void Reception::dismiss(Guest& guest) {
  guest.take(loop_);
  std::erase_if(guests_, [&](const auto& one) { return one.get() == &guest; });
}

void Reception::expire() {
  const Nanoseconds now = SystemClock().now();
  while (!guests_.empty() && guests_.front()->deadline() <= now) {
    log::debug(name_ + ": a client connected and did not say hello; closed");
    dismiss(*guests_.front());
  }
  timer_->set(guests_.empty() ? 0 : guests_.front()->deadline());
}

}  // namespace silurus::transport
