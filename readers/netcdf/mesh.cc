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

constexpr std::size_t kBlockCorners = 1
                                      << 18;  // corners of the connectivity that are read at a time
constexpr std::size_t kMaxCorners = 1024;     // corners of one cell

/// A mesh's cells, a box about the nodes of each. A cell over the seam of longitudes reaches beyond
/// its greater end.
template <int D>
class MeshReader final : public Reader<D> {
 public:
  MeshReader(NcFile file, const NcVariable& cells, std::array<std::vector<double>, D> nodes,
             bool is_turned, bool is_round, bool skip_bad, std::string description,
             std::string hint)
      : file_(std::move(file)),
        cells_(cells),
        nodes_(std::move(nodes)),
        count_(file_.length(cells.dimensions[is_turned ? 1 : 0])),
        corners_(file_.length(cells.dimensions[is_turned ? 0 : 1])),
        first_(file_.number(cells, "start_index").value_or(0)),
        fill_(file_.fill(cells)),
        is_turned_(is_turned),
        is_round_(is_round),
        skip_bad_(skip_bad),
        description_(std::move(description)),
        hint_(std::move(hint)) {}

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size() && cell_ < count_) {
      if (cell_ == block_begin_ + block_.size() / corners_) {
        if (auto ok = read_block(); !ok) return fail(ok.error());
      }
      const std::size_t cell = cell_++;
      if (make(cell, batch[count])) {
        ++count;
        continue;
      }
      const std::string text =
          "cell " + std::to_string(cell) + " has no node, or one that the mesh does not have";
      if (!skip_bad_) return file_.damaged(text);
      if (skipped_++ == 0) first_skipped_ = file_.path() + ": " + text;
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override {
    return skip_bad_ ? std::nullopt : std::optional<std::uint64_t>(count_);
  }
  std::vector<Note> notes() const override {
    return {{NoteKind::kDescription, description_}, {NoteKind::kHint, hint_}};
  }
  std::uint64_t skipped() const override { return skipped_; }
  std::string first_skipped() const override { return first_skipped_; }

 private:
  Status read_block() {
    const std::size_t cells =
        std::min(std::max<std::size_t>(kBlockCorners / corners_, 1), count_ - cell_);
    block_begin_ = cell_;
    block_.resize(cells * corners_);
    std::array<std::size_t, 2> start = {cell_, 0};
    std::array<std::size_t, 2> count = {cells, corners_};
    if (!is_turned_) return file_.read(cells_, start, count, block_);
    std::swap(start[0], start[1]);
    std::swap(count[0], count[1]);
    std::vector<double> turned(block_.size());
    if (auto ok = file_.read(cells_, start, count, turned); !ok) return ok;
    for (std::size_t i = 0; i < block_.size(); ++i) {
      block_[i] = turned[i % corners_ * cells + i / corners_];
    }
    return {};
  }

  bool make(std::size_t cell, Entry<D>& entry) {
    const double* corner = block_.data() + (cell - block_begin_) * corners_;
    bool has_any = false;
    nodes_of_cell_.clear();
    entry.id = cell;
    for (std::size_t i = 0; i < corners_; ++i) {
      // Cells with fewer corners than others are filled up, some writers do so with -1.
      if (fill_.is(corner[i]) || corner[i] < first_) continue;
      const double index = corner[i] - first_;
      if (!(index < static_cast<double>(nodes_[0].size())) || index != std::trunc(index)) {
        return false;
      }
      const auto node = static_cast<std::size_t>(index);
      for (std::size_t d = 0; d < D; ++d) {
        const double at = nodes_[d][node];
        if (!std::isfinite(at)) return false;
        entry.box.min[d] = has_any ? std::min(entry.box.min[d], at) : at;
        entry.box.max[d] = has_any ? std::max(entry.box.max[d], at) : at;
      }
      nodes_of_cell_.push_back(node);
      has_any = true;
    }
    if (is_round_ && entry.box.max[0] - entry.box.min[0] > kHalfTurn) go_over_seam(entry);
    return has_any;
  }

  /// Takes a cell's longitudes that are half the globe below the greatest for what they are one
  /// turn on. A cell that is not smaller than half the globe then (about a pole) stays as it is.
  void go_over_seam(Entry<D>& entry) const {
    const double least = entry.box.max[0] - kHalfTurn;
    double low = entry.box.max[0];
    double high = entry.box.max[0];
    for (const std::size_t node : nodes_of_cell_) {
      const double at = nodes_[0][node] < least ? nodes_[0][node] + kTurn : nodes_[0][node];
      low = std::min(low, at);
      high = std::max(high, at);
    }
    if (high - low > kHalfTurn) return;
    entry.box.min[0] = low;
    entry.box.max[0] = high;
  }

  NcFile file_;
  NcVariable cells_;
  std::array<std::vector<double>, D> nodes_;
  std::size_t count_;
  std::size_t corners_;
  double first_;
  NcFill fill_;
  bool is_turned_;  // the connectivity: a row of each corner
  bool is_round_;
  bool skip_bad_;
  std::string description_;
  std::string hint_;
  std::size_t cell_ = 0;
  std::size_t block_begin_ = 0;
  std::vector<double> block_;
  std::vector<std::size_t> nodes_of_cell_;
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
};

/// Whether the connectivity has its cells along its second dimension, as the mesh may say (UGRID:
/// face_dimension, volume_dimension).
bool is_turned(const NcFile& file, const NcVariable& mesh, const NcVariable& cells,
               const std::string& kind) {
  const std::string named = file.text(mesh, (kind + "_dimension").c_str());
  return !named.empty() && file.dimension_name(cells.dimensions[0]) != named &&
         file.dimension_name(cells.dimensions[1]) == named;
}

/// The mesh that is named, or the first one.
const NcVariable* find_mesh(const NcFile& file, const Request& request) {
  for (const NcVariable& variable : file.variables()) {
    const bool is_meant = request.layer.empty() || request.layer == variable.name;
    if (is_meant && file.text(variable, "cf_role") == "mesh_topology") return &variable;
  }
  return nullptr;
}

}  // namespace

template <int D>
Opened<D> open_mesh(NcFile& file, const Request& request) {
  const NcVariable* mesh = find_mesh(file, request);
  if (mesh == nullptr) return std::unique_ptr<Reader<D>>();
  const NcVariable* cells = nullptr;
  std::string kind;
  for (const char* each : {"volume", "face"}) {
    if (cells != nullptr) break;
    kind = each;
    cells = file.find(file.text(*mesh, (kind + "_node_connectivity").c_str()));
  }
  if (cells == nullptr || cells->dimensions.size() != 2 || !cells->is_numeric()) {
    return file.damaged("mesh " + mesh->name + " has no connectivity of two dimensions");
  }
  const bool turned = is_turned(file, *mesh, *cells, kind);
  const std::size_t corners = file.length(cells->dimensions[turned ? 0 : 1]);
  if (corners == 0 || corners > kMaxCorners) {
    return file.damaged("cells of mesh " + mesh->name + " have " + std::to_string(corners) +
                        " corners");
  }
  const auto names = words_of(file.text(*mesh, "node_coordinates"));
  if (names.size() < D) {
    return fail(ErrorCode::kUnsupported, file.path() + ": the nodes of mesh " + mesh->name +
                                             " have " + std::to_string(names.size()) +
                                             " coordinates, the tree " + std::to_string(D) +
                                             " dimensions");
  }
  std::array<std::vector<double>, D> nodes;
  const NcVariable* x = nullptr;
  for (std::size_t d = 0; d < D; ++d) {
    const NcVariable* coordinate = file.find(names[d]);
    if (coordinate == nullptr || coordinate->dimensions.size() != 1) {
      return file.damaged("coordinate " + names[d] + " of mesh " + mesh->name + " is not there");
    }
    // Which is which is left open by the conventions.
    const Axis axis = axis_of(file, *coordinate);
    const std::size_t place = axis == Axis::kX ? 0 : axis == Axis::kY ? 1 : d;
    if (place == 0) x = coordinate;
    auto values = file.read_all(*coordinate);
    if (!values) return fail(values.error());
    nodes[place] = std::move(*values);
  }
  for (const auto& one : nodes) {
    if (one.size() != nodes[0].size() || one.empty()) {
      return file.damaged("coordinates of mesh " + mesh->name + " are not of one length");
    }
  }
  const std::string description = "mesh " + mesh->name + " (UGRID): a box about each cell of " +
                                  cells->name + ", ids are their places, from 0";
  const std::string hint = note_of_axis(file, *x);
  const bool is_round = is_longitude(file, *x);
  return std::make_unique<MeshReader<D>>(std::move(file), NcVariable(*cells), std::move(nodes),
                                         turned, is_round, request.skip_bad, description, hint);
}

template Opened<2> open_mesh<2>(NcFile&, const Request&);
template Opened<3> open_mesh<3>(NcFile&, const Request&);

}  // namespace silurus::readers
