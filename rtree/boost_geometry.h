// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <boost/geometry/core/access.hpp>
#include <boost/geometry/core/coordinate_dimension.hpp>
#include <boost/geometry/core/coordinate_system.hpp>
#include <boost/geometry/core/coordinate_type.hpp>
#include <boost/geometry/core/cs.hpp>
#include <boost/geometry/core/point_type.hpp>
#include <boost/geometry/core/tag.hpp>
#include <boost/geometry/core/tags.hpp>

#include "rtree/geometry.h"

// Makes Point<D> and Box<D> a Boost.Geometry point and box, in both directions: Boost's algorithms
// take them, and from_boost() takes any of Boost's (or yours that are registered with it). Include
// it where you need it; nothing else here does, for Boost's headers are slow to compile.

namespace boost::geometry::traits {

template <int D>
struct tag<silurus::rtree::Point<D>> {
  using type = point_tag;
};
template <int D>
struct coordinate_type<silurus::rtree::Point<D>> {
  using type = double;
};
template <int D>
struct coordinate_system<silurus::rtree::Point<D>> {
  using type = cs::cartesian;
};
template <int D>
struct dimension<silurus::rtree::Point<D>> : std::integral_constant<std::size_t, D> {};
template <int D, std::size_t I>
struct access<silurus::rtree::Point<D>, I> {
  static double get(const silurus::rtree::Point<D>& point) { return point.at[I]; }
  static void set(silurus::rtree::Point<D>& point, double value) { point.at[I] = value; }
};

template <int D>
struct tag<silurus::rtree::Box<D>> {
  using type = box_tag;
};
template <int D>
struct point_type<silurus::rtree::Box<D>> {
  using type = silurus::rtree::Point<D>;
};
template <int D, std::size_t I>
struct indexed_access<silurus::rtree::Box<D>, min_corner, I> {
  static double get(const silurus::rtree::Box<D>& box) { return box.min[I]; }
  static void set(silurus::rtree::Box<D>& box, double value) { box.min[I] = value; }
};
template <int D, std::size_t I>
struct indexed_access<silurus::rtree::Box<D>, max_corner, I> {
  static double get(const silurus::rtree::Box<D>& box) { return box.max[I]; }
  static void set(silurus::rtree::Box<D>& box, double value) { box.max[I] = value; }
};

}  // namespace boost::geometry::traits

namespace silurus::rtree {
namespace boost_geometry_detail {

template <std::size_t... I, typename Point>
auto point_from(std::index_sequence<I...>, const Point& point) {
  silurus::rtree::Point<static_cast<int>(sizeof...(I))> out;
  ((out.at[I] = static_cast<double>(boost::geometry::get<I>(point))), ...);
  return out;
}

template <std::size_t... I, typename Box>
auto box_from(std::index_sequence<I...>, const Box& box) {
  silurus::rtree::Box<static_cast<int>(sizeof...(I))> out;
  using boost::geometry::max_corner;
  using boost::geometry::min_corner;
  ((out.min[I] = static_cast<double>(boost::geometry::get<min_corner, I>(box))), ...);
  ((out.max[I] = static_cast<double>(boost::geometry::get<max_corner, I>(box))), ...);
  return out;
}

}  // namespace boost_geometry_detail

/// A point or box of Boost.Geometry, or of any type registered with it, as ours.
template <typename Geometry>
auto from_boost(const Geometry& geometry) {
  using boost::geometry::box_tag;
  constexpr std::size_t kDimension = boost::geometry::dimension<Geometry>::value;
  constexpr auto kAxes = std::make_index_sequence<kDimension>();
  if constexpr (std::is_same_v<typename boost::geometry::tag<Geometry>::type, box_tag>) {
    return boost_geometry_detail::box_from(kAxes, geometry);
  } else {
    return boost_geometry_detail::point_from(kAxes, geometry);
  }
}

}  // namespace silurus::rtree
