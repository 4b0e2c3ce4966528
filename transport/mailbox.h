// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "transport/fabric.h"

namespace silurus::transport {

/// Shared memory in which one writer keeps its newest 128 bytes for one reader. Two copies in turn:
/// the writer fills the one that is not current, then says that it is. A writer that dies half-way
/// leaves the older content whole.
struct MailboxArea {
  alignas(64) std::uint64_t sequence;  ///< 0: never written; copy number sequence % 2 is current
  alignas(64) std::uint64_t words[2][kMailboxBytes / 8];
};
static_assert(sizeof(MailboxArea) == 320 && kMailboxBytes % 8 == 0);

/// The writing side: keeps the sequence to itself, since the peer can write the area too.
class MailboxWriter {
 public:
  explicit MailboxWriter(MailboxArea& area) : area_(&area) {}
  /// At most kMailboxBytes; the rest becomes 0.
  void write(std::span<const std::byte> bytes);

 private:
  MailboxArea* area_;
  std::uint64_t sequence_ = 0;
};

/// The newest whole content; false if there is none (or a writer that never pauses: not ours).
bool read_mailbox(MailboxArea& area, std::array<std::byte, kMailboxBytes>& content);

}  // namespace silurus::transport
