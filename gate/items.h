// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "gate/http.h"
#include "gate/source.h"
#include "gate/target.h"

// Pages of features.

namespace silurus::gate {

/// Boxes of all entries of the versions that were asked for last; they take hundreds of searches to
/// find. Any thread.
class Extents {
 public:
  /// Nothing: the collection is empty.
  Result<std::optional<Area>> of(Source& source, const std::string& collection, int dimensions,
                                 Version version);

 private:
  static constexpr std::size_t kKept = 64;
  struct Known {
    std::string collection;
    Version version;
    std::optional<Area> extent;
  };
  std::mutex mutex_;
  std::deque<Known> known_;
};

/// The page that a request for /collections/{collection}/items asks for: GeoJSON that is made while
/// it is sent. All of its searches, and those of the pages behind its `next` link, are of one
/// version.
HttpAnswer answer_items(const Target& target, const std::string& base, const Collection& collection,
                        Source& source, Extents& extents);

}  // namespace silurus::gate
