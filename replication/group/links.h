// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/log_limiter.h"
#include "replication/group/datagrams.h"
#include "replication/group/push_ring.h"
#include "replication/group/wire.h"
#include "transport/fabric.h"

namespace silurus::replication::group {

/// Memory of the newest part of a member's log, in which others read one-sidedly: the byte at LSN n
/// is at n modulo its size. Reads of what is just being overwritten are found out by the records'
/// checksums. (The log itself cannot serve: memory mapped from a file system can't be registered
/// with a card.)
struct Window {
  transport::Region region;  ///< a multiple of 64 bytes; empty: no one-sided reads
};

/// Receives what comes from other members, within the poller's progress() or Links::tick().
class LinksHandler {
 public:
  virtual ~LinksHandler() = default;
  /// A copy of a message, aligned. Its sender is the member that its connection is with; of a
  /// datagram, which holds nothing but the primary's log, it is what the datagram says.
  virtual void on_group_message(std::span<const std::byte> message) = 0;
  /// A read of the primary's window has ended.
  virtual void on_window_bytes(std::uint64_t cookie, std::span<const std::byte> bytes) = 0;
};

/// Begins to connect; `done` comes later, from within the poller's progress(), or at once. One that
/// has to wait for the other side waits no longer than `timeout`.
using Connected = std::function<void(Result<std::unique_ptr<transport::Connection>>)>;
using Dialer = std::function<void(const transport::Address& address, Nanoseconds timeout,
                                  std::span<const std::byte> hello,
                                  transport::ConnectionHandler& handler, Connected done)>;

struct LinksOptions {
  GroupId group = 0;
  MemberId self = 0;
  Incarnation incarnation = 0;
  transport::Address listen;  ///< for other members
  /// Where all members send and receive datagrams; nothing: each is sent over every connection.
  std::optional<transport::Address> multicast = {};
  Nanoseconds redial = 20 * kMillisecond;
  /// Time limit of a dial to the primary: without it no heartbeat could be answered anyway.
  Nanoseconds dial_timeout = 200 * kMillisecond;
  /// The same for the member before us in a chain: the primary's heartbeats lie unanswered
  /// meanwhile, so this must be a small part of how long a member may be silent.
  Nanoseconds upstream_dial_timeout = 200 * kMillisecond;
  /// Bytes of the window that the member which we follow may write one-sidedly, a multiple of
  /// kWindowGrain; 0: there is none.
  std::size_t push_bytes = 0;
  /// What other members have to prove to hold over tcp and rdma, and what datagrams are sealed
  /// with; nothing: members are processes of our own user on this machine, which the fabric must be
  /// able to tell.
  std::optional<access::Key> key = {};
};

/// A member's connections with the others: those that came to it, its own one to the primary, and
/// perhaps one to the member before it in a chain.
/// Messages may be lost: whatever finds no room is dropped, for the protocol fetches what is
/// missing. One thread, that of the poller.
class Links final : public transport::AcceptHandler, public transport::MulticastHandler {
 public:
  /// All that is referred to must outlive it.
  static Result<std::unique_ptr<Links>> create(const LinksOptions& options,
                                               transport::Fabric& fabric, transport::Poller& poller,
                                               Dialer dialer, const Window& window);
  ~Links() override;
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;
  void set_handler(LinksHandler* handler) { handler_ = handler; }
  /// Sets the handler of connections whose hello is no member's, but begins with this number;
  /// nullptr: none. Whatever came is the handler's, and must be gone before the poller.
  void admit(std::uint32_t magic, transport::AcceptHandler* handler) { handlers_[magic] = handler; }

  const LinksOptions& options() const { return options_; }
  /// With the port really used.
  const transport::Address& address() const { return address_; }
  std::span<std::byte> window() const { return window_.region.bytes; }
  transport::Listener& listener() { return *listener_; }
  /// Regions of the listener that are exposed here; what others expose comes behind.
  std::uint32_t regions() const { return has_exposed_ ? 1 : 0; }

  /// Whom to be connected to, and in which life: what any other life says is dropped. None: {}.
  void set_primary(const std::optional<MemberInfo>& primary, Incarnation incarnation,
                   Nanoseconds now);
  /// Which life of each member the view store knows. A link that is up gives way to a connection of
  /// that life (or of its own life) and to no other: not to a life that is over, nor to one that no
  /// store has heard of. Members that are not named here are what they say last.
  void set_registered(std::map<MemberId, Incarnation> lives) { registered_ = std::move(lives); }
  /// Whether a life that is not the registered one was turned away since the last call: it may have
  /// been registered just now, so that the view store is worth asking.
  bool take_unknown_life() { return std::exchange(met_unknown_life_, false); }
  bool is_connected() const { return primary_.is_up(); }
  /// Sets the member whose pushes come here, if that is not the primary; {}: none.
  void set_upstream(const std::optional<MemberInfo>& member);
  /// Redials when it is time; frees what has ended.
  void tick(Nanoseconds now);
  /// When tick() must be called; nothing: never.
  std::optional<Nanoseconds> deadline() const;

  /// Bytes of the longest message that broadcast() takes.
  std::size_t max_broadcast_bytes() const;
  /// To all, as one datagram or, where there is no multicast or it takes none now, over each
  /// connection.
  void broadcast(std::span<const std::byte> message);
  /// The same, and to those whom no datagram reaches: over each connection besides.
  void broadcast_surely(std::span<const std::byte> message);
  /// Has what was broadcast leave now, whatever this thread does next.
  void flush_broadcasts();
  bool send_to_primary(std::span<const std::byte> message);
  bool send_to(MemberId member, std::span<const std::byte> message);
  /// Bytes that an answer of ours over its connection may have; 0: not connected.
  std::size_t max_message_bytes(MemberId member) const;
  /// Writes a message one-sidedly to all whom we hear and `wanted` names; by a message of the usual
  /// kind to members that have offered no window. What finds no room is dropped.
  void push(std::span<const std::byte> message, const std::function<bool(MemberId)>& wanted);
  /// Bytes of the longest message that push() takes.
  std::size_t max_push_bytes() const;
  /// Whether we have offered a window to a member that is connected.
  bool may_be_pushed() const { return pusher() != nullptr && pusher()->pushed.has_value(); }
  /// Hands over messages that were pushed, up to a round's worth; how many.
  std::size_t take_pushed();
  /// What others may write; empty if there is nothing of the kind.
  std::span<const std::byte> pushed_window() const {
    return may_be_pushed() ? pusher()->pushed->window() : std::span<const std::byte>();
  }
  /// Reads of the primary's window; false if that isn't possible now. One at a time.
  bool read_window(Lsn lsn, std::size_t bytes, std::uint64_t cookie);
  /// The primary's window's size; 0 without one-sided reads.
  std::uint64_t window_bytes() const {
    return primary_.link == nullptr ? 0 : primary_.link->window_bytes;
  }
  std::size_t max_read_bytes() const;
  /// Tears down the connection of a member that belongs to the group no more (its queue pair).
  void expel(MemberId member);

  /// Bytes sent, however often the fabric had to send them: datagrams count once each.
  std::uint64_t bytes_sent() const { return bytes_sent_; }
  /// Bytes asked of the primary's window by one-sided reads.
  std::uint64_t bytes_read() const { return bytes_read_; }
  /// Datagrams that no holder of the group's key has written, and others that none should have.
  std::uint64_t false_datagrams() const { return false_datagrams_; }
  /// Messages that found no room.
  std::uint64_t dropped() const { return dropped_; }
  /// Datagrams for which multicast had no room: they went over the connections instead.
  std::uint64_t refused_datagrams() const { return refused_datagrams_; }

 private:
  /// One connection, ours or of another member.
  struct Link final : transport::ConnectionHandler {
    explicit Link(Links& owner) : links(owner) {}
    void on_message(transport::Connection& connection, std::span<const std::byte> message) override;
    void on_read(transport::Connection& connection, std::uint64_t cookie, bool ok) override;
    void on_writable(transport::Connection&) override {}
    void on_closed(transport::Connection& connection, const Error& reason) override;

    Links& links;
    MemberId member = 0;
    Incarnation incarnation = 0;
    std::uint64_t window_bytes = 0;
    std::unique_ptr<transport::Connection> connection;
    PushWriter pushes;
    std::optional<PushReader> pushed;
    bool is_windowless = false;  ///< no window can be offered
    bool is_over = false;
  };
  /// A connection that we make and keep up.
  struct OutgoingLink {
    std::optional<MemberInfo> target;
    Incarnation incarnation = 0;  ///< incarnation of the target; 0: any
    std::unique_ptr<Link> link;
    std::uint64_t dial = 0;  ///< number of the attempt that counts
    bool dialing = false;
    Nanoseconds timeout = 0;  ///< longest time that an attempt may take
    Nanoseconds redial = 0;   ///< time between two attempts
    Nanoseconds redial_at = 0;
    bool is_up() const { return link != nullptr && !link->is_over && link->connection != nullptr; }
  };

  Links(const LinksOptions& options, Dialer dialer, const Window& window);
  std::optional<access::Key> find_key(access::KeyId id) override;
  void on_false_key(const transport::Caller& caller, const Error& error) override;
  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                          const transport::Caller& caller) override;
  /// Whether it may be a member at all.
  Status check(const transport::Caller& caller) const;
  void on_accept(std::unique_ptr<transport::Connection> connection,
                 transport::Poller& poller) override;
  void on_datagram(transport::MulticastGroup& group, std::span<const std::byte> datagram) override;
  void on_group_lost(transport::MulticastGroup& group, const Error& reason) override;

  /// Whether a member's connection takes the place of the one that is there, if there is one.
  bool may_replace(const Link* link, const MemberHello& hello) const;
  transport::AcceptHandler* handler_of(std::span<const std::byte> hello) const;
  void point(OutgoingLink& outgoing, const std::optional<MemberInfo>& target,
             Incarnation incarnation);
  void tick(OutgoingLink& outgoing, Nanoseconds now);
  void dial(OutgoingLink& outgoing, Nanoseconds now);
  void send_to_all(std::span<const std::byte> message);
  void on_dialed(OutgoingLink& outgoing, std::unique_ptr<transport::Connection> connection);
  void offer_window();
  /// The member that writes into our window, if connected.
  Link* pusher() const;
  void deliver(std::span<const std::byte> message);
  bool send(Link& link, std::span<const std::byte> message);
  void retire(std::unique_ptr<Link> link);

  const LinksOptions options_;
  const Dialer dialer_;
  const Window window_;
  LinksHandler* handler_ = nullptr;
  std::map<std::uint32_t, transport::AcceptHandler*>
      handlers_;  ///< by what their hellos begin with
  bool has_exposed_ = false;
  transport::Address address_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  ///< what dialers' answers look for
  OutgoingLink primary_;
  OutgoingLink upstream_;
  std::map<MemberId, std::unique_ptr<Link>> in_;
  std::map<MemberId, Incarnation> registered_;
  bool met_unknown_life_ = false;
  std::vector<std::unique_ptr<Link>> over_;  ///< whose callbacks may still be running
  std::unique_ptr<transport::Buffer> read_buffer_;
  std::pair<std::uint64_t, std::size_t> reads_left_{0, 0};  ///< cookie and pieces
  std::size_t read_bytes_ = 0;
  bool read_ok_ = false;
  std::vector<std::uint64_t> copy_;  ///< the message being handled: aligned, and not shared
  std::unique_ptr<transport::MulticastGroup> multicast_;
  std::optional<DatagramSeal> seal_;  ///< seals datagrams, if there is a key
  log::LogLimiter limiter_;
  std::unique_ptr<transport::Listener> listener_;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t refused_datagrams_ = 0;
  std::uint64_t false_datagrams_ = 0;
};

}  // namespace silurus::replication::group
