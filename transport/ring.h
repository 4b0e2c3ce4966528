// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// A ring of messages in memory that one side writes and the other reads: layout, credits and slot
// logic, with no opinion on how the bytes travel. Over shm both sides map one memory and the reader
// polls; over verbs the producer works on its own copy, the extent that commit() returns is written
// to the same place at the peer, and a completion says when to look.
//
// The ring is an array of 64-byte lines. A message begins with a header word at the start of a line
// and takes whole lines, contiguous: what does not fit before the end starts again at line 0, with
// a skip slot in between. The header word, stored last with release order, holds the length, the
// kind and a sequence number made of the absolute line number, so that one load tells the reader
// whether its next message is there. A message of up to kInlineBytes is one cache line, and that
// is all that either side touches for it.
//
// Every line at which the reader may look for a header holds 0 or a header of an earlier lap: never
// a message's own bytes, which could look like one. The producer sees to that (see RingProducer),
// so that the reader never writes into the ring.
//
// Neither class trusts the peer: header words and credits are read once and checked.

namespace silurus::transport {

constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kHeaderBytes = 8;
/// Longest message that shares its header's cache line.
constexpr std::size_t kInlineBytes = kLineBytes - kHeaderBytes;
constexpr std::uint32_t kMinRingBytes = 8 * 1024;
constexpr std::uint32_t kMaxRingBytes = 256 * 1024;
constexpr std::uint32_t kMaxMessageBytes = 64 * 1024;

/// Whether a ring may have this size; a size that the peer says is checked with it.
constexpr bool is_ring_size(std::uint64_t bytes) {
  return bytes >= kMinRingBytes && bytes <= kMaxRingBytes && std::has_single_bit(bytes);
}
/// Longest message of a ring: a quarter of it, so that one always fits however it wraps.
constexpr std::uint32_t max_message_bytes(std::uint32_t ring_bytes) {
  return ring_bytes / 4 < kMaxMessageBytes ? ring_bytes / 4 : kMaxMessageBytes;
}

/// What a slot of the ring is.
enum class SlotKind : std::uint8_t {
  kInline = 1,   ///< payload right behind the header word
  kAligned = 2,  ///< payload from the next line on
  kSkip = 3,     ///< nothing more before the end of the ring
};

/// The header word: length in bits 0 to 19, kind in 20 to 23, sequence in 24 to 63.
struct SlotHeader {
  std::uint64_t word;

  static constexpr int kKindShift = 20;
  static constexpr int kSequenceShift = 24;
  static constexpr std::uint64_t kLengthMask = (1u << kKindShift) - 1;
  static_assert(kMaxMessageBytes <= kLengthMask);

  /// The bits by which a reader at the absolute line `position` knows its header: never 0.
  static constexpr std::uint64_t tag(std::uint64_t position) {
    return (position + 1) << kSequenceShift;
  }
  static constexpr SlotHeader make(std::uint64_t position, SlotKind kind, std::size_t length) {
    return {tag(position) | static_cast<std::uint64_t>(kind) << kKindShift | length};
  }
  static constexpr bool matches(std::uint64_t word, std::uint64_t tag) {
    return ((word ^ tag) >> kSequenceShift) == 0;
  }
  std::size_t length() const { return word & kLengthMask; }
  unsigned kind() const { return (word >> kKindShift) & 0xf; }
};

/// The writing end. One thread. Short messages are built in private memory and copied over at
/// commit, so that a reader that polls the line does not fight for it while it is being filled.
class RingProducer {
 public:
  /// The ring must be zeroed (or never used) and aligned to a line; is_ring_size(ring.size()).
  explicit RingProducer(std::span<std::byte> ring);

  /// Room for a message of 1 to max_message_bytes, 8-byte aligned; empty without credit. At most
  /// one reservation at a time.
  std::span<std::byte> reserve(std::size_t bytes);
  /// Whether reserve(bytes) would succeed with the credit known now.
  bool has_room(std::size_t bytes) const;
  bool reserved() const { return reserved_bytes_ != 0; }

  /// Which bytes of the ring a commit changed, first to last by offset: what verbs would write.
  /// `skip` is 8 bytes at skip_offset, to be written after the message; none if kNoSkip.
  struct Extent {
    std::size_t offset;
    std::size_t bytes;
    std::size_t skip_offset;
  };
  static constexpr std::size_t kNoSkip = ~std::size_t{0};
  /// Publishes the first `bytes` (1 to those reserved) of the reservation.
  Extent commit(std::size_t bytes);
  /// Gives the reservation back.
  void cancel() { reserved_bytes_ = 0; }

  /// The reader says that it has consumed everything before this absolute line. False if it cannot
  /// have (backwards, or beyond what was written): a broken peer.
  bool grant(std::uint64_t consumed);
  std::uint64_t position() const { return position_; }

 private:
  struct Plan {
    std::uint64_t skip;   ///< lines left out before the end of the ring
    std::uint64_t lines;  ///< lines of the message
  };
  Plan plan(std::size_t bytes) const;
  std::byte* line(std::uint64_t index) const { return ring_.data() + index * kLineBytes; }
  void store_header(std::uint64_t index, std::uint64_t word);
  void mark_foreign(std::uint64_t first, std::uint64_t end);
  bool clear_foreign(std::uint64_t index);

  static constexpr std::size_t kStageBytes = 512;

  alignas(kLineBytes) std::array<std::byte, kStageBytes> stage_{};
  std::span<std::byte> ring_;
  std::uint64_t lines_;         ///< in the ring; a power of two
  std::uint64_t position_ = 0;  ///< absolute line of the next slot
  std::uint64_t consumed_ = 0;  ///< by the reader, as last granted
  std::size_t reserved_bytes_ = 0;
  /// A bit for each line whose first word may hold a message's bytes: cleared to 0 in the ring
  /// before the reader can come to look there for a header.
  std::vector<std::uint64_t> foreign_;
};

/// The reading end. One thread. Never writes to the ring.
class RingConsumer {
 public:
  explicit RingConsumer(std::span<const std::byte> ring);

  enum class State : std::uint8_t { kEmpty, kMessage, kBroken };
  struct Peeked {
    State state;
    std::span<const std::byte> message;  ///< in the ring, 8-byte aligned
  };
  /// The next message, which stays the next until pop().
  Peeked peek();
  /// Done with the message that peek() showed.
  void pop();
  /// Whether peek() would find something (a message or a breach).
  bool ready() const;

  /// The word to poll, and the tag that it will match when the next slot is there.
  const std::uint64_t* word() const { return word_; }
  std::uint64_t tag() const { return tag_; }

  /// The position to tell the producer, when a quarter of the ring has been consumed since last
  /// time: often enough that it never waits for what is free already.
  bool credit_due() const { return position_ - told_ >= lines_ / 4; }
  std::uint64_t take_credit() { return told_ = position_; }

 private:
  void move_to(std::uint64_t position);

  std::span<const std::byte> ring_;
  std::uint64_t lines_;
  std::uint64_t position_ = 0;
  std::uint64_t told_ = 0;
  std::uint64_t pending_lines_ = 0;  ///< lines of the message that peek() showed
  const std::uint64_t* word_ = nullptr;
  std::uint64_t tag_ = 0;
};

}  // namespace silurus::transport
