// SPDX-License-Identifier: Apache-2.0

// No #pragma once: as scan-inl.h, included once for each instruction set.
#if defined(SILURUS_RTREE_SPHERE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SILURUS_RTREE_SPHERE_INL_H
#undef SILURUS_RTREE_SPHERE_INL_H
#else
#define SILURUS_RTREE_SPHERE_INL_H
#endif

#include "rtree/sphere.h"

HWY_BEFORE_NAMESPACE();
namespace silurus::rtree {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// The sine of degrees between -90 and 90, to some units of the last place: its series up to the
/// 21st power, which is the same for every instruction set, and without a library's.
template <class Tag, class Vec>
HWY_INLINE Vec sine_of_degrees(Tag tag, Vec degrees) {
  constexpr double kTerms[] = {-1.0 / 6,
                               1.0 / 120,
                               -1.0 / 5040,
                               1.0 / 362880,
                               -1.0 / 39916800,
                               1.0 / 6227020800,
                               -1.0 / 1307674368000,
                               1.0 / 355687428096000,
                               -1.0 / 121645100408832000,
                               1.0 / 51090942171709440000.0};
  constexpr int kCount = sizeof kTerms / sizeof kTerms[0];
  const auto x = hn::Mul(degrees, hn::Set(tag, 0.017453292519943295769));
  const auto square = hn::Mul(x, x);
  auto sum = hn::Set(tag, kTerms[kCount - 1]);
  HWY_UNROLL(9)
  for (int i = kCount - 2; i >= 0; --i)
    sum = hn::Add(hn::Mul(sum, square), hn::Set(tag, kTerms[i]));
  return hn::Add(x, hn::Mul(x, hn::Mul(square, sum)));
}

template <class Tag, class Vec>
HWY_INLINE Vec squared(Tag, Vec v) {
  return hn::Mul(v, v);
}

/// Degrees of longitude from a point to boxes, 0 to 180.
template <class Tag, class Vec>
HWY_INLINE Vec longitude_gap(Tag tag, const SpherePoint& point, Vec west, Vec east) {
  const auto at = hn::Set(tag, point.longitude);
  const auto half = hn::Set(tag, 180.0);
  const auto zero = hn::Zero(tag);
  // Round the globe by way of the antimeridian, from which both are near where they are near to
  // each other: so no digits are lost there.
  const auto east_of = hn::Sub(west, at);
  const auto east_round = hn::Add(hn::Add(west, half), hn::Sub(half, at));
  const auto west_of = hn::Sub(at, east);
  const auto west_round = hn::Add(hn::Add(at, half), hn::Sub(half, east));
  const auto eastward = hn::IfThenElse(hn::Lt(east_of, zero), east_round, east_of);
  const auto westward = hn::IfThenElse(hn::Lt(west_of, zero), west_round, west_of);
  const auto is_inside = hn::Or(hn::And(hn::Le(west, at), hn::Le(at, east)),
                                hn::Le(hn::Set(tag, point.longitude + 360), east));
  const auto gap = hn::Min(hn::Max(hn::Min(eastward, westward), zero), half);
  return hn::IfThenElse(is_inside, zero, gap);
}

/// What the keys of some boxes, seen from a point, are made of.
template <class Tag>
class Arcs {
 public:
  using Vec = hn::Vec<Tag>;

  HWY_INLINE Arcs(Tag tag, const SpherePoint& point, Vec west, Vec east)
      : tag_(tag),
        sine_(hn::Set(tag, point.sine)),
        cosine_(hn::Set(tag, point.cosine)),
        latitude_(hn::Set(tag, point.latitude)),
        gap_(hn::Mul(longitude_gap(tag, point, west, east), hn::Set(tag, 0.5))),
        gap_sine_(sine_of_degrees(tag, gap_)),
        gap_haversine_(squared(tag, gap_sine_)) {}

  /// arc_key() of boxes that have these latitudes.
  HWY_INLINE Vec keys(Vec south, Vec north) const {
    const Vec half = hn::Set(tag_, 0.5);
    const Vec south_cosine = cosine_of(south);
    Vec north_cosine = south_cosine;
    Vec key = end(south, south_cosine);
    if (!hn::AllTrue(tag_, hn::Eq(south, north))) {
      north_cosine = cosine_of(north);
      key = with_foot(south, south_cosine, north, north_cosine,
                      hn::Min(key, end(north, north_cosine)));
    }
    const auto is_far = hn::Gt(key, half);
    if (hn::AllFalse(tag_, is_far)) return key;
    const Vec rest = hn::Max(lack(south, south_cosine), lack(north, north_cosine));
    const Vec far = hn::Div(hn::Set(tag_, 0.25), hn::Max(rest, hn::Set(tag_, 0x1p-100)));
    return hn::IfThenElse(is_far, hn::Max(far, half), key);
  }

  /// Keys of which no box of these latitudes has less, made with a third of the work: of a place
  /// that is as near in longitude, in latitude and to a pole as any of the box.
  HWY_INLINE Vec least_keys(Vec south, Vec north) const {
    const Vec half = hn::Set(tag_, 0.5);
    const Vec one = hn::Set(tag_, 1.0);
    const Vec gap =
        hn::Max(hn::Max(hn::Sub(south, latitude_), hn::Sub(latitude_, north)), hn::Zero(tag_));
    const Vec along = squared(tag_, sine_of_degrees(tag_, hn::Mul(gap, half)));
    const Vec least_cosine = cosine_of(hn::Max(hn::Abs(south), hn::Abs(north)));
    const Vec key = hn::Add(along, hn::Mul(hn::Mul(cosine_, least_cosine), gap_haversine_));
    // Near the antipodes this would be too great: the difference to 1 has few digits there.
    const Vec rest = hn::Max(hn::Sub(one, key), hn::Set(tag_, 0x1p-10));
    return hn::IfThenElse(hn::Gt(key, half), hn::Div(hn::Set(tag_, 0.25), rest), key);
  }

 private:
  /// Cosine of a latitude: exactly 0 at the poles.
  HWY_INLINE Vec cosine_of(Vec degrees) const {
    return sine_of_degrees(tag_, hn::Sub(hn::Set(tag_, 90.0), hn::Abs(degrees)));
  }
  HWY_INLINE Vec gap_cosine() const {
    return sine_of_degrees(tag_, hn::Sub(hn::Set(tag_, 90.0), gap_));
  }
  /// The haversine of the distance to an end of the nearer meridian of each box.
  HWY_INLINE Vec end(Vec edge, Vec edge_cosine) const {
    const Vec apart = hn::Mul(hn::Sub(edge, latitude_), hn::Set(tag_, 0.5));
    return hn::Add(squared(tag_, sine_of_degrees(tag_, apart)),
                   hn::Mul(hn::Mul(cosine_, edge_cosine), gap_haversine_));
  }
  /// What the haversine of an end lacks to 1.
  HWY_INLINE Vec lack(Vec edge, Vec edge_cosine) const {
    const Vec apart = hn::Mul(hn::Add(edge, latitude_), hn::Set(tag_, 0.5));
    return hn::Add(squared(tag_, sine_of_degrees(tag_, apart)),
                   hn::Mul(hn::Mul(cosine_, edge_cosine), squared(tag_, gap_cosine())));
  }
  /// The key of the nearer end, or where a great circle through the point meets the meridian
  /// between them at a right angle, of that foot.
  HWY_INLINE Vec with_foot(Vec south, Vec south_cosine, Vec north, Vec north_cosine,
                           Vec nearer_end) const {
    const Vec zero = hn::Zero(tag_);
    const Vec one = hn::Set(tag_, 1.0);
    const Vec whole_cosine = hn::Sub(one, hn::Add(gap_haversine_, gap_haversine_));
    const Vec level = hn::Mul(cosine_, whole_cosine);
    const auto above = [&](Vec edge, Vec edge_cosine) {
      return hn::Sub(hn::Mul(sine_, edge_cosine), hn::Mul(level, sine_of_degrees(tag_, edge)));
    };
    const auto is_between =
        hn::And(hn::Gt(whole_cosine, zero), hn::And(hn::Gt(above(south, south_cosine), zero),
                                                    hn::Lt(above(north, north_cosine), zero)));
    const auto is_beside = hn::And(hn::Le(south, latitude_), hn::Le(latitude_, north));
    const auto has_foot =
        hn::Or(hn::And(hn::Eq(gap_, zero), is_beside), hn::And(hn::Gt(gap_, zero), is_between));
    const Vec across = hn::Mul(cosine_, hn::Mul(hn::Add(gap_sine_, gap_sine_), gap_cosine()));
    const Vec square = squared(tag_, across);
    const Vec rest = hn::Sqrt(hn::Max(hn::Sub(one, square), zero));
    const Vec foot = hn::Div(square, hn::Add(hn::Set(tag_, 2.0), hn::Add(rest, rest)));
    return hn::IfThenElse(has_foot, foot, nearer_end);
  }

  const Tag tag_;
  const Vec sine_;
  const Vec cosine_;
  const Vec latitude_;
  const Vec gap_;  ///< half of that in longitude
  const Vec gap_sine_;
  const Vec gap_haversine_;
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace silurus::rtree
HWY_AFTER_NAMESPACE();

#endif  // SILURUS_RTREE_SPHERE_INL_H
