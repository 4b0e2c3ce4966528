// SPDX-License-Identifier: Apache-2.0

#include "transport/tcp/poller.h"

#include "common/check.h"
#include "transport/ring.h"
#include "transport/tcp/connection.h"

namespace silurus::transport::tcp {
namespace {

/// Most connections that are read from without asking epoll first.
constexpr std::size_t kReadDirectly = 2;
/// Rounds in which epoll is then asked once (for new connections, room to send, deadlines).
constexpr int kRoundsPerLook = 16;
/// Rounds without a message after which the sockets are asked less often: others on this thread
/// must not pay for a system call in each round.
constexpr int kQuietAfter = 256;
/// Then the sockets are asked in one round of this number.
constexpr int kQuietStride = 32;

}  // namespace

TcpPoller::TcpPoller(std::unique_ptr<EventLoop> loop)
    : loop_(std::move(loop)), scratch_(std::make_unique_for_overwrite<std::byte[]>(kScratchBytes)) {
  // A kept, incomplete frame and at least as much again.
  static_assert(kScratchBytes >= 2 * frame_bytes(kMaxMessageBytes));
}

TcpPoller::~TcpPoller() = default;

Result<std::unique_ptr<TcpPoller>> TcpPoller::create() {
  auto loop = EventLoop::create();
  if (!loop) return fail(std::move(loop.error()));
  return std::unique_ptr<TcpPoller>(new TcpPoller(std::move(*loop)));
}

Result<std::unique_ptr<Buffer>> TcpPoller::allocate_buffer(std::size_t) {
  return fail(ErrorCode::kUnsupported, "tcp has no one-sided reads: use messaging");
}

std::size_t TcpPoller::progress() {
  SILURUS_CHECK(!in_progress_);
  in_progress_ = true;
  messages_ = 0;
  std::size_t events = 0;
  if (!sending_.empty()) sending_.take([](TcpConnection& c) { c.send_from_list(); });
  if (!resuming_.empty()) resuming_.take([&](TcpConnection& c) { messages_ += c.resume(); });
  ask_sockets();
  if (!blocked_.empty()) {
    blocked_.take([&](TcpConnection& c) {
      if (c.retry_blocked()) {
        ++events;
      } else {
        blocked_.add(c);
      }
    });
  }
  if (!sending_.empty()) sending_.take([](TcpConnection& c) { c.send_from_list(); });
  if (!closing_.empty()) {
    closing_.take([&](TcpConnection& c) {
      c.report_closed();
      ++events;
    });
  }
  in_progress_ = false;
  return events + messages_;
}

void TcpPoller::ask_sockets() {
  const bool quiet = quiet_rounds_ >= kQuietAfter;
  if (quiet && ++quiet_rounds_ % kQuietStride != 0) return;
  const bool directly = !connections_.empty() && connections_.size() <= kReadDirectly;
  if (directly) receive_directly();
  if (!directly || --until_look_ < 0) {
    loop_->poll();
    until_look_ = kRoundsPerLook;
  }
  quiet_rounds_ = messages_ != 0 ? 0 : quiet ? kQuietAfter : quiet_rounds_ + 1;
}

void TcpPoller::receive_directly() {
  for (std::size_t i = 0; i < connections_.size();) {
    TcpConnection* const connection = connections_[i];
    messages_ += connection->receive();
    // A callback may have removed connections, this one too.
    if (i < connections_.size() && connections_[i] == connection) ++i;
  }
}

bool TcpPoller::arm() {
  if (!sending_.empty()) sending_.take([](TcpConnection& c) { c.send_from_list(); });
  until_look_ = quiet_rounds_ = 0;
  return resuming_.empty() && closing_.empty() &&
         !blocked_.any_of([](const TcpConnection& c) { return c.unblocked(); });
}

void TcpPoller::attach(TcpConnection& connection) { connections_.push_back(&connection); }

void TcpPoller::detach(TcpConnection& connection) {
  std::erase(connections_, &connection);
  sending_.remove(connection);
  blocked_.remove(connection);
  resuming_.remove(connection);
  closing_.remove(connection);
}

}  // namespace silurus::transport::tcp
