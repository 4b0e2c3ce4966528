// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>

#include "common/result.h"
#include "geometry/prepared.h"
#include "geometry/where.h"
#include "silurus/answers.h"
#include "silurus/types.h"

namespace silurus::client {

/// What a FeatureQuery asks beside its window: prepared once, for all entries whose boxes meet
/// that.
template <int D>
class FeatureFilter {
 public:
  /// kInvalidArgument, kTooLarge, kUnsupported: the geometry or the condition.
  static Result<FeatureFilter> create(const FeatureQuery<D>& query);

  /// Entries whose boxes do not meet it, by the query's predicate, are none that are asked for.
  const Box<D>& window() const { return window_; }
  /// Whether it takes all of those that do.
  bool is_empty() const { return !geometry_ && !where_; }
  /// Leaves those of the entries that are asked for, at most as many. `found` has their records, or
  /// empty ones. kTooLarge: a geometry is compared with that has too many segments.
  Status keep(GetAnswer<D>& found, std::uint64_t limit) const;

 private:
  FeatureFilter(const Box<D>& window, Predicate predicate)
      : window_(window), predicate_(predicate) {}
  Result<bool> meets(const KeyedEntry<D>& entry, const Record& record) const;

  Box<D> window_;
  Predicate predicate_;
  std::optional<geometry::Prepared> geometry_;
  std::optional<geometry::Where> where_;
};

}  // namespace silurus::client
