// SPDX-License-Identifier: Apache-2.0

#include "readers/hdf5/hdf5.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "readers/hdf5/file.h"
#include "readers/table.h"

namespace silurus::readers {
namespace {

constexpr std::size_t kBlockRows = 1 << 14;
constexpr std::size_t kMaxNamedDatasets = 12;  // in a message

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kMaxNamedDatasets; ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kMaxNamedDatasets) {
    text += " and " + std::to_string(names.size() - kMaxNamedDatasets) + " more";
  }
  return text.empty() ? "none" : text;
}

std::vector<std::string> parted(std::string_view names) {
  std::vector<std::string> all;
  for (;;) {
    const std::size_t comma = names.find(',');
    all.emplace_back(names.substr(0, comma));
    if (comma == std::string_view::npos) return all;
    names.remove_prefix(comma + 1);
  }
}

/// How many of a row's columns are coordinates; nothing if a row is neither a point nor a box.
std::optional<std::size_t> coordinates_of(std::size_t columns, std::size_t dimensions) {
  if (columns == dimensions || columns == 2 * dimensions) return columns;
  if (columns == 3 && dimensions == 2) return 2;
  return std::nullopt;
}

/// The columns that coordinates are read from: one dataset, or several of one column each.
struct Coordinates {
  std::vector<H5Column> columns;
  std::size_t each = 0;
};

template <int D>
class ColumnsTable final : public Table {
 public:
  ColumnsTable(H5File file, Coordinates coordinates, std::optional<H5Column> id)
      : file_(std::move(file)), from_(std::move(coordinates)), id_(std::move(id)) {}

  std::uint64_t rows() const override { return from_.columns[0].rows; }
  std::size_t coordinates_each() const override { return from_.each; }
  std::size_t rows_of_block() const override { return kBlockRows; }
  std::string name() const override { return file_.path() + ":" + names(); }

  Status read(std::uint64_t first, std::size_t rows, RowBlock& block) override {
    if (from_.columns.size() == 1) {
      if (auto ok = file_.read(from_.columns[0], first, from_.each, block.coordinates); !ok) {
        return ok;
      }
    } else {
      values_.resize(rows);
      for (std::size_t c = 0; c < from_.columns.size(); ++c) {
        if (auto ok = file_.read(from_.columns[c], first, 1, values_); !ok) return ok;
        for (std::size_t i = 0; i < rows; ++i) block.coordinates[i * from_.each + c] = values_[i];
      }
    }
    if (!id_) return {};
    if (!id_->is_signed) return file_.read(*id_, first, block.ids);
    signed_ids_.resize(rows);
    if (auto ok = file_.read(*id_, first, signed_ids_); !ok) return ok;
    for (std::size_t i = 0; i < rows; ++i) {
      if (signed_ids_[i] < 0) block.wrong[i] = "has a negative id in " + id_->name;
      block.ids[i] = static_cast<std::uint64_t>(signed_ids_[i]);
    }
    return {};
  }

  std::vector<Note> notes() const override {
    const bool is_cut = from_.columns.size() == 1 && from_.columns[0].columns != from_.each;
    return {{NoteKind::kDescription, std::string(from_.each == D ? "points" : "boxes") + " of " +
                                         names() + " (HDF5)" +
                                         (is_cut ? ", whose third column is left out" : "") +
                                         "; ids are " + (id_ ? id_->name : "rows, from 0")},
            {NoteKind::kHint, "coordinates are loaded as they are"}};
  }

 private:
  std::string names() const {
    std::string text;
    for (const H5Column& column : from_.columns) {
      text += (text.empty() ? "" : ",") + column.name;
    }
    return text;
  }

  H5File file_;
  Coordinates from_;
  std::optional<H5Column> id_;
  std::vector<double> values_;
  std::vector<std::int64_t> signed_ids_;
};

/// The names that coordinates are read from: those that were asked for; of a group its x, y and z;
/// or the only dataset whose rows are points or boxes.
Result<std::vector<std::string>> names_of(const H5File& file, const Request& request) {
  const auto dimensions = static_cast<std::size_t>(request.dimensions);
  std::vector<std::string> names = parted(request.layer);
  if (!request.layer.empty()) {
    if (names.size() > 1 || !file.is_group(names[0])) return names;
    const std::string group = names[0].ends_with('/') ? names[0] : names[0] + "/";
    constexpr std::array<const char*, 3> kAxes = {"x", "y", "z"};
    names.clear();
    for (std::size_t d = 0; d < dimensions; ++d) names.push_back(group + kAxes[d]);
    if (std::ranges::all_of(names, [&](const auto& name) { return file.has(name); })) return names;
    return fail(ErrorCode::kInvalidArgument, file.path() + ": the group " + request.layer +
                                                 " does not have " + listed(names) +
                                                 "; datasets: " + listed(file.datasets()));
  }
  const std::vector<std::string> all = file.datasets();
  names.clear();
  for (const std::string& name : all) {
    const auto column = file.column(name);
    const bool is_fit =
        column && column->rank == 2 && coordinates_of(column->columns, dimensions).has_value();
    if (is_fit) names.push_back(name);
  }
  if (names.size() == 1) return names;
  const std::string how = "name one (" + file.path() + ":/NAME, or --layer /NAME): ";
  return fail(ErrorCode::kInvalidArgument,
              names.empty()
                  ? file.path() + ": has no dataset whose rows are points or boxes of " +
                        std::to_string(dimensions) + " dimensions; name its columns (" +
                        file.path() + ":/X,/Y); datasets: " + listed(all)
                  : file.path() + ": has " + std::to_string(names.size()) +
                        " datasets whose rows are points or boxes, " + how + listed(names));
}

Result<Coordinates> open_columns(const H5File& file, const std::vector<std::string>& names,
                                 std::size_t dimensions) {
  Coordinates coordinates;
  for (const std::string& name : names) {
    auto column = file.column(name);
    if (!column) return fail(column.error());
    coordinates.columns.push_back(std::move(*column));
  }
  const H5Column& first = coordinates.columns[0];
  const bool is_one = names.size() == 1;
  const auto each =
      is_one ? coordinates_of(first.columns, dimensions) : std::optional<std::size_t>(names.size());
  if (!each || (!is_one && *each != dimensions && *each != 2 * dimensions)) {
    return fail(ErrorCode::kInvalidArgument,
                file.path() + ": " + listed(names) + ": " +
                    std::to_string(is_one ? first.columns : names.size()) + " columns, " +
                    std::to_string(dimensions) + " (points) or " + std::to_string(2 * dimensions) +
                    " (boxes) make a row");
  }
  for (const H5Column& column : coordinates.columns) {
    if (column.rows != first.rows || (!is_one && column.columns != 1)) {
      return fail(ErrorCode::kInvalidArgument,
                  file.path() + ": " + listed(names) + " are not of one column and one length");
    }
  }
  coordinates.each = *each;
  return coordinates;
}

Result<std::optional<H5Column>> open_ids(const H5File& file, const std::string& name,
                                         const H5Column& coordinates) {
  if (name.empty()) return std::nullopt;
  auto column = file.column(name);
  if (!column) return fail(column.error());
  if (column->is_whole && column->columns == 1 && column->rows == coordinates.rows) {
    return std::optional<H5Column>(std::move(*column));
  }
  return fail(ErrorCode::kInvalidArgument, file.path() + ": " + name +
                                               " does not have one whole number for each row of " +
                                               coordinates.name);
}

}  // namespace

template <int D>
Result<std::unique_ptr<Reader<D>>> open_hdf5(const Request& request) {
  auto file = H5File::open(request.path);
  if (!file) return fail(file.error());
  const auto names = names_of(*file, request);
  if (!names) return fail(names.error());
  auto coordinates = open_columns(*file, *names, D);
  if (!coordinates) return fail(coordinates.error());
  auto ids = open_ids(*file, request.id, coordinates->columns[0]);
  if (!ids) return fail(ids.error());
  return read_table<D>(
      std::make_unique<ColumnsTable<D>>(std::move(*file), std::move(*coordinates), std::move(*ids)),
      request);
}

template Result<std::unique_ptr<Reader<2>>> open_hdf5<2>(const Request&);
template Result<std::unique_ptr<Reader<3>>> open_hdf5<3>(const Request&);

}  // namespace silurus::readers
