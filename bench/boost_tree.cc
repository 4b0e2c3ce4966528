// SPDX-License-Identifier: Apache-2.0

#include "bench/boost_tree.h"

#include <boost/geometry.hpp>
#include <boost/geometry/geometries/box.hpp>
#include <boost/geometry/geometries/point.hpp>
#include <boost/geometry/index/rtree.hpp>
#include <iterator>
#include <utility>

namespace silurus::bench {
namespace {

namespace bg = boost::geometry;
namespace bgi = boost::geometry::index;

using BoostPoint = bg::model::point<double, 2, bg::cs::cartesian>;
using BoostBox = bg::model::box<BoostPoint>;
using Value = std::pair<BoostBox, std::uint64_t>;
using BoostRtree = bgi::rtree<Value, bgi::rstar<16>>;

BoostBox to_boost(const rtree::Box<2>& box) {
  return {{box.min[0], box.min[1]}, {box.max[0], box.max[1]}};
}
Value to_boost(const rtree::Entry<2>& entry) { return {to_boost(entry.box), entry.id}; }

/// Appends the ids of what a query finds: the least work that keeps the answer.
class AppendIds {
 public:
  using iterator_category = std::output_iterator_tag;
  using value_type = void;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = void;

  explicit AppendIds(std::vector<std::uint64_t>& ids) : ids_(&ids) {}
  AppendIds& operator=(const Value& value) {
    ids_->push_back(value.second);
    return *this;
  }
  AppendIds& operator*() { return *this; }
  AppendIds& operator++() { return *this; }
  AppendIds operator++(int) { return *this; }

 private:
  std::vector<std::uint64_t>* ids_;
};

}  // namespace

struct BoostTree::Impl {
  BoostRtree tree;
};

BoostTree::BoostTree() : impl_(std::make_unique<Impl>()) {}
BoostTree::~BoostTree() = default;
BoostTree::BoostTree(BoostTree&&) noexcept = default;
BoostTree& BoostTree::operator=(BoostTree&&) noexcept = default;

BoostTree BoostTree::packed(const std::vector<rtree::Entry<2>>& entries) {
  std::vector<Value> values;
  values.reserve(entries.size());
  for (const auto& entry : entries) values.push_back(to_boost(entry));
  BoostTree made;
  made.impl_->tree = BoostRtree(values.begin(), values.end());
  return made;
}

void BoostTree::insert(const rtree::Entry<2>& entry) { impl_->tree.insert(to_boost(entry)); }

void BoostTree::intersects(const rtree::Box<2>& window, std::vector<std::uint64_t>& ids) const {
  ids.clear();
  impl_->tree.query(bgi::intersects(to_boost(window)), AppendIds(ids));
}

void BoostTree::nearest(const rtree::Point<2>& point, unsigned k,
                        std::vector<rtree::Entry<2>>& found) const {
  std::vector<Value> values;
  impl_->tree.query(bgi::nearest(BoostPoint(point.at[0], point.at[1]), k),
                    std::back_inserter(values));
  found.clear();
  for (const Value& value : values) {
    const BoostPoint& min = value.first.min_corner();
    const BoostPoint& max = value.first.max_corner();
    found.push_back(
        {value.second, {{bg::get<0>(min), bg::get<1>(min)}, {bg::get<0>(max), bg::get<1>(max)}}});
  }
}

std::uint64_t BoostTree::intersects(const std::vector<rtree::Box<2>>& windows) const {
  std::vector<std::uint64_t> ids;
  std::uint64_t results = 0;
  for (const auto& window : windows) {
    intersects(window, ids);
    results += ids.size();
  }
  return results;
}

std::uint64_t BoostTree::nearest(const std::vector<rtree::Point<2>>& points, unsigned k) const {
  std::vector<std::uint64_t> ids;
  std::uint64_t results = 0;
  for (const auto& point : points) {
    ids.clear();
    impl_->tree.query(bgi::nearest(BoostPoint(point.at[0], point.at[1]), k), AppendIds(ids));
    results += ids.size();
  }
  return results;
}

}  // namespace silurus::bench
