// SPDX-License-Identifier: Apache-2.0

#include "datasets/columns.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <utility>

#include "datasets/fields.h"

namespace silurus::datasets {
namespace {

/// What a column's name says it is.
struct Meaning {
  enum class Kind : std::uint8_t { kId, kPoint, kMin, kMax };
  Kind kind;
  int axis = 0;
  bool operator==(const Meaning&) const = default;
};
using Kind = Meaning::Kind;

constexpr std::array<std::string_view, 14> kIdNames = {
    "id",       "gid",       "fid",   "oid",      "ogcfid", "objectid",   "featureid",
    "entityid", "geonameid", "osmid", "osmwayid", "rowid",  "identifier", "uid"};

struct AxisName {
  std::string_view name;
  int axis;
};
constexpr std::array<AxisName, 21> kAxisNames = {{{"x", 0},         {"lon", 0},
                                                  {"lng", 0},       {"long", 0},
                                                  {"longitude", 0}, {"easting", 0},
                                                  {"xcoord", 0},    {"xcoordinate", 0},
                                                  {"coordx", 0},    {"decimallongitude", 0},
                                                  {"y", 1},         {"lat", 1},
                                                  {"latitude", 1},  {"northing", 1},
                                                  {"ycoord", 1},    {"ycoordinate", 1},
                                                  {"coordy", 1},    {"decimallatitude", 1},
                                                  {"z", 2},         {"elevation", 2},
                                                  {"altitude", 2}}};

struct SideName {
  std::string_view name;
  Meaning meaning;
};
constexpr std::array<SideName, 16> kSideNames = {{{"west", {Kind::kMin, 0}},
                                                  {"left", {Kind::kMin, 0}},
                                                  {"westbc", {Kind::kMin, 0}},
                                                  {"westboundlongitude", {Kind::kMin, 0}},
                                                  {"south", {Kind::kMin, 1}},
                                                  {"bottom", {Kind::kMin, 1}},
                                                  {"southbc", {Kind::kMin, 1}},
                                                  {"southboundlatitude", {Kind::kMin, 1}},
                                                  {"east", {Kind::kMax, 0}},
                                                  {"right", {Kind::kMax, 0}},
                                                  {"eastbc", {Kind::kMax, 0}},
                                                  {"eastboundlongitude", {Kind::kMax, 0}},
                                                  {"north", {Kind::kMax, 1}},
                                                  {"top", {Kind::kMax, 1}},
                                                  {"northbc", {Kind::kMax, 1}},
                                                  {"northboundlatitude", {Kind::kMax, 1}}}};

/// Words before or behind an axis: minx, latmax.
struct EndName {
  std::string_view name;
  Kind kind;
};
constexpr std::array<EndName, 8> kEndNames = {{{"minimum", Kind::kMin},
                                               {"maximum", Kind::kMax},
                                               {"lower", Kind::kMin},
                                               {"upper", Kind::kMax},
                                               {"min", Kind::kMin},
                                               {"max", Kind::kMax},
                                               {"low", Kind::kMin},
                                               {"high", Kind::kMax}}};

/// Small letters and digits only, without "bbox" in front: "bbox.Min_X" is minx.
std::string plain(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || byte >= 0x80) text += static_cast<char>(std::tolower(byte));
  }
  if (text.starts_with("bbox")) text.erase(0, 4);
  return text;
}

std::optional<int> axis_of(std::string_view name) {
  for (const AxisName& known : kAxisNames) {
    if (known.name == name) return known.axis;
  }
  return std::nullopt;
}

std::optional<Meaning> meaning_of(std::string_view name) {
  const std::string text = plain(name);
  if (std::ranges::find(kIdNames, text) != kIdNames.end()) return Meaning{Kind::kId};
  if (const auto axis = axis_of(text)) return Meaning{Kind::kPoint, *axis};
  for (const SideName& known : kSideNames) {
    if (known.name == text) return known.meaning;
  }
  for (const EndName& end : kEndNames) {
    std::optional<int> axis;
    if (text.starts_with(end.name)) axis = axis_of(std::string_view(text).substr(end.name.size()));
    if (!axis && text.ends_with(end.name)) {
      axis = axis_of(std::string_view(text).substr(0, text.size() - end.name.size()));
    }
    if (axis) return Meaning{end.kind, *axis};
  }
  return std::nullopt;
}

constexpr std::array<std::string_view, 3> kPointParts = {"x", "y", "z"};
constexpr std::array<std::string_view, 3> kMinParts = {"xmin", "ymin", "zmin"};
constexpr std::array<std::string_view, 3> kMaxParts = {"xmax", "ymax", "zmax"};

std::string_view name_of_meaning(const Meaning& meaning) {
  const auto axis = static_cast<std::size_t>(meaning.axis);
  switch (meaning.kind) {
    case Kind::kId:
      return "id";
    case Kind::kPoint:
      return kPointParts[axis];
    case Kind::kMin:
      return kMinParts[axis];
    case Kind::kMax:
      return kMaxParts[axis];
  }
  return "";
}

std::string joined(std::span<const std::string> names, std::string_view separator,
                   std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) {
    text.append(i == 0 ? "" : separator).append(names[i]);
  }
  if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
  return text;
}

/// A column's name without the quotes of shown().
std::string bare(std::string_view name) {
  const std::string text = shown(name);
  return text.substr(1, text.size() - 2);
}

/// What names mean, and which of them are taken: one for each part.
template <int D>
class Choice {
 public:
  explicit Choice(std::span<const std::string> names) : names_(names) {
    for (const std::string& name : names) meanings_.push_back(meaning_of(name));
  }

  /// Says why not.
  std::optional<std::string> choose() {
    if (auto wrong = choose_id()) return wrong;
    const auto points = missing(Kind::kPoint, Kind::kPoint);
    const auto boxes = missing(Kind::kMin, Kind::kMax);
    const bool has_sides = boxes.size() < 2 * D;
    if (points.empty() && has_sides) {
      return "names a point and sides of a box (" + found() + "): which of them?";
    }
    if (!points.empty() && !boxes.empty()) {
      const bool is_box = has_sides;
      const bool is_bare = !has_sides && points.size() == D;
      return is_bare ? "names no coordinates"
                     : "names no " + joined(is_box ? boxes : points, ", ", 2 * D);
    }
    is_point_ = points.empty();
    return choose_axes();
  }

  bool is_point() const { return is_point_; }
  bool has_id() const { return id_.has_value(); }
  const std::vector<std::optional<Meaning>>& meanings() const { return meanings_; }

  /// For each column its part, -1 for none. After choose().
  std::vector<int> parts() const {
    std::vector<int> parts(names_.size(), -1);
    if (id_) parts[*id_] = 0;
    for (std::size_t column = 0; column < names_.size(); ++column) {
      const auto& meaning = meanings_[column];
      if (!meaning || meaning->kind == Kind::kId || meaning->axis >= D) continue;
      if (is_point_ != (meaning->kind == Kind::kPoint)) continue;
      parts[column] = 1 + meaning->axis + (meaning->kind == Kind::kMax ? D : 0);
    }
    return parts;
  }

 private:
  std::vector<std::size_t> columns_of(const Meaning& meaning) const {
    std::vector<std::size_t> columns;
    for (std::size_t i = 0; i < meanings_.size(); ++i) {
      if (meanings_[i] == meaning) columns.push_back(i);
    }
    return columns;
  }

  std::vector<std::string> missing(Kind low, Kind high) const {
    std::vector<std::string> names;
    for (const Kind kind : {low, high}) {
      for (int axis = 0; axis < D; ++axis) {
        const Meaning meaning{kind, axis};
        if (columns_of(meaning).empty()) names.emplace_back(name_of_meaning(meaning));
      }
      if (low == high) break;
    }
    return names;
  }

  /// The names that mean anything, as they stand there.
  std::string found() const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < meanings_.size(); ++i) {
      if (meanings_[i] && meanings_[i]->kind != Kind::kId) names.push_back(bare(names_[i]));
    }
    return joined(names, ", ", 2 * 2 * D);
  }

  std::string twice(const Meaning& meaning, const std::vector<std::size_t>& columns) const {
    return "names " + std::string(name_of_meaning(meaning)) + " twice: column " +
           std::to_string(columns[0] + 1) + " is " + shown(names_[columns[0]]) + ", column " +
           std::to_string(columns[1] + 1) + " " + shown(names_[columns[1]]);
  }

  /// The one that is called just id goes before others of that meaning.
  std::optional<std::string> choose_id() {
    const auto columns = columns_of({Kind::kId});
    std::vector<std::size_t> exact;
    for (const std::size_t column : columns) {
      if (plain(names_[column]) == "id") exact.push_back(column);
    }
    const auto& candidates = exact.empty() ? columns : exact;
    if (candidates.size() > 1) return twice({Kind::kId}, candidates);
    if (!candidates.empty()) id_ = candidates[0];
    return std::nullopt;
  }

  std::optional<std::string> choose_axes() const {
    for (int axis = 0; axis < D; ++axis) {
      for (const Kind kind : {Kind::kPoint, Kind::kMin, Kind::kMax}) {
        if (is_point_ != (kind == Kind::kPoint)) continue;
        const auto columns = columns_of({kind, axis});
        if (columns.size() > 1) return twice({kind, axis}, columns);
      }
    }
    return std::nullopt;
  }

  std::span<const std::string> names_;
  std::vector<std::optional<Meaning>> meanings_;
  std::optional<std::size_t> id_;
  bool is_point_ = false;
};

template <int D>
constexpr std::string_view kNeeded =
    D == 2 ? "x,y or lon,lat, or xmin,ymin,xmax,ymax or west,south,east,north, in any order, with "
             "or without id"
           : "x,y,z, or xmin,ymin,zmin,xmax,ymax,zmax, in any order, with or without id";

constexpr std::string_view kIgnore = "ignore";
constexpr std::string_view kRest = "...";
constexpr std::size_t kMaxNamed = 12;  // columns that a description names

}  // namespace

template <int D>
Result<Columns<D>> Columns<D>::of_header(std::span<const std::string> names) {
  const auto bad = [&](const std::string& why) {
    std::vector<std::string> all;
    for (const std::string& name : names) all.push_back(bare(name));
    return fail(ErrorCode::kProtocol, "the header " + why + " (its columns are " +
                                          joined(all, ", ", kMaxNamed) + "); expected " +
                                          std::string(kNeeded<D>) +
                                          "; silurus load --columns says which column is which");
  };
  if (names.size() > kMaxColumns) {
    return bad("has " + std::to_string(names.size()) + " columns, above " +
               std::to_string(kMaxColumns));
  }
  Choice<D> choice(names);
  if (const auto wrong = choice.choose()) return bad(*wrong);
  Columns columns;
  columns.parts_ = choice.parts();
  columns.names_.assign(names.begin(), names.end());
  columns.is_point_ = choice.is_point();
  columns.has_id_ = choice.has_id();
  columns.source_ = Source::kHeader;
  return columns;
}

template <int D>
Result<Columns<D>> Columns<D>::of_list(std::string_view list) {
  const auto bad = [&](const std::string& why) {
    return fail(ErrorCode::kInvalidArgument,
                "columns " + shown(list) + ": " + why + "; expected names such as " +
                    expected_without_names() +
                    " in the order of the file, ignore for a column to leave out, and ... at the "
                    "end for any more of these");
  };
  Columns columns;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    columns.names_.emplace_back(trimmed(list.substr(begin, end - begin)));
    begin = end + 1;
  }
  if (columns.names_.back() == kRest) {
    columns.is_open_ = true;
    columns.names_.pop_back();
  }
  if (columns.names_.size() > kMaxColumns) return bad("more than " + std::to_string(kMaxColumns));
  Choice<D> choice(columns.names_);
  for (std::size_t i = 0; i < columns.names_.size(); ++i) {
    const auto& meaning = choice.meanings()[i];
    if (!meaning && columns.names_[i] != kIgnore) {
      return bad(shown(columns.names_[i]) + " means nothing");
    }
    if (meaning && meaning->axis >= D) return bad(shown(columns.names_[i]) + " is of a third axis");
  }
  if (const auto wrong = choice.choose()) return bad("the list " + *wrong);
  columns.parts_ = choice.parts();
  for (std::size_t i = 0; i < columns.names_.size(); ++i) {
    if (choice.meanings()[i] && columns.parts_[i] < 0) {
      return bad("the list names " + shown(columns.names_[i]) + " besides what it needs");
    }
  }
  columns.is_point_ = choice.is_point();
  columns.has_id_ = choice.has_id();
  columns.source_ = Source::kList;
  return columns;
}

template <int D>
std::optional<Columns<D>> Columns<D>::of_count(std::size_t fields) {
  if (fields != 1 + D && fields != kParts) return std::nullopt;
  Columns columns;
  columns.is_point_ = fields == 1 + D;
  columns.has_id_ = true;
  for (std::size_t part = 0; part < fields; ++part) {
    columns.parts_.push_back(static_cast<int>(part));
    columns.names_.emplace_back(columns.name_of(part));
  }
  return columns;
}

template <int D>
std::string Columns<D>::expected_without_names() {
  return of_count(kParts)->list() + " or " + of_count(1 + D)->list();
}

template <int D>
std::string_view Columns<D>::name_of(std::size_t part) const {
  if (part == 0) return "id";
  if (is_point_) return kPointParts[part - 1];
  return part <= D ? kMinParts[part - 1] : kMaxParts[part - 1 - D];
}

/// "lat as y", or "y" alone.
template <int D>
std::string Columns<D>::named(std::size_t column) const {
  const std::string name = bare(names_[column]);
  const auto is = part(column);
  if (!is || plain(name) == name_of(*is)) return name;
  return name + " as " + std::string(name_of(*is));
}

template <int D>
std::string Columns<D>::list() const {
  std::vector<std::string> names;
  for (const std::string& name : names_) names.push_back(bare(name));
  return joined(names, ",", kMaxNamed) + (is_open_ ? ",..." : "");
}

template <int D>
std::string Columns<D>::place(std::size_t part) const {
  const auto found = std::ranges::find(parts_, static_cast<int>(part));
  const auto column = static_cast<std::size_t>(found - parts_.begin());
  return "column " + std::to_string(column + 1) + " (" + named(column) + ")";
}

template <int D>
std::string Columns<D>::description() const {
  std::vector<std::string> used;
  std::vector<std::string> ignored;
  for (std::size_t column = 0; column < parts_.size(); ++column) {
    (part(column) ? used : ignored).push_back(named(column));
  }
  std::string text = joined(used, ", ", kParts);
  if (source_ == Source::kHeader) text += ", by the header";
  if (source_ == Source::kList) text += ", by --columns";
  if (source_ == Source::kCount) text += ", in this order, without a header";
  if (!has_id_) text += "; no id: numbered by line, from 1";
  if (source_ == Source::kHeader && !ignored.empty()) {
    text += "; ignored: " + joined(ignored, ", ", kMaxNamed);
  }
  return text;
}

template class Columns<2>;
template class Columns<3>;

}  // namespace silurus::datasets
