// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#ifdef __x86_64__
#include <emmintrin.h>
#endif

namespace silurus::transport {

namespace detail {

// relaxed: pairs with nothing; a reader decides by content (root word, births, lease) what to
// believe, and of a remote read no more is promised either.
template <typename T>
T load_relaxed(const std::byte* from) {
  T* const at = reinterpret_cast<T*>(const_cast<std::byte*>(from));
  return std::atomic_ref<T>(*at).load(std::memory_order_relaxed);
}

/// Copies whole blocks of 64 bytes; the source is 16-byte aligned. Returns how many bytes.
inline std::size_t copy_blocks([[maybe_unused]] const std::byte* from,
                               [[maybe_unused]] std::byte* to, [[maybe_unused]] std::size_t bytes) {
#ifdef __x86_64__
  // An aligned 16-byte load is one access where there is AVX (Intel SDM 3A, 9.1.1; AMD APM 2,
  // 7.3.2), and elsewhere two of whole words. In assembler, lest the compiler choose otherwise.
  std::size_t done = 0;
  for (; done + 64 <= bytes; done += 64) {
    __m128i a, b, c, d;
    asm volatile(
        "movdqa (%4), %0\n\t"
        "movdqa 16(%4), %1\n\t"
        "movdqa 32(%4), %2\n\t"
        "movdqa 48(%4), %3"
        : "=&x"(a), "=&x"(b), "=&x"(c), "=&x"(d)
        : "r"(from + done)
        : "memory");
    auto* const target = reinterpret_cast<__m128i*>(to + done);
    _mm_storeu_si128(target, a);
    _mm_storeu_si128(target + 1, b);
    _mm_storeu_si128(target + 2, c);
    _mm_storeu_si128(target + 3, d);
  }
  return done;
#else
  return 0;
#endif
}

}  // namespace detail

/// Copies memory that another process may be writing: each aligned 8-byte word of the source that
/// lies whole in it is read by one load, so it is never torn; no order among words is promised.
/// `from` and `to` are of one size.
inline void copy_words(std::span<const std::byte> from, std::span<std::byte> to) {
  const std::byte* source = from.data();
  std::byte* target = to.data();
  std::size_t left = from.size();
  const auto advance = [&](std::size_t bytes) {
    source += bytes;
    target += bytes;
    left -= bytes;
  };
  const auto is_aligned = [&](std::size_t to_bytes) {
    return reinterpret_cast<std::uintptr_t>(source) % to_bytes == 0;
  };
  const auto copy_byte = [&] {
    *target = detail::load_relaxed<std::byte>(source);
    advance(1);
  };
  const auto copy_word = [&] {
    const auto word = detail::load_relaxed<std::uint64_t>(source);
    std::memcpy(target, &word, sizeof(word));
    advance(sizeof(word));
  };
  while (left != 0 && !is_aligned(8)) copy_byte();
  if (left >= 8 && !is_aligned(16)) copy_word();
  advance(detail::copy_blocks(source, target, left));
  while (left >= 8) copy_word();
  while (left != 0) copy_byte();
}

/// The other way: stores into memory that another process may be reading, word by word; both of one
/// size, a multiple of 8, and `to` 8-byte aligned.
inline void store_words(std::span<const std::byte> from, std::span<std::byte> to) {
  for (std::size_t done = 0; done < from.size(); done += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, from.data() + done, sizeof word);
    // relaxed: pairs with nothing; the reader verifies what it has copied. What is sent afterwards
    // (a message, a mailbox) is published by a release store of its own.
    std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(to.data() + done))
        .store(word, std::memory_order_relaxed);
  }
}

}  // namespace silurus::transport
