// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/log.h"
#include "common/log_limiter.h"
#include "common/result.h"
#include "transport/event_loop.h"
#include "transport/fabric.h"
#include "transport/newcomers.h"
#include "transport/setup.h"
#include "transport/unique_fd.h"

namespace silurus::transport {

class Reception;

/// A connection that was accepted and has not said hello yet.
class IncomingConnection final : private EventSink {
 public:
  IncomingConnection(Reception& reception, Newcomers::Number number, UniqueFd socket,
                     std::string peer)
      : reception_(reception),
        number_(number),
        socket_(std::move(socket)),
        peer_(std::move(peer)) {}

  /// -1 once it was taken.
  int fd() const { return socket_.get(); }
  /// What it counts as (peer.h).
  const std::string& peer() const { return peer_; }
  Newcomers::Number number() const { return number_; }
  Status watch(EventLoop& loop);
  /// The event loop hears of it no more.
  UniqueFd take(EventLoop& loop);

  ClientSetup setup{};
  Challenge challenge{};     ///< magic 0: it was not sent
  ClientProof proof{};       ///< that answers it
  std::size_t received = 0;  ///< bytes of setup, or of proof if there is a challenge

 private:
  void on_ready(std::uint32_t events) override;

  Reception& reception_;
  const Newcomers::Number number_;
  UniqueFd socket_;
  const std::string peer_;
  EventLoop::Registration registration_ = EventLoop::kNone;
};

/// A listening socket, and the clients that have not said hello there yet (newcomers.h says which
/// of them have to go). Accepts even when the process has no descriptor left: then it hangs up on
/// them, for else they would stay in the queue and wake the poller for ever. One thread: the event
/// loop's.
class Reception final : private EventSink {
 public:
  /// What the listener does.
  struct Host {
    /// Something has come of an incoming connection: whether it can go, for it was welcomed (and
    /// taken) or refused.
    std::function<bool(IncomingConnection&)> hear;
    /// Tells an incoming connection, which then goes, why.
    std::function<void(IncomingConnection&, const Error&)> refuse;
    /// What the other end of a connected socket counts as (peer.h).
    std::string (*peer_of)(int socket);
    RefusalCounters* refusals;  ///< outlives the reception
  };

  /// `name` is for the log.
  static Result<std::unique_ptr<Reception>> create(EventLoop& loop, UniqueFd listening,
                                                   std::string name, const ListenOptions& options,
                                                   Host host);
  ~Reception();

 private:
  friend class IncomingConnection;
  Reception(EventLoop& loop, UniqueFd listening, std::string name, const ListenOptions& options,
            Host host);
  void on_ready(std::uint32_t events) override;
  UniqueFd accept();
  void admit(UniqueFd client);
  void refuse(const Newcomers::TurnedAway& newcomer);
  void hear(IncomingConnection& incoming);
  void dismiss(IncomingConnection& incoming);
  void expire();

  EventLoop& loop_;
  const UniqueFd listening_;
  const std::string name_;
  const Host host_;
  log::LogLimiter limiter_;
  UniqueFd spare_;  ///< given up for a moment in order to turn a connection away
  EventLoop::Registration registration_ = EventLoop::kNone;
  std::unique_ptr<Timer> timer_;
  Newcomers newcomers_;
  std::map<Newcomers::Number, std::unique_ptr<IncomingConnection>>
      incoming_;  ///< the newcomers' connections
  Newcomers::Number next_number_ = 0;
};

/// Deals out new connections to a listener's pollers, in turn. Each is made on its poller's thread;
/// all else is the first poller's.
template <typename Poller, typename Connection, typename Endpoint>
class Dealer {
 public:
  Dealer(std::vector<Poller*> pollers, AcceptHandler& handler)
      : pollers_(std::move(pollers)), handler_(handler) {}
  Dealer(const Dealer&) = delete;
  Dealer& operator=(const Dealer&) = delete;
  ~Dealer() { *alive_ = false; }

  EventLoop& loop() const { return pollers_.front()->loop(); }
  void deal_out(Endpoint endpoint) {
    Poller* const poller = pollers_[next_++ % pollers_.size()];
    auto shared = std::make_shared<Endpoint>(std::move(endpoint));
    const auto attach = [poller, shared, alive = alive_, limiter = limiter_, handler = &handler_] {
      auto connection = *alive ? Connection::create(*poller, std::move(*shared))
                               : fail(ErrorCode::kUnavailable, "the listener is gone");
      if (connection) {
        handler->on_accept(std::move(*connection), *poller);
      } else {
        const std::string text = "cannot take in a client: " + connection.error().message;
        const std::lock_guard lock(limiter->mutex);
        if (const auto line = limiter->lines.line("", text, SystemClock().now()))
          log::warning(*line);
      }
    };
    if (poller == pollers_.front()) {
      attach();
    } else {
      poller->loop().post(attach);
    }
  }

 private:
  std::vector<Poller*> pollers_;
  AcceptHandler& handler_;
  /// False once destroyed: for what other pollers still have queued.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  /// Shared by all pollers' threads.
  struct Limiter {
    std::mutex mutex;
    log::LogLimiter lines;
  };
  std::shared_ptr<Limiter> limiter_ = std::make_shared<Limiter>();
  std::size_t next_ = 0;
};

}  // namespace silurus::transport
