// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "transport/connection_list.h"
#include "transport/event_loop.h"
#include "transport/fabric.h"

namespace silurus::transport::tcp {

class TcpConnection;

/// epoll over the connections of one thread.
class TcpPoller final : public Poller {
 public:
  static Result<std::unique_ptr<TcpPoller>> create();
  ~TcpPoller() override;

  std::size_t progress() override;
  bool arm() override;
  void look() override { until_look_ = quiet_rounds_ = 0; }
  int fd() const override { return loop_->fd(); }
  Result<std::unique_ptr<Buffer>> allocate_buffer(std::size_t bytes) override;

  // For connections and listeners.

  EventLoop& loop() { return *loop_; }
  bool in_progress() const { return in_progress_; }
  /// Where a connection takes in bytes: one buffer for all, since a round handles what it reads.
  std::span<std::byte> scratch() { return {scratch_.get(), kScratchBytes}; }
  void count(std::size_t messages) { messages_ += messages; }
  void attach(TcpConnection& connection);
  void detach(TcpConnection& connection);
  void want_send(TcpConnection& connection) { sending_.add(connection); }
  void want_writable(TcpConnection& connection) { blocked_.add(connection); }
  void want_resume(TcpConnection& connection) { resuming_.add(connection); }
  void want_closed(TcpConnection& connection) { closing_.add(connection); }

 private:
  static constexpr std::size_t kScratchBytes = 256 * 1024;

  explicit TcpPoller(std::unique_ptr<EventLoop> loop);
  void ask_sockets();
  void receive_directly();

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<std::byte[]> scratch_;
  std::vector<TcpConnection*> connections_;
  ConnectionList<TcpConnection> sending_;
  ConnectionList<TcpConnection> blocked_;
  ConnectionList<TcpConnection> resuming_;
  ConnectionList<TcpConnection> closing_;
  std::size_t messages_ = 0;  ///< handed over in this round
  int until_look_ = 0;        ///< rounds left before looking at epoll
  int quiet_rounds_ = 0;      ///< in which nothing came
  bool in_progress_ = false;
};

}  // namespace silurus::transport::tcp
