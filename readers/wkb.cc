// SPDX-License-Identifier: Apache-2.0

#include "readers/wkb.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>

namespace silurus::readers {
namespace {

constexpr std::uint32_t kFlagZ =
    0x80000000;  // has Z: flag of PostGIS and of OGC's older 2.5-D types
constexpr std::uint32_t kFlagM = 0x40000000;
constexpr std::uint32_t kFlagSrid = 0x20000000;
constexpr std::uint32_t kIsoStep = 1000;  // 1000 more: with Z; 2000: with M; 3000: both
constexpr int kMaxDepth = 16;             // depth of collections in collections
constexpr std::uint32_t kSridBytes = 4;

enum Type : std::uint32_t {
  kPoint = 1,
  kLine = 2,
  kPolygon = 3,
  kMultiPoint = 4,
  kMultiLine = 5,
  kMultiPolygon = 6,
  kCollection = 7,
  kCircularString = 8,
  kMultiSurface = 12,
  kPolyhedron = 15,
  kTin = 16,
  kTriangle = 17,
};

/// What a geometry begins with.
struct Head {
  bool is_swapped = false;
  std::uint32_t type = 0;
  bool has_z = false;
  std::size_t ordinates = 2;  // coordinates of one vertex
};

/// Reads numbers off the front of bytes.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> rest) : rest_(rest) {}

  std::size_t left() const { return rest_.size(); }
  const std::byte* take(std::size_t size) {
    const std::byte* at = rest_.data();
    rest_ = rest_.subspan(size);
    return at;
  }

  std::optional<std::uint32_t> count(bool is_swapped) {
    if (left() < sizeof(std::uint32_t)) return std::nullopt;
    std::uint32_t value = 0;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return is_swapped ? __builtin_bswap32(value) : value;
  }

  std::optional<Head> head() {
    if (left() == 0) return std::nullopt;
    const auto order = std::to_integer<unsigned>(*take(1));
    if (order > 1) return std::nullopt;
    constexpr bool kIsLittle = std::endian::native == std::endian::little;
    Head head{.is_swapped = (order == 1) != kIsLittle};
    const auto word = count(head.is_swapped);
    if (!word) return std::nullopt;
    const std::uint32_t number = *word & ~(kFlagZ | kFlagM | kFlagSrid);
    const std::uint32_t step = number / kIsoStep;
    if (step > 3) return std::nullopt;
    head.type = number % kIsoStep;
    head.has_z = (*word & kFlagZ) != 0 || step == 1 || step == 3;
    const bool has_m = (*word & kFlagM) != 0 || step >= 2;
    head.ordinates = 2u + (head.has_z ? 1 : 0) + (has_m ? 1 : 0);
    if ((*word & kFlagSrid) != 0) {
      if (left() < kSridBytes) return std::nullopt;
      take(kSridBytes);
    }
    return head;
  }

 private:
  std::span<const std::byte> rest_;
};

constexpr std::string_view kCutOff = "is cut off";
constexpr std::string_view kNoHead = "is no well-known binary";

template <int D>
class Walker {
 public:
  Walker(std::span<const std::byte> bytes, As as, std::vector<rtree::Box<D>>& boxes)
      : cursor_(bytes), as_(as), boxes_(boxes) {
    all_.min.fill(std::numeric_limits<double>::infinity());
    all_.max.fill(-std::numeric_limits<double>::infinity());
  }

  std::string_view walk() {
    if (const auto wrong = walk_geometry(0); !wrong.empty()) return wrong;
    if (!has_any_) return "is empty";
    if (as_ == As::kBoxes) boxes_.push_back(all_);
    return {};
  }

 private:
  std::string_view walk_geometry(int depth) {
    if (depth > kMaxDepth) return "has collections in more than 16 others";
    const auto head = cursor_.head();
    if (!head) return cursor_.left() == 0 ? kCutOff : kNoHead;
    if (D == 3 && !head->has_z) return "has no z, and the tree has three dimensions";
    switch (head->type) {
      case kPoint:
        return walk_vertices(*head, 1, false);
      case kLine:
        return walk_line(*head);
      case kPolygon:
      case kTriangle:
        return walk_parts(*head, [&] { return walk_line(*head); });
      case kMultiPoint:
      case kMultiLine:
      case kMultiPolygon:
      case kCollection:
      case kPolyhedron:
      case kTin:
        return walk_parts(*head, [&] { return walk_geometry(depth + 1); });
      default:
        return kUnknownType;
    }
  }

  template <typename Walk>
  std::string_view walk_parts(const Head& head, Walk&& walk) {
    const auto count = cursor_.count(head.is_swapped);
    if (!count) return kCutOff;
    for (std::uint32_t i = 0; i < *count; ++i) {
      if (const auto wrong = walk(); !wrong.empty()) return wrong;
    }
    return {};
  }

  std::string_view walk_line(const Head& head) {
    const auto count = cursor_.count(head.is_swapped);
    return count ? walk_vertices(head, *count, true) : kCutOff;
  }

  std::string_view walk_vertices(const Head& head, std::uint32_t count, bool is_line) {
    const std::size_t size = head.ordinates * sizeof(double);
    if (count > cursor_.left() / size) return kCutOff;
    std::array<double, D> last{};
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto vertex = vertex_at(cursor_.take(size), head.is_swapped);
      const auto is_finite = [](double value) { return std::isfinite(value); };
      if (!std::ranges::all_of(vertex, is_finite)) {
        // How an empty point is written.
        if (!is_line && std::isnan(vertex[0]) && std::isnan(vertex[1])) return {};
        return "has a coordinate that is not finite";
      }
      has_any_ = true;
      take_vertex(vertex, last, is_line && count > 1, i == 0);
      last = vertex;
    }
    return {};
  }

  static std::array<double, D> vertex_at(const std::byte* at, bool is_swapped) {
    std::array<double, D> vertex{};
    for (std::size_t d = 0; d < D; ++d) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, at + d * sizeof bits, sizeof bits);
      vertex[d] = std::bit_cast<double>(is_swapped ? __builtin_bswap64(bits) : bits);
    }
    return vertex;
  }

  void take_vertex(const std::array<double, D>& vertex, const std::array<double, D>& last,
                   bool is_of_segment, bool is_first) {
    if (as_ == As::kBoxes) {
      for (std::size_t d = 0; d < D; ++d) {
        all_.min[d] = std::min(all_.min[d], vertex[d]);
        all_.max[d] = std::max(all_.max[d], vertex[d]);
      }
      return;
    }
    const bool is_segment = as_ == As::kSegments && is_of_segment;
    if (is_segment && is_first) return;
    rtree::Box<D> box;
    for (std::size_t d = 0; d < D; ++d) {
      box.min[d] = is_segment ? std::min(vertex[d], last[d]) : vertex[d];
      box.max[d] = is_segment ? std::max(vertex[d], last[d]) : vertex[d];
    }
    boxes_.push_back(box);
  }

  Cursor cursor_;
  As as_;
  std::vector<rtree::Box<D>>& boxes_;
  rtree::Box<D> all_;
  bool has_any_ = false;  // vertex
};

}  // namespace

template <int D>
std::string_view append_boxes_of_wkb(std::span<const std::byte> bytes, As as,
                                     std::vector<rtree::Box<D>>& boxes) {
  return Walker<D>(bytes, as, boxes).walk();
}

bool is_curved_wkb(std::span<const std::byte> bytes) {
  const auto head = Cursor(bytes).head();
  return head && head->type >= kCircularString && head->type <= kMultiSurface;
}

template std::string_view append_boxes_of_wkb<2>(std::span<const std::byte>, As,
                                                 std::vector<rtree::Box<2>>&);
template std::string_view append_boxes_of_wkb<3>(std::span<const std::byte>, As,
                                                 std::vector<rtree::Box<3>>&);

}  // namespace silurus::readers
