// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/cluster/oracle.h"

#include <algorithm>

namespace silurus::simulation {

void Oracle::State::set(std::uint64_t id, const Box& box) {
  const auto [place, is_new] = places.emplace(id, entries.size());
  if (is_new) {
    entries.push_back({id, box});
  } else {
    entries[place->second].box = box;
  }
}

void Oracle::State::erase(std::uint64_t id) {
  const auto place = places.find(id);
  if (place == places.end()) return;
  entries[place->second] = entries.back();
  places[entries.back().id] = place->second;
  entries.pop_back();
  places.erase(id);
}

void Oracle::apply(State& state, const Operation& operation) {
  switch (operation.kind) {
    case protocol::OperationKind::kInsert:
      state.set(operation.id, operation.box);
      break;
    case protocol::OperationKind::kErase:
      state.erase(operation.id);
      break;
    case protocol::OperationKind::kUpdate:
      state.set(operation.id, operation.to);
      break;
    case protocol::OperationKind::kPut:
    case protocol::OperationKind::kUpdateById:
    case protocol::OperationKind::kEraseById:
      break;  // a cluster has no keyed collections
  }
}

std::string Oracle::check(const State& state, const Range& answer) const {
  std::set<std::uint64_t> expected;
  for (const auto& [id, box] : state.entries) {
    if (rtree::matches(answer.query, box)) expected.insert(id);
  }
  std::set<std::uint64_t> seen;
  for (const std::uint64_t id : answer.ids) {
    if (!seen.insert(id).second) return "found " + std::to_string(id) + " twice";
    if (!uncertain_.contains(id) && expected.erase(id) == 0) {
      return "found " + std::to_string(id) + ", which is not there";
    }
  }
  for (const std::uint64_t id : expected) {
    if (!uncertain_.contains(id)) return "missed " + std::to_string(id);
  }
  return {};
}

std::string Oracle::check(const State& state, const Nearest& answer) const {
  rtree::NearestResult expected;
  for (const auto& [id, box] : state.entries) {
    if (uncertain_.contains(id)) continue;
    expected.push_back({id, rtree::distance(answer.query.point, box)});
  }
  const auto nearer = [](const auto& a, const auto& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  };
  const auto first =
      static_cast<std::ptrdiff_t>(std::min<std::size_t>(answer.query.k, expected.size()));
  std::partial_sort(expected.begin(), expected.begin() + first, expected.end(), nearer);
  // What is uncertain may stand among the k; the others are the nearest of the rest.
  rtree::NearestResult certain;
  for (const auto& neighbor : answer.neighbors) {
    if (!uncertain_.contains(neighbor.id)) certain.push_back(neighbor);
  }
  if (answer.neighbors.size() > answer.query.k ||
      answer.neighbors.size() < static_cast<std::size_t>(first)) {
    return "found " + std::to_string(answer.neighbors.size()) + " neighbours";
  }
  for (std::size_t i = 0; i < certain.size(); ++i) {
    if (i >= expected.size() || !(certain[i] == expected[i])) {
      return "neighbour " + std::to_string(i) + " is " + std::to_string(certain[i].id) +
             ", expected " + (i < expected.size() ? std::to_string(expected[i].id) : "none");
    }
  }
  return {};
}

std::string Oracle::check() const {
  State state;
  for (const Entry& entry : initial_) state.set(entry.id, entry.box);
  auto change = changes_.begin();
  const auto advance_to = [&](Version version) {
    for (; change != changes_.end() && change->first <= version; ++change) {
      apply(state, change->second);
    }
  };
  const auto wrong = [](Version version, const auto& answer, const std::string& what) {
    return answer.whose + ": in version " + std::to_string(version) + " it " + what;
  };
  auto range = ranges_.begin();
  auto nearest = nearests_.begin();
  while (range != ranges_.end() || nearest != nearests_.end()) {
    const bool is_range =
        nearest == nearests_.end() || (range != ranges_.end() && range->first <= nearest->first);
    const Version version = is_range ? range->first : nearest->first;
    if (version < loaded_) return "an answer of version " + std::to_string(version);
    advance_to(version);
    const std::string what = is_range ? check(state, range->second) : check(state, nearest->second);
    if (!what.empty()) {
      return is_range ? wrong(version, range->second, what) : wrong(version, nearest->second, what);
    }
    is_range ? static_cast<void>(++range) : static_cast<void>(++nearest);
  }
  return {};
}

}  // namespace silurus::simulation
