#include "transport/reception.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace silurus::transport {
namespace {

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
                     const ListenOptions& options, Host host)
    : loop_(loop),
      listening_(std::move(listening)),
      name_(std::move(name)),
      hello_timeout_(options.hello_timeout),
      max_guests_(std::max<std::uint32_t>(options.max_handshakes, 1)),
      host_(std::move(host)),
      spare_(open_spare()) {}

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
  for (auto& guest : guests_) guest->take(loop_);
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
  if (guests_.size() >= max_guests_) push_out_one();
  std::string peer = host_.peer_of(client.get());
  auto made = std::make_unique<Guest>(*this, std::move(client), std::move(peer),
                                      SystemClock().now() + hello_timeout_);
  if (!made->watch(loop_)) return;
  if (guests_.empty()) timer_->set(made->deadline());
  Guest& guest = *guests_.emplace_back(std::move(made));
  ++crowd_[guest.peer()];
  hear(guest);  // its hello is mostly there already: no need for another round
}

/// The oldest of the peer that has the most.
void Reception::push_out_one() {
  const auto most = std::max_element(
      crowd_.begin(), crowd_.end(),
      [](const auto& one, const auto& other) { return one.second < other.second; });
  const auto oldest = std::find_if(guests_.begin(), guests_.end(),
                                   [&](const auto& guest) { return guest->peer() == most->first; });
  refuse(**oldest, RefusalReason::kHandshakes,
         {ErrorCode::kUnavailable,
          std::to_string(guests_.size()) + " clients are in the middle of connecting, " +
              std::to_string(most->second) + " of them of " + most->first +
              ", and this was the oldest: connect again, or shorten --handshake-timeout"});
}

void Reception::refuse(Guest& guest, RefusalReason reason, Error error) {
  host_.refusals->add(reason);
  const auto line = limiter_.line(
      guest.peer(), name_ + ": refused a client of " + guest.peer() + ": " + error.message,
      SystemClock().now());
  if (line) log::warning(*line);
  host_.refuse(guest, error);
  dismiss(guest);
}

void Reception::hear(Guest& guest) {
  if (host_.hear(guest)) dismiss(guest);
}

void Reception::dismiss(Guest& guest) {
  guest.take(loop_);
  const auto crowd = crowd_.find(guest.peer());
  if (--crowd->second == 0) crowd_.erase(crowd);
  std::erase_if(guests_, [&](const auto& one) { return one.get() == &guest; });
}

void Reception::expire() {
  const Nanoseconds now = SystemClock().now();
  while (!guests_.empty() && guests_.front()->deadline() <= now) {
    refuse(
        *guests_.front(), RefusalReason::kHandshakeTime,
        {ErrorCode::kDeadlineExceeded, "no hello came in the time of --handshake-timeout; closed"});
  }
  timer_->set(guests_.empty() ? 0 : guests_.front()->deadline());
}

}  // namespace silurus::transport
