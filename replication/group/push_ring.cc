// SPDX-License-Identifier: Apache-2.0

#include "replication/group/push_ring.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "transport/atomic_copy.h"

namespace silurus::replication::group {
namespace {

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 7) / 8 * 8; }
constexpr std::size_t frame_bytes(std::size_t message) {
  return padded(message) + sizeof(PushTrailer);
}

}  // namespace

bool PushWriter::has_room(transport::Connection& to, std::uint64_t window, std::size_t bytes) {
  if (bytes > window) return false;
  if (position_ + bytes - consumed_ <= window) return true;
  std::array<std::byte, transport::kMailboxBytes> said;
  if (!to.read_mailbox(said)) return false;
  std::uint64_t consumed = 0;
  std::memcpy(&consumed, said.data(), sizeof consumed);
  // What was never written cannot have been read.
  if (consumed > position_) return false;
  consumed_ = std::max(consumed_, consumed);
  return position_ + bytes - consumed_ <= window;
}

bool PushWriter::push(transport::Connection& to, std::span<const std::byte> message) {
  const std::uint64_t window = to.peer_window_bytes();
  const std::size_t bytes = frame_bytes(message.size());
  if (window == 0 || !has_room(to, window, bytes)) return false;
  Envelope envelope;
  std::memcpy(&envelope, message.data(), sizeof envelope);
  const PushTrailer trailer{position_, envelope.checksum};
  frame_.assign(bytes, std::byte{0});
  std::memcpy(frame_.data(), message.data(), message.size());
  std::memcpy(frame_.data() + bytes - sizeof trailer, &trailer, sizeof trailer);
  const std::uint64_t offset = position_ % window;
  const std::size_t first = std::min<std::uint64_t>(bytes, window - offset);
  const std::span frame(frame_);
  if (to.post_write(offset, frame.first(first)) != transport::PostStatus::kPosted) return false;
  // What was written of a frame that goes no further is written over by the next one.
  if (first < bytes && to.post_write(0, frame.subspan(first)) != transport::PostStatus::kPosted) {
    return false;
  }
  position_ += bytes;
  return true;
}

void PushReader::copy(std::uint64_t position, std::span<std::byte> to) const {
  const std::uint64_t offset = position % window_.size();
  const std::size_t first = std::min<std::uint64_t>(to.size(), window_.size() - offset);
  transport::copy_words(window_.subspan(offset, first), to.first(first));
  transport::copy_words(window_.first(to.size() - first), to.subspan(first));
}

std::span<const std::byte> PushReader::next() {
  Envelope envelope;
  copy(position_, std::as_writable_bytes(std::span(&envelope, 1)));
  if (envelope.length < sizeof envelope || envelope.length > kMaxGroupMessageBytes) return {};
  const std::size_t bytes = frame_bytes(envelope.length);
  if (bytes > window_.size()) return {};
  frame_.resize(bytes);
  copy(position_, frame_);
  PushTrailer trailer;
  std::memcpy(&trailer, frame_.data() + bytes - sizeof trailer, sizeof trailer);
  const auto message = std::span<const std::byte>(frame_).first(envelope.length);
  const auto whole = decode_envelope(group_, message);
  if (trailer.position != position_ || !whole || trailer.checksum != whole->checksum) return {};
  position_ += bytes;
  return message;
}

void PushReader::tell(transport::Connection& from) {
  if (told_ == position_) return;
  told_ = position_;
  from.write_mailbox(std::as_bytes(std::span(&told_, 1)));
}

}  // namespace silurus::replication::group
