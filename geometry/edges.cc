// SPDX-License-Identifier: Apache-2.0

#include "geometry/edges.h"

#include <algorithm>
#include <limits>
#include <string>

namespace silurus::geometry {

Status Work::status() const {
  if (!is_spent()) return {};
  return fail(ErrorCode::kTooLarge,
              "the segments of the geometry lie across each other too often: more than " +
                  std::to_string(kMaxComparisons) + " pairs would have to be compared");
}

void Edges::add(const Line& line, std::uint32_t number) {
  for (std::size_t i = 1; i < line.size(); ++i) {
    const Edge edge{vertex_of(line[i - 1]), vertex_of(line[i]), number,
                    static_cast<std::uint32_t>(i - 1)};
    if (edge.from != edge.to) edges_.push_back(edge);
  }
}

void Edges::build() {
  const auto runs_of = [](std::size_t count, auto&& box_at) {
    std::vector<rtree::Box<2>> runs;
    for (std::size_t i = 0; i < count; ++i) {
      const rtree::Box<2> box = box_at(i);
      if (i % kFanout == 0) {
        runs.push_back(box);
        continue;
      }
      for (std::size_t d = 0; d < 2; ++d) {
        runs.back().min[d] = std::min(runs.back().min[d], box.min[d]);
        runs.back().max[d] = std::max(runs.back().max[d], box.max[d]);
      }
    }
    return runs;
  };
  for (std::size_t count = edges_.size(); count > kFanout; count = levels_.back().size()) {
    auto runs = levels_.empty() ? runs_of(count, [&](std::size_t i) { return box_of(edges_[i]); })
                                : runs_of(count, [&](std::size_t i) { return levels_.back()[i]; });
    levels_.push_back(std::move(runs));
  }
}

bool find_containing(const Edges& rings, const Vertex& vertex, std::uint32_t except, Work& work,
                     std::vector<std::uint32_t>& containing) {
  constexpr double kFar = std::numeric_limits<double>::infinity();
  std::vector<std::uint32_t> crossed;
  bool is_on_ring = false;
  const rtree::Box<2> ray{{vertex.x, vertex.y}, {kFar, vertex.y}};
  rings.visit(ray, work, [&](std::size_t i) {
    const Edge& edge = rings.at(i);
    if (edge.line == except) return true;
    const int side = side_of(edge.from, edge.to, vertex);
    if (side == 0 && is_on(vertex, edge)) {
      is_on_ring = true;
      return false;
    }
    const bool is_upward = edge.from.y <= vertex.y && edge.to.y > vertex.y;
    const bool is_downward = edge.to.y <= vertex.y && edge.from.y > vertex.y;
    if ((is_upward && side > 0) || (is_downward && side < 0)) crossed.push_back(edge.line);
    return true;
  });
  if (is_on_ring) return false;
  std::ranges::sort(crossed);
  for (auto at = crossed.begin(); at != crossed.end();) {
    const auto next = std::upper_bound(at, crossed.end(), *at);
    if ((next - at) % 2 == 1) containing.push_back(*at);
    at = next;
  }
  return true;
}

void Cutter::begin(const Edge& edge) {
  edge_ = edge;
  places_.assign({edge.from, edge.to});
  shared_.clear();
}

void Cutter::add(const Contact& contact) {
  if (contact.kind != Contact::kTouch && contact.kind != Contact::kOverlap) return;
  places_.push_back(contact.first);
  if (contact.kind == Contact::kTouch) return;
  places_.push_back(contact.second);
  shared_.emplace_back(contact.first, contact.second);
}

bool Cutter::meets(const Vertex& end) const {
  return std::find(places_.begin() + 2, places_.end(), end) != places_.end();
}

std::span<const Piece> Cutter::cut() {
  pieces_.clear();
  const auto is_earlier = [&](const Vertex& a, const Vertex& b) { return is_before(edge_, a, b); };
  std::ranges::sort(places_, is_earlier);
  places_.erase(std::unique(places_.begin(), places_.end()), places_.end());
  std::ranges::sort(shared_,
                    [&](const auto& a, const auto& b) { return is_earlier(a.first, b.first); });
  auto next = shared_.begin();
  Vertex shared_to = edge_.from;  // as far as what begins before the piece reaches
  for (std::size_t i = 1; i < places_.size(); ++i) {
    for (; next != shared_.end() && !is_earlier(places_[i - 1], next->first); ++next) {
      if (is_earlier(shared_to, next->second)) shared_to = next->second;
    }
    pieces_.push_back({places_[i - 1], places_[i], !is_earlier(shared_to, places_[i])});
  }
  return pieces_;
}

}  // namespace silurus::geometry
