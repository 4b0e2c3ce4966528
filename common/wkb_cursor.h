// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

// Well-known binary (OGC 06-103r4, and PostGIS's flags), front to back: what its parsers share.

namespace silurus {

/// Numbers of types; those of curves lie between.
enum WkbType : std::uint32_t {
  kWkbPoint = 1,
  kWkbLine = 2,
  kWkbPolygon = 3,
  kWkbMultiPoint = 4,
  kWkbMultiLine = 5,
  kWkbMultiPolygon = 6,
  kWkbCollection = 7,
  kWkbCircularString = 8,
  kWkbMultiSurface = 12,
  kWkbPolyhedron = 15,
  kWkbTin = 16,
  kWkbTriangle = 17,
};
/// A type with Z is this much more, one with M twice this, one with both three times.
inline constexpr std::uint32_t kWkbStep = 1000;

/// What a geometry begins with.
struct WkbHead {
  bool is_swapped = false;  ///< its numbers are in the other order of bytes than the machine's
  std::uint32_t type = 0;   ///< without what says Z, M or SRID
  bool has_z = false;
  bool has_m = false;
  std::size_t ordinates() const { return 2u + (has_z ? 1 : 0) + (has_m ? 1 : 0); }
};

/// Reads numbers off the front of bytes.
class WkbCursor {
 public:
  explicit WkbCursor(std::span<const std::byte> rest) : rest_(rest) {}

  std::size_t left() const { return rest_.size(); }
  /// The next `size` bytes, as many as which must be left.
  const std::byte* take(std::size_t size) {
    const std::byte* at = rest_.data();
    rest_ = rest_.subspan(size);
    return at;
  }

  /// Nothing at the end.
  std::optional<std::uint32_t> count(bool is_swapped) {
    if (left() < sizeof(std::uint32_t)) return std::nullopt;
    std::uint32_t value = 0;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return is_swapped ? __builtin_bswap32(value) : value;
  }

  /// Order of bytes and type; a SRID is passed over. Nothing for what is no such head.
  std::optional<WkbHead> head() {
    if (left() == 0) return std::nullopt;
    const auto order = std::to_integer<unsigned>(*take(1));
    if (order > 1) return std::nullopt;
    constexpr bool kIsLittle = std::endian::native == std::endian::little;
    WkbHead head{.is_swapped = (order == 1) != kIsLittle};
    const auto word = count(head.is_swapped);
    if (!word) return std::nullopt;
    const std::uint32_t number = *word & ~(kFlagZ | kFlagM | kFlagSrid);
    const std::uint32_t step = number / kWkbStep;
    if (step > 3) return std::nullopt;
    head.type = number % kWkbStep;
    head.has_z = (*word & kFlagZ) != 0 || step == 1 || step == 3;
    head.has_m = (*word & kFlagM) != 0 || step >= 2;
    if ((*word & kFlagSrid) != 0) {
      if (left() < kSridBytes) return std::nullopt;
      take(kSridBytes);
    }
    return head;
  }

  /// The number that begins at `at`.
  static double number_at(const std::byte* at, bool is_swapped) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, at, sizeof bits);
    return std::bit_cast<double>(is_swapped ? __builtin_bswap64(bits) : bits);
  }

 private:
  static constexpr std::uint32_t kFlagZ =
      0x80000000;  // as PostGIS and OGC's older 2.5-D types have it
  static constexpr std::uint32_t kFlagM = 0x40000000;
  static constexpr std::uint32_t kFlagSrid = 0x20000000;
  static constexpr std::size_t kSridBytes = 4;

  std::span<const std::byte> rest_;
};

}  // namespace silurus
