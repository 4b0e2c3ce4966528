// SPDX-License-Identifier: Apache-2.0

#include "transport/ring.h"

#include <cstring>

#include "common/check.h"

namespace silurus::transport {
namespace {

constexpr std::uint64_t lines_for(std::size_t bytes) {
  return (bytes + kLineBytes - 1) / kLineBytes;
}
constexpr std::uint64_t kBits = 64;

}  // namespace

RingProducer::RingProducer(std::span<std::byte> ring)
    : ring_(ring), lines_(ring.size() / kLineBytes), foreign_((lines_ + kBits - 1) / kBits) {
  SILURUS_CHECK(is_ring_size(ring.size()));
  SILURUS_CHECK(reinterpret_cast<std::uintptr_t>(ring.data()) % kLineBytes == 0);
}

RingProducer::Plan RingProducer::plan(std::size_t bytes) const {
  const std::uint64_t lines =
      bytes + kHeaderBytes <= kStageBytes ? lines_for(bytes + kHeaderBytes) : 1 + lines_for(bytes);
  const std::uint64_t left = lines_ - (position_ & (lines_ - 1));
  return {lines > left ? left : 0, lines};
}

bool RingProducer::has_room(std::size_t bytes) const {
  const Plan p = plan(bytes);
  return position_ + p.skip + p.lines - consumed_ <= lines_;
}

std::span<std::byte> RingProducer::reserve(std::size_t bytes) {
  SILURUS_CHECK(bytes > 0 && bytes <= max_message_bytes(static_cast<std::uint32_t>(ring_.size())));
  SILURUS_CHECK(reserved_bytes_ == 0);
  const Plan p = plan(bytes);
  if (position_ + p.skip + p.lines - consumed_ > lines_) return {};
  reserved_bytes_ = bytes;
  if (bytes + kHeaderBytes <= kStageBytes) return {stage_.data() + kHeaderBytes, bytes};
  const std::uint64_t first = (position_ + p.skip) & (lines_ - 1);
  mark_foreign(first + 1, first + p.lines);
  return {line(first + 1), bytes};
}

RingProducer::Extent RingProducer::commit(std::size_t bytes) {
  SILURUS_CHECK(bytes > 0 && bytes <= reserved_bytes_);
  const Plan reserved = plan(reserved_bytes_);
  const std::uint64_t start = position_ + reserved.skip;
  const std::uint64_t first = start & (lines_ - 1);
  const bool staged = reserved_bytes_ + kHeaderBytes <= kStageBytes;
  reserved_bytes_ = 0;
  std::byte* const slot = line(first);
  std::uint64_t lines = 1;
  SlotKind kind = SlotKind::kInline;
  if (staged && bytes <= kInlineBytes) {
    // A fixed size copies in a few vector moves; what follows the message is older bytes of ours.
    std::memcpy(slot + kHeaderBytes, stage_.data() + kHeaderBytes, kInlineBytes);
  } else if (staged) {
    lines = lines_for(bytes + kHeaderBytes);
    std::memcpy(slot + kHeaderBytes, stage_.data() + kHeaderBytes, bytes);
    mark_foreign(first + 1, first + lines);
  } else if (bytes + kHeaderBytes <= kStageBytes) {
    lines = lines_for(bytes + kHeaderBytes);
    std::memmove(slot + kHeaderBytes, line(first + 1), bytes);
  } else {
    kind = SlotKind::kAligned;
    lines = 1 + lines_for(bytes);
  }
  const std::uint64_t next = (first + lines) & (lines_ - 1);
  if (clear_foreign(next)) store_header(next, 0);
  clear_foreign(first);
  store_header(first, SlotHeader::make(start, kind, bytes).word);
  Extent extent{first * kLineBytes,
                kind == SlotKind::kInline ? kHeaderBytes + bytes : kLineBytes + bytes, kNoSkip};
  if (reserved.skip != 0) {
    const std::uint64_t at = position_ & (lines_ - 1);
    store_header(at, SlotHeader::make(position_, SlotKind::kSkip, 0).word);
    extent.skip_offset = at * kLineBytes;
  }
  position_ = start + lines;
  return extent;
}

bool RingProducer::grant(std::uint64_t consumed) {
  if (consumed < consumed_ || consumed > position_) return false;
  consumed_ = consumed;
  return true;
}

void RingProducer::store_header(std::uint64_t index, std::uint64_t word) {
  // release: pairs with the acquire load in RingConsumer (peek, ready) and in the pollers' sweep.
  std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(line(index)))
      .store(word, std::memory_order_release);
}

void RingProducer::mark_foreign(std::uint64_t first, std::uint64_t end) {
  for (std::uint64_t i = first; i < end;) {
    const std::uint64_t bit = i % kBits;
    const std::uint64_t count = std::min(kBits - bit, end - i);
    foreign_[i / kBits] |= (count == kBits ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1)
                           << bit;
    i += count;
  }
}

bool RingProducer::clear_foreign(std::uint64_t index) {
  const std::uint64_t bit = std::uint64_t{1} << (index % kBits);
  const bool was = (foreign_[index / kBits] & bit) != 0;
  foreign_[index / kBits] &= ~bit;
  return was;
}

RingConsumer::RingConsumer(std::span<const std::byte> ring)
    : ring_(ring), lines_(ring.size() / kLineBytes) {
  SILURUS_CHECK(is_ring_size(ring.size()));
  SILURUS_CHECK(reinterpret_cast<std::uintptr_t>(ring.data()) % kLineBytes == 0);
  move_to(0);
}

void RingConsumer::move_to(std::uint64_t position) {
  position_ = position;
  word_ =
      reinterpret_cast<const std::uint64_t*>(ring_.data() + (position & (lines_ - 1)) * kLineBytes);
  tag_ = SlotHeader::tag(position);
}

namespace {

std::uint64_t load(const std::uint64_t* word) {
  // acquire: pairs with RingProducer::store_header, so that the message is whole. (The cast is for
  // atomic_ref, which C++20 does not give for const; nothing is written.)
  return std::atomic_ref<std::uint64_t>(*const_cast<std::uint64_t*>(word))
      .load(std::memory_order_acquire);
}

}  // namespace

bool RingConsumer::ready() const { return SlotHeader::matches(load(word_), tag_); }

RingConsumer::Peeked RingConsumer::peek() {
  std::uint64_t word = load(word_);
  if (!SlotHeader::matches(word, tag_)) return {State::kEmpty, {}};
  if (SlotHeader{word}.kind() == static_cast<unsigned>(SlotKind::kSkip)) {
    const std::uint64_t index = position_ & (lines_ - 1);
    if (index == 0) return {State::kBroken, {}};
    move_to(position_ + lines_ - index);
    word = load(word_);
    // The skip is stored after the message that it leads to.
    if (!SlotHeader::matches(word, tag_)) return {State::kBroken, {}};
  }
  const SlotHeader header{word};
  const std::size_t length = header.length();
  const std::uint64_t index = position_ & (lines_ - 1);
  if (length == 0 || length > max_message_bytes(static_cast<std::uint32_t>(ring_.size()))) {
    return {State::kBroken, {}};
  }
  std::size_t offset = index * kLineBytes;
  if (header.kind() == static_cast<unsigned>(SlotKind::kInline)) {
    pending_lines_ = lines_for(length + kHeaderBytes);
    offset += kHeaderBytes;
  } else if (header.kind() == static_cast<unsigned>(SlotKind::kAligned)) {
    pending_lines_ = 1 + lines_for(length);
    offset += kLineBytes;
  } else {
    return {State::kBroken, {}};
  }
  if (index + pending_lines_ > lines_) return {State::kBroken, {}};
  return {State::kMessage, ring_.subspan(offset, length)};
}

void RingConsumer::pop() {
  SILURUS_CHECK(pending_lines_ != 0);
  move_to(position_ + pending_lines_);
  pending_lines_ = 0;
}

}  // namespace silurus::transport
