// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/fabric.h"
#include "transport/ring.h"
#include "transport/verbs/control.h"
#include "transport/verbs/handshake.h"
#include "transport/verbs/inbox.h"
#include "transport/verbs/memory.h"
#include "transport/verbs/poller.h"
#include "transport/verbs/queues.h"
#include "transport/verbs/send_queue.h"

namespace silurus::transport::verbs {

class ListenerState;

/// Work requests that a connection may have outstanding.
constexpr std::uint32_t kMessagesInFlight = 128;
constexpr std::uint32_t kMaxReadsInFlight = 256;
/// Kept free of messages and reads: mailbox (2), credit, regions, keep-alive, closing.
constexpr std::uint32_t kControlSlots = 8;
/// Regions, a skip to the ring's begin, the message.
constexpr std::uint32_t kSlotsPerMessage = 3;
constexpr std::uint32_t kMaxReadBytes = 1u << 20;
static_assert(kMessagesInFlight >= 4 * kSlotsPerMessage);

/// One end of an RC queue pair, its inbox that the peer writes, and its copy of the peer's inbox
/// from which it writes. Made in two steps, around the connection manager's exchange: create(),
/// then set_peer(). It belongs to its poller's thread from start() on; until then to the thread
/// that makes it.
class VerbsConnection final : public Connection, public Endpoint, private CompletionSink {
 public:
  struct Options {
    Role role;
    std::uint32_t
        ring_bytes;  ///< size of the inbox's ring: a client's is the largest it would take
    std::uint32_t max_reads_in_flight;
    std::uint32_t new_completions;             ///< see VerbsPoller::take_queues
    std::shared_ptr<ListenerState> listener;   ///< null for a client
    std::string owner = {};                    ///< a client's, at the server: what it counts as
    std::optional<access::KeyLabel> key = {};  ///< which both ends have proved to hold
    bool shows_regions = false;                ///< at the server: whether the client may read them
  };
  static Result<std::unique_ptr<VerbsConnection>> create(VerbsPoller& poller,
                                                         std::shared_ptr<Control> control,
                                                         std::shared_ptr<Device> device,
                                                         const Options& options);
  ~VerbsConnection() override;

  // Set-up.

  std::uint64_t serial() const { return owner_->serial; }
  const std::shared_ptr<ListenerState>& listener() const { return options_.listener; }
  ibv_qp& queue_pair() { return *pair_; }
  std::uint64_t inbox_address() const { return inbox_.address(); }
  std::uint32_t inbox_key() const { return inbox_.remote_key(); }
  /// What the peer said, and the limits agreed upon.
  struct Peer {
    std::uint64_t inbox_address;
    std::uint32_t inbox_key;
    std::uint32_t ring_bytes;
    ConnectionLimits limits;
    std::vector<std::byte> hello;
    std::string name;
  };
  void set_peer(Peer peer);
  /// INIT, RTR and RTS, as the connection manager says.
  Status make_ready(rdma_cm_id& id, std::uint8_t reads_as_target, std::uint8_t reads_as_initiator);
  Status make_initial(rdma_cm_id& id);
  void set_link(Link* link) { link_ = link; }
  /// Joins the poller. Its thread.
  Status start();
  void mark_accepted() { accepted_ = true; }
  void announce_regions();

  // Connection.

  void set_handler(ConnectionHandler* handler) override { handler_ = handler; }
  const ConnectionLimits& limits() const override { return peer_.limits; }
  std::span<const std::byte> peer_hello() const override { return peer_.hello; }
  std::string peer() const override { return peer_.name; }
  std::string owner() const override {
    return options_.owner.empty() ? peer_.name : options_.owner;
  }
  std::optional<access::KeyLabel> key() const override { return options_.key; }
  bool shows_regions() const override { return options_.shows_regions; }
  std::span<std::byte> reserve(std::size_t bytes) override;
  void commit(std::size_t bytes) override;
  void flush() override {
    if (!poller_.in_progress()) post_chain();  // else with the others', at the end of the round
  }
  PostResult post_reads(std::span<const ReadRequest> requests) override;
  Result<std::span<const std::byte>> offer_window(std::size_t bytes) override;
  std::uint64_t peer_window_bytes() const override { return peer_window_.bytes; }
  PostStatus post_write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  void write_mailbox(std::span<const std::byte> bytes) override;
  bool read_mailbox(std::array<std::byte, kMailboxBytes>& content) override;
  void set_paused(bool paused) override;
  void close() override;
  const ConnectionCounters& counters() const override { return counters_; }

 private:
  enum class State : std::uint8_t { kOpen, kClosing, kEnding, kEnded };

  VerbsConnection(VerbsPoller& poller, std::shared_ptr<Control> control,
                  std::shared_ptr<Queues> queues, const Options& options, Pages inbox_pages,
                  PeerWritable inbox, Pages outbox_pages, SendSource outbox);

  // Endpoint, CompletionSink
  void post_held_back() override;
  void report_ended() override;
  Nanoseconds tick(Nanoseconds now) override;
  void on_lost(const Error& reason) override;
  bool is_new() const override { return !accepted_; }
  void on_first() override { poller_.on_established(serial()); }
  void on_completion(const ibv_wc& completion) override;
  void on_replenished(std::uint32_t receives) override;

  void receive(std::uint32_t immediate);
  void receive_messages() override;
  void take_credit(std::uint32_t value);
  void take_regions(std::uint32_t count);
  void take_window(std::uint32_t count);
  std::optional<std::size_t> take_stage(std::size_t bytes);
  void send_credit();
  void retire(std::uint64_t number);
  void tell_writable();
  PostStatus check(const ReadRequest& request) const;
  void end(Error reason);
  void release();

  // The chain of work requests behind the next doorbell.
  struct Write {
    Operation operation;
    std::uint64_t from = 0;  ///< address in the outbox (or of the listener's region table)
    std::uint32_t key = 0;   ///< key of the memory at `from`
    std::uint32_t bytes = 0;
    std::uint64_t to = 0;  ///< offset in the peer's inbox
    bool signalled = false;
    std::optional<std::uint32_t> immediate = std::nullopt;
  };
  void add_write(const Write& write);
  ibv_send_wr& add(const Operation& operation, std::uint64_t from, std::uint32_t key,
                   std::uint32_t bytes);
  void post_chain();
  void look_after_peer();

  /// Work requests of which at least one is signalled, so that slots come back.
  static constexpr std::uint32_t kSignalEvery = 16;

  VerbsPoller& poller_;
  std::shared_ptr<Control> control_;
  std::shared_ptr<Queues> queues_;
  Options options_;
  std::shared_ptr<const QueuePairOwner> owner_;
  Pages inbox_pages_;
  PeerWritable inbox_;
  Pages outbox_pages_;
  SendSource outbox_;
  QueuePair pair_;
  std::uint32_t max_inline_bytes_ = 0;
  std::uint32_t entries_ = 0;  ///< completions taken from queues_
  Link* link_ = nullptr;
  Peer peer_;
  std::vector<RegionEntry> regions_;  ///< regions of the server, as a client knows them
  std::uint32_t announced_ = 0;  ///< how many of the listener's regions the server has announced

  /// Memory with what it is registered for.
  template <typename Use>
  struct Registered {
    Pages pages;
    Use use;
  };
  std::optional<Registered<PeerWritable>> window_;  ///< a client's own
  RegionEntry peer_window_{};                       ///< a server's view
  std::optional<Registered<SendSource>> stage_;     ///< one-sided writes under way lie there
  std::uint64_t staged_ = 0;                        ///< bytes of the stage taken, ever
  std::uint64_t unstaged_ = 0;                      ///< bytes given back
  std::uint64_t signalled_stage_ = 0;

  SendQueue sends_;
  std::optional<RingProducer> out_;
  std::optional<RingConsumer> in_;
  MailboxOut mailbox_out_;
  MailboxIn mailbox_in_;
  ConnectionHandler* handler_ = nullptr;
  ConnectionCounters counters_;
  State state_ = State::kOpen;
  std::optional<Error> end_reason_;
  bool accepted_ = true;
  bool started_ = false;
  bool paused_ = false;
  bool reading_later_ = false;
  std::uint32_t unread_ = 0;  ///< messages in the ring that a completion has told of
  bool held_back_ = false;
  bool credit_owed_ = false;
  bool heard_ = true;          ///< since the last look after the peer
  Nanoseconds next_look_ = 0;  ///< after the peer; 0: not set yet
  bool keepalive_in_flight_ = false;
  Nanoseconds closed_by_ = kNever;
  std::uint32_t reads_in_flight_ = 0;
  std::uint32_t mailboxes_in_flight_ = 0;
  std::vector<std::byte> next_mailbox_;  ///< to be sent when a slot is free; empty: none
  std::size_t blocked_bytes_ = 0;        ///< the longest reservation refused since on_writable
  bool reads_blocked_ = false;
  std::uint64_t peer_consumed_ = 0;  ///< lines of the ring, as the peer said
  std::uint64_t locally_done_ = 0;   ///< lines of the ring whose writes have completed here
  std::uint64_t signalled_position_ = 0;
  std::uint32_t unsignalled_ = 0;

  std::size_t chained_ = 0;
  std::vector<ibv_send_wr> chain_;  ///< long enough for all reads behind one doorbell
  std::vector<ibv_sge> pieces_;
};

}  // namespace silurus::transport::verbs
