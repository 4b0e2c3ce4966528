// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace silurus::datasets {

/// Which column of a text file is which part of an entry: of boxes (id, xmin, ymin, xmax, ymax) or
/// of points (id, x, y), in any order, among others that are left out. The id may be missing.
/// Immutable value.
///
/// A column is understood by its name, in any case and whatever stands between the parts of it:
/// min_x, minX, xmin, west, left, minlon, "Lon min"; x, lon, lng, longitude, easting; id, gid, fid,
/// oid, ...; docs/data-sets.md lists them all.
template <int D>
class Columns {
 public:
  /// Numbers of the parts of an entry: 0 is the id, 1 .. D the minima, D + 1 .. 2 D the maxima. A
  /// point has minima only.
  static constexpr std::size_t kParts = 1 + 2 * D;
  /// A file may not have more.
  static constexpr std::size_t kMaxColumns = 4096;

  /// By the names in a header. Names that say nothing are left out. kProtocol says what is missing
  /// or stands there twice, what was found, and what was expected.
  static Result<Columns> of_header(std::span<const std::string> names);
  /// By a list from the user, "id,ymin,xmin,ymax,xmax": names as in a header, one for each column;
  /// "ignore" for one to be left out; "..." at the end for any number of these. kInvalidArgument
  /// names what is not understood.
  static Result<Columns> of_list(std::string_view list);
  /// Without any names: all parts of a box, or of a point, in their order.
  static std::optional<Columns> of_count(std::size_t fields);
  /// What of_count() takes: "id,xmin,ymin,xmax,ymax or id,x,y".
  static std::string expected_without_names();

  /// Whether a line may have that number of fields.
  bool takes(std::size_t fields) const {
    return fields == parts_.size() || (is_open_ && fields > parts_.size());
  }
  /// The part that a column is; nothing for one that is left out.
  std::optional<std::size_t> part(std::size_t column) const {
    if (column >= parts_.size() || parts_[column] < 0) return std::nullopt;
    return static_cast<std::size_t>(parts_[column]);
  }
  /// Columns that are named.
  std::size_t size() const { return parts_.size(); }
  bool is_point() const { return is_point_; }
  bool has_id() const { return has_id_; }

  /// "id,lat,lon": the columns' names as they were given.
  std::string list() const;
  /// "column 2 (lat, as y)", for messages about a part; it must be one that there is.
  std::string place(std::size_t part) const;
  /// For people: "gid as id, lat as y, lon as x, by the header; ignored: name".
  std::string description() const;

 private:
  Columns() = default;
  enum class Source { kHeader, kList, kCount };
  std::string_view name_of(std::size_t part) const;
  std::string named(std::size_t column) const;

  std::vector<int> parts_;  ///< for each column; below 0: left out
  std::vector<std::string> names_;
  bool is_point_ = false;
  bool has_id_ = false;
  bool is_open_ = false;  ///< further columns may follow
  Source source_ = Source::kCount;
};

}  // namespace silurus::datasets
