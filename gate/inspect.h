// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "gate/http.h"
#include "gate/source.h"
#include "gate/target.h"

// What the page asks besides features, tiles and metrics; as JSON.

namespace silurus::gate {

/// Versions that are listed at most.
constexpr std::size_t kMostVersions = 1'000;

/// What became of the entries of a window from one version to another.
struct Changes {
  std::vector<Entry<3>> inserted = {};
  std::vector<Entry<3>> erased = {};
  std::vector<std::pair<Entry<3>, Entry<3>>> moved = {};  ///< the same id at another box
};
/// Entries that are equal in id and box are taken as the same one. Pure.
Changes changes_of(std::vector<Entry<3>> before, std::vector<Entry<3>> after);

/// The versions of a collection that can be asked, oldest first; kMostVersions of them at most, as
/// far from each other as they are many.
HttpAnswer answer_versions(const Target& target, const Collection& collection, Source& source);

/// One search (`bbox`) by each way, and what each took.
HttpAnswer answer_ways(const Target& target, const Collection& collection, Source& source);

/// What changed between two versions (`from`, `to`): how much in all, and the boxes of those within
/// a window (`bbox`), unless it has more than kMostChanged entries.
HttpAnswer answer_changes(const Target& target, const Collection& collection, Source& source);

/// The server's group of replicas.
HttpAnswer answer_cluster(const Target& target, Source& source);

}  // namespace silurus::gate
