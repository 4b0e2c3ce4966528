// SPDX-License-Identifier: Apache-2.0

#include "transport/reception.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

namespace silurus::transport {
namespace {

UniqueFd open_spare() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Status IncomingConnection::watch(EventLoop& loop) {
  auto registration = loop.add(fd(), EPOLLIN, *this);
  if (!registration) return fail(std::move(registration.error()));
  registration_ = *registration;
  return {};
}

UniqueFd IncomingConnection::take(EventLoop& loop) {
  loop.remove(registration_, fd());
  return std::move(socket_);
}

/// May be the end of it.
void IncomingConnection::on_ready(std::uint32_t) { reception_.hear(*this); }

Reception::Reception(EventLoop& loop, UniqueFd listening, std::string name,
                     const ListenOptions& options, Host host)
    : loop_(loop),
      listening_(std::move(listening)),
      name_(std::move(name)),
      host_(std::move(host)),
      spare_(open_spare()),
      newcomers_(options) {}

Result<std::unique_ptr<Reception>> Reception::create(EventLoop& loop, UniqueFd listening,
                                                     std::string name, const ListenOptions& options,
                                                     Host host) {
  std::unique_ptr<Reception> made(
      new Reception(loop, std::move(listening), std::move(name), options, std::move(host)));
  auto timer = Timer::create(loop, [raw = made.get()] { raw->expire(); });
  if (!timer) return fail(std::move(timer.error()));
  made->timer_ = std::move(*timer);
  auto registration = loop.add(made->listening_.get(), EPOLLIN, *made);
  if (!registration) return fail(std::move(registration.error()));
  made->registration_ = *registration;
  return made;
}

Reception::~Reception() {
  for (auto& [number, incoming] : incoming_) incoming->take(loop_);
  loop_.remove(registration_, listening_.get());
}

/// None if there is none, or if it had to be turned away.
UniqueFd Reception::accept() {
  UniqueFd client(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (client || (errno != EMFILE && errno != ENFILE)) return client;
  host_.refusals->add(RefusalReason::kDescriptors);
  const auto line = limiter_.line(
      "", name_ + ": no file descriptor left for a new connection (raise the limit: ulimit -n)",
      SystemClock().now());
  if (line) log::warning(*line);
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
  if (const auto pushed_out = newcomers_.make_room()) refuse(*pushed_out);
  std::string peer = host_.peer_of(client.get());
  auto made = std::make_unique<IncomingConnection>(*this, next_number_++, std::move(client),
                                                   std::move(peer));
  if (!made->watch(loop_)) return;
  newcomers_.add(made->number(), made->peer(), SystemClock().now());
  if (newcomers_.size() == 1) timer_->set(*newcomers_.next_deadline());
  IncomingConnection& incoming = *incoming_.emplace(made->number(), std::move(made)).first->second;
  hear(incoming);  // its hello is mostly there already: no need for another round
}

void Reception::refuse(const Newcomers::TurnedAway& newcomer) {
  host_.refusals->add(newcomer.reason);
  const auto line = limiter_.line(
      newcomer.peer,
      name_ + ": refused a client of " + newcomer.peer + ": " + newcomer.error.message,
      SystemClock().now());
  if (line) log::warning(*line);
  IncomingConnection& incoming = *incoming_.at(newcomer.number);
  host_.refuse(incoming, newcomer.error);
  dismiss(incoming);
}

void Reception::hear(IncomingConnection& incoming) {
  if (host_.hear(incoming)) dismiss(incoming);
}

void Reception::dismiss(IncomingConnection& incoming) {
  incoming.take(loop_);
  newcomers_.remove(incoming.number());
  incoming_.erase(incoming.number());
}

void Reception::expire() {
  while (const auto late = newcomers_.expire(SystemClock().now())) refuse(*late);
  timer_->set(newcomers_.next_deadline().value_or(0));
}

}  // namespace silurus::transport
