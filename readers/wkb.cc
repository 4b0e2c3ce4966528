// SPDX-License-Identifier: Apache-2.0

#include "readers/wkb.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "common/wkb_cursor.h"

namespace silurus::readers {
namespace {

constexpr int kMaxDepth = 16;  // depth of collections in collections

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
      case kWkbPoint:
        return walk_vertices(*head, 1, false);
      case kWkbLine:
        return walk_line(*head);
      case kWkbPolygon:
      case kWkbTriangle:
        return walk_parts(*head, [&] { return walk_line(*head); });
      case kWkbMultiPoint:
      case kWkbMultiLine:
      case kWkbMultiPolygon:
      case kWkbCollection:
      case kWkbPolyhedron:
      case kWkbTin:
        return walk_parts(*head, [&] { return walk_geometry(depth + 1); });
      default:
        return kUnknownType;
    }
  }

  template <typename Walk>
  std::string_view walk_parts(const WkbHead& head, Walk&& walk) {
    const auto count = cursor_.count(head.is_swapped);
    if (!count) return kCutOff;
    for (std::uint32_t i = 0; i < *count; ++i) {
      if (const auto wrong = walk(); !wrong.empty()) return wrong;
    }
    return {};
  }

  std::string_view walk_line(const WkbHead& head) {
    const auto count = cursor_.count(head.is_swapped);
    return count ? walk_vertices(head, *count, true) : kCutOff;
  }

  std::string_view walk_vertices(const WkbHead& head, std::uint32_t count, bool is_line) {
    const std::size_t size = head.ordinates() * sizeof(double);
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
      vertex[d] = WkbCursor::number_at(at + d * sizeof(double), is_swapped);
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

  WkbCursor cursor_;
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
  const auto head = WkbCursor(bytes).head();
  return head && head->type >= kWkbCircularString && head->type <= kWkbMultiSurface;
}

template std::string_view append_boxes_of_wkb<2>(std::span<const std::byte>, As,
                                                 std::vector<rtree::Box<2>>&);
template std::string_view append_boxes_of_wkb<3>(std::span<const std::byte>, As,
                                                 std::vector<rtree::Box<3>>&);

}  // namespace silurus::readers
