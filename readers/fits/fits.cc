// SPDX-License-Identifier: Apache-2.0

#include "readers/fits/fits.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <numbers>
#include <string_view>
#include <utility>

#include "readers/fits/file.h"
#include "readers/table.h"

namespace silurus::readers {
namespace {

constexpr std::size_t kMaxNamedInMessage = 12;  // tables or columns
constexpr double kDegreesOfHour = 15;
constexpr double kDegreesOfRadian = 180 / std::numbers::pi;
constexpr double kMaxLatitude = 90;

/// Longitudes and latitudes, by what catalogues call them (folded()).
struct NamesOfAngles {
  std::string_view longitude;
  std::string_view latitude;
};
constexpr std::array<NamesOfAngles, 15> kAngles = {{{"ra", "dec"},
                                                    {"ra", "de"},
                                                    {"raj2000", "dej2000"},
                                                    {"raj2000", "decj2000"},
                                                    {"raicrs", "deicrs"},
                                                    {"raicrs", "decicrs"},
                                                    {"radeg", "dedeg"},
                                                    {"radeg", "decdeg"},
                                                    {"alphaj2000", "deltaj2000"},
                                                    {"alpha", "delta"},
                                                    {"ramean", "decmean"},
                                                    {"glon", "glat"},
                                                    {"elon", "elat"},
                                                    {"longitude", "latitude"},
                                                    {"lon", "lat"}}};

/// Letters and digits alone, the letters small: "_RA.icrs" becomes "raicrs".
std::string folded(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) text += static_cast<char>(std::tolower(byte));
  }
  return text;
}

const FitsColumn* find(const FitsTable& table, std::string_view name) {
  const auto is_it = [&](const FitsColumn& column) { return folded(column.name) == name; };
  const auto column = std::ranges::find_if(table.columns, is_it);
  return column == table.columns.end() ? nullptr : &*column;
}

/// The columns that places are read from.
struct Places {
  std::vector<FitsColumn> columns;
  bool is_angles = false;
};

/// Those of a table; no column if it has none. Of several pairs of angles the first of kAngles.
Places places_of(const FitsTable& table, std::size_t dimensions) {
  for (const auto& [longitude, latitude] : kAngles) {
    const FitsColumn* one = find(table, longitude);
    const FitsColumn* other = find(table, latitude);
    if (one != nullptr && other != nullptr) return {{*one, *other}, true};
  }
  Places places;
  constexpr std::array<std::string_view, 3> kAxes = {"x", "y", "z"};
  for (const std::string_view axis : std::span(kAxes).first(dimensions)) {
    const FitsColumn* column = find(table, axis);
    if (column == nullptr) return {};
    places.columns.push_back(*column);
  }
  return places;
}

template <typename T>
std::string names_of(const std::vector<T>& all) {
  std::string text;
  for (std::size_t i = 0; i < all.size() && i < kMaxNamedInMessage; ++i) {
    const std::string& name = all[i].name;
    text += (i == 0 ? "" : ", ") + (name.empty() ? std::to_string(all[i].number) : name);
  }
  if (all.size() > kMaxNamedInMessage) {
    text += " and " + std::to_string(all.size() - kMaxNamedInMessage) + " more";
  }
  return text.empty() ? "none" : text;
}

/// The table that was asked for, or the only one that has places.
Result<FitsTable> choose(const Request& request, const std::vector<FitsTable>& tables) {
  const auto dimensions = static_cast<std::size_t>(request.dimensions);
  if (!request.layer.empty()) {
    for (const FitsTable& table : tables) {
      if (table.name == request.layer || std::to_string(table.number) == request.layer)
        return table;
    }
    return fail(ErrorCode::kInvalidArgument, request.path + ": the table " + request.layer +
                                                 " is not there; tables: " + names_of(tables));
  }
  if (tables.size() == 1) return tables[0];
  std::vector<FitsTable> with_places;
  std::ranges::copy_if(tables, std::back_inserter(with_places), [&](const FitsTable& table) {
    return table.is_packed || !places_of(table, dimensions).columns.empty();
  });
  if (with_places.size() == 1) return with_places[0];
  if (with_places.size() > 1) {
    return fail(ErrorCode::kInvalidArgument,
                request.path + ": has " + std::to_string(with_places.size()) +
                    " tables of places, name one by --layer: " + names_of(with_places));
  }
  return fail(ErrorCode::kProtocol, request.path +
                                        ": has no table with columns of right ascension and "
                                        "declination, or of x and y; tables: " +
                                        names_of(tables));
}

/// What a number of that unit has to be multiplied by to be in degrees; nothing if that is not
/// known. Without a unit angles are in degrees.
std::optional<double> degrees_of(const std::string& unit) {
  const std::string word = folded(unit);
  if (word.empty() || word == "deg" || word == "degree" || word == "degrees") return 1;
  if (word == "rad" || word == "radian" || word == "radians") return kDegreesOfRadian;
  if (word == "h" || word == "hr" || word == "hour" || word == "hours") return kDegreesOfHour;
  return std::nullopt;
}

template <int D>
class PlacesTable final : public Table {
 public:
  PlacesTable(FitsFile file, FitsTable table, Places places, std::array<double, D> factors,
              std::optional<FitsColumn> id, std::string where)
      : file_(std::move(file)),
        table_(std::move(table)),
        places_(std::move(places)),
        factors_(factors),
        id_(std::move(id)),
        where_(std::move(where)),
        best_rows_(file_.best_rows()) {}

  std::uint64_t rows() const override { return table_.rows; }
  std::size_t coordinates_each() const override { return D; }
  std::size_t rows_of_block() const override { return best_rows_; }
  bool is_filtered() const override { return !where_.empty(); }
  std::string name() const override { return file_.path() + ": table " + title(); }

  Status read(std::uint64_t first, std::size_t rows, RowBlock& block) override {
    values_.resize(rows);
    for (std::size_t c = 0; c < places_.columns.size(); ++c) {
      if (auto ok = file_.read(places_.columns[c], first, values_); !ok) return ok;
      for (std::size_t i = 0; i < rows; ++i)
        block.coordinates[i * D + c] = values_[i] * factors_[c];
    }
    if (places_.is_angles) check_angles(block, rows);
    if (!where_.empty()) {
      if (auto ok = file_.keep(where_, first, block.is_kept); !ok) return ok;
    }
    return id_ ? read_ids(first, rows, block) : Status();
  }

  std::vector<Note> notes() const override {
    std::string columns;
    for (const FitsColumn& column : places_.columns) {
      columns += (columns.empty() ? "" : ", ") + column.name;
    }
    const std::string kind = !places_.is_angles ? "points at "
                             : D == 2           ? "points, in degrees, at "
                                                : "unit vectors to ";
    const std::string hint =
        !places_.is_angles ? "coordinates are loaded as they are"
        : D == 2           ? "coordinates are degrees, " + places_.columns[0].name +
                       " first, as the file has them (0 to 360 or -180 to 180); nearest measures "
                       "in degrees"
                 : "nearest measures chords of the unit sphere: 2 sin(angle / 2)";
    return {{NoteKind::kDescription, "table " + title() + " (FITS): " + kind + columns +
                                         "; ids are " + (id_ ? id_->name : "rows, from 0") +
                                         "; columns: " + names_of(table_.columns)},
            {NoteKind::kHint, hint}};
  }

 private:
  std::string title() const {
    return table_.name.empty() ? std::to_string(table_.number) : table_.name;
  }

  /// In three dimensions makes vectors of angles.
  static void check_angles(RowBlock& block, std::size_t rows) {
    for (std::size_t i = 0; i < rows; ++i) {
      double* at = block.coordinates.data() + i * D;
      if (std::abs(at[1]) > kMaxLatitude) {
        block.wrong[i] = "its second coordinate is no angle from -90 to 90 degrees";
      }
      if constexpr (D == 3) {
        const double longitude = at[0] / kDegreesOfRadian;
        const double latitude = at[1] / kDegreesOfRadian;
        at[0] = std::cos(latitude) * std::cos(longitude);
        at[1] = std::cos(latitude) * std::sin(longitude);
        at[2] = std::sin(latitude);
      }
    }
  }

  Status read_ids(std::uint64_t first, std::size_t rows, RowBlock& block) {
    ids_.resize(rows);
    if (auto ok = file_.read(*id_, first, ids_); !ok) return ok;
    for (std::size_t i = 0; i < rows; ++i) {
      if (ids_[i]) {
        block.ids[i] = *ids_[i];
      } else {
        block.wrong[i] = "has no id, or a negative one, in column " + id_->name;
      }
    }
    return {};
  }

  FitsFile file_;
  FitsTable table_;
  Places places_;
  std::array<double, D> factors_;
  std::optional<FitsColumn> id_;
  std::string where_;
  std::size_t best_rows_;
  std::vector<double> values_;
  std::vector<std::optional<std::uint64_t>> ids_;
};

/// One for each of the columns, which are checked.
template <int D>
Result<std::array<double, D>> factors_of(const std::string& table, const Places& places) {
  std::array<double, D> factors;
  factors.fill(1);
  for (std::size_t c = 0; c < places.columns.size(); ++c) {
    const FitsColumn& column = places.columns[c];
    if (!column.is_number()) {
      return fail(ErrorCode::kUnsupported,
                  table + ": column " + column.name + " does not have one number in each row");
    }
    if (!places.is_angles) continue;
    const auto factor = degrees_of(column.unit);
    if (!factor) {
      return fail(ErrorCode::kUnsupported, table + ": column " + column.name + " is in " +
                                               column.unit + ", which is no unit of angles here");
    }
    factors[c] = *factor;
  }
  return factors;
}

Result<std::optional<FitsColumn>> id_of(const std::string& name, const FitsTable& table,
                                        const std::string& where) {
  if (name.empty()) return std::nullopt;
  for (const FitsColumn& column : table.columns) {
    if (folded(column.name) != folded(name)) continue;
    if (column.is_whole()) return column;
    return fail(ErrorCode::kInvalidArgument,
                where + ": the column " + name + " does not have one whole number in each row");
  }
  return fail(ErrorCode::kInvalidArgument,
              where + ": there is no column " + name + "; columns: " + names_of(table.columns));
}

}  // namespace

template <int D>
Result<std::unique_ptr<Reader<D>>> open_fits(const Request& request) {
  auto file = FitsFile::open(request.path);
  if (!file) return fail(file.error());
  const auto tables = file->tables();
  if (!tables) return fail(tables.error());
  auto table = choose(request, *tables);
  if (!table) return fail(table.error());
  const std::string title = request.path + ": table " +
                            (table->name.empty() ? std::to_string(table->number) : table->name);
  if (table->is_packed) {
    return fail(ErrorCode::kUnsupported,
                title + ": is packed: unpack it first (funpack, Debian's package libcfitsio-bin)");
  }
  auto places = places_of(*table, D);
  if (places.columns.empty()) {
    return fail(ErrorCode::kProtocol,
                title + ": has no columns of right ascension and declination, or of x" +
                    (D == 3 ? ", y and z" : " and y") + "; columns: " + names_of(table->columns));
  }
  const auto factors = factors_of<D>(title, places);
  if (!factors) return fail(factors.error());
  auto id = id_of(request.id, *table, title);
  if (!id) return fail(id.error());
  if (auto ok = file->move_to(*table); !ok) return fail(ok.error());
  if (!request.where.empty()) {
    if (auto ok = file->check_condition(request.where); !ok) return fail(ok.error());
  }
  return read_table<D>(
      std::make_unique<PlacesTable<D>>(std::move(*file), std::move(*table), std::move(places),
                                       *factors, std::move(*id), request.where),
      request);
}

template Result<std::unique_ptr<Reader<2>>> open_fits<2>(const Request&);
template Result<std::unique_ptr<Reader<3>>> open_fits<3>(const Request&);

}  // namespace silurus::readers
