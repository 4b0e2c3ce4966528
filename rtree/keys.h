// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <cstdint>

// How leaves hold coordinates.

namespace silurus::rtree {

/// Maps finite doubles to integers of the same order: the bits, with those of negatives flipped but
/// for the sign. Its own inverse on the bits. -0.0 maps to -1, +0.0 to 0: a comparison takes
/// the key of the zero that makes `<=` and `>=` true for both (upper_key, lower_key).
constexpr std::int64_t order_key(double value) {
  const auto bits = std::bit_cast<std::int64_t>(value);
  return bits ^ ((bits >> 63) & INT64_MAX);
}
constexpr double from_order_key(std::int64_t key) {
  return std::bit_cast<double>(key ^ ((key >> 63) & INT64_MAX));
}

/// `x <= bound` is `order_key(x) <= upper_key(bound)`, zeros of both signs being equal.
constexpr std::int64_t upper_key(double bound) { return bound == 0 ? 0 : order_key(bound); }
/// `x >= bound` is `order_key(x) >= lower_key(bound)`.
constexpr std::int64_t lower_key(double bound) { return bound == 0 ? -1 : order_key(bound); }

/// The high word of a key orders as the key does; equal ones are told apart by the low word.
constexpr std::int32_t high_word(std::int64_t key) { return static_cast<std::int32_t>(key >> 32); }
constexpr std::uint32_t low_word(std::int64_t key) { return static_cast<std::uint32_t>(key); }
constexpr std::int64_t join_words(std::int32_t high, std::uint32_t low) {
  return static_cast<std::int64_t>(
      (static_cast<std::uint64_t>(static_cast<std::uint32_t>(high)) << 32) | low);
}

}  // namespace silurus::rtree
