// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "common/result.h"
#include "gate/source.h"

namespace silurus::gate {

/// A collection "default" in the test's memory, searched by looking at every entry.
class FakeSource : public Source {
 public:
  explicit FakeSource(std::vector<Entry<3>> entries, int dimensions = 2)
      : dimensions_(dimensions), versions_{{1, std::move(entries)}} {}

  /// A new version, which has an entry more.
  void insert(const Entry<3>& entry) {
    auto entries = versions_.rbegin()->second;
    entries.push_back(entry);
    versions_[versions_.rbegin()->first + 1] = std::move(entries);
  }
  void forget(Version version) { versions_.erase(version); }
  void go_away() { is_away_ = true; }
  std::size_t searches() const { return searches_; }
  std::size_t most_found() const { return most_found_; }

  Result<std::vector<Collection>> collections() override {
    const auto found = find("default");
    if (!found) return fail(found.error());
    return std::vector<Collection>{*found};
  }
  Result<Collection> find(const std::string& collection) override {
    if (is_away_) return fail(ErrorCode::kUnavailable, "the server is away");
    if (collection != "default") return fail(ErrorCode::kNotFound, "there is no such collection");
    const auto& [version, entries] = *versions_.rbegin();
    return Collection{.name = "default",
                      .dimensions = dimensions_,
                      .entries = entries.size(),
                      .version = version};
  }
  Result<Found> range(const std::string&, const Area& window, const Search& search) override {
    if (is_away_) return fail(ErrorCode::kUnavailable, "the server is away");
    ++searches_;
    const Version version = search.as_of == 0 ? versions_.rbegin()->first : search.as_of;
    const auto entries = versions_.find(version);
    if (entries == versions_.end()) {
      return fail(ErrorCode::kNotFound, std::string(kGonePrefix) + "it is not kept");
    }
    Found found{.version = version};
    for (const Entry<3>& entry : entries->second) {
      if (found.count == search.limit) break;
      if (!meets(entry.box, window)) continue;
      ++found.count;
      if (search.shape == ResultShape::kEntries) found.entries.push_back(entry);
    }
    most_found_ = std::max(most_found_, found.entries.size());
    return found;
  }
  Result<NearestAnswer> nearest(const std::string&, const Point<3>&, std::uint32_t,
                                Moment) override {
    return fail(ErrorCode::kUnsupported, "not faked");
  }
  Result<std::vector<KeptVersion>> history(const std::string&) override {
    std::vector<KeptVersion> kept;
    for (const auto& [version, entries] : versions_) {
      kept.push_back({.version = version,
                      .unix_ns = 1'796'169'600'250 * kMillisecond,
                      .entries = entries.size()});
    }
    return kept;
  }
  /// As a server that allows no one-sided reads.
  Result<std::vector<Way>> compare(const std::string&, const Area& window, Moment as_of) override {
    if (as_of != 0) return fail(ErrorCode::kNotFound, "the version is not kept");
    return std::vector<Way>{{.name = "message", .took = "message", .count = in(window).size()},
                            {.name = "one-sided", .problem = "no one-sided reads here"}};
  }
  Result<Difference> difference(const std::string&, Moment from, Moment to) override {
    const auto before = versions_.find(from);
    const auto after = versions_.find(to);
    if (before == versions_.end() || after == versions_.end()) {
      return fail(ErrorCode::kNotFound, "the version is not kept");
    }
    Difference difference;
    difference.from = from;
    difference.to = to;
    for (std::size_t i = before->second.size(); i < after->second.size(); ++i) {
      difference.inserted.push_back(after->second[i].id);
    }
    return difference;
  }
  Result<GroupInfo> cluster() override {
    if (is_away_) return fail(ErrorCode::kUnavailable, "the server is away");
    return GroupInfo{.epoch = 3,
                     .self = "a",
                     .primary = "b",
                     .role = "backup",
                     .members = {{.id = "b", .url = "tcp://b:1", .is_in_view = true}},
                     .json = R"({"committed_lsn":7,"members":[{"applied_lsn":4}]})"};
  }
  Result<ServerStatistics> server_statistics() override {
    if (is_away_) return fail(ErrorCode::kUnavailable, "the server is away");
    return ServerStatistics{.state = "serving", .json = R"({"version":1,"entries":2})"};
  }
  ClientStatistics statistics() const override { return {}; }

  /// All that meet a window, whatever the order.
  std::vector<Entry<3>> in(const Area& window) const {
    std::vector<Entry<3>> all;
    for (const Entry<3>& entry : versions_.rbegin()->second) {
      if (meets(entry.box, window)) all.push_back(entry);
    }
    return all;
  }

 private:
  static bool meets(const Area& a, const Area& b) {
    for (std::size_t d = 0; d < 3; ++d) {
      if (a.min[d] > b.max[d] || b.min[d] > a.max[d]) return false;
    }
    return true;
  }

  const int dimensions_;
  std::map<Version, std::vector<Entry<3>>> versions_;
  bool is_away_ = false;
  std::size_t searches_ = 0;
  std::size_t most_found_ = 0;
};

inline std::vector<Entry<3>> one_entry() { return {{.id = 1, .box = {}}}; }

/// Boxes of all sizes within (-180, -90) to (180, 90), some of them equal, some points, ids that
/// repeat.
inline std::vector<Entry<3>> random_entries(Random& random, std::size_t count) {
  std::vector<Entry<3>> entries;
  while (entries.size() < count) {
    Entry<3> entry{.id = random.below(count), .box = {}};
    const double size = std::pow(10.0, random.uniform(-4, 2));
    for (std::size_t d = 0; d < 2; ++d) {
      const double edge = d == 0 ? 180 : 90;
      const double low = random.uniform(-edge, edge);
      entry.box.min[d] = low;
      entry.box.max[d] = std::min(edge, low + (random.below(3) == 0 ? 0 : size));
    }
    const std::uint64_t copies = random.below(50) == 0 ? 5 : 1;
    for (std::uint64_t i = 0; i < copies; ++i) entries.push_back(entry);
  }
  return entries;
}

}  // namespace silurus::gate
