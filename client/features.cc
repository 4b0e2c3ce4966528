// SPDX-License-Identifier: Apache-2.0

#include "client/features.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "common/json.h"
#include "geometry/wkb.h"

namespace silurus::client {
namespace {

Result<geometry::Geometry> geometry_of_wkb(const std::string& wkb, geometry::Checks checks) {
  return geometry::read_wkb(std::as_bytes(std::span(wkb)), checks);
}

}  // namespace

template <int D>
Result<FeatureFilter<D>> FeatureFilter<D>::create(const FeatureQuery<D>& query) {
  FeatureFilter filter(query.window, query.predicate);
  if (!query.geometry.empty()) {
    if (D != 2) return fail(ErrorCode::kUnsupported, "geometries are compared in two dimensions");
    const auto geometry = geometry_of_wkb(query.geometry, geometry::Checks::kAll);
    if (!geometry) return fail(geometry.error().code, "geometry: " + geometry.error().message);
    const auto box = geometry::box_of<D>(*geometry);
    if (!box) return fail(ErrorCode::kInvalidArgument, "geometry: it is empty");
    filter.window_ = *box;
    filter.geometry_.emplace(*geometry);
  }
  if (!query.where.empty()) {
    auto where = geometry::Where::parse(query.where);
    if (!where) return fail(where.error().code, "where: " + where.error().message);
    filter.where_ = std::move(*where);
  }
  return filter;
}

template <int D>
Result<bool> FeatureFilter<D>::meets(const KeyedEntry<D>& entry, const Record& record) const {
  if (where_ && !where_->matches(parse_json(record.properties))) return false;
  if (!geometry_) return true;
  // Its box is all that there is, and has met the window.
  const bool is_round = entry.box.min[0] > entry.box.max[0];
  if (record.geometry.empty() && is_round) return true;
  const auto geometry = record.geometry.empty()
                            ? Result<geometry::Geometry>(geometry::geometry_of(entry.box))
                            : geometry_of_wkb(record.geometry, geometry::Checks::kForm);
  if (!geometry) return fail(geometry.error());
  switch (predicate_) {
    case Predicate::kIntersects:
      return geometry_->intersects(*geometry);
    case Predicate::kWithin:
      return geometry_->within(*geometry);
    case Predicate::kContains:
      return geometry_->contains(*geometry);
  }
  return false;
}

template <int D>
Status FeatureFilter<D>::keep(GetAnswer<D>& found, std::uint64_t limit) const {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < found.entries.size() && kept < limit; ++i) {
    const auto met = meets(found.entries[i], found.records[i]);
    if (!met) {
      return fail(met.error().code,
                  "id " + std::to_string(found.entries[i].id) + ": " + met.error().message);
    }
    if (!*met) continue;
    if (kept != i) {
      found.entries[kept] = found.entries[i];
      found.records[kept] = std::move(found.records[i]);
    }
    ++kept;
  }
  found.entries.resize(kept);
  found.records.resize(kept);
  return {};
}

template class FeatureFilter<2>;
template class FeatureFilter<3>;

}  // namespace silurus::client
