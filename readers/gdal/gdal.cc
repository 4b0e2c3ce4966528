// SPDX-License-Identifier: Apache-2.0

#include "readers/gdal/gdal.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "readers/gdal/arrow.h"
#include "readers/gdal/layer.h"
#include "readers/wkb.h"

namespace silurus::readers {
namespace {

using rtree::Box;
using rtree::Entry;

// They are in memory together, and a feature may be large.
constexpr const char* kBatchFeatures = "MAX_FEATURES_IN_BATCH=1024";
constexpr std::uint64_t kFeaturesOfCpuTime = 256;      // after which the process gets more of it
constexpr std::size_t kEnoughEntries = kBatchEntries;  // that are made ahead, and a feature's more
constexpr std::size_t kMaxFilesBeside = 64;
constexpr unsigned kOpeningSeconds = 3600;  // GeoJSON is read as a whole to know its columns

struct DestroyGeometry {
  void operator()(void* geometry) const { OGR_G_DestroyGeometry(geometry); }
};

/// The boxes of a geometry with arcs, of which GDAL knows how far they reach.
template <int D>
std::string_view append_boxes_of_curves(std::span<const std::byte> wkb, As as,
                                        std::vector<Box<D>>& boxes) {
  OGRGeometryH parsed = nullptr;
  const auto status =
      OGR_G_CreateFromWkb(wkb.data(), nullptr, &parsed, static_cast<int>(wkb.size()));
  const std::unique_ptr<void, DestroyGeometry> curves(parsed);
  if (status != OGRERR_NONE || parsed == nullptr) return "is no geometry that GDAL knows";
  if (as == As::kBoxes && OGR_G_IsEmpty(parsed) == 0) {
    OGREnvelope3D reach;
    OGR_G_GetEnvelope3D(parsed, &reach);
    if (D == 3 && OGR_G_Is3D(parsed) == 0) return "has no z, and the tree has three dimensions";
    const std::array<double, 3> low = {reach.MinX, reach.MinY, reach.MinZ};
    const std::array<double, 3> high = {reach.MaxX, reach.MaxY, reach.MaxZ};
    Box<D> box;
    std::copy_n(low.begin(), D, box.min.begin());
    std::copy_n(high.begin(), D, box.max.begin());
    if (!rtree::check_box(box)) return "has a coordinate that is not finite";
    boxes.push_back(box);
    return {};
  }
  const std::unique_ptr<void, DestroyGeometry> lines(OGR_G_GetLinearGeometry(parsed, 0, nullptr));
  if (lines == nullptr) return "has curves that GDAL cannot make lines of";
  std::vector<unsigned char> bytes(static_cast<std::size_t>(OGR_G_WkbSize(lines.get())));
  if (OGR_G_ExportToIsoWkb(lines.get(), wkbNDR, bytes.data()) != OGRERR_NONE) {
    return "is no geometry that GDAL knows";
  }
  return append_boxes_of_wkb<D>(std::as_bytes(std::span(bytes)), as, boxes);
}

template <int D>
class GdalReader final : public Reader<D> {
 public:
  GdalReader(Layer layer, ArrowBatches features, Request request)
      : layer_(std::move(layer)), features_(std::move(features)), request_(std::move(request)) {
    const GIntBig count = OGR_L_GetFeatureCount(layer_.handle, 0);
    if (count >= 0) total_features_ = static_cast<std::uint64_t>(count);
  }

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    if (begin_ == made_.size()) {
      made_.clear();
      begin_ = 0;
      if (auto ok = make_some(); !ok) return fail(ok.error());
    }
    const std::size_t count = std::min(batch.size(), made_.size() - begin_);
    std::copy_n(made_.begin() + static_cast<std::ptrdiff_t>(begin_), count, batch.begin());
    begin_ += count;
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override {
    const bool is_one_each = request_.as == As::kBoxes && !request_.skip_bad;
    return is_one_each ? total_features_ : std::nullopt;
  }
  std::vector<Note> notes() const override { return notes_of(layer_, request_); }
  std::uint64_t skipped() const override { return skipped_; }
  std::string first_skipped() const override { return first_skipped_; }
  std::optional<std::uint32_t> thousandths() const override {
    if (!total_features_ || *total_features_ == 0) return std::nullopt;
    const std::uint64_t done = std::min(read_features_, *total_features_);
    return static_cast<std::uint32_t>(done * kThousandths / *total_features_);
  }

 private:
  Status make_some() {
    while (made_.size() < kEnoughEntries && !is_at_end_) {
      if (feature_ == size_) {
        auto more = features_.next();
        if (!more) return failed(more.error().message);
        if (const std::string why = take_failure(); !why.empty()) return failed(why);
        is_at_end_ = !*more;
        feature_ = 0;
        size_ = *more ? features_.size() : 0;
        continue;
      }
      if (auto ok = make_boxes(feature_++); !ok) return ok;
      // What is left out makes no batch, which would give it more time.
      if (++read_features_ % kFeaturesOfCpuTime == 0) renew_cpu_time();
    }
    return {};
  }

  tl::unexpected<Error> failed(const std::string& why) {
    is_at_end_ = true;
    return fail(ErrorCode::kProtocol, request_.path + ": GDAL, after " +
                                          std::to_string(read_features_) + " features: " + why +
                                          " (truncated or damaged?)");
  }

  Status make_boxes(std::size_t feature) {
    boxes_.clear();
    const auto id = features_.id(feature);
    if (!id) return bad(feature, "has no id that is a whole number from 0 to 2^64 - 1");
    const auto wkb = features_.geometry(feature);
    if (!wkb) return bad(feature, "has no geometry");
    std::string_view wrong = is_curved_wkb(*wkb)
                                 ? append_boxes_of_curves<D>(*wkb, request_.as, boxes_)
                                 : append_boxes_of_wkb<D>(*wkb, request_.as, boxes_);
    if (wrong == kUnknownType) {  // a collection may have curves
      boxes_.clear();
      wrong = append_boxes_of_curves<D>(*wkb, request_.as, boxes_);
    }
    if (!wrong.empty()) return bad(feature, "has a geometry that " + std::string(wrong));
    for (const Box<D>& box : boxes_) made_.push_back({*id, box});
    return {};
  }

  Status bad(std::size_t feature, const std::string& why) {
    const std::string text = request_.path + ": layer " + OGR_L_GetName(layer_.handle) +
                             ": feature " + std::to_string(features_.fid(feature)) + " " + why;
    if (!request_.skip_bad) {
      return fail(ErrorCode::kProtocol, text + " (--skip-bad leaves such features out)");
    }
    if (skipped_++ == 0) first_skipped_ = text;
    return {};
  }

  Layer layer_;
  ArrowBatches features_;
  Request request_;
  std::optional<std::uint64_t> total_features_;
  std::uint64_t read_features_ = 0;
  std::size_t feature_ = 0;  // index in the batch of the next feature
  std::size_t size_ = 0;     // features in the batch
  std::vector<Box<D>> boxes_;
  std::vector<Entry<D>> made_;
  std::size_t begin_ = 0;  // start of what has not been handed out
  bool is_at_end_ = false;
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
};

/// A layer's column, or what GDAL calls it if it has no name.
std::string or_default(const char* name, const char* fallback) {
  return name == nullptr || *name == '\0' ? fallback : name;
}

}  // namespace

template <int D>
Result<std::unique_ptr<Reader<D>>> open_gdal(const Request& request) {
  auto layer = open_layer(request);
  if (!layer) return fail(layer.error());
  ArrowArrayStream stream{};
  std::string size = kBatchFeatures;
  std::array<char*, 2> options = {size.data(), nullptr};
  if (!OGR_L_GetArrowStream(layer->handle, &stream, options.data())) {
    return fail(ErrorCode::kProtocol, request.path + ": GDAL does not read it: " + take_failure());
  }
  const ArrowBatches::Columns columns = {
      .geometry = or_default(OGR_L_GetGeometryColumn(layer->handle), "wkb_geometry"),
      .fid = or_default(OGR_L_GetFIDColumn(layer->handle), "OGC_FID"),
      .id = request.id};
  auto features = ArrowBatches::create(stream, columns);
  if (!features) {
    return fail(features.error().code, request.path + ": " + features.error().message);
  }
  return std::make_unique<GdalReader<D>>(std::move(*layer), std::move(*features), request);
}

Needs needs_of_gdal(const Request& request) {
  namespace fs = std::filesystem;
  Needs needs{.files = {request.path},
              .folders = {SILURUS_GDAL_DATA, SILURUS_PROJ_DATA},
              .cpu_seconds = kOpeningSeconds};
  std::error_code error;
  if (fs::is_directory(request.path, error)) needs.folders.push_back(request.path);
  // A Shapefile is several files, and SQLite may have a log: "roads.shp", "roads.dbf";
  // "a.gpkg-wal".
  const fs::path path(request.path);
  const std::string stem = path.stem().string() + ".";
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  for (fs::directory_iterator file(folder, error), end; !error && file != end;
       file.increment(error)) {
    if (needs.files.size() > kMaxFilesBeside) break;
    const bool belongs = file->path().filename().string().starts_with(stem);
    if (belongs && file->is_regular_file(error)) needs.files.push_back(file->path().string());
  }
  return needs;
}

template Result<std::unique_ptr<Reader<2>>> open_gdal<2>(const Request&);
template Result<std::unique_ptr<Reader<3>>> open_gdal<3>(const Request&);

}  // namespace silurus::readers
