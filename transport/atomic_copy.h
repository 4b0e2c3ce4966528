#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace silurus::transport {

/// Copies memory that another process may be writing: each aligned 8-byte word of the source that
/// lies whole in it is read by one load, so it is never torn; no order among words is promised.
/// `from` and `to` are of one size.
inline void copy_words(std::span<const std::byte> from, std::span<std::byte> to) {
  const std::byte* source = from.data();
  std::byte* target = to.data();
  std::size_t left = from.size();
  // relaxed: pairs with nothing; a reader decides by content (root word, births, lease) what to
  // believe. acquire would cost nothing on x86 and promise nothing more for a remote read.
  const auto copy_byte = [&] {
    *target++ = std::atomic_ref<std::byte>(*const_cast<std::byte*>(source++))
                    .load(std::memory_order_relaxed);
    --left;
  };
  while (left != 0 && reinterpret_cast<std::uintptr_t>(source) % 8 != 0) copy_byte();
  for (; left >= 8; left -= 8, source += 8, target += 8) {
    const auto* word = reinterpret_cast<const std::uint64_t*>(source);
    const std::uint64_t value = std::atomic_ref<std::uint64_t>(*const_cast<std::uint64_t*>(word))
                                    .load(std::memory_order_relaxed);
    std::memcpy(target, &value, sizeof(value));
  }
  while (left != 0) copy_byte();
}

}  // namespace silurus::transport
