// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "access/key.h"
#include "common/clock.h"
#include "common/result.h"
#include "transport/limits.h"
#include "transport/refusals.h"

// What moves bytes between a client and a server, whatever the wire: close to verbs, since verbs is
// what must be fast. CONTRACT.md says what each call guarantees; tests/conformance holds every
// fabric to it. Knows nothing of trees.
//
// One Poller belongs to one thread, and so does everything attached to it: connections and their
// callbacks. Only functions marked "any thread" may be called from others. Nothing here waits:
// "would block" is a return value, and progress() belongs to the caller (see Waiter for sleeping).

namespace silurus::transport {

/// What a fabric can do. What it cannot do is an error at set-up, never at run time.
enum class Capability : std::uint32_t {
  kOneSidedRead = 1 << 0,   ///< Connection::post_reads
  kMulticast = 1 << 1,      ///< Fabric::join
  kOneSidedWrite = 1 << 2,  ///< Connection::offer_window, post_write
};
using Capabilities = std::uint32_t;
constexpr bool has(Capabilities set, Capability one) {
  return (set & static_cast<std::uint32_t>(one)) != 0;
}

/// Where a server listens and a client connects: "shm:///path/of/socket", "tcp://host:port" (port 0
/// when listening: any), "rdma://host:port", "sim://host:port". IPv6 hosts in brackets.
struct Address {
  std::string scheme;
  std::string host;  ///< empty for shm
  std::string port;  ///< empty for shm
  std::string path;  ///< shm only
  /// shm only: the user whom a client takes for the server, beside itself and root; a name or a
  /// number, or empty: no other. "shm:///run/silurus/default.sock?peer=silurus"
  std::string peer = {};
  /// tcp, rdma: the file of the key that a client proves to hold, and the server must hold, too;
  /// empty: see keys.h. "tcp://10.0.0.7:7470?key=/home/bob/bob.key"
  std::string key = {};
  static Result<Address> parse(std::string_view text);
  std::string to_string() const;
};

/// Limits of one connection, settled when it was made. Both sides see the same.
struct ConnectionLimits {
  std::uint32_t max_message_bytes;    ///< longest message, either way
  std::uint32_t max_reads_in_flight;  ///< 0 without kOneSidedRead
  std::uint32_t max_read_bytes;       ///< longest read
};

/// What a peer may say of its limits at most, so that its word alone takes no memory of ours.
/// (Rings: is_ring_size().)
constexpr std::uint32_t kMostReadsInFlight = 4096;
constexpr std::uint32_t kMostReadBytes = std::uint32_t{1} << 30;

/// Bytes of the mailbox that each side of a connection holds for the other.
constexpr std::size_t kMailboxBytes = 128;
/// Bytes that each side may say of itself when connecting (protocol version, identity, ...).
constexpr std::size_t kMaxHelloBytes = 128;
/// Those of the client, fewer: all that the RDMA connection manager's request leaves (56 bytes,
/// less what the fabric itself has to say).
constexpr std::size_t kMaxClientHelloBytes = 32;

/// Unit of the length of windows that peers write: a page.
constexpr std::size_t kWindowGrain = 4096;
/// Longest window that peers write.
constexpr std::size_t kMaxWindowBytes = std::size_t{1} << 30;

/// Memory that clients may read one-sidedly, and never write. Regions of a listener are numbered
/// 0, 1, 2, ... in the order in which they were exposed.
struct Region {
  std::span<std::byte> bytes;
  int fd = -1;  ///< the memfd behind it (sealed against other writers), offset 0; -1 if none
};

/// Memory that one-sided reads may land in (registered, for verbs). Lives no longer than its
/// poller.
class Buffer {
 public:
  virtual ~Buffer() = default;
  std::span<std::byte> bytes() const { return bytes_; }

 protected:
  std::span<std::byte> bytes_;
};

/// One one-sided read: `length` bytes at `offset` of region number `region` land in the buffer.
struct ReadRequest {
  std::uint32_t region;
  std::uint64_t offset;
  std::uint32_t length;
  Buffer* buffer;
  std::uint64_t buffer_offset;
  std::uint64_t cookie;  ///< given back on completion
};

enum class PostStatus : std::uint8_t {
  kPosted,
  kWouldBlock,     ///< no credit or too many in flight: try again after on_writable or a completion
  kUnknownRegion,  ///< not announced to this client yet (it will be), or never exposed
  kInvalid,        ///< outside the region or the buffer, or too long
  kClosed,
};

/// What a connection counts about itself. Plain numbers of its own thread.
struct ConnectionCounters {
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t message_bytes_sent = 0;
  std::uint64_t message_bytes_received = 0;
  std::uint64_t reads = 0;  ///< one-sided reads posted
  std::uint64_t read_bytes = 0;
  std::uint64_t writes = 0;  ///< one-sided writes posted
  std::uint64_t write_bytes = 0;
  std::uint64_t doorbells = 0;      ///< times that the card (or the kernel, or the peer) was rung
  std::uint64_t work_requests = 0;  ///< verbs: work requests posted, receives included
  std::uint64_t would_block = 0;
};

/// The owner of the other end of a connection, as far as the fabric can tell.
struct Caller {
  std::optional<uid_t> user = {};            ///< a user of this machine, as its kernel says
  std::string name = {};                     ///< what it counts as, for limits of one peer (peer.h)
  std::optional<access::KeyLabel> key = {};  ///< which it has proved to hold
};

class Connection;

/// Receives what happens on a connection, on the thread of its poller, from within progress().
/// A callback may send and post on any connection of the same poller; it may close() but not
/// destroy the connection.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  /// A whole message, in order, once. The bytes are valid (and writable by the peer: copy before
  /// checking what is checked twice) only during the call; 8-byte aligned.
  virtual void on_message(Connection& connection, std::span<const std::byte> message) = 0;
  /// A read ended; `ok` false only when the connection is being closed.
  virtual void on_read(Connection& connection, std::uint64_t cookie, bool ok) = 0;
  /// After a send answered "would block": there is room again.
  virtual void on_writable(Connection& connection) = 0;
  /// The last callback: peer gone, closed, or broken protocol. Also after our own close().
  virtual void on_closed(Connection& connection, const Error& reason) = 0;
};

/// A reliable, ordered connection. Destroying it closes it.
class Connection {
 public:
  virtual ~Connection() = default;

  virtual void set_handler(ConnectionHandler* handler) = 0;
  virtual const ConnectionLimits& limits() const = 0;
  /// What the peer said of itself when connecting.
  virtual std::span<const std::byte> peer_hello() const = 0;
  /// For messages to people: "tcp://127.0.0.1:40122", "shm pid 4711".
  virtual std::string peer() const = 0;
  /// What the other end counts as, for limits of one peer (peer.h); peer() where there are none.
  virtual std::string owner() const { return peer(); }
  /// The user of this machine whose the other end is, if the fabric can tell.
  virtual std::optional<uid_t> user() const { return {}; }

  /// The key that both ends have proved to hold, if there is one.
  virtual std::optional<access::KeyLabel> key() const { return {}; }
  /// At the side that listens: whether the peer is shown the regions, to read one-sidedly.
  virtual bool shows_regions() const { return false; }

  /// Room for one message of at most `bytes` (<= max_message_bytes), 8-byte aligned, to be filled
  /// in place; empty if it would block. At most one at a time.
  virtual std::span<std::byte> reserve(std::size_t bytes) = 0;
  /// Sends the first `bytes` of what was reserved (0: gives it back). May be held back until the
  /// next flush() or progress(), so that several go out together.
  virtual void commit(std::size_t bytes) = 0;
  /// Rings the doorbell for what was committed.
  virtual void flush() = 0;

  /// Posts reads, all behind one doorbell where the fabric can. `posted` counts those accepted from
  /// the front; the status is that of the first one that was not (kPosted if all were).
  struct PostResult {
    std::size_t posted;
    PostStatus status;
  };
  virtual PostResult post_reads(std::span<const ReadRequest> requests) = 0;

  /// Gives this one peer memory of ours to write into one-sidedly: `bytes` bytes, zeroed, a
  /// multiple of kWindowGrain. For the side that connected, once, at set-up; the memory goes with
  /// the connection. Its content is whatever the peer makes of it, at any moment: copy, then check.
  virtual Result<std::span<const std::byte>> offer_window(std::size_t /*bytes*/) {
    return fail(ErrorCode::kUnsupported, "this fabric has no one-sided writes");
  }
  /// Bytes of the window that the peer has offered; 0: none, or not known of yet.
  virtual std::uint64_t peer_window_bytes() const { return 0; }
  /// Writes into the peer's window, without its processor's part or notice; both a multiple of 8.
  /// The bytes are copied. kUnknownRegion while there is no window, kWouldBlock: try again later.
  virtual PostStatus post_write(std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) {
    return PostStatus::kUnknownRegion;
  }

  /// Overwrites the peer's copy of our mailbox (at most kMailboxBytes); it sees the newest one
  /// whole, never a mixture, and is not woken.
  virtual void write_mailbox(std::span<const std::byte> bytes) = 0;
  /// The newest whole content of the mailbox that the peer writes; false if there is none yet.
  virtual bool read_mailbox(std::array<std::byte, kMailboxBytes>& content) = 0;

  /// While paused, no message is handed over: what the peer sends stays in the ring until it is
  /// full, and then its reserve() would block. For a receiver whose own answers would block. The
  /// end of the connection is reported all the same.
  virtual void set_paused(bool paused) = 0;

  /// Ends the connection; on_closed comes from a later progress().
  virtual void close() = 0;
  virtual const ConnectionCounters& counters() const = 0;
};

/// One thread's share of a fabric: drives its connections.
class Poller {
 public:
  virtual ~Poller() = default;
  /// Handles what has happened; returns how many events. Never blocks.
  virtual std::size_t progress() = 0;
  /// Before sleeping: false if something has happened already; after true, fd() becomes readable
  /// when something happens. progress() ends the sleep.
  virtual bool arm() = 0;
  /// After a wait without arm(): the next progress() looks for everything, what is looked for now
  /// and then too.
  virtual void look() {}
  /// For poll(2); -1 for a fabric in virtual time.
  virtual int fd() const = 0;
  /// Memory for one-sided reads of connections of this poller. At set-up, not per query.
  virtual Result<std::unique_ptr<Buffer>> allocate_buffer(std::size_t bytes) = 0;
};

/// Decides about a client that asks to connect; called on some thread of the fabric's choice.
class AcceptHandler {
 public:
  virtual ~AcceptHandler() = default;
  /// The key of that id, if clients may prove to hold it; nothing: there is none.
  virtual std::optional<access::Key> find_key(access::KeyId /*id*/) { return {}; }
  /// A client was turned away for a key that is not known, or that it does not hold.
  virtual void on_false_key(const Caller& /*caller*/, const Error& /*error*/) {}
  /// Looks at what the client says of itself (at most kMaxClientHelloBytes) and answers with our
  /// own hello (at most kMaxHelloBytes), or refuses: the client's connect() fails with that error.
  virtual Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                                  const Caller& caller) = 0;
  /// Asked of a client that on_hello() has let in: whether it is shown the listener's regions, now
  /// and when more are exposed. One that is not can read nothing one-sidedly.
  virtual bool may_read_regions(const Caller& /*caller*/) { return true; }
  /// A new connection, on the thread of `poller`, which it now belongs to (one of those given to
  /// listen()); the handler owns it and must set_handler() before it returns.
  virtual void on_accept(std::unique_ptr<Connection> connection, Poller& poller) = 0;
};

struct ListenOptions {
  std::uint32_t max_connections = kDefaultMaxConnections;
  /// Connections of one peer (peer.h), which then may not take the whole ring budget either. 0: as
  /// many as all.
  std::uint32_t max_connections_per_peer = 0;
  /// All message rings of the listener together. A client that does not fit is refused.
  std::uint64_t ring_budget_bytes = kDefaultRingBudget;
  /// Others than our own user may connect (shm: mode of the socket; tcp: addresses beyond loopback
  /// are refused without it when listening).
  bool allow_other_users = false;
  /// A client that has connected and not said hello for this long is cut off (rdma: one that was
  /// accepted, and has not said that it knows).
  Nanoseconds hello_timeout = kDefaultHelloTimeout;
  /// Clients that may be in the middle of connecting; at least 1. One more is let in, and the
  /// oldest of the peer that has the most of them is told to try again (rdma: is disconnected).
  std::uint32_t max_handshakes = kDefaultMaxHandshakes;
};

/// A listening address. Connections are dealt out to the pollers given to listen().
class Listener {
 public:
  virtual ~Listener() = default;
  /// The address with the port really used.
  virtual Address address() const = 0;
  /// Any thread. Lets clients, present and future, read this region; announced to them before they
  /// can learn of it by any message sent later. kUnsupported without kOneSidedRead.
  virtual Status expose(const Region& region) = 0;
  /// Bytes of message rings in use.
  virtual std::uint64_t ring_bytes() const = 0;
  /// Any thread. Clients turned away so far.
  virtual RefusalCounts refusals() const = 0;
};

class MulticastGroup;

/// Bytes that a multicast group takes by send(), in full datagrams, before it says kWouldBlock, and
/// that may come between two calls of progress() without loss at the receiver.
inline constexpr std::size_t kMulticastBurstBytes = std::size_t{1} << 20;

/// Receives the datagrams of a group, on the thread of its poller, from within progress().
class MulticastHandler {
 public:
  virtual ~MulticastHandler() = default;
  /// One datagram that another member sent, whole; the bytes are valid only during the call and
  /// 8-byte aligned. Datagrams may be lost, repeated and reordered.
  virtual void on_datagram(MulticastGroup& group, std::span<const std::byte> datagram) = 0;
  /// The last callback: the group is gone (port down, left by the network). Not after our leaving.
  virtual void on_group_lost(MulticastGroup& group, const Error& reason) = 0;
};

/// A multicast group that this poller has joined. Destroying it leaves the group. A member does not
/// receive what it sends itself; what it sends, it sends to all other members at once.
class MulticastGroup {
 public:
  virtual ~MulticastGroup() = default;
  /// Size of a datagram: what the path carries in one packet. Fixed once joined.
  virtual std::size_t max_datagram_bytes() const = 0;
  /// Copies one datagram, which leaves with the next flush(), or the poller's next progress():
  /// kPosted, kWouldBlock (too many under way: try again after progress()), kInvalid (too long or
  /// empty) or kClosed. No promise that it arrives anywhere.
  virtual PostStatus send(std::span<const std::byte> datagram) = 0;
  /// Has the datagrams leave that were sent and have not left yet, from within progress() too.
  virtual void flush() = 0;
  /// messages_*, message_bytes_*, doorbells and would_block are used.
  virtual const ConnectionCounters& counters() const = 0;
};

struct ConnectOptions {
  Nanoseconds timeout = 5 * kSecond;
  /// tcp, rdma: what both sides have to prove to hold; nothing: what keys.h finds.
  std::optional<access::Key> key = {};
  /// Whether one is looked for if none is given.
  bool looks_for_key = true;
  /// Whether none is found is an error (kUnavailable: a server that starts leaves one soon): the
  /// other end has proved to hold one before.
  bool needs_key = false;
};

/// A way of moving bytes. Any thread.
class Fabric {
 public:
  virtual ~Fabric() = default;
  virtual std::string_view scheme() const = 0;
  virtual Capabilities capabilities() const = 0;
  virtual Result<std::unique_ptr<Poller>> create_poller() = 0;
  /// Pollers, handler: must outlive the listener.
  virtual Result<std::unique_ptr<Listener>> listen(const Address& address,
                                                   const ListenOptions& options,
                                                   std::span<Poller* const> pollers,
                                                   AcceptHandler& handler) = 0;
  /// Connects, waiting at most the timeout (set-up may block). The sim fabric runs its world.
  virtual Result<std::unique_ptr<Connection>> connect(const Address& address,
                                                      const ConnectOptions& options, Poller& poller,
                                                      std::span<const std::byte> hello,
                                                      ConnectionHandler& handler) = 0;
  /// Joins a multicast group ("rdma://239.1.2.3:port"; the address chooses the device by the
  /// routing table), waiting at most the timeout. kUnsupported without kMulticast.
  virtual Result<std::unique_ptr<MulticastGroup>> join(const Address& group,
                                                       const ConnectOptions& /*options*/,
                                                       Poller& /*poller*/,
                                                       MulticastHandler& /*handler*/) {
    return fail(ErrorCode::kUnsupported, group.scheme + " has no multicast");
  }
};

/// The fabric of a scheme ("shm", "tcp"), or kUnsupported with the list of those built in.
Result<std::unique_ptr<Fabric>> make_fabric(std::string_view scheme);

}  // namespace silurus::transport
