// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "geometry/exact.h"

namespace silurus::geometry {

/// What is left of kMaxComparisons.
class Work {
 public:
  bool is_spent() const { return left_ == 0; }
  void spend(std::uint64_t comparisons) { left_ -= std::min(left_, comparisons); }
  /// The error if it is spent.
  Status status() const;

 private:
  std::uint64_t left_ = kMaxComparisons;
};

/// Segments of lines and rings, and boxes about runs of them, by which those in a box are found.
/// What follows each other in a line lies close to each other, so runs are as they were added. Not
/// changed after build(), and then for any thread.
class Edges {
 public:
  /// Adds the segments of a line. Vertices that equal the one before make none.
  void add(const Line& line, std::uint32_t number);
  void build();

  std::span<const Edge> all() const { return edges_; }
  const Edge& at(std::size_t i) const { return edges_[i]; }
  std::size_t size() const { return edges_.size(); }

  /// Calls f(index) for each segment whose box meets the box, until it returns false or the work is
  /// spent; then returns false.
  template <typename F>
  bool visit(const rtree::Box<2>& box, Work& work, F&& f) const {
    return edges_.empty() || visit_run(levels_.size(), 0, box, work, f);
  }

 private:
  static constexpr std::size_t kFanout = 8;

  template <typename F>
  bool visit_run(std::size_t level, std::size_t run, const rtree::Box<2>& box, Work& work,
                 F& f) const {
    const std::size_t count = level == 0 ? edges_.size() : levels_[level - 1].size();
    const std::size_t first = level == levels_.size() ? 0 : run * kFanout;
    const std::size_t end = level == levels_.size() ? count : std::min(first + kFanout, count);
    for (std::size_t i = first; i < end; ++i) {
      const auto of_run = level == 0 ? box_of(edges_[i]) : levels_[level - 1][i];
      if (!rtree::intersects(of_run, box)) continue;
      if (level > 0) {
        if (!visit_run(level - 1, i, box, work, f)) return false;
        continue;
      }
      work.spend(1);
      if (work.is_spent() || !f(i)) return false;
    }
    return true;
  }

  std::vector<Edge> edges_;
  std::vector<std::vector<rtree::Box<2>>> levels_;  // boxes of runs of edges, of runs of these, ...
};

inline constexpr std::uint32_t kNoLine = UINT32_MAX;

/// Appends the numbers of the rings that contain the vertex, in order: those that a ray from it to
/// the right crosses an odd number of times. The ring `except` is passed over. False if the vertex
/// lies on one of them.
bool find_containing(const Edges& rings, const Vertex& vertex, std::uint32_t except, Work& work,
                     std::vector<std::uint32_t>& containing);

/// A piece of a segment between two places where it meets others.
struct Piece {
  Vertex from;
  Vertex to;
  bool is_shared = false;  ///< it lies along another segment
};

/// Cuts a segment into pieces where it meets others: what they have in common is added, then
/// cut() gives the pieces. To be used again and again, for its memory.
class Cutter {
 public:
  void begin(const Edge& edge);
  void add(const Contact& contact);
  /// In order along the segment. Until the next begin().
  std::span<const Piece> cut();
  /// Whether anything was added at that end of the segment.
  bool meets(const Vertex& end) const;

 private:
  Edge edge_;
  std::vector<Vertex> places_;
  std::vector<std::pair<Vertex, Vertex>> shared_;
  std::vector<Piece> pieces_;
};

/// The middle of a piece. Rounded: the one place where what is told of shapes is not exact.
inline Vertex middle_of(const Piece& piece) {
  return {piece.from.x + (piece.to.x - piece.from.x) / 2,
          piece.from.y + (piece.to.y - piece.from.y) / 2};
}

}  // namespace silurus::geometry
