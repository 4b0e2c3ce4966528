// SPDX-License-Identifier: Apache-2.0

#include "transport/shm/connection.h"

#include <poll.h>
#include <sys/epoll.h>

#include <cerrno>

#include "common/check.h"
#include "transport/atomic_copy.h"
#include "transport/custody.h"
#include "transport/shm/control.h"
#include "transport/shm/listener.h"
#include "transport/shm/poller.h"
#include "transport/shm/sleeping.h"

namespace silurus::transport::shm {
namespace {

/// Messages of one connection in one round, so that no connection starves the others.
constexpr std::size_t kBatch = 64;
/// Control packets in one round: what is left makes epoll tell us again.
constexpr int kPacketsPerRound = 256;
/// First lines of a read that are asked of memory before any read of the same call is copied.
constexpr std::size_t kPrefetchLines = 4;
constexpr std::size_t kMaxRegions = 1 << 16;
/// The memory of a process stays readable after its end. What was read of a peer is believed if
/// the peer was seen alive no longer than this before.
constexpr Nanoseconds kProofOfLife = kMillisecond;

std::span<std::byte> ring(const Endpoint& endpoint, bool to_server) {
  return endpoint.memory.bytes().subspan(kControlBytes + (to_server ? 0 : endpoint.ring_bytes),
                                         endpoint.ring_bytes);
}
MailboxArea& mailbox(const Endpoint& endpoint) {
  Control& control = *reinterpret_cast<Control*>(endpoint.memory.bytes().data());
  return endpoint.role == Role::kClient ? control.client.mailbox : control.server.mailbox;
}

}  // namespace

Result<std::unique_ptr<ShmConnection>> ShmConnection::create(ShmPoller& poller, Endpoint endpoint) {
  std::unique_ptr<ShmConnection> connection(new ShmConnection(poller, std::move(endpoint)));
  const int control = connection->endpoint_.control.get();
  auto registration = poller.loop().add(control, EPOLLIN, *connection);
  if (!registration) return fail(std::move(registration.error()));
  connection->registration_ = *registration;
  poller.activate(*connection);
  if (connection->endpoint_.shows_regions) connection->endpoint_.listener->announce_to(control);
  return connection;
}

ShmConnection::ShmConnection(ShmPoller& poller, Endpoint endpoint)
    : poller_(poller),
      endpoint_(std::move(endpoint)),
      out_(ring(endpoint_, endpoint_.role == Role::kClient)),
      in_(ring(endpoint_, endpoint_.role == Role::kServer)),
      mailbox_(mailbox(endpoint_)) {
  completed_.reserve(endpoint_.limits.max_reads_in_flight);
  completing_.reserve(endpoint_.limits.max_reads_in_flight);
}

ShmConnection::~ShmConnection() {
  end({ErrorCode::kUnavailable, "destroyed"});
  poller_.detach(*this);
  if (endpoint_.listener) {
    endpoint_.listener->give_back_ring(endpoint_.ring_bytes, endpoint_.owner);
  }
}

Side& ShmConnection::mine() {
  return endpoint_.role == Role::kClient ? control().client : control().server;
}
Side& ShmConnection::theirs() {
  return endpoint_.role == Role::kClient ? control().server : control().client;
}

std::span<std::byte> ShmConnection::reserve(std::size_t bytes) {
  SILURUS_CHECK(bytes <= endpoint_.limits.max_message_bytes);
  if (end_reason_) return {};
  const std::span<std::byte> room = out_.reserve(bytes);
  if (!room.empty()) return room;
  if (!take_credit()) return {};
  const std::span<std::byte> second = out_.reserve(bytes);
  return second.empty() ? would_block(bytes) : second;
}

std::span<std::byte> ShmConnection::would_block(std::size_t bytes) {
  ++counters_.would_block;
  if (blocked_bytes_ == 0) {
    poller_.activate(*this);  // a dormant one would not be rung for credit
    poller_.want_writable(*this);
  }
  blocked_bytes_ = std::max(blocked_bytes_, bytes);
  return {};
}

void ShmConnection::commit(std::size_t bytes) {
  if (!out_.reserved()) return;
  if (bytes == 0 || end_reason_) {
    out_.cancel();
    return;
  }
  out_.commit(bytes);
  ++counters_.messages_sent;
  counters_.message_bytes_sent += bytes;
  want_bell(kRingOnMessage);
}

void ShmConnection::want_bell(Sleep what) {
  bell_wanted_ |= what;
  if (bell_listed_) return;
  bell_listed_ = true;
  poller_.want_bell(*this);
}

void ShmConnection::flush() {
  // One fence is for all connections of the poller: here, or at the end of progress().
  if (bell_wanted_ != 0 && !poller_.in_progress()) poller_.ring_bells();
}

void ShmConnection::ring_from_list() {
  bell_listed_ = false;
  const std::uint64_t wanted = std::exchange(bell_wanted_, 0);
  if (wanted == 0 || end_reason_) return;
  if (!must_ring(std::atomic_ref<std::uint64_t>(theirs().sleep), wanted)) return;
  const Packet bell = Packet::kBell;
  // Should the socket be full, then the peer has unheard bells in it already.
  send_packet(endpoint_.control.get(), bytes_of(bell), -1);
  ++counters_.doorbells;
}

void ShmConnection::set_asleep() {
  const std::uint64_t sleep =
      (paused_ ? kAwake : kRingOnMessage) | (blocked_bytes_ != 0 ? kRingOnCredit : kAwake);
  say_sleep(std::atomic_ref<std::uint64_t>(mine().sleep), sleep);
}

void ShmConnection::set_awake() { say_sleep(std::atomic_ref<std::uint64_t>(mine().sleep), kAwake); }

bool ShmConnection::has_work() {
  if (!paused_ && in_.ready()) return true;
  return blocked_bytes_ != 0 && (!take_credit() || out_.has_room(blocked_bytes_));
}

/// False if the peer says what cannot be, and so is cut off.
bool ShmConnection::take_credit() {
  // acquire: pairs with the release store in publish_credit: the peer has read what we overwrite.
  const std::uint64_t consumed =
      std::atomic_ref<std::uint64_t>(theirs().consumed).load(std::memory_order_acquire);
  if (out_.grant(consumed)) return true;
  end({ErrorCode::kProtocol, peer() + " claims to have read what was never written"});
  return false;
}

void ShmConnection::publish_credit() {
  // release: pairs with the acquire load in take_credit.
  std::atomic_ref<std::uint64_t>(mine().consumed)
      .store(in_.take_credit(), std::memory_order_release);
  want_bell(kRingOnCredit);
}

std::size_t ShmConnection::receive() {
  std::size_t messages = 0;
  while (messages < kBatch && !end_reason_ && !paused_) {
    const RingConsumer::Peeked next = in_.peek();
    if (next.state == RingConsumer::State::kEmpty) break;
    if (next.state == RingConsumer::State::kBroken) {
      end({ErrorCode::kProtocol, peer() + " wrote an impossible message header into its ring"});
      break;
    }
    ++messages;
    ++counters_.messages_received;
    counters_.message_bytes_received += next.message.size();
    handler_->on_message(*this, next.message);
    in_.pop();
    if (in_.credit_due()) publish_credit();
  }
  return messages;
}

bool ShmConnection::retry_blocked() {
  if (end_reason_ || blocked_bytes_ == 0) return true;
  if (!out_.has_room(blocked_bytes_)) {
    if (!take_credit()) return true;
    if (!out_.has_room(blocked_bytes_)) return false;
  }
  blocked_bytes_ = 0;
  handler_->on_writable(*this);
  return true;
}

PostStatus ShmConnection::check(const ReadRequest& request) {
  if (request.region >= regions_.size()) return PostStatus::kUnknownRegion;
  const std::uint64_t region_bytes = regions_[request.region].bytes().size();
  const std::uint64_t buffer_bytes = request.buffer->bytes().size();
  const std::uint64_t length = request.length;
  if (length == 0 || length > endpoint_.limits.max_read_bytes || length > region_bytes ||
      request.offset > region_bytes - length || length > buffer_bytes ||
      request.buffer_offset > buffer_bytes - length) {
    return PostStatus::kInvalid;
  }
  if (completed_.size() >= endpoint_.limits.max_reads_in_flight) return PostStatus::kWouldBlock;
  return PostStatus::kPosted;
}

Connection::PostResult ShmConnection::post_reads(std::span<const ReadRequest> requests) {
  if (end_reason_) return {0, PostStatus::kClosed};
  std::size_t accepted = 0;
  PostStatus status = PostStatus::kPosted;
  for (const ReadRequest& request : requests) {
    status = check(request);
    if (status == PostStatus::kUnknownRegion && request.region < kMaxRegions) {
      // Announced on the socket before any message that speaks of it: perhaps not yet taken in.
      drain_control();
      if (end_reason_) return {accepted, PostStatus::kClosed};
      status = check(request);
    }
    if (status != PostStatus::kPosted) break;
    const std::byte* from = regions_[request.region].bytes().data() + request.offset;
    for (std::size_t i = 0; i < kPrefetchLines; ++i) __builtin_prefetch(from + i * kLineBytes);
    completed_.push_back(request.cookie);
    counters_.read_bytes += request.length;
    ++accepted;
  }
  if (accepted != 0 && completed_.size() == accepted) poller_.want_completions(*this);
  counters_.reads += accepted;
  for (const ReadRequest& request : requests.first(accepted)) {
    copy_words(regions_[request.region].bytes().subspan(request.offset, request.length),
               request.buffer->bytes().subspan(request.buffer_offset, request.length));
  }
  if (status == PostStatus::kWouldBlock) ++counters_.would_block;
  return {accepted, status};
}

std::size_t ShmConnection::complete_reads() {
  if (!end_reason_ && !is_alive()) {
    lose_peer();  // which tells them
    return 0;
  }
  return tell_reads(true);
}

std::size_t ShmConnection::tell_reads(bool ok) {
  completing_.swap(completed_);
  const std::size_t count = completing_.size();
  for (const std::uint64_t cookie : completing_) handler_->on_read(*this, cookie, ok);
  completing_.clear();
  return count;
}

/// Whether the peer held its end of the socket within kProofOfLife. The system closes that with the
/// process, whatever ended it.
bool ShmConnection::is_alive() {
  const Nanoseconds now = SystemClock().now();
  if (now - seen_alive_ < kProofOfLife) return true;
  pollfd socket{.fd = endpoint_.control.get(), .events = POLLRDHUP, .revents = 0};
  if (::poll(&socket, 1, 0) > 0) return false;
  seen_alive_ = now;
  return true;
}

Result<std::span<const std::byte>> ShmConnection::offer_window(std::size_t bytes) {
  if (endpoint_.role != Role::kClient || !window_.bytes().empty() || bytes == 0 ||
      bytes % kWindowGrain != 0 || bytes > kMaxWindowBytes) {
    return fail(ErrorCode::kInvalidArgument,
                "a window of " + std::to_string(bytes) + " bytes cannot be offered to " + peer());
  }
  auto memory = create_ring_memory(bytes);
  if (!memory) return fail(std::move(memory.error()));
  auto mapping = Mapping::create(memory->get(), bytes, true);
  if (!mapping) return fail(std::move(mapping.error()));
  const RegionPacket packet{static_cast<std::uint64_t>(Packet::kWindow), 0, bytes};
  if (end_reason_ || !send_packet(endpoint_.control.get(), bytes_of(packet), memory->get())) {
    return fail(ErrorCode::kConnectionLost, "a window could not be offered to " + peer());
  }
  window_ = std::move(*mapping);
  return window_.bytes();
}

PostStatus ShmConnection::post_write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (end_reason_) return PostStatus::kClosed;
  const std::span window = peer_window_.bytes();
  if (window.empty()) return PostStatus::kUnknownRegion;
  if (bytes.empty() || bytes.size() % 8 != 0 || offset % 8 != 0 || bytes.size() > window.size() ||
      offset > window.size() - bytes.size()) {
    return PostStatus::kInvalid;
  }
  ++counters_.writes;
  counters_.write_bytes += bytes.size();
  store_words(bytes, window.subspan(offset, bytes.size()));
  return PostStatus::kPosted;
}

void ShmConnection::write_mailbox(std::span<const std::byte> bytes) {
  SILURUS_CHECK(bytes.size() <= kMailboxBytes);
  if (!end_reason_) mailbox_.write(bytes);
}

bool ShmConnection::read_mailbox(std::array<std::byte, kMailboxBytes>& content) {
  return transport::read_mailbox(theirs().mailbox, content);
}

void ShmConnection::set_paused(bool paused) {
  paused_ = paused;
  if (end_reason_) return;
  poller_.refresh(*this);
  if (!paused) poller_.activate(*this);  // it may have gone dormant with messages in its ring
}

void ShmConnection::close() {
  end({ErrorCode::kUnavailable, "connection to " + peer() + " closed on this side"});
}

void ShmConnection::end(Error reason) {
  if (end_reason_) return;
  end_reason_ = std::move(reason);
  poller_.loop().remove(registration_, endpoint_.control.get());
  if (endpoint_.listener) endpoint_.listener->forget(endpoint_.control.get());
  if (endpoint_.custody_ticket != 0) {
    // Closing our descriptor tells the peer nothing while another process holds one.
    shutdown(endpoint_.control.get(), SHUT_RDWR);
    custody()->release(endpoint_.custody_ticket);
  }
  endpoint_.control.reset();
  poller_.detach(*this);
  poller_.want_closed(*this);
}

void ShmConnection::report_closed() {
  // Whether the peer lived when they were posted is not known.
  while (!completed_.empty()) tell_reads(false);
  handler_->on_closed(*this, *end_reason_);
}

void ShmConnection::on_ready(std::uint32_t) {
  const bool gone = drain_control();
  if (end_reason_) return;
  if (!gone) {
    poller_.activate(*this);
    return;
  }
  lose_peer();
}

/// The peer is gone. What it sent before is still in the ring.
void ShmConnection::lose_peer() {
  // Bounded, since the peer may go on writing.
  for (std::size_t i = 0; i <= endpoint_.ring_bytes / kLineBytes / kBatch; ++i) {
    if (receive() == 0) break;
  }
  end({ErrorCode::kConnectionLost, peer() + " closed the connection or died"});
}

/// True if the peer is gone.
bool ShmConnection::drain_control() {
  for (int i = 0; i < kPacketsPerRound; ++i) {
    RegionPacket packet{};
    auto received = receive_packet(endpoint_.control.get(), writable_bytes_of(packet));
    if (!received) return errno != EAGAIN && errno != EINTR;
    if (received->bytes == 0) return true;
    if (received->bytes == sizeof(packet)) take_packet(packet, std::move(received->fd));
    if (end_reason_) return false;
  }
  return false;
}

void ShmConnection::take_packet(const RegionPacket& packet, UniqueFd fd) {
  if (endpoint_.role == Role::kClient) {
    take_region(packet, std::move(fd));
  } else {
    take_window(packet, std::move(fd));
  }
}

void ShmConnection::take_region(const RegionPacket& region, UniqueFd fd) {
  if (region.packet != static_cast<std::uint64_t>(Packet::kRegion) || !fd ||
      region.index != regions_.size() || regions_.size() >= kMaxRegions) {
    end({ErrorCode::kProtocol, peer() + " announced a region out of turn"});
    return;
  }
  auto size = check_sealed(fd.get(), region.bytes, true);
  if (!size) {
    end({ErrorCode::kProtocol, peer() + " announced a region: " + size.error().message});
    return;
  }
  auto mapping = Mapping::create(fd.get(), *size, false);
  if (!mapping) {
    end(std::move(mapping.error()));
    return;
  }
  regions_.push_back(std::move(*mapping));
}

void ShmConnection::take_window(const RegionPacket& window, UniqueFd fd) {
  if (window.packet != static_cast<std::uint64_t>(Packet::kWindow) || !fd || window.index != 0 ||
      !peer_window_.bytes().empty() || window.bytes == 0 || window.bytes % kWindowGrain != 0 ||
      window.bytes > kMaxWindowBytes) {
    end({ErrorCode::kProtocol, peer() + " offered a malformed window"});
    return;
  }
  if (auto size = check_sealed(fd.get(), window.bytes, false); !size) {
    end({ErrorCode::kProtocol, peer() + " offered a window: " + size.error().message});
    return;
  }
  auto mapping = Mapping::create(fd.get(), window.bytes, true);
  if (!mapping) {
    end(std::move(mapping.error()));
    return;
  }
  peer_window_ = std::move(*mapping);
}

}  // namespace silurus::transport::shm
