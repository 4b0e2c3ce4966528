// SPDX-License-Identifier: Apache-2.0

#include "transport/tcp/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/check.h"
#include "transport/tcp/poller.h"

namespace silurus::transport::tcp {

Result<std::unique_ptr<TcpConnection>> TcpConnection::create(TcpPoller& poller, Endpoint endpoint) {
  std::unique_ptr<TcpConnection> connection(new TcpConnection(poller, std::move(endpoint)));
  auto registration = poller.loop().add(connection->endpoint_.socket.get(), EPOLLIN, *connection);
  if (!registration) return fail(std::move(registration.error()));
  connection->registration_ = *registration;
  connection->interest_ = EPOLLIN;
  poller.attach(*connection);
  return connection;
}

TcpConnection::~TcpConnection() {
  end({ErrorCode::kUnavailable, "destroyed"});
  poller_.detach(*this);
  if (endpoint_.budget) endpoint_.budget->give_back(endpoint_.ring_bytes, endpoint_.owner);
}

bool TcpConnection::has_room(std::size_t bytes) const {
  return tail_ - head_ + frame_bytes(bytes) <= endpoint_.ring_bytes;
}

/// Where the next frame goes; null if it does not fit.
std::byte* TcpConnection::room_for(std::size_t bytes) {
  if (!has_room(bytes)) return nullptr;
  if (!out_) out_ = std::make_unique_for_overwrite<std::byte[]>(endpoint_.ring_bytes);
  if (tail_ + frame_bytes(bytes) > endpoint_.ring_bytes) {
    // Keeps frames aligned however many bytes of the first one have gone.
    const std::size_t from = head_ / 8 * 8;
    std::memmove(out_.get(), out_.get() + from, tail_ - from);
    head_ -= from;
    tail_ -= from;
    if (tail_ + frame_bytes(bytes) > endpoint_.ring_bytes) return nullptr;
  }
  return out_.get() + tail_;
}

std::span<std::byte> TcpConnection::reserve(std::size_t bytes) {
  SILURUS_CHECK(bytes > 0 && bytes <= endpoint_.limits.max_message_bytes);
  SILURUS_CHECK(reserved_bytes_ == 0);
  if (end_reason_) return {};
  std::byte* room = room_for(bytes);
  if (room == nullptr) {
    send_pending();
    if (end_reason_) return {};
    room = room_for(bytes);
  }
  if (room == nullptr) {
    ++counters_.would_block;
    if (blocked_bytes_ == 0) poller_.want_writable(*this);
    blocked_bytes_ = std::max(blocked_bytes_, bytes);
    return {};
  }
  reserved_bytes_ = bytes;
  return {room + sizeof(FrameHeader), bytes};
}

void TcpConnection::commit(std::size_t bytes) {
  SILURUS_CHECK(bytes <= reserved_bytes_);
  reserved_bytes_ = 0;
  if (bytes == 0 || end_reason_) return;
  const FrameHeader header{static_cast<std::uint32_t>(bytes), FrameKind::kMessage, kFrameMagic};
  std::memcpy(out_.get() + tail_, &header, sizeof(header));
  const std::size_t end = tail_ + frame_bytes(bytes);
  const std::size_t payload_end = tail_ + sizeof(header) + bytes;
  std::fill(out_.get() + payload_end, out_.get() + end, std::byte{0});
  tail_ = end;
  ++counters_.messages_sent;
  counters_.message_bytes_sent += bytes;
  want_send();
}

void TcpConnection::want_send() {
  if (send_listed_) return;
  send_listed_ = true;
  poller_.want_send(*this);
}

void TcpConnection::flush() {
  // Within progress() everything goes out in one call at the end of the round.
  if (!poller_.in_progress()) send_pending();
}

void TcpConnection::send_from_list() {
  send_listed_ = false;
  send_pending();
}

void TcpConnection::append_mailbox() {
  if (!my_mailbox_new_ || reserved_bytes_ != 0) return;
  std::byte* const room = room_for(kMailboxBytes);
  if (room == nullptr) return;
  const FrameHeader header{kMailboxBytes, FrameKind::kMailbox, kFrameMagic};
  std::memcpy(room, &header, sizeof(header));
  std::memcpy(room + sizeof(header), my_mailbox_.data(), kMailboxBytes);
  tail_ += frame_bytes(kMailboxBytes);
  my_mailbox_new_ = false;
}

void TcpConnection::send_pending() {
  if (end_reason_) return;
  append_mailbox();
  while (head_ < tail_ && !socket_full_) {
    const ssize_t sent = send(endpoint_.socket.get(), out_.get() + head_, tail_ - head_,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) {
      end(errno_error(ErrorCode::kConnectionLost, peer() + " cannot be sent to", errno));
      return;
    }
    ++counters_.doorbells;
    const auto count = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    socket_full_ = count < tail_ - head_;
    head_ += count;
  }
  // Not while a reservation points into the buffer.
  if (head_ == tail_ && reserved_bytes_ == 0) head_ = tail_ = 0;
  update_interest();
}

void TcpConnection::update_interest() {
  const std::uint32_t wanted = (paused_ ? EPOLLRDHUP : EPOLLIN) | (socket_full_ ? EPOLLOUT : 0u);
  if (wanted == interest_ || end_reason_) return;
  interest_ = wanted;
  poller_.loop().modify(registration_, endpoint_.socket.get(), wanted);
}

bool TcpConnection::retry_blocked() {
  if (end_reason_ || blocked_bytes_ == 0) return true;
  if (!has_room(blocked_bytes_)) return false;
  blocked_bytes_ = 0;
  handler_->on_writable(*this);
  return true;
}

void TcpConnection::on_ready(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    socket_full_ = false;
    send_pending();
    if (end_reason_) return;
  }
  // A paused connection is told of the peer's end only.
  if (!paused_) {
    poller_.count(receive());
  } else if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0) {
    end({ErrorCode::kConnectionLost, peer() + " closed the connection or died"});
  }
}

std::size_t TcpConnection::receive() {
  if (paused_ || end_reason_) return 0;
  const std::span<std::byte> scratch = poller_.scratch();
  const std::size_t kept = kept_.size();
  if (kept != 0) std::memcpy(scratch.data(), kept_.data(), kept);
  const ssize_t got =
      recv(endpoint_.socket.get(), scratch.data() + kept, scratch.size() - kept, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (got < 0) {
    end(errno_error(ErrorCode::kConnectionLost, peer() + " was lost", errno));
    return 0;
  }
  if (got == 0) {
    end({ErrorCode::kConnectionLost,
         peer() + " closed the connection" + (kept != 0 ? " in the middle of a message" : "")});
    return 0;
  }
  kept_.clear();
  return hand_over(scratch.first(kept + static_cast<std::size_t>(got)));
}

std::size_t TcpConnection::resume() {
  resume_listed_ = false;
  if (paused_ || end_reason_) return 0;
  const std::span<std::byte> scratch = poller_.scratch();
  const std::size_t kept = kept_.size();
  std::memcpy(scratch.data(), kept_.data(), kept);
  kept_.clear();
  return hand_over(scratch.first(kept));
}

/// Hands over the whole frames, and keeps the rest.
std::size_t TcpConnection::hand_over(std::span<const std::byte> bytes) {
  std::size_t messages = 0;
  while (bytes.size() >= sizeof(FrameHeader) && !paused_ && !end_reason_) {
    FrameHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.magic != kFrameMagic || header.bytes == 0 ||
        header.bytes > endpoint_.limits.max_message_bytes) {
      end({ErrorCode::kProtocol,
           peer() + " sent a frame with an impossible header or longer than the limit of " +
               std::to_string(endpoint_.limits.max_message_bytes) + " bytes"});
      return messages;
    }
    const std::size_t frame = frame_bytes(header.bytes);
    if (bytes.size() < frame) break;
    const auto payload = bytes.subspan(sizeof(header), header.bytes);
    bytes = bytes.subspan(frame);
    if (header.kind == FrameKind::kMessage) {
      ++messages;
      ++counters_.messages_received;
      counters_.message_bytes_received += payload.size();
      handler_->on_message(*this, payload);
    } else if (header.kind != FrameKind::kMailbox || !take_mailbox(payload)) {
      end({ErrorCode::kProtocol, peer() + " sent a frame of no known kind"});
      return messages;
    }
  }
  if (!end_reason_) kept_.assign(bytes.begin(), bytes.end());
  return messages;
}

bool TcpConnection::take_mailbox(std::span<const std::byte> payload) {
  if (payload.size() != kMailboxBytes) return false;
  std::copy(payload.begin(), payload.end(), their_mailbox_.begin());
  their_mailbox_there_ = true;
  return true;
}

Connection::PostResult TcpConnection::post_reads(std::span<const ReadRequest> requests) {
  if (end_reason_) return {0, PostStatus::kClosed};
  return {0, requests.empty() ? PostStatus::kPosted : PostStatus::kInvalid};
}

void TcpConnection::write_mailbox(std::span<const std::byte> bytes) {
  SILURUS_CHECK(bytes.size() <= kMailboxBytes);
  my_mailbox_.fill(std::byte{0});
  std::copy(bytes.begin(), bytes.end(), my_mailbox_.begin());
  my_mailbox_new_ = true;
  want_send();
}

bool TcpConnection::read_mailbox(std::array<std::byte, kMailboxBytes>& content) {
  if (their_mailbox_there_) content = their_mailbox_;
  return their_mailbox_there_;
}

void TcpConnection::set_paused(bool paused) {
  if (paused_ == paused) return;
  paused_ = paused;
  update_interest();
  if (!paused && !kept_.empty() && !resume_listed_) {
    resume_listed_ = true;
    poller_.want_resume(*this);
  }
}

void TcpConnection::close() {
  send_pending();
  end({ErrorCode::kUnavailable, "connection to " + peer() + " closed on this side"});
}

void TcpConnection::end(Error reason) {
  if (end_reason_) return;
  end_reason_ = std::move(reason);
  poller_.loop().remove(registration_, endpoint_.socket.get());
  endpoint_.socket.reset();
  poller_.detach(*this);
  poller_.want_closed(*this);
}

void TcpConnection::report_closed() { handler_->on_closed(*this, *end_reason_); }

}  // namespace silurus::transport::tcp
