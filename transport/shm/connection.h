// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "transport/event_loop.h"
#include "transport/fabric.h"
#include "transport/mailbox.h"
#include "transport/ring.h"
#include "transport/shm/control.h"
#include "transport/shm/layout.h"
#include "transport/shm/memory.h"
#include "transport/unique_fd.h"

namespace silurus::transport::shm {

class ListenerState;
class ShmPoller;

enum class Role : std::uint8_t { kClient, kServer };

/// What set-up leaves behind for a connection.
struct Endpoint {
  Role role;
  UniqueFd control;
  Mapping memory;
  std::uint32_t ring_bytes;
  ConnectionLimits limits;
  std::vector<std::byte> peer_hello;
  std::string peer;
  std::shared_ptr<ListenerState> listener;  ///< null for a client
  std::string owner = {};                   ///< at the server: what the client counts as
  std::optional<uid_t> user = {};           ///< at the server: the user that the client belongs to
  bool shows_regions = false;               ///< at the server: whether the client may read them
  std::uint64_t custody_ticket = 0;         ///< the control socket's; 0: it is in no custody
};

/// One end of a shm connection: see shm/layout.h for the memory, and SLEEPING below.
///
/// SLEEPING. A connection is active or dormant. An active one is swept by its poller, and its own
/// Side::sleep is 0. To become dormant it stores what it wants to be rung for in Side::sleep, and
/// then looks at its ring once more; a sender publishes its message and then looks at the peer's
/// Side::sleep; both with a full fence in between. So either the sender sees that it must ring, or
/// the sleeper sees the message. The steps are in shm/sleeping.h.
class ShmConnection final : public Connection, private EventSink {
 public:
  static Result<std::unique_ptr<ShmConnection>> create(ShmPoller& poller, Endpoint endpoint);
  ~ShmConnection() override;

  void set_handler(ConnectionHandler* handler) override { handler_ = handler; }
  const ConnectionLimits& limits() const override { return endpoint_.limits; }
  std::span<const std::byte> peer_hello() const override { return endpoint_.peer_hello; }
  std::string peer() const override { return endpoint_.peer; }
  bool shows_regions() const override { return endpoint_.shows_regions; }
  std::string owner() const override {
    return endpoint_.owner.empty() ? endpoint_.peer : endpoint_.owner;
  }
  std::optional<uid_t> user() const override { return endpoint_.user; }

  std::span<std::byte> reserve(std::size_t bytes) override;
  void commit(std::size_t bytes) override;
  void flush() override;
  PostResult post_reads(std::span<const ReadRequest> requests) override;
  Result<std::span<const std::byte>> offer_window(std::size_t bytes) override;
  std::uint64_t peer_window_bytes() const override { return peer_window_.bytes().size(); }
  PostStatus post_write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  void write_mailbox(std::span<const std::byte> bytes) override;
  bool read_mailbox(std::array<std::byte, kMailboxBytes>& content) override;
  void set_paused(bool paused) override;
  void close() override;
  const ConnectionCounters& counters() const override { return counters_; }

  // For the poller.

  /// Hands over what has come, up to a batch; returns how many messages.
  std::size_t receive();
  /// The word to sweep and the tag that it will match when there is something to receive.
  const std::uint64_t* sweep_word() const { return paused_ ? &kNothing : in_.word(); }
  std::uint64_t sweep_tag() const { return in_.tag(); }
  /// Wakes the peer if it sleeps; the caller has put a full fence behind what was published. For
  /// the poller's list, which the connection is then no longer on.
  void ring_from_list();
  /// Says that we sleep from now on; the caller then fences and looks at has_work().
  void set_asleep();
  void set_awake();
  bool has_work();
  /// Hands over the reads that are done, if the peer is still there.
  std::size_t complete_reads();
  /// Tells the handler if there is room again; false if there still is none.
  bool retry_blocked();
  void report_closed();

  static constexpr std::uint32_t kDormant = ~std::uint32_t{0};
  std::uint32_t sweep_index = kDormant;  ///< the poller's: where it is in the sweep

 private:
  ShmConnection(ShmPoller& poller, Endpoint endpoint);
  Control& control() { return *reinterpret_cast<Control*>(endpoint_.memory.bytes().data()); }
  Side& mine();
  Side& theirs();
  void on_ready(std::uint32_t events) override;
  bool drain_control();
  bool is_alive();
  std::size_t tell_reads(bool ok);
  void lose_peer();
  void take_packet(const RegionPacket& packet, UniqueFd fd);
  void take_region(const RegionPacket& region, UniqueFd fd);
  void take_window(const RegionPacket& window, UniqueFd fd);
  void end(Error reason);
  void want_bell(Sleep what);
  bool take_credit();
  void publish_credit();
  std::span<std::byte> would_block(std::size_t bytes);
  PostStatus check(const ReadRequest& request);

  ShmPoller& poller_;
  Endpoint endpoint_;
  RingProducer out_;
  RingConsumer in_;
  MailboxWriter mailbox_;
  ConnectionHandler* handler_ = nullptr;
  ConnectionCounters counters_;
  EventLoop::Registration registration_ = EventLoop::kNone;
  std::vector<Mapping> regions_;
  Mapping window_;                              ///< that the peer writes
  Mapping peer_window_;                         ///< the peer's, that we write
  std::vector<std::uint64_t> completed_;        ///< cookies of reads that are done
  std::vector<std::uint64_t> completing_;       ///< being told
  std::optional<Error> end_reason_;             ///< set once closed
  static constexpr std::uint64_t kNothing = 0;  ///< matches no tag
  bool paused_ = false;
  bool bell_listed_ = false;       ///< on the poller's list of bells
  std::uint64_t bell_wanted_ = 0;  ///< Sleep bits of what was published and not yet rung for
  Nanoseconds seen_alive_ = 0;     ///< our clock when the peer was last known to live; 0: never
  std::size_t blocked_bytes_ = 0;  ///< the longest reservation refused since on_writable
};

}  // namespace silurus::transport::shm
