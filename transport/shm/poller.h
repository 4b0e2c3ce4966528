// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "transport/connection_list.h"
#include "transport/event_loop.h"
#include "transport/fabric.h"

namespace silurus::transport::shm {

class ShmConnection;

/// Sweeps the rings of active connections, and lets the dormant ones sleep on epoll.
class ShmPoller final : public Poller {
 public:
  static Result<std::unique_ptr<ShmPoller>> create();
  ~ShmPoller() override;

  std::size_t progress() override;
  bool arm() override;
  void look() override { until_look_ = 0; }
  int fd() const override { return loop_->fd(); }
  Result<std::unique_ptr<Buffer>> allocate_buffer(std::size_t bytes) override;

  // For connections and listeners.

  EventLoop& loop() { return *loop_; }
  bool in_progress() const { return in_progress_; }
  /// The connection is swept from now on.
  void activate(ShmConnection& connection);
  /// What to sweep of the connection has changed.
  void refresh(ShmConnection& connection);
  void detach(ShmConnection& connection);
  /// At the end of this round, or at the start of the next.
  void want_bell(ShmConnection& connection) { bells_.add(connection); }
  /// Now. Not from within progress(), which does it by itself.
  void ring_bells();
  void want_completions(ShmConnection& connection) { completions_.add(connection); }
  void want_writable(ShmConnection& connection) { blocked_.add(connection); }
  void want_closed(ShmConnection& connection) { closing_.add(connection); }

 private:
  /// What the sweep needs of a connection, side by side.
  struct Swept {
    const std::uint64_t* word;
    std::uint64_t tag;
    ShmConnection* connection;
    Nanoseconds last_active;  ///< as of the last look at the clock
    bool touched;             ///< since then
  };

  explicit ShmPoller(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}
  /// After a sweep that handed over that number of messages: whether to look at epoll and the
  /// clock.
  bool is_time_to_look(std::size_t messages);
  std::size_t sweep();
  std::size_t finish_round();
  void look_around();
  void deactivate(ShmConnection& connection);

  std::unique_ptr<EventLoop> loop_;
  std::vector<Swept> active_;
  ConnectionList<ShmConnection> bells_;
  ConnectionList<ShmConnection> completions_;
  ConnectionList<ShmConnection> blocked_;
  ConnectionList<ShmConnection> closing_;
  int until_look_ = 0;         ///< work left to do before looking at epoll and the clock
  int until_clock_read_ = 0;   ///< sweeps
  Nanoseconds looked_at_ = 0;  ///< when active connections did not keep us from it
  bool in_progress_ = false;
};

/// A full memory fence: orders our stores before our loads, for both sides of SLEEPING.
void full_fence();

}  // namespace silurus::transport::shm
