// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "readers/netcdf/axes.h"
#include "readers/netcdf/kinds.h"

namespace silurus::readers {
namespace {

using rtree::Entry;

constexpr std::size_t kBlockCoordinates =
    1 << 16;  // values of each coordinate that are read at a time

/// Coordinates on one dimension, a point each. What has no coordinates is no point.
template <int D>
class PointReader final : public Reader<D> {
 public:
  PointReader(NcFile file, std::array<NcVariable, D> coordinates)
      : file_(std::move(file)),
        coordinates_(std::move(coordinates)),
        count_(file_.length(coordinates_[0].dimensions[0])) {}

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size() && point_ < count_) {
      if (point_ == block_begin_ + blocks_[0].size()) {
        if (auto ok = read_blocks(); !ok) return fail(ok.error());
      }
      Entry<D>& entry = batch[count];
      bool is_known = true;
      for (std::size_t d = 0; d < D; ++d) {
        const double at = blocks_[d][point_ - block_begin_];
        is_known = is_known && std::isfinite(at);
        entry.box.min[d] = entry.box.max[d] = at;
      }
      entry.id = point_++;
      count += is_known ? 1 : 0;
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return std::nullopt; }
  std::optional<std::uint32_t> thousandths() const override {
    return count_ == 0 ? kThousandths
                       : static_cast<std::uint32_t>(point_ * std::uint64_t{kThousandths} / count_);
  }
  std::vector<Note> notes() const override {
    std::string names;
    for (const NcVariable& coordinate : coordinates_) {
      names += (names.empty() ? "" : ", ") + coordinate.name;
    }
    return {{NoteKind::kDescription, "points (CF) of " + names +
                                         "; ids are their places, from 0; those without "
                                         "coordinates are left out"},
            {NoteKind::kHint, note_of_axis(file_, coordinates_[0])}};
  }

 private:
  Status read_blocks() {
    block_begin_ = point_;
    const std::array<std::size_t, 1> start = {point_};
    const std::array<std::size_t, 1> count = {std::min(kBlockCoordinates, count_ - point_)};
    for (std::size_t d = 0; d < D; ++d) {
      blocks_[d].resize(count[0]);
      if (auto ok = file_.read(coordinates_[d], start, count, blocks_[d]); !ok) return ok;
      file_.unpack(coordinates_[d], blocks_[d]);
    }
    return {};
  }

  NcFile file_;
  std::array<NcVariable, D> coordinates_;
  std::size_t count_;
  std::size_t point_ = 0;
  std::size_t block_begin_ = 0;
  std::array<std::vector<double>, D> blocks_;
};

/// The first coordinate of that axis on that dimension, or on any.
const NcVariable* find_coordinate(const NcFile& file, Axis axis, int dimension) {
  for (const NcVariable& variable : file.variables()) {
    if (variable.dimensions.size() != 1 || axis_of(file, variable) != axis) continue;
    const bool is_of_its_own = file.dimension_name(variable.dimensions[0]) == variable.name;
    if (variable.dimensions[0] == dimension || (dimension < 0 && !is_of_its_own)) return &variable;
  }
  return nullptr;
}

}  // namespace

template <int D>
Opened<D> open_points(NcFile& file, const Request& request) {
  const NcVariable* x = find_coordinate(file, Axis::kX, -1);
  if (x == nullptr || !request.layer.empty()) return std::unique_ptr<Reader<D>>();
  const int dimension = x->dimensions[0];
  const NcVariable* y = find_coordinate(file, Axis::kY, dimension);
  if (y == nullptr) return std::unique_ptr<Reader<D>>();
  std::array<NcVariable, D> coordinates;
  coordinates[0] = *x;
  coordinates[1] = *y;
  if constexpr (D == 3) {
    const NcVariable* z = find_coordinate(file, Axis::kZ, dimension);
    if (z == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  file.path() + ": the points of " + x->name +
                      " have no height or depth, and the tree has three dimensions");
    }
    coordinates[2] = *z;
  }
  return std::make_unique<PointReader<D>>(std::move(file), std::move(coordinates));
}

template Opened<2> open_points<2>(NcFile&, const Request&);
template Opened<3> open_points<3>(NcFile&, const Request&);

}  // namespace silurus::readers
