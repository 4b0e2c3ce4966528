// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "protocol/messages.h"
#include "rtree/geometry.h"

namespace silurus::simulation {

using Entry = rtree::Entry<2>;
using Box = rtree::Box<2>;
using Operation = protocol::Operation<2>;
using rtree::Version;

/// Knows what one run of a server held in each of its versions, from what was loaded into it and
/// from the answers to writes, and says at the end whether every answer to a search was right, by
/// brute force, in the very version that the answer states.
///
/// A write whose outcome its client never learnt may have happened or not: what it speaks of is
/// left out of every comparison. Writers use ids of their own, so the order of operations within a
/// version doesn't matter.
class Oracle {
 public:
  Oracle(Version version, std::vector<Entry> entries)
      : loaded_(version), initial_(std::move(entries)) {}

  void wrote(Version version, const Operation& operation) { changes_.emplace(version, operation); }
  void uncertain(const Operation& operation) { uncertain_.insert(operation.id); }
  /// The newest version that any answer so far has spoken of: no search that begins from now on may
  /// see an older one.
  Version newest() const { return newest_; }
  void saw(Version version) { newest_ = std::max(newest_, version); }

  void found(const rtree::RangeQuery<2>& query, std::vector<std::uint64_t> ids, Version version,
             std::string whose) {
    ranges_.insert({version, {query, std::move(ids), std::move(whose)}});
  }
  void found(const rtree::NearestQuery<2>& query, rtree::NearestResult neighbors, Version version,
             std::string whose) {
    nearests_.insert({version, {query, std::move(neighbors), std::move(whose)}});
  }

  /// What was wrong with the first answer that was; empty if none was.
  std::string check() const;
  std::size_t answers() const { return ranges_.size() + nearests_.size(); }

 private:
  /// All ids are different.
  struct State {
    std::vector<Entry> entries;
    std::map<std::uint64_t, std::size_t> places;
    void set(std::uint64_t id, const Box& box);
    void erase(std::uint64_t id);
  };
  struct Range {
    rtree::RangeQuery<2> query;
    std::vector<std::uint64_t> ids;
    std::string whose;
  };
  struct Nearest {
    rtree::NearestQuery<2> query;
    rtree::NearestResult neighbors;
    std::string whose;
  };
  static void apply(State& state, const Operation& operation);
  std::string check(const State& state, const Range& answer) const;
  std::string check(const State& state, const Nearest& answer) const;

  const Version loaded_;
  const std::vector<Entry> initial_;
  Version newest_ = 0;
  std::multimap<Version, Operation> changes_;
  std::set<std::uint64_t> uncertain_;
  std::multimap<Version, Range> ranges_;
  std::multimap<Version, Nearest> nearests_;
};

}  // namespace silurus::simulation
