// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/fabric.h"
#include "transport/sim/host.h"
#include "transport/sim/options.h"
#include "transport/sim/pipe.h"
#include "transport/sim/poller.h"

namespace silurus::transport::sim {

struct ListenerState;

/// A one-sided read that was posted.
struct ReadOperation {
  ReadRequest request;
  std::shared_ptr<BufferLines> target;  ///< keeps the buffer's memory
  std::span<std::byte> target_bytes;    ///< part of the target where the bytes shall land
  std::vector<std::byte> staged;        ///< what the server's card has read so far
  unsigned pieces_left = 0;
  bool is_done = false;
  Nanoseconds posted_at = 0;  ///< true time
};

/// One end of a connection: all of its state. Outlives the Connection that the user holds for as
/// long as events refer to it.
struct Endpoint : std::enable_shared_from_this<Endpoint> {
  Endpoint(SimPoller& poller_, std::uint64_t id_)
      : poller(&poller_), host(poller_.host()), incarnation(host.incarnation()), id(id_) {}

  /// Both ends of a new connection, with pipes between them.
  static void join(const std::shared_ptr<Endpoint>& client,
                   const std::shared_ptr<Endpoint>& server);

  SimPoller* poller;  ///< null once the user has destroyed the connection
  Host& host;
  const std::uint32_t incarnation;
  const std::uint64_t id;
  ConnectionHandler* handler = nullptr;
  Connection* connection = nullptr;  ///< the user's; null before the accept and once destroyed
  ConnectionLimits limits{};
  FabricOptions options;
  std::uint32_t ring_bytes = 0;  ///< how much may be under way to the peer
  std::vector<std::byte> peer_hello;
  std::string peer_name;
  std::string owner;  ///< a client's, at the server: its host
  std::shared_ptr<Pipe> out;
  std::weak_ptr<Endpoint> peer;
  std::shared_ptr<ListenerState> listener;  ///< where the server's regions are
  ConnectionCounters counters;
  std::uint64_t crash_action = 0;

  // --- sending
  std::vector<std::uint64_t> reserved;  ///< words, for alignment
  std::size_t reserved_bytes = 0;
  std::deque<std::vector<std::byte>> committed;  ///< until flushed
  std::size_t credit_used = 0;
  std::size_t credit_owed = 0;  ///< freed here and not told to the peer yet
  bool is_blocked = false;      ///< a reserve was refused since the last on_writable
  bool is_writable = false;     ///< on_writable is due

  // --- receiving
  std::deque<std::vector<std::byte>> inbox;
  std::optional<std::array<std::byte, kMailboxBytes>> mailbox;
  std::uint64_t known_regions = 0;
  bool shows_regions = false;  ///< at the server: whether the client may read them
  std::deque<std::shared_ptr<ReadOperation>> reads;  ///< in order of posting
  std::vector<std::uint64_t> window;                 ///< that the peer writes; words
  std::uint64_t peer_window_bytes = 0;
  std::optional<Nanoseconds> peer_ended;  ///< true time, not known here

  // --- the end
  bool is_server = false;
  bool is_broken = false;           ///< given up: nothing that arrives is acknowledged
  bool is_closing = false;          ///< nothing is sent, read or received any more
  std::optional<Error> end_reason;  ///< on_closed is due
  bool is_paused = false;           ///< no messages are handed over
  bool is_ready = false;            ///< in its poller's list
  bool is_unflushed = false;

  /// Room that a message of that many bytes takes in the ring.
  static std::size_t ring_room(std::size_t bytes) { return (bytes + 7) / 8 * 8 + 8; }

  void flush();
  /// Bytes of the peer's messages that have been taken.
  void free_room(std::size_t bytes);
  /// Bytes of our messages that the peer has taken.
  void take_credit(std::size_t bytes);
  /// Tells the user what has happened; how many events.
  std::size_t dispatch();
  /// Something for dispatch().
  void make_ready();
  /// From the peer, at the instant of arrival.
  bool deliver(const Item& item);
  /// The end, told to the handler after what has already come unless we closed it ourselves.
  void end(Error reason, bool drop_inbox);
  void give_up(const std::string& why);
  /// Whether the host has not crashed since.
  bool host_works() const { return host.alive() && host.incarnation() == incarnation; }

  // --- writes (writes.cc)
  Result<std::span<const std::byte>> offer_window(std::size_t bytes);
  PostStatus post_write(std::uint64_t offset, std::span<const std::byte> bytes);
  void land(const Item& item);

  // --- reads (reads.cc)
  Connection::PostResult post_reads(std::span<const ReadRequest> requests);
  PostStatus check(const ReadRequest& request) const;
  void request(std::vector<std::shared_ptr<ReadOperation>> operations, Nanoseconds first_try);
  void carry_out(const std::shared_ptr<ReadOperation>& operation, Nanoseconds first_try);
  void read_piece(const std::shared_ptr<ReadOperation>& operation, std::size_t from, std::size_t to,
                  Nanoseconds first_try);
  void respond(const std::shared_ptr<ReadOperation>& operation, Nanoseconds first_try);
  /// The bytes are here.
  void land(const std::shared_ptr<ReadOperation>& operation);
};

/// What the user holds of an endpoint.
class SimConnection final : public Connection {
 public:
  explicit SimConnection(std::shared_ptr<Endpoint> endpoint);
  ~SimConnection() override;

  void set_handler(ConnectionHandler* handler) override;
  const ConnectionLimits& limits() const override { return endpoint_->limits; }
  std::span<const std::byte> peer_hello() const override { return endpoint_->peer_hello; }
  std::string peer() const override { return endpoint_->peer_name; }
  bool shows_regions() const override { return endpoint_->shows_regions; }
  std::string owner() const override {
    return endpoint_->owner.empty() ? endpoint_->peer_name : endpoint_->owner;
  }
  std::span<std::byte> reserve(std::size_t bytes) override;
  void commit(std::size_t bytes) override;
  void flush() override { endpoint_->flush(); }
  PostResult post_reads(std::span<const ReadRequest> requests) override {
    return endpoint_->post_reads(requests);
  }
  Result<std::span<const std::byte>> offer_window(std::size_t bytes) override {
    return endpoint_->offer_window(bytes);
  }
  std::uint64_t peer_window_bytes() const override { return endpoint_->peer_window_bytes; }
  PostStatus post_write(std::uint64_t offset, std::span<const std::byte> bytes) override {
    return endpoint_->post_write(offset, bytes);
  }
  void set_paused(bool paused) override;
  void write_mailbox(std::span<const std::byte> bytes) override;
  bool read_mailbox(std::array<std::byte, kMailboxBytes>& content) override;
  void close() override;
  const ConnectionCounters& counters() const override { return endpoint_->counters; }

 private:
  std::shared_ptr<Endpoint> endpoint_;
};

}  // namespace silurus::transport::sim
