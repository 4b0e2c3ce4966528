// SPDX-License-Identifier: Apache-2.0

#include "readers/gdal/layer.h"

#include <cpl_conv.h>
#include <cpl_error.h>
#include <ogr_srs_api.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <optional>
#include <utility>

namespace silurus::readers {
namespace {

/// The formats that are read, by GDAL's names. The more drivers, the more a file can attack.
constexpr std::array<const char*, 13> kDrivers = {
    "GPKG",        "ESRI Shapefile", "GeoJSON", "GeoJSONSeq", "TopoJSON",
    "FlatGeobuf",  "LIBKML",         "KML",     "GPX",        "OSM",
    "OpenFileGDB", "SQLite",         nullptr};
constexpr std::size_t kMaxNamed = 12;  // layers or columns that a message names
constexpr int kMaxLayers = 10'000;     // layers of one file
constexpr const char* kOsm = "OSM";

std::string& failure() {
  static std::string text;
  return text;
}

void note_failure(CPLErr kind, CPLErrorNum, const char* text) {
  if (kind >= CE_Failure && failure().empty()) failure() = text;
}

/// GDAL as it works in a process that may do next to nothing else.
void set_up_gdal() {
  static std::once_flag is_done;
  std::call_once(is_done, [] {
    CPLSetErrorHandler(note_failure);
    CPLSetConfigOption("GDAL_NUM_THREADS", "1");
    CPLSetConfigOption("OGR_GPKG_NUM_THREADS", "1");
    CPLSetConfigOption("GDAL_DISABLE_READDIR_ON_OPEN", "TRUE");
    CPLSetConfigOption("OSM_MAX_TMPFILE_SIZE", "1024");  // MiB, of memory: files are not written
    CPLSetConfigOption("OGR_ENABLE_PARTIAL_REPROJECTION", "NO");
    GDALAllRegister();
  });
}

/// Joins names for a message: "a, b and 3 more".
std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kMaxNamed; ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kMaxNamed) {
    text += " and " + std::to_string(names.size() - kMaxNamed) + " more";
  }
  return text;
}

Status check_path(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return fail(errno_error(code, "cannot open " + path, errno));
  }
  // Also keeps a name like "http://..." from GDAL, which would go and fetch it.
  if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) return {};
  return fail(ErrorCode::kInvalidArgument, path + " is not a regular file");
}

Result<std::unique_ptr<void, CloseDataset>> open_dataset(const std::string& path) {
  if (auto ok = check_path(path); !ok) return fail(ok.error());
  // A name that begins like a driver's own syntax ("GPKG:...") is a file's all the same.
  const std::string name = path.starts_with('/') ? path : "./" + path;
  std::unique_ptr<void, CloseDataset> dataset(
      GDALOpenEx(name.c_str(), GDAL_OF_VECTOR | GDAL_OF_READONLY | GDAL_OF_VERBOSE_ERROR,
                 kDrivers.data(), nullptr, nullptr));
  const std::string why = take_failure();
  if (dataset != nullptr) return dataset;
  return fail(ErrorCode::kProtocol, path + ": GDAL does not open it" +
                                        (why.empty() ? "" : ": " + why) +
                                        " (truncated, damaged, or of another format: ogrinfo " +
                                        "tells what GDAL knows of it)");
}

bool has_geometry(OGRLayerH layer) { return OGR_L_GetGeomType(layer) != wkbNone; }

/// The layer that there is no choice about: the one with geometries, or of several the one with
/// features.
Result<OGRLayerH> only_layer(const std::string& path, GDALDatasetH dataset) {
  std::vector<std::string> names;
  std::vector<OGRLayerH> filled;
  OGRLayerH any = nullptr;
  const int count = std::min(GDALDatasetGetLayerCount(dataset), kMaxLayers);
  for (int i = 0; i < count; ++i) {
    OGRLayerH layer = GDALDatasetGetLayer(dataset, i);
    if (layer == nullptr || !has_geometry(layer)) continue;
    any = layer;
    names.emplace_back(OGR_L_GetName(layer));
    if (OGR_L_GetFeatureCount(layer, 0) != 0) filled.push_back(layer);
  }
  if (filled.size() == 1) return filled[0];
  if (names.size() == 1) return any;
  if (names.empty()) {
    return fail(ErrorCode::kProtocol, path + ": has no layer with geometries");
  }
  return fail(ErrorCode::kInvalidArgument, path + ": has " + std::to_string(names.size()) +
                                               " layers, name one by --layer: " + joined(names));
}

Result<OGRLayerH> layer_named(const Request& request, GDALDatasetH dataset) {
  OGRLayerH layer = GDALDatasetGetLayerByName(dataset, request.layer.c_str());
  if (layer != nullptr && has_geometry(layer)) return layer;
  std::vector<std::string> names;
  const int count = std::min(GDALDatasetGetLayerCount(dataset), kMaxLayers);
  for (int i = 0; i < count; ++i) {
    OGRLayerH one = GDALDatasetGetLayer(dataset, i);
    if (one != nullptr && has_geometry(one)) names.emplace_back(OGR_L_GetName(one));
  }
  return fail(ErrorCode::kInvalidArgument,
              request.path + ": the layer " + request.layer +
                  (layer == nullptr ? " is not there" : " has no geometries") +
                  "; layers with geometries: " + (names.empty() ? "none" : joined(names)));
}

/// Reads one layer alone from OpenStreetMap's files: features of other layers would be kept in
/// memory.
void read_this_layer_only(const Layer& layer) {
  if (layer.driver != kOsm) return;
  const std::string command = std::string("SET interest_layers = ") + OGR_L_GetName(layer.handle);
  GDALDatasetExecuteSQL(layer.dataset.get(), command.c_str(), nullptr, nullptr);
}

/// Columns that nothing is read from need not be made.
void ignore_columns(OGRLayerH layer, const std::string& id) {
  OGRFeatureDefnH columns = OGR_L_GetLayerDefn(layer);
  std::vector<std::string> names = {"OGR_STYLE"};
  for (int i = 0; i < OGR_FD_GetFieldCount(columns); ++i) {
    const char* name = OGR_Fld_GetNameRef(OGR_FD_GetFieldDefn(columns, i));
    if (name != id) names.emplace_back(name);
  }
  std::vector<const char*> list;
  for (const std::string& name : names) list.push_back(name.c_str());
  list.push_back(nullptr);
  OGR_L_SetIgnoredFields(layer, list.data());
}

std::string columns_of(OGRLayerH layer) {
  OGRFeatureDefnH columns = OGR_L_GetLayerDefn(layer);
  std::vector<std::string> names;
  for (int i = 0; i < OGR_FD_GetFieldCount(columns); ++i) {
    names.emplace_back(OGR_Fld_GetNameRef(OGR_FD_GetFieldDefn(columns, i)));
  }
  return names.empty() ? "" : "; columns: " + joined(names);
}

struct DestroySystem {
  void operator()(void* system) const { OSRDestroySpatialReference(system); }
};

/// "EPSG:27700 (OSGB36 / British National Grid)", or the name alone.
std::string named(OGRSpatialReferenceH system) {
  const std::unique_ptr<void, DestroySystem> copy(OSRClone(system));
  const char* authority = OSRGetAuthorityName(copy.get(), nullptr);
  if (authority == nullptr && OSRAutoIdentifyEPSG(copy.get()) == OGRERR_NONE) {
    authority = OSRGetAuthorityName(copy.get(), nullptr);
  }
  const char* code = OSRGetAuthorityCode(copy.get(), nullptr);
  const char* name = OSRGetName(system);
  const std::string title = name == nullptr ? "without a name" : name;
  if (authority == nullptr || code == nullptr) return title;
  return std::string(authority) + ":" + code + " (" + title + ")";
}

std::string system_of(OGRLayerH layer) {
  OGRSpatialReferenceH system = OGR_L_GetSpatialRef(layer);
  if (system == nullptr) {
    return "the layer names no coordinate system; its coordinates are loaded as they are";
  }
  if (OSRIsGeographic(system) != 0) {
    return "coordinates are degrees, longitude first, in " + named(system) +
           "; nearest measures in degrees";
  }
  return "coordinates are planar, in " + named(system) + "; they are loaded as they are";
}

}  // namespace

std::string take_failure() { return std::exchange(failure(), {}); }

Result<Layer> open_layer(const Request& request) {
  set_up_gdal();
  auto dataset = open_dataset(request.path);
  if (!dataset) return fail(dataset.error());
  Layer layer;
  layer.dataset = std::move(*dataset);
  layer.driver = GDALGetDriverShortName(GDALGetDatasetDriver(layer.dataset.get()));
  const auto handle = request.layer.empty() ? only_layer(request.path, layer.dataset.get())
                                            : layer_named(request, layer.dataset.get());
  if (!handle) return fail(handle.error());
  layer.handle = *handle;
  read_this_layer_only(layer);
  if (request.where.empty()) {
    ignore_columns(layer.handle, request.id);
  } else if (OGR_L_SetAttributeFilter(layer.handle, request.where.c_str()) != OGRERR_NONE) {
    return fail(ErrorCode::kInvalidArgument,
                request.path + ": --where " + request.where + ": " + take_failure());
  }
  take_failure();
  return layer;
}

std::vector<Note> notes_of(const Layer& layer, const Request& request) {
  constexpr std::array<const char*, 3> kForms = {"a box about each feature",
                                                 "a box for each vertex", "a box for each segment"};
  const std::string id = request.id.empty() ? "the layer's own numbers" : request.id;
  const std::string text = "layer " + std::string(OGR_L_GetName(layer.handle)) + " (" +
                           layer.driver + ", " +
                           OGRGeometryTypeToName(OGR_L_GetGeomType(layer.handle)) +
                           "): " + kForms.at(static_cast<std::size_t>(request.as)) + ", ids are " +
                           id + columns_of(layer.handle);
  return {{NoteKind::kDescription, text}, {NoteKind::kHint, system_of(layer.handle)}};
}

}  // namespace silurus::readers
