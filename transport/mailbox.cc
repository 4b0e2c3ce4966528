// SPDX-License-Identifier: Apache-2.0

#include "transport/mailbox.h"

#include <atomic>
#include <cstring>

#include "common/check.h"

namespace silurus::transport {

void MailboxWriter::write(std::span<const std::byte> bytes) {
  SILURUS_CHECK(bytes.size() <= kMailboxBytes);
  std::array<std::uint64_t, kMailboxBytes / 8> words{};
  std::memcpy(words.data(), bytes.data(), bytes.size());
  auto& target = area_->words[++sequence_ % 2];
  for (std::size_t i = 0; i < words.size(); ++i) {
    // release: a reader that sees any of these words (acquire, below) also sees the sequence stored
    // before them, and so learns that its copy is being overwritten.
    std::atomic_ref<std::uint64_t>(target[i]).store(words[i], std::memory_order_release);
  }
  // release: pairs with the acquire load of the sequence in read_mailbox.
  std::atomic_ref<std::uint64_t>(area_->sequence).store(sequence_, std::memory_order_release);
}

bool read_mailbox(MailboxArea& area, std::array<std::byte, kMailboxBytes>& content) {
  constexpr int kTries = 1000;
  std::array<std::uint64_t, kMailboxBytes / 8> words;
  std::atomic_ref<std::uint64_t> sequence(area.sequence);
  for (int i = 0; i < kTries; ++i) {
    // acquire: pairs with the release store of the sequence in write().
    const std::uint64_t before = sequence.load(std::memory_order_acquire);
    if (before == 0) return false;
    for (std::size_t w = 0; w < words.size(); ++w) {
      // acquire: keeps the second look at the sequence behind these loads; see write().
      words[w] =
          std::atomic_ref<std::uint64_t>(area.words[before % 2][w]).load(std::memory_order_acquire);
    }
    if (sequence.load(std::memory_order_relaxed) == before) {
      std::memcpy(content.data(), words.data(), kMailboxBytes);
      return true;
    }
  }
  return false;
}

}  // namespace silurus::transport
