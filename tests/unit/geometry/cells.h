// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "common/random.h"
#include "geometry/geometry.h"

namespace silurus::geometry {

/// A place of a grid.
struct Grid {
  int x = 0;
  int y = 0;
  friend auto operator<=>(const Grid&, const Grid&) = default;
  friend Grid operator+(const Grid& a, const Grid& b) { return {a.x + b.x, a.y + b.y}; }
};

/// Cells of a grid that are set, and the polygons that they make: a brute-force twin, in which
/// predicates are about sets. A cell is named by its least corner.
class Cells {
 public:
  static constexpr int kSide = 6;

  Cells(Random& random, std::uint64_t percent) {
    for (int x = 0; x < kSide; ++x) {
      for (int y = 0; y < kSide; ++y) {
        if (random.below(100) < percent) set_.insert({x, y});
      }
    }
    set_.insert({static_cast<int>(random.below(kSide)), static_cast<int>(random.below(kSide))});
    for (const Grid& cell : set_) spread(cell, static_cast<int>(components_.size()));
  }

  const std::set<Grid>& all() const { return set_; }
  bool has(const Grid& cell) const { return set_.contains(cell); }

  /// The cells that meet a place of the grid of halves, of which (2, 2) is a corner of cells, (3,
  /// 2) the middle of a side, and (3, 3) that of a cell: how many there are, and how many are set.
  std::pair<int, int> about(const Grid& halves) const {
    std::set<Grid> cells;
    for (const int dx : {-1, 0}) {
      for (const int dy : {-1, 0}) {
        const int x = halves.x % 2 == 0 ? halves.x / 2 + dx : (halves.x - 1) / 2;
        const int y = halves.y % 2 == 0 ? halves.y / 2 + dy : (halves.y - 1) / 2;
        cells.insert({x, y});
      }
    }
    int count = 0;
    for (const Grid& cell : cells) count += has(cell) ? 1 : 0;
    return {static_cast<int>(cells.size()), count};
  }

  /// Rings with the set cells on their left, by component: the first is the shell. Where four cells
  /// meet of which two opposite ones are set, the way goes on along the same cell if they are of
  /// two components, and else along the same gap, so that no ring touches itself.
  std::vector<std::vector<std::vector<Grid>>> polygons() const {
    std::map<int, std::vector<std::vector<Grid>>> found;
    std::set<std::pair<Grid, int>> done;  // sides: where they begin, and their direction
    for (const Grid& cell : set_) {
      for (int direction = 0; direction < 4; ++direction) {
        const std::pair<Grid, int> side{corner_of(cell, direction), direction};
        if (!is_side(side) || done.contains(side)) continue;
        auto& rings = found[components_.at(cell)];
        std::vector<Grid> ring = trace(side, done);
        const bool is_shell = area_of(ring) > 0;
        rings.insert(is_shell ? rings.begin() : rings.end(), std::move(ring));
      }
    }
    std::vector<std::vector<std::vector<Grid>>> polygons;
    for (auto& [component, rings] : found) polygons.push_back(std::move(rings));
    return polygons;
  }

 private:
  static constexpr std::array<Grid, 4> kSteps{{{1, 0}, {0, 1}, {-1, 0}, {0, -1}}};

  void spread(const Grid& cell, int component) {
    if (!has(cell) || !components_.try_emplace(cell, component).second) return;
    for (const Grid& step : kSteps) spread(cell + step, component);
  }
  static Grid corner_of(const Grid& cell, int direction) {
    constexpr std::array<Grid, 4> kCorners{{{0, 0}, {1, 0}, {1, 1}, {0, 1}}};
    return cell + kCorners[static_cast<std::size_t>(direction)];
  }
  /// The cell on the left of a side, and that on its right.
  static Grid left_of(const std::pair<Grid, int>& side) {
    constexpr std::array<Grid, 4> kLeft{{{0, 0}, {-1, 0}, {-1, -1}, {0, -1}}};
    return side.first + kLeft[static_cast<std::size_t>(side.second)];
  }
  static Grid right_of(const std::pair<Grid, int>& side) {
    constexpr std::array<Grid, 4> kRight{{{0, -1}, {0, 0}, {-1, 0}, {-1, -1}}};
    return side.first + kRight[static_cast<std::size_t>(side.second)];
  }
  bool is_side(const std::pair<Grid, int>& side) const {
    return has(left_of(side)) && !has(right_of(side));
  }

  std::vector<Grid> trace(std::pair<Grid, int> side, std::set<std::pair<Grid, int>>& done) const {
    std::vector<Grid> ring;
    while (done.insert(side).second) {
      ring.push_back(side.first);
      const Grid end = side.first + kSteps[static_cast<std::size_t>(side.second)];
      const std::pair<Grid, int> to_left{end, (side.second + 1) % 4};
      const std::pair<Grid, int> to_right{end, (side.second + 3) % 4};
      std::pair<Grid, int> next{end, side.second};
      if (is_side(to_left) && is_side(to_right)) {
        const bool is_one = components_.at(left_of(to_left)) == components_.at(left_of(to_right));
        next = is_one ? to_right : to_left;
      } else if (is_side(to_left)) {
        next = to_left;
      } else if (is_side(to_right)) {
        next = to_right;
      }
      side = next;
    }
    ring.push_back(ring.front());
    return ring;
  }
  static int area_of(const std::vector<Grid>& ring) {
    int twice = 0;
    for (std::size_t i = 1; i < ring.size(); ++i) {
      twice += ring[i - 1].x * ring[i].y - ring[i].x * ring[i - 1].y;
    }
    return twice;
  }

  std::set<Grid> set_;
  std::map<Grid, int> components_;
};

/// A map of the grid to the plane that keeps all predicates and rounds nothing.
struct GridMap {
  double xx, xy, yx, yy;

  static GridMap any(Random& random) {
    const auto number = [&] { return static_cast<double>(random.below(9)) - 4; };
    for (;;) {
      const GridMap map{number() / 4, number() / 4, number() * 32, number() * 32};
      if (map.xx * map.yy != map.xy * map.yx) return map;
    }
  }
  /// Takes a place of the grid of halves.
  Coordinate operator()(const Grid& halves) const {
    return {xx * halves.x + xy * halves.y, yx * halves.x + yy * halves.y};
  }
};

}  // namespace silurus::geometry
