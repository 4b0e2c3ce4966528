// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "transport/event_loop.h"
#include "transport/fabric.h"
#include "transport/ring_budget.h"
#include "transport/tcp/frame.h"
#include "transport/unique_fd.h"

namespace silurus::transport::tcp {

class TcpPoller;

/// A listener's budget, shared with its connections. Any thread.
class SharedBudget {
 public:
  SharedBudget(const ListenOptions& options, const std::string& name) : budget_(options, name) {}
  Result<std::uint32_t> take(const std::string& peer) {
    const std::lock_guard lock(mutex_);
    return budget_.take(peer);
  }
  void give_back(std::uint32_t ring_bytes, const std::string& peer) {
    const std::lock_guard lock(mutex_);
    budget_.give_back(ring_bytes, peer);
  }
  RefusalCounters& refusals() { return budget_.refusals(); }
  std::uint64_t bytes() const {
    const std::lock_guard lock(mutex_);
    return budget_.bytes();
  }

 private:
  mutable std::mutex mutex_;
  RingBudget budget_;
};

/// What set-up leaves behind for a connection.
struct Endpoint {
  UniqueFd socket;
  std::uint32_t ring_bytes;  ///< most that is buffered for sending
  ConnectionLimits limits;
  std::vector<std::byte> peer_hello;
  std::string peer;
  std::shared_ptr<SharedBudget> budget;      ///< null for a client
  std::string owner = {};                    ///< a client's, at the server: what it counts as
  std::optional<uid_t> user = {};            ///< user of the peer, if it is on this machine
  std::optional<access::KeyLabel> key = {};  ///< which both ends have proved to hold
};

/// One end of a tcp connection. Messages are framed in place in a buffer of outgoing bytes, which
/// goes out in one system call at flush() or at the end of the round.
class TcpConnection final : public Connection, private EventSink {
 public:
  static Result<std::unique_ptr<TcpConnection>> create(TcpPoller& poller, Endpoint endpoint);
  ~TcpConnection() override;

  void set_handler(ConnectionHandler* handler) override { handler_ = handler; }
  const ConnectionLimits& limits() const override { return endpoint_.limits; }
  std::span<const std::byte> peer_hello() const override { return endpoint_.peer_hello; }
  std::string peer() const override { return endpoint_.peer; }
  std::string owner() const override {
    return endpoint_.owner.empty() ? endpoint_.peer : endpoint_.owner;
  }
  std::optional<uid_t> user() const override { return endpoint_.user; }
  std::optional<access::KeyLabel> key() const override { return endpoint_.key; }

  std::span<std::byte> reserve(std::size_t bytes) override;
  void commit(std::size_t bytes) override;
  void flush() override;
  PostResult post_reads(std::span<const ReadRequest> requests) override;
  void write_mailbox(std::span<const std::byte> bytes) override;
  bool read_mailbox(std::array<std::byte, kMailboxBytes>& content) override;
  void set_paused(bool paused) override;
  void close() override;
  const ConnectionCounters& counters() const override { return counters_; }

  // For the poller.

  /// Takes in what one system call gives; returns how many messages were handed over.
  std::size_t receive();
  /// Hands over what was taken in before a pause.
  std::size_t resume();
  void send_from_list();
  bool retry_blocked();
  bool unblocked() const { return blocked_bytes_ == 0 || has_room(blocked_bytes_); }
  void report_closed();

 private:
  using Bytes = std::unique_ptr<std::byte[]>;

  TcpConnection(TcpPoller& poller, Endpoint endpoint)
      : poller_(poller), endpoint_(std::move(endpoint)) {}
  void on_ready(std::uint32_t events) override;
  std::size_t hand_over(std::span<const std::byte> bytes);
  bool take_mailbox(std::span<const std::byte> payload);
  void want_send();
  void send_pending();
  void append_mailbox();
  void update_interest();
  bool has_room(std::size_t bytes) const;
  std::byte* room_for(std::size_t bytes);
  void end(Error reason);

  TcpPoller& poller_;
  Endpoint endpoint_;
  ConnectionHandler* handler_ = nullptr;
  ConnectionCounters counters_;
  EventLoop::Registration registration_ = EventLoop::kNone;
  std::uint32_t interest_ = 0;

  Bytes out_;             ///< ring_bytes, once the first message is sent
  std::size_t head_ = 0;  ///< first byte of out_ not yet sent
  std::size_t tail_ = 0;  ///< end of what was committed
  std::size_t reserved_bytes_ = 0;
  std::size_t blocked_bytes_ = 0;  ///< the longest reservation refused since on_writable
  bool socket_full_ = false;       ///< wait until epoll says that it can be written
  bool send_listed_ = false;

  std::vector<std::byte> kept_;  ///< incoming bytes: an incomplete frame, or all since a pause
  bool paused_ = false;
  bool resume_listed_ = false;

  std::array<std::byte, kMailboxBytes> my_mailbox_{};
  bool my_mailbox_new_ = false;
  std::array<std::byte, kMailboxBytes> their_mailbox_{};
  bool their_mailbox_there_ = false;

  std::optional<Error> end_reason_;
};

}  // namespace silurus::transport::tcp
