// SPDX-License-Identifier: Apache-2.0

#include "geometry/prepared.h"

#include <algorithm>

#include "geometry/simple_part.h"

namespace silurus::geometry {
namespace {

using Parts = std::vector<SimplePart>;

bool has_common_edge_point(const SimplePart& a, const SimplePart& b, Work& work) {
  const bool is_larger = a.edges.size() > b.edges.size();
  const Edges& few = is_larger ? b.edges : a.edges;
  const SimplePart& many = is_larger ? a : b;
  for (const Edge& edge : few.all()) {
    const auto box = box_of(edge);
    if (!rtree::intersects(box, many.box)) continue;
    const bool is_apart = many.edges.visit(box, work, [&](std::size_t i) {
      return contact_of(edge, many.edges.at(i)).kind == Contact::kNone;
    });
    if (!is_apart) return true;  // or the work is spent
  }
  return false;
}

bool has_any_in(const std::vector<Vertex>& vertices, const SimplePart& part, Work& work) {
  return std::ranges::any_of(vertices, [&](const Vertex& vertex) {
    return rtree::intersects(part.box, {{vertex.x, vertex.y}, {vertex.x, vertex.y}}) &&
           part.locate(vertex, work) != Location::kOutside;
  });
}

bool do_intersect(const SimplePart& a, const SimplePart& b, Work& work) {
  if (!rtree::intersects(a.box, b.box)) return false;
  if (a.dimension == 0) return has_any_in(a.points, b, work);
  if (b.dimension == 0) return has_any_in(b.points, a, work);
  if (has_common_edge_point(a, b, work)) return true;
  // their lines and rings do not meet: each lies in a polygon of the other as a whole, or outside
  return (b.dimension == 2 && has_any_in(a.samples, b, work)) ||
         (a.dimension == 2 && has_any_in(b.samples, a, work));
}

/// Where the segments of one geometry lie to another one: f(location) for each piece between two
/// places where they meet, until it returns false. kBoundary is along a segment of the other; with
/// `is_directed`, only one of the same direction, and kOutside along one of the opposite. Of
/// polygons, a piece that crosses the boundary counts as kOutside.
class PieceWalk {
 public:
  PieceWalk(const SimplePart& to, bool is_directed, Work& work)
      : to_(to), is_directed_(is_directed), work_(work) {}

  template <typename F>
  void walk(const Edges& edges, F&& f) {
    Location last = Location::kOutside;
    bool goes_on = false;  // where `last` is, since nothing meets the line there
    for (std::size_t i = 0; i < edges.size() && !work_.is_spent(); ++i) {
      const Edge& edge = edges.at(i);
      if (i == 0 || edges.at(i - 1).line != edge.line) goes_on = false;
      cutter_.begin(edge);
      if (!add_contacts(edge) && !f(Location::kOutside)) return;
      if (cutter_.meets(edge.from)) goes_on = false;
      for (const Piece& piece : cutter_.cut()) {
        if (piece.is_shared) {
          last = Location::kBoundary;
        } else if (!goes_on) {
          last = beside(piece);
        }
        if (!f(last)) return;
        goes_on = !piece.is_shared && piece.to == edge.to;
      }
    }
  }

 private:
  /// False if the segment leaves a polygon for certain.
  bool add_contacts(const Edge& edge) {
    bool is_outside = false;
    to_.edges.visit(box_of(edge), work_, [&](std::size_t i) {
      const Contact contact = contact_of(edge, to_.edges.at(i));
      if (to_.dimension == 2) {
        is_outside = is_outside || contact.kind == Contact::kCross ||
                     (is_directed_ && contact.kind == Contact::kOverlap && contact.is_opposite);
      }
      cutter_.add(contact);
      return !is_outside;
    });
    return !is_outside;
  }

  /// Where a piece lies that is not along a segment.
  Location beside(const Piece& piece) const {
    if (to_.dimension < 2) return Location::kOutside;
    return to_.locate(middle_of(piece), work_);
  }

  const SimplePart& to_;
  bool is_directed_;
  Work& work_;
  Cutter cutter_;
};

/// kOutside if a point of `a` lies outside `b`; else kInside if the insides meet, kBoundary if not.
Location locate_part(const SimplePart& a, const SimplePart& b, Work& work) {
  if (!rtree::contains(b.box, a.box) || a.dimension > b.dimension) return Location::kOutside;
  Location whole = Location::kBoundary;
  const auto take = [&](Location location) {
    if (location != Location::kBoundary) whole = location;
    return location != Location::kOutside;
  };
  if (a.dimension == 0) {
    for (const Vertex& vertex : a.points) {
      if (!take(b.locate(vertex, work))) return Location::kOutside;
    }
    return whole;
  }
  PieceWalk(b, a.dimension == 2, work).walk(a.edges, take);
  if (whole == Location::kOutside) return whole;
  if (a.dimension < b.dimension) return whole;
  if (a.dimension == 1) return Location::kInside;
  // Polygons whose boundary lies in b: they do, unless a boundary of b lies in one of them. None
  // crosses theirs, or the walk above would have told.
  bool is_whole = true;
  PieceWalk(a, false, work).walk(b.edges, [&](Location location) {
    return is_whole = location != Location::kInside;
  });
  return is_whole ? Location::kInside : Location::kOutside;
}

rtree::Box<2> box_about(const Parts& parts) {
  rtree::Box<2> box = parts.front().box;
  for (const SimplePart& part : parts) {
    for (std::size_t d = 0; d < 2; ++d) {
      box.min[d] = std::min(box.min[d], part.box.min[d]);
      box.max[d] = std::max(box.max[d], part.box.max[d]);
    }
  }
  return box;
}

/// Whether a lies within b.
Result<bool> is_within(const Parts& a, const Parts& b, bool is_b_collection) {
  if (a.empty() || b.empty() || !rtree::contains(box_about(b), box_about(a))) return false;
  if (is_b_collection) {
    return fail(ErrorCode::kUnsupported,
                "whether a geometry lies within a GeometryCollection is not told: its parts might "
                "cover it together; use a MultiPolygon, MultiLineString or MultiPoint");
  }
  Work work;
  bool is_inside = false;
  for (const SimplePart& part : a) {
    const Location location = locate_part(part, b.front(), work);
    if (auto ok = work.status(); !ok) return fail(ok.error());
    if (location == Location::kOutside) return false;
    is_inside = is_inside || location == Location::kInside;
  }
  return is_inside;
}

}  // namespace

struct Prepared::Query {
  Parts parts;
  rtree::Box<2> box;
  bool is_collection;
};

Prepared::Prepared(const Geometry& query) {
  auto made = std::make_shared<Query>();
  made->parts = simple_parts_of(query);
  if (!made->parts.empty()) made->box = box_about(made->parts);
  made->is_collection = query.type() == Type::kCollection;
  query_ = std::move(made);
}

Result<bool> Prepared::intersects(const Geometry& other) const {
  const auto box = box_of<2>(other);
  if (!box || query_->parts.empty() || !rtree::intersects(*box, query_->box)) return false;
  Work work;
  for (const SimplePart& part : simple_parts_of(other)) {
    for (const SimplePart& of_query : query_->parts) {
      const bool do_meet = do_intersect(part, of_query, work);
      if (auto ok = work.status(); !ok) return fail(ok.error());
      if (do_meet) return true;
    }
  }
  return false;
}

Result<bool> Prepared::within(const Geometry& other) const {
  const auto box = box_of<2>(other);
  if (!box || query_->parts.empty() || !rtree::contains(query_->box, *box)) return false;
  return is_within(simple_parts_of(other), query_->parts, query_->is_collection);
}

Result<bool> Prepared::contains(const Geometry& other) const {
  const auto box = box_of<2>(other);
  if (!box || query_->parts.empty() || !rtree::contains(*box, query_->box)) return false;
  return is_within(query_->parts, simple_parts_of(other), other.type() == Type::kCollection);
}

}  // namespace silurus::geometry
