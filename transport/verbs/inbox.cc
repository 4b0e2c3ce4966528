// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/inbox.h"

#include <xxhash.h>

#include <atomic>
#include <cstring>

#include "common/check.h"

namespace silurus::transport::verbs {
namespace {

std::uint64_t checksum(const MailboxSlot& slot) {
  return XXH3_64bits_withSeed(slot.content.data(), slot.content.size(), slot.sequence);
}

}  // namespace

std::size_t MailboxOut::fill(std::span<const std::byte> bytes) {
  SILURUS_CHECK(bytes.size() <= kMailboxBytes);
  MailboxSlot slot{};
  slot.sequence = ++sequence_;
  std::memcpy(slot.content.data(), bytes.data(), bytes.size());
  slot.checksum = checksum(slot);
  const std::size_t offset = sequence_ % 2 * kMailboxStride;
  std::memcpy(slots_.data() + offset, &slot, sizeof(slot));
  return offset;
}

bool MailboxIn::read(std::array<std::byte, kMailboxBytes>& content) {
  for (std::size_t i = 0; i < 2; ++i) {
    MailboxSlot slot;
    // A card may be writing while we copy: the checksum tells. Word by word, so that the compiler
    // does not assume that the memory stays as it is.
    std::array<std::uint64_t, sizeof(MailboxSlot) / 8> words;
    auto* from = reinterpret_cast<std::uint64_t*>(
        const_cast<std::byte*>(slots_.data() + i * kMailboxStride));
    for (std::size_t w = 0; w < words.size(); ++w) {
      // relaxed: no store of ours to pair with; the checksum orders.
      words[w] = std::atomic_ref<std::uint64_t>(from[w]).load(std::memory_order_relaxed);
    }
    std::memcpy(&slot, words.data(), sizeof(slot));
    if (slot.sequence <= newest_ || slot.sequence % 2 != i) continue;
    if (slot.checksum != checksum(slot)) continue;
    newest_ = slot.sequence;
    content_ = slot.content;
  }
  if (newest_ == 0) return false;
  content = content_;
  return true;
}

}  // namespace silurus::transport::verbs
