// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>

#include "geometry/check.h"
#include "geometry/edges.h"

// Whether rings make polygons (OGC 06-103r4, 6.1.11 and 6.1.14): whether two segments meet where
// they must not, then whether each ring lies where it must, then whether the inside of each polygon
// is in one piece.

namespace silurus::geometry {
namespace {

/// All rings of a polygon, or of all polygons of a MultiPolygon.
class RingCheck {
 public:
  explicit RingCheck(const Place& place) : place_(place) {}

  /// `index` is the number of the polygon among several.
  void add(const Shape& polygon, std::optional<std::size_t> index) {
    for (std::size_t i = 0; i < polygon.lines.size(); ++i) {
      const std::size_t first = edges_.size();
      edges_.add(polygon.lines[i], static_cast<std::uint32_t>(rings_.size()));
      rings_.push_back({.polygon = index.value_or(0),
                        .index = i,
                        .is_one_of_several = index.has_value(),
                        .first = first,
                        .end = edges_.size(),
                        .touches = false});
    }
  }

  Status check() {
    edges_.build();
    for (std::size_t i = 0; i < edges_.size(); ++i) {
      if (auto ok = check_edge(i); !ok) return ok;
    }
    for (std::size_t i = 0; i < rings_.size(); ++i) {
      if (auto ok = check_place(i); !ok) return ok;
    }
    if (auto ok = work_.status(); !ok) return ok;
    return in_one_piece_;
  }

 private:
  struct Ring {
    std::size_t polygon = 0;
    std::size_t index = 0;  // in its polygon: 0 is the shell
    bool is_one_of_several = false;
    std::size_t first = 0;  // edge
    std::size_t end = 0;
    bool touches = false;  // another ring
  };

  std::string name(const Ring& ring) const {
    const Place polygon{"polygon", ring.polygon, &place_};
    return Place{"ring", ring.index, ring.is_one_of_several ? &polygon : &place_}.text();
  }
  std::string name_of_polygon(const Ring& ring) const {
    return (ring.is_one_of_several ? Place{"polygon", ring.polygon, &place_} : place_).text();
  }

  bool are_neighbours(std::size_t i, std::size_t j) const {
    if (i > j) std::swap(i, j);
    const Ring& ring = rings_[edges_.at(i).line];
    return edges_.at(i).line == edges_.at(j).line &&
           (j == i + 1 || (i == ring.first && j + 1 == ring.end));
  }

  Status check_edge(std::size_t i) {
    Status status;
    edges_.visit(box_of(edges_.at(i)), work_, [&](std::size_t j) {
      if (j > i) status = check_pair(i, j);
      return status.has_value();
    });
    return status ? work_.status() : status;
  }

  Status check_pair(std::size_t i, std::size_t j) {
    const Edge& a = edges_.at(i);
    const Edge& b = edges_.at(j);
    const Contact contact = contact_of(a, b);
    if (contact.kind == Contact::kNone) return {};
    const std::string where = ": the segments that begin at their coordinates " +
                              std::to_string(a.index) + " and " + std::to_string(b.index);
    if (a.line == b.line) {
      if (contact.kind == Contact::kTouch && are_neighbours(i, j)) return {};
      const std::string what = contact.kind == Contact::kCross   ? " crosses itself"
                               : contact.kind == Contact::kTouch ? " touches itself"
                                                                 : " runs along itself";
      return fail(ErrorCode::kInvalidArgument, name(rings_[a.line]) + what + where);
    }
    if (contact.kind == Contact::kTouch) {
      note_touch(a.line, b.line, contact.first);
      return {};
    }
    const std::string what = contact.kind == Contact::kCross ? " crosses " : " runs along ";
    return fail(ErrorCode::kInvalidArgument,
                name(rings_[b.line]) + what + name(rings_[a.line]) + where);
  }

  /// Rings of a polygon and the places where they touch make a forest, or else a part of the inside
  /// is cut off from the others.
  void note_touch(std::uint32_t a, std::uint32_t b, const Vertex& at) {
    rings_[a].touches = rings_[b].touches = true;
    if (!in_one_piece_ || rings_[a].polygon != rings_[b].polygon) return;
    const auto place = places_.try_emplace({rings_[a].polygon, at}, rings_.size() + places_.size());
    for (const std::uint32_t ring : {a, b}) {
      if (!touches_.emplace(ring, place.first->second).second) continue;
      const std::size_t one = root_of(ring);
      const std::size_t other = root_of(place.first->second);
      if (one == other) {
        in_one_piece_ = fail(ErrorCode::kInvalidArgument,
                             "the inside of " + name_of_polygon(rings_[a]) +
                                 " is in several pieces: " + name(rings_[a]) + " and ring " +
                                 std::to_string(rings_[b].index) + " touch where that cuts it");
        return;
      }
      joined_[one] = other;
    }
  }
  std::size_t root_of(std::size_t node) {
    for (auto at = joined_.find(node); at != joined_.end(); at = joined_.find(node)) {
      const auto next = joined_.find(at->second);
      if (next != joined_.end()) at->second = next->second;
      node = at->second;
    }
    return node;
  }

  /// Where a ring lies to all others, by a vertex of each piece between two places where it touches
  /// some; rings do not cross but there.
  Status check_place(std::size_t ring) {
    const Ring& of = rings_[ring];
    if (!of.touches) return check_vertex(ring, edges_.at(of.first).from);
    Cutter cutter;
    for (std::size_t i = of.first; i < of.end; ++i) {
      const Edge& edge = edges_.at(i);
      cutter.begin(edge);
      edges_.visit(box_of(edge), work_, [&](std::size_t j) {
        if (edges_.at(j).line != ring) cutter.add(contact_of(edge, edges_.at(j)));
        return true;
      });
      for (const Piece& piece : cutter.cut()) {
        if (auto ok = check_vertex(ring, middle_of(piece)); !ok) return ok;
      }
    }
    return {};
  }

  Status check_vertex(std::size_t number, const Vertex& vertex) {
    const Ring& ring = rings_[number];
    containing_.clear();
    // false if the middle of a piece was rounded onto a ring, which tells nothing
    if (!find_containing(edges_, vertex, static_cast<std::uint32_t>(number), work_, containing_)) {
      return {};
    }
    if (auto ok = work_.status(); !ok) return ok;
    bool is_in_shell = false;
    std::optional<std::size_t> hole;
    std::map<std::size_t, int> others;  // polygons, and how many of their rings
    for (const std::uint32_t i : containing_) {
      if (rings_[i].polygon != ring.polygon) {
        ++others[rings_[i].polygon];
      } else if (rings_[i].index == 0) {
        is_in_shell = true;
      } else {
        hole = rings_[i].index;
      }
    }
    for (const auto& [polygon, count] : others) {
      if (count % 2 == 0) continue;
      return fail(ErrorCode::kInvalidArgument,
                  name_of_polygon(ring) + " overlaps polygon " + std::to_string(polygon));
    }
    if (ring.index == 0) return {};
    if (!is_in_shell) {
      return fail(ErrorCode::kInvalidArgument,
                  name(ring) + " lies outside ring 0: a hole must lie within the shell");
    }
    if (!hole) return {};
    return fail(ErrorCode::kInvalidArgument,
                name(ring) + " lies within ring " + std::to_string(*hole) + ", another hole");
  }

  const Place& place_;
  Edges edges_;
  Work work_;
  std::vector<Ring> rings_;
  std::map<std::pair<std::size_t, Vertex>, std::size_t> places_;
  std::set<std::pair<std::size_t, std::size_t>> touches_;  // ring and place
  std::unordered_map<std::size_t, std::size_t> joined_;
  std::vector<std::uint32_t> containing_;
  Status in_one_piece_;  // told last: what crosses or lies outside may seem to cut a polygon, too
};

}  // namespace

Status check_rings(const Shape& shape, const Place& place) {
  if (shape.type == Type::kPolygon || shape.type == Type::kMultiPolygon) {
    RingCheck check(place);
    if (shape.type == Type::kPolygon) check.add(shape, std::nullopt);
    for (std::size_t i = 0; i < shape.parts.size(); ++i) check.add(shape.parts[i], i);
    return check.check();
  }
  for (std::size_t i = 0; i < shape.parts.size(); ++i) {
    const Place part{noun_of_parts(shape.type), i, &place};
    if (auto ok = check_rings(shape.parts[i], part); !ok) return ok;
  }
  return {};
}

}  // namespace silurus::geometry
