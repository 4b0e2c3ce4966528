// SPDX-License-Identifier: Apache-2.0

#include "geometry/exact.h"

#include <array>
#include <cmath>

namespace silurus::geometry {
namespace {

/// A sum of doubles without rounding: its terms do not overlap and grow in magnitude (Shewchuk,
/// "grow-expansion").
class ExactSum {
 public:
  /// Adds a * b.
  void add_product(double a, double b) {
    const double product = a * b;
    add(std::fma(a, b, -product));
    add(product);
  }
  int sign() const {
    for (std::size_t i = count_; i-- > 0;) {
      if (terms_[i] != 0) return terms_[i] > 0 ? 1 : -1;
    }
    return 0;
  }

 private:
  void add(double number) {
    for (std::size_t i = 0; i < count_; ++i) {
      const double sum = number + terms_[i];
      const double of_term = sum - number;
      terms_[i] = (number - (sum - of_term)) + (terms_[i] - of_term);
      number = sum;
    }
    terms_[count_++] = number;
  }

  std::array<double, 12> terms_{};
  std::size_t count_ = 0;
};

}  // namespace

int side_of(const Vertex& a, const Vertex& b, const Vertex& c) {
  const double left = (a.x - c.x) * (b.y - c.y);
  const double right = (a.y - c.y) * (b.x - c.x);
  const double difference = left - right;
  constexpr double kBound = 3.3306690738754716e-16;  // (3 + 16 e) e, where e is 2^-53
  if (std::abs(difference) > kBound * (std::abs(left) + std::abs(right))) {
    return difference > 0 ? 1 : -1;
  }
  ExactSum sum;
  sum.add_product(a.x, b.y);
  sum.add_product(-a.y, b.x);
  sum.add_product(b.x, c.y);
  sum.add_product(-b.y, c.x);
  sum.add_product(c.x, a.y);
  sum.add_product(-c.y, a.x);
  return sum.sign();
}

bool is_on(const Vertex& vertex, const Edge& edge) {
  const auto box = box_of(edge);
  return vertex.x >= box.min[0] && vertex.x <= box.max[0] && vertex.y >= box.min[1] &&
         vertex.y <= box.max[1] && side_of(edge.from, edge.to, vertex) == 0;
}

bool is_before(const Edge& edge, const Vertex& a, const Vertex& b) {
  // the axis in which the edge is longer tells two of its points apart
  const double wide = edge.to.x - edge.from.x;
  const double high = edge.to.y - edge.from.y;
  if (std::abs(wide) >= std::abs(high)) return wide > 0 ? a.x < b.x : a.x > b.x;
  return high > 0 ? a.y < b.y : a.y > b.y;
}

namespace {

Contact overlap_of(const Edge& a, const Edge& b) {
  const bool is_opposite = is_before(a, b.to, b.from);
  const Vertex& enters = is_opposite ? b.to : b.from;
  const Vertex& leaves = is_opposite ? b.from : b.to;
  const Vertex& first = is_before(a, a.from, enters) ? enters : a.from;
  const Vertex& second = is_before(a, leaves, a.to) ? leaves : a.to;
  if (is_before(a, second, first)) return {};
  if (first == second) return {.kind = Contact::kTouch, .first = first, .second = first};
  return {.kind = Contact::kOverlap, .first = first, .second = second, .is_opposite = is_opposite};
}

}  // namespace

Contact contact_of(const Edge& a, const Edge& b) {
  if (!rtree::intersects(box_of(a), box_of(b))) return {};
  const int from_b = side_of(a.from, a.to, b.from);
  const int to_b = side_of(a.from, a.to, b.to);
  if (from_b == 0 && to_b == 0) return overlap_of(a, b);
  if (from_b * to_b > 0) return {};
  const int from_a = side_of(b.from, b.to, a.from);
  const int to_a = side_of(b.from, b.to, a.to);
  if (from_a * to_a > 0) return {};
  if (from_b != 0 && to_b != 0 && from_a != 0 && to_a != 0) return {.kind = Contact::kCross};
  // The lines are not parallel: an end of one on the line of the other is where they meet.
  const Vertex& at = from_b == 0 ? b.from : to_b == 0 ? b.to : from_a == 0 ? a.from : a.to;
  return {.kind = Contact::kTouch, .first = at, .second = at};
}

}  // namespace silurus::geometry
