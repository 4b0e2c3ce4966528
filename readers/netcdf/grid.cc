// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "readers/netcdf/axes.h"
#include "readers/netcdf/kinds.h"

namespace silurus::readers {
namespace {

using rtree::Box;
using rtree::Entry;

constexpr std::size_t kNone = static_cast<std::size_t>(-1);
constexpr std::size_t kMaxNamed = 12;  // variables that a message names

/// Where the cells of a grid are: row by row.
class Cells {
 public:
  virtual ~Cells() = default;
  /// In x and in y, of the cell of row j and column i; not finite where the grid has no cell.
  virtual std::array<Extent, 2> at(std::size_t j, std::size_t i) const = 0;
};

class RegularCells final : public Cells {
 public:
  RegularCells(std::vector<Extent> x, std::vector<Extent> y) : x_(std::move(x)), y_(std::move(y)) {}
  std::array<Extent, 2> at(std::size_t j, std::size_t i) const override { return {x_[i], y_[j]}; }

 private:
  std::vector<Extent> x_;
  std::vector<Extent> y_;
};

/// Centres in two dimensions: a cell reaches half way to its neighbours, along rows and columns;
/// in longitudes the short way round.
class CurvilinearCells final : public Cells {
 public:
  CurvilinearCells(std::vector<double> x, std::vector<double> y, std::size_t rows,
                   std::size_t columns, bool is_round)
      : x_(std::move(x)), y_(std::move(y)), rows_(rows), columns_(columns), is_round_(is_round) {}

  std::array<Extent, 2> at(std::size_t j, std::size_t i) const override {
    return {about(x_, j, i, is_round_), about(y_, j, i, false)};
  }

 private:
  Extent about(const std::vector<double>& centres, std::size_t j, std::size_t i,
               bool is_round) const {
    const auto centre = [&](std::size_t row, std::size_t column) {
      return centres[row * columns_ + column];
    };
    const double here = centre(j, i);
    const double along_row = reach(here, i > 0 ? centre(j, i - 1) : NAN,
                                   i + 1 < columns_ ? centre(j, i + 1) : NAN, is_round);
    const double along_column = reach(here, j > 0 ? centre(j - 1, i) : NAN,
                                      j + 1 < rows_ ? centre(j + 1, i) : NAN, is_round);
    const double far = along_row + along_column;
    return {here - far, here + far};
  }
  static double reach(double here, double before, double behind, bool is_round) {
    double far = 0;
    for (const double other : {before, behind}) {
      if (!std::isfinite(other)) continue;
      const double way = is_round ? short_way(here, other) : other - here;
      far = std::max(far, std::abs(way) / 2);
    }
    return far;
  }

  std::vector<double> x_;
  std::vector<double> y_;
  std::size_t rows_;
  std::size_t columns_;
  bool is_round_;
};

/// Which dimension of a variable is which.
struct Places {
  std::size_t x = kNone;
  std::size_t y = kNone;
  std::size_t z = kNone;
  const NcVariable* x_coordinate = nullptr;
  const NcVariable* y_coordinate = nullptr;
  const NcVariable* z_coordinate = nullptr;

  bool is_grid() const { return x != kNone && y != kNone && x != y; }
};

/// Coordinates that a variable names besides those that are called like its dimensions.
void find_named_coordinates(const NcFile& file, const NcVariable& variable, Places& places) {
  for (const std::string& name : words_of(file.text(variable, "coordinates"))) {
    const NcVariable* coordinate = file.find(name);
    if (coordinate == nullptr || coordinate->dimensions.size() != 2) continue;
    const auto place = [&](int dimension) {
      const auto found = std::ranges::find(variable.dimensions, dimension);
      return found == variable.dimensions.end()
                 ? kNone
                 : static_cast<std::size_t>(found - variable.dimensions.begin());
    };
    const std::size_t row = place(coordinate->dimensions[0]);
    const std::size_t column = place(coordinate->dimensions[1]);
    const Axis axis = axis_of(file, *coordinate);
    if (row == kNone || column == kNone || (axis != Axis::kX && axis != Axis::kY)) continue;
    (axis == Axis::kX ? places.x_coordinate : places.y_coordinate) = coordinate;
    places.y = row;
    places.x = column;
  }
}

Places places_of(const NcFile& file, const NcVariable& variable) {
  Places places;
  if (!variable.is_numeric() || variable.dimensions.size() < 2) return places;
  for (std::size_t i = 0; i < variable.dimensions.size(); ++i) {
    const NcVariable* coordinate = file.find(file.dimension_name(variable.dimensions[i]));
    if (coordinate == nullptr || coordinate->dimensions.size() != 1 ||
        coordinate->dimensions[0] != variable.dimensions[i]) {
      continue;
    }
    const Axis axis = axis_of(file, *coordinate);
    if (axis == Axis::kX) places.x = i, places.x_coordinate = coordinate;
    if (axis == Axis::kY) places.y = i, places.y_coordinate = coordinate;
    if (axis == Axis::kZ) places.z = i, places.z_coordinate = coordinate;
  }
  if (!places.is_grid()) {
    places.x = places.y = kNone;
    places.x_coordinate = places.y_coordinate = nullptr;
    find_named_coordinates(file, variable, places);
    if (places.x_coordinate == nullptr || places.y_coordinate == nullptr) places.x = kNone;
  }
  return places;
}

template <int D>
class GridReader final : public Reader<D> {
 public:
  GridReader(NcFile file, const NcVariable& variable, const Places& places,
             std::unique_ptr<Cells> cells, std::vector<Extent> levels)
      : file_(std::move(file)),
        variable_(variable),
        x_(places.x),
        y_(places.y),
        z_(places.z),
        cells_(std::move(cells)),
        levels_(std::move(levels)),
        columns_(file_.length(variable.dimensions[x_])),
        rows_(file_.length(variable.dimensions[y_])),
        depth_(D == 3 ? levels_.size() : 1),
        fill_(file_.fill(variable)),
        hint_(note_of_axis(file_, *places.x_coordinate)),
        column_(columns_) {}

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size()) {
      if (column_ == columns_) {
        if (columns_ == 0 || next_row_ == rows_ * depth_) break;
        if (auto ok = read_row(); !ok) return fail(ok.error());
        column_ = 0;
      }
      const std::size_t column = column_++;
      if (fill_.is(values_[column])) continue;
      const std::size_t row = next_row_ - 1;
      Entry<D>& entry = batch[count];
      entry.id = std::uint64_t{row} * columns_ + column;
      const auto [x, y] = cells_->at(row % rows_, column);
      entry.box.min[0] = x.low;
      entry.box.max[0] = x.high;
      entry.box.min[1] = y.low;
      entry.box.max[1] = y.high;
      if constexpr (D == 3) {
        entry.box.min[2] = levels_[row / rows_].low;
        entry.box.max[2] = levels_[row / rows_].high;
      }
      if (rtree::check_box(entry.box)) ++count;
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return std::nullopt; }
  std::optional<std::uint32_t> thousandths() const override {
    const std::uint64_t all = std::uint64_t{rows_} * depth_;
    return all == 0 ? kThousandths : static_cast<std::uint32_t>(next_row_ * kThousandths / all);
  }
  std::vector<Note> notes() const override {
    std::string text = "grid " + variable_.name + " (CF): a box for each cell that has a value, " +
                       "ids are their places, from 0";
    const std::size_t used = D == 3 ? 3 : 2;
    if (variable_.dimensions.size() > used) {
      text += "; of the other dimensions the first place:";
      for (std::size_t i = 0; i < variable_.dimensions.size(); ++i) {
        if (i == x_ || i == y_ || (D == 3 && i == z_)) continue;
        text += " " + file_.dimension_name(variable_.dimensions[i]);
      }
    }
    return {{NoteKind::kDescription, text}, {NoteKind::kHint, hint_}};
  }

 private:
  Status read_row() {
    std::vector<std::size_t> start(variable_.dimensions.size());
    std::vector<std::size_t> count(variable_.dimensions.size(), 1);
    start[y_] = next_row_ % rows_;
    if (D == 3) start[z_] = next_row_ / rows_;
    count[x_] = columns_;
    values_.resize(columns_);
    ++next_row_;
    return file_.read(variable_, start, count, values_);
  }

  NcFile file_;
  NcVariable variable_;
  std::size_t x_;  // which of the variable's dimensions
  std::size_t y_;
  std::size_t z_;
  std::unique_ptr<Cells> cells_;
  std::vector<Extent> levels_;
  std::size_t columns_;
  std::size_t rows_;
  std::size_t depth_;
  NcFill fill_;
  std::string hint_;
  std::size_t next_row_ = 0;  // next row, counted through all levels
  std::size_t column_;        // next column to hand out of the row before next_row_
  std::vector<double> values_;
};

Result<std::unique_ptr<Cells>> cells_of(const NcFile& file, const NcVariable& variable,
                                        const Places& places) {
  if (places.x_coordinate->dimensions.size() == 1) {
    auto x = extents_of(file, *places.x_coordinate);
    if (!x) return fail(x.error());
    auto y = extents_of(file, *places.y_coordinate);
    if (!y) return fail(y.error());
    return std::make_unique<RegularCells>(std::move(*x), std::move(*y));
  }
  auto x = file.read_all(*places.x_coordinate);
  if (!x) return fail(x.error());
  auto y = file.read_all(*places.y_coordinate);
  if (!y) return fail(y.error());
  const std::size_t rows = file.length(variable.dimensions[places.y]);
  const std::size_t columns = file.length(variable.dimensions[places.x]);
  if (x->size() != y->size() || x->size() != rows * columns) {
    return file.damaged("the coordinates of " + variable.name + " are of another size");
  }
  return std::make_unique<CurvilinearCells>(std::move(*x), std::move(*y), rows, columns,
                                            is_longitude(file, *places.x_coordinate));
}

/// The variable that is named, or the only one that is a grid; null if there is none.
Result<const NcVariable*> choose(const NcFile& file, const Request& request) {
  std::vector<const NcVariable*> grids;
  std::string names;
  for (const NcVariable& variable : file.variables()) {
    if (!request.layer.empty() && request.layer != variable.name) continue;
    if (!places_of(file, variable).is_grid()) continue;
    grids.push_back(&variable);
    if (grids.size() <= kMaxNamed) names += (names.empty() ? "" : ", ") + variable.name;
  }
  if (grids.size() > 1) {
    return fail(ErrorCode::kInvalidArgument, file.path() + ": has " + std::to_string(grids.size()) +
                                                 " grids, name one by --layer: " + names);
  }
  return grids.empty() ? nullptr : grids[0];
}

}  // namespace

template <int D>
Opened<D> open_grid(NcFile& file, const Request& request) {
  const auto chosen = choose(file, request);
  if (!chosen) return fail(chosen.error());
  if (*chosen == nullptr) return std::unique_ptr<Reader<D>>();
  const NcVariable variable = **chosen;
  const Places places = places_of(file, variable);
  std::vector<Extent> levels;
  if constexpr (D == 3) {
    if (places.z == kNone) {
      return fail(ErrorCode::kUnsupported, file.path() + ": the grid " + variable.name +
                                               " has no vertical axis, and the tree has three "
                                               "dimensions");
    }
    auto extents = extents_of(file, *places.z_coordinate);
    if (!extents) return fail(extents.error());
    levels = std::move(*extents);
  }
  auto cells = cells_of(file, variable, places);
  if (!cells) return fail(cells.error());
  return std::make_unique<GridReader<D>>(std::move(file), variable, places, std::move(*cells),
                                         std::move(levels));
}

template Opened<2> open_grid<2>(NcFile&, const Request&);
template Opened<3> open_grid<3>(NcFile&, const Request&);

}  // namespace silurus::readers
