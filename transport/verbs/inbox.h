// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "transport/fabric.h"
#include "transport/ring.h"

// The memory of one side of a connection that the peer writes, and the immediates that tell of it.
//
//   offset 0                 mailbox: two slots in turn
//   kRegionTableOffset       of a client: the server's regions; of a server: the client's window
//   ring_offset(role)        the message ring
//
// The sender keeps a copy of the same layout, from which it writes.

namespace silurus::transport::verbs {

/// One of the two copies of a mailbox, written whole by one RDMA write. The order in which the
/// bytes of a write become visible is the card's affair: the checksum says whether they all have.
struct MailboxSlot {
  std::uint64_t sequence;  ///< 0: never written; slot number sequence % 2
  std::uint64_t checksum;
  std::array<std::byte, kMailboxBytes> content;
};
static_assert(sizeof(MailboxSlot) == 144);

/// One region of the server's, as its clients learn of it; or a client's window, as its server
/// does.
struct RegionEntry {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint32_t key;
  std::uint32_t reserved;
};
static_assert(sizeof(RegionEntry) == 24 && std::has_unique_object_representations_v<RegionEntry>);

constexpr std::size_t kMailboxStride = 192;
constexpr std::uint32_t kMaxRegions = 1024;
constexpr std::size_t kRegionTableOffset = 512;
constexpr std::size_t kPageBytes = 4096;
static_assert(2 * kMailboxStride <= kRegionTableOffset && sizeof(MailboxSlot) <= kMailboxStride);

enum class Role : std::uint8_t { kClient, kServer };
/// Where the ring begins in the inbox of a client or a server.
constexpr std::size_t ring_offset(Role owner) {
  if (owner == Role::kServer) return kPageBytes;
  const std::size_t end = kRegionTableOffset + kMaxRegions * sizeof(RegionEntry);
  return (end + kPageBytes - 1) / kPageBytes * kPageBytes;
}
static_assert(kRegionTableOffset + sizeof(RegionEntry) <= ring_offset(Role::kServer));
constexpr std::size_t inbox_bytes(Role owner, std::uint32_t ring_bytes) {
  return ring_offset(owner) + ring_bytes;
}

/// What an immediate says.
enum class Notice : std::uint8_t {
  kMessage = 0,  ///< the next message is in the ring
  kCredit = 1,   ///< nothing but the credit that every notice carries
  kRegions = 2,  ///< the region table holds `value` entries (a client's: 1); no credit
  kClosing = 3,  ///< the sender's last
};

/// Notice in the upper 2 bits; in the lower 30 the credit: the lines that the sender has consumed
/// of the ring that it reads, modulo 2^30 (a ring has at most 2^12 of them).
struct Immediate {
  static constexpr std::uint32_t kValueBits = 30;
  static constexpr std::uint32_t kValueMask = (1u << kValueBits) - 1;
  static_assert(kMaxRingBytes / kLineBytes < kValueMask / 2 && kMaxRegions <= kValueMask);

  static constexpr std::uint32_t make(Notice notice, std::uint64_t value) {
    return static_cast<std::uint32_t>(notice) << kValueBits |
           (static_cast<std::uint32_t>(value) & kValueMask);
  }
  static constexpr Notice notice(std::uint32_t word) {
    return static_cast<Notice>(word >> kValueBits);
  }
  static constexpr std::uint32_t value(std::uint32_t word) { return word & kValueMask; }
  /// The position at or after `known` whose low bits are `value`.
  static constexpr std::uint64_t extend(std::uint64_t known, std::uint32_t value) {
    return known + ((value - static_cast<std::uint32_t>(known)) & kValueMask);
  }
};

/// Fills slots for the writing side.
class MailboxOut {
 public:
  /// `slots`: our copy of the peer's mailbox.
  explicit MailboxOut(std::span<std::byte> slots) : slots_(slots) {}
  /// At most kMailboxBytes; the rest becomes 0. Answers the offset of the slot to send.
  std::size_t fill(std::span<const std::byte> bytes);

 private:
  std::span<std::byte> slots_;
  std::uint64_t sequence_ = 0;
};

/// Reads the slots that the peer writes.
class MailboxIn {
 public:
  explicit MailboxIn(std::span<const std::byte> slots) : slots_(slots) {}
  /// The newest whole content; false if there has been none.
  bool read(std::array<std::byte, kMailboxBytes>& content);

 private:
  std::span<const std::byte> slots_;
  std::uint64_t newest_ = 0;
  std::array<std::byte, kMailboxBytes> content_{};
};

}  // namespace silurus::transport::verbs
