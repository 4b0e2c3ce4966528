// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "silurus/time.h"

// What a tree holds, what can be asked of it, and what can be written. Plain values.

namespace silurus {

/// A point of D coordinates. Finite wherever the library accepts one.
template <int D>
struct Point {
  std::array<double, D> at{};
  friend bool operator==(const Point&, const Point&) = default;
};

/// A closed axis-parallel box, min[d] <= max[d] in every dimension; a point is a box with
/// min == max.
template <int D>
struct Box {
  std::array<double, D> min{};
  std::array<double, D> max{};
  friend bool operator==(const Box&, const Box&) = default;
};

/// What the tree stores. The tree is a multiset of (id, box) pairs: it does not require ids to be
/// unique, and erase and update name an entry by both.
template <int D>
struct Entry {
  std::uint64_t id = 0;
  Box<D> box;
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// An entry of a keyed collection, where an id is unique.
template <int D>
struct KeyedEntry {
  std::uint64_t id = 0;
  Box<D> box;
  Version version = 0;  ///< in which it was written last
  friend bool operator==(const KeyedEntry&, const KeyedEntry&) = default;
};

/// What an entry of a collection with records may carry beside its box. It never changes; another
/// one may take its place.
struct Record {
  std::string geometry = {};    ///< well-known binary; empty: none
  std::string properties = {};  ///< a JSON object, UTF-8; empty: none

  bool empty() const { return geometry.empty() && properties.empty(); }
  friend bool operator==(const Record&, const Record&) = default;
};
/// Bytes of both parts of a record, at most.
inline constexpr std::size_t kMaxRecordBytes = std::size_t{1} << 20;

/// Which entries a range search finds, by the relation of their box to the window. Edges count as
/// inside (boxes are closed).
enum class Predicate : std::uint8_t {
  kIntersects = 0,  ///< box and window share a point
  kWithin = 1,      ///< the box lies within the window
  kContains = 2,    ///< the box contains the window
};

/// What a range search returns of each entry found.
enum class ResultShape : std::uint8_t {
  kCount = 0,    ///< nothing but how many
  kIds = 1,      ///< ids
  kEntries = 2,  ///< ids and exact boxes
};

/// A range search.
template <int D>
struct RangeQuery {
  Box<D> window;
  Predicate predicate = Predicate::kIntersects;
  ResultShape shape = ResultShape::kIds;
  std::uint64_t limit = UINT64_MAX;  ///< entries found at most; which ones is unspecified
  /// Whether coordinates are degrees, longitude first: then a window whose min is above its max in
  /// longitude crosses the antimeridian. Clients set it by the collection that they are for.
  bool lonlat = false;
};

/// A search for entries with their records (Client::features).
template <int D>
struct FeatureQuery {
  Box<D> window;  ///< that the boxes of entries meet; not looked at if there is a geometry
  Predicate predicate = Predicate::kIntersects;
  /// Well-known binary: entries whose geometries meet this one, exactly, and planar in x and y, in
  /// degrees too. Of an entry without a geometry it is the box. Empty: none.
  std::string geometry = {};
  /// A condition on the top-level properties, as "population > 100000 and kind = 'port'"; empty:
  /// none. What it compares with may be missing or of another kind: then it does not hold.
  std::string where = {};
  std::uint64_t limit = UINT64_MAX;  ///< entries found at most; which ones is unspecified
  Moment as_of = 0;                  ///< an older version that the server keeps; 0: the current one
};

/// What a range search found, in no particular order.
template <int D>
struct RangeResult {
  std::uint64_t count = 0;
  std::vector<std::uint64_t> ids;  ///< count of them, unless only a count was asked for
  std::vector<Box<D>> boxes;       ///< parallel to ids if entries were asked for, else empty

  void clear() {
    count = 0;
    ids.clear();
    boxes.clear();
  }
};

/// The k entries nearest to a point, by the distance from the point to the box (0 inside):
/// Euclidean, where a distance beyond the greatest double is told as that; of degrees, metres along
/// a great circle of a sphere of radius 6,371,008.8 m.
template <int D>
struct NearestQuery {
  Point<D> point;
  std::uint32_t k = 1;  ///< at least 1
  /// Entries farther away than that are not found; at least 0.
  double max_distance = std::numeric_limits<double>::infinity();
  bool lonlat = false;  ///< as in RangeQuery
};

/// Which pairs of entries of two collections a join finds.
struct JoinQuery {
  /// Pairs whose boxes are at most that far from each other (Euclidean distance); 0: pairs whose
  /// boxes share a point. Finite and not negative.
  double within = 0;
};

/// The ids of a pair of entries: of the first collection's, and of the second one's.
struct IdPair {
  std::uint64_t first;
  std::uint64_t second;
  friend bool operator==(const IdPair&, const IdPair&) = default;
  friend auto operator<=>(const IdPair&, const IdPair&) = default;
};

struct Neighbor {
  std::uint64_t id;
  double distance;
  friend bool operator==(const Neighbor&, const Neighbor&) = default;
};

/// Nearest first; equal distances in the order of ids. At the k-th place too: of entries at equal
/// distance the smaller ids are kept.
using NearestResult = std::vector<Neighbor>;

/// What a write does. The last three are of keyed collections alone, and name an entry by its id.
enum class OperationKind : std::uint32_t {
  kInsert = 0,      ///< adds `id` with `box`; in a keyed collection: if there is no such id
  kErase = 1,       ///< takes out `id` with `box`
  kUpdate = 2,      ///< gives `id` with `box` the box `to`
  kPut = 3,         ///< gives `id` the box `box`, be it there or not
  kUpdateById = 4,  ///< the same of an id that is there
  kEraseById = 5,   ///< takes out `id`
};
constexpr OperationKind kLastOperationKind = OperationKind::kEraseById;
/// Whether it names an entry by its id alone.
constexpr bool is_by_id(OperationKind kind) { return kind >= OperationKind::kPut; }

/// One write (WriteBatch makes them), laid out as it travels.
template <int D>
struct Operation {
  std::uint64_t id;
  OperationKind kind;
  /// Bytes of the record that a kInsert or a kPut gives the entry, which come with it; 0: none.
  std::uint32_t record_bytes;
  Box<D> box;
  union {
    Box<D> to{};  ///< the new box, of kUpdate
    /// The version in which the entry must have been written last, for an operation by id; 0: in
    /// any. There must be such an entry.
    Version expected;
  };
};

}  // namespace silurus
