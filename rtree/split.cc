// SPDX-License-Identifier: Apache-2.0

#include "rtree/split.h"

#include <algorithm>
#include <array>
#include <limits>

#include "common/check.h"

namespace silurus::rtree {
namespace {

template <int D>
double margin(const Box<D>& box) {
  double sum = 0;
  for (int d = 0; d < D; ++d) sum += box.max[d] - box.min[d];
  return sum;
}

template <int D>
double area(const Box<D>& box) {
  double product = 1;
  for (int d = 0; d < D; ++d) product *= box.max[d] - box.min[d];
  return product;
}

template <int D>
double overlap(const Box<D>& a, const Box<D>& b) {
  double product = 1;
  for (int d = 0; d < D; ++d) {
    product *= std::max(0.0, std::min(a.max[d], b.max[d]) - std::max(a.min[d], b.min[d]));
  }
  return product;
}

/// One order of the items, and the boxes of its first and of its last ones.
template <int D>
struct Order {
  std::array<std::uint8_t, kMaxSplitItems<D>> item;
  std::array<Box<D>, kMaxSplitItems<D>> first;  ///< [i]: of items 0..i
  std::array<Box<D>, kMaxSplitItems<D>> last;   ///< [i]: of items i..n-1

  void sort(std::span<const SplitItem<D>> items, int axis, bool by_max) {
    const auto n = static_cast<std::uint32_t>(items.size());
    for (std::uint32_t i = 0; i < n; ++i) item[i] = static_cast<std::uint8_t>(i);
    std::sort(item.begin(), item.begin() + n, [&](std::uint8_t a, std::uint8_t b) {
      const Box<D>& left = items[a].box;
      const Box<D>& right = items[b].box;
      const double x = by_max ? left.max[axis] : left.min[axis];
      const double y = by_max ? right.max[axis] : right.min[axis];
      if (x != y) return x < y;
      const std::uint64_t left_id = items[a].ids.least;
      const std::uint64_t right_id = items[b].ids.least;
      return left_id != right_id ? left_id < right_id : a < b;
    });
    first[0] = items[item[0]].box;
    for (std::uint32_t i = 1; i < n; ++i) {
      first[i] = first[i - 1];
      extend(first[i], items[item[i]].box);
    }
    last[n - 1] = items[item[n - 1]].box;
    for (std::uint32_t i = n - 1; i-- > 0;) {
      last[i] = last[i + 1];
      extend(last[i], items[item[i]].box);
    }
  }
};
static_assert(kMaxSplitItems<2> <= 256 && kMaxSplitItems<3> <= 256);

/// How good a cut of an order is: the least one is taken.
struct Cut {
  double overlap;
  double area;
  double margin;
  std::uint32_t distance;  ///< from where one would cut if all else were equal
  friend bool operator<(const Cut& a, const Cut& b) {
    if (a.overlap != b.overlap) return a.overlap < b.overlap;
    if (a.area != b.area) return a.area < b.area;
    if (a.margin != b.margin) return a.margin < b.margin;
    return a.distance < b.distance;
  }
};

}  // namespace

template <int D>
std::uint32_t split_items(std::span<SplitItem<D>> items, std::uint32_t minimum,
                          std::uint32_t maximum, bool is_last_new) {
  const auto n = static_cast<std::uint32_t>(items.size());
  const std::uint32_t low = std::max(minimum, n > maximum ? n - maximum : 0);
  const std::uint32_t high = n - low;
  SILURUS_CHECK(n <= kMaxSplitItems<D> && low >= 1 && low <= high);
  Order<D> order;
  Order<D> best_order;
  double best_margin = std::numeric_limits<double>::infinity();
  std::uint32_t best_size = 0;
  for (int axis = 0; axis < D; ++axis) {
    double margins = 0;
    Cut least{};
    Order<D> axis_order;
    std::uint32_t axis_size = 0;
    for (const bool by_max : {false, true}) {
      order.sort(items, axis, by_max);
      std::uint32_t middle = n / 2;
      if (is_last_new && order.item[n - 1] == n - 1) middle = high;
      if (is_last_new && order.item[0] == n - 1) middle = low;
      bool better = false;
      for (std::uint32_t size = low; size <= high; ++size) {
        const Box<D>& a = order.first[size - 1];
        const Box<D>& b = order.last[size];
        const double both_margins = margin(a) + margin(b);
        margins += both_margins;
        const Cut cut{overlap(a, b), area(a) + area(b), both_margins,
                      std::max(size, middle) - std::min(size, middle)};
        if (axis_size == 0 || cut < least) {
          least = cut;
          axis_size = size;
          better = true;
        }
      }
      if (better) axis_order.item = order.item;
    }
    if (best_size == 0 || margins < best_margin) {
      best_margin = margins;
      best_size = axis_size;
      best_order.item = axis_order.item;
    }
  }
  std::array<SplitItem<D>, kMaxSplitItems<D>> reordered;
  for (std::uint32_t i = 0; i < n; ++i) reordered[i] = items[best_order.item[i]];
  std::copy_n(reordered.begin(), n, items.begin());
  return best_size;
}

template <int D>
Box<D> bounds_of_entries(const Node<D>& leaf) {
  Box<D> bounds;
  for (int d = 0; d < D; ++d) {
    std::int64_t min = INT64_MAX;
    std::int64_t max = INT64_MIN;
    for (std::uint32_t i = 0; i < leaf.count(); ++i) {
      min = std::min(min, leaf.key(2 * d, i));
      max = std::max(max, leaf.key(2 * d + 1, i));
    }
    bounds.min[d] = from_order_key(min);
    bounds.max[d] = from_order_key(max);
  }
  return bounds;
}

template std::uint32_t split_items(std::span<SplitItem<2>>, std::uint32_t, std::uint32_t, bool);
template std::uint32_t split_items(std::span<SplitItem<3>>, std::uint32_t, std::uint32_t, bool);
template Box<2> bounds_of_entries(const Node<2>&);
template Box<3> bounds_of_entries(const Node<3>&);

}  // namespace silurus::rtree
