// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/open.h"
#include "tests/support/command.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

// Files that silurus-read-gdal reads, compared with what GDAL's own bindings say of them. Made by
// ogr2ogr from the lakes of GSHHG (python-cartopy-data): Shapefiles that were not made for the
// tests.

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::run_command;

constexpr const char* kLakes = "/usr/share/cartopy/data/shapefiles/gshhs/l/GSHHS_l_L2.shp";
constexpr std::size_t kLakeCount = 4385;

/// A format that ogr2ogr writes.
struct Made {
  const char* name;  // name of the driver
  const char* file;
  const char* layer;
};
const Made kMade[] = {
    {"GPKG", "lakes.gpkg", "lakes"},       {"ESRI Shapefile", "lakes.shp", "lakes"},
    {"GeoJSON", "lakes.geojson", "lakes"}, {"GeoJSONSeq", "lakes.geojsonl", "lakes"},
    {"FlatGeobuf", "lakes.fgb", "lakes"},  {"KML", "lakes.kml", "lakes"},
    {"OpenFileGDB", "lakes.gdb", "lakes"}};

std::string quoted(const std::string& text) { return "'" + text + "'"; }

std::filesystem::path program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

/// A folder for files, which is gone at the end of the test. Skips where there is no GDAL.
class Vector : public testing::Test {
 protected:
  void SetUp() override {
    const auto reader = program_folder() / "../libexec/silurus/silurus-read-gdal";
    if (!std::filesystem::exists(reader)) GTEST_SKIP() << "built without libgdal-dev";
    if (!std::filesystem::exists(kLakes)) GTEST_SKIP() << "python-cartopy-data is not installed";
    if (run_command("ogr2ogr --version").status != 0) GTEST_SKIP() << "gdal-bin is not installed";
    folder_ = std::filesystem::temp_directory_path() / ("vector-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// The lakes in another format.
  std::string make(const Made& made, const std::string& options = "",
                   const std::string& from = kLakes) const {
    const std::string to = path(made.file);
    const auto printed =
        run_command("ogr2ogr -f " + quoted(made.name) + " -nln " + made.layer + " " + options +
                    " " + quoted(to) + " " + quoted(from) + " 2>/dev/null");
    EXPECT_EQ(printed.status, 0) << made.name;
    return to;
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }

  /// What GDAL's bindings print, one line each.
  static std::vector<std::string> ogr(const std::string& arguments) {
    const auto script = std::filesystem::path(__FILE__).parent_path() / "../../readers/ogr";
    const auto printed =
        run_command("/usr/bin/python3 " + quoted(script.string()) + " " + arguments);
    EXPECT_EQ(printed.status, 0) << "python3-gdal, which comes with gdal-bin";
    std::vector<std::string> lines;
    std::istringstream text(printed.text);
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  /// The envelopes that GDAL's bindings name.
  static std::vector<Entry<2>> envelopes(const std::string& file) {
    std::vector<Entry<2>> entries;
    for (const std::string& line : ogr("envelopes " + quoted(file) + " ''")) {
      std::istringstream words(line);
      std::string word;
      Entry<2> entry;
      words >> entry.id;
      for (double* value :
           {&entry.box.min[0], &entry.box.min[1], &entry.box.max[0], &entry.box.max[1]}) {
        words >> word;
        *value = std::strtod(word.c_str(), nullptr);
      }
      entries.push_back(entry);
    }
    return entries;
  }

  static Result<std::vector<Entry<2>>> read(const std::string& file,
                                            const OpenOptions& options = {}) {
    auto source = open_dataset<2>(file, options);
    if (!source) return fail(source.error());
    return read_all(**source);
  }
  static std::string error_of(const std::string& file, const OpenOptions& options = {}) {
    const auto entries = read(file, options);
    return entries ? "no error" : entries.error().message;
  }

  /// Counts of thirty windows, by this reader and by `ogrinfo -spat`.
  static void compare_windows(const std::string& file, const std::string& name) {
    const auto entries = read(file);
    ASSERT_TRUE(entries.has_value()) << entries.error().message;
    Random random(testing_support::seed(20261201));
    std::string arguments;
    std::vector<std::string> expected;
    for (int i = 0; i < 30; ++i) {
      rtree::Box<2> window;
      window.min = {-180 + 300 * random.uniform(), -60 + 120 * random.uniform()};
      window.max = {window.min[0] + 60 * random.uniform(), window.min[1] + 30 * random.uniform()};
      std::ostringstream text;
      text.precision(17);
      text << " " << window.min[0] << "," << window.min[1] << "," << window.max[0] << ","
           << window.max[1];
      arguments += text.str();
      expected.push_back(std::to_string(std::ranges::count_if(
          *entries, [&](const auto& entry) { return rtree::intersects(window, entry.box); })));
    }
    EXPECT_EQ(ogr("counts " + quoted(file) + " ''" + arguments), expected) << name;
  }

  std::filesystem::path folder_;
};

TEST_F(Vector, OfEveryFormatHasTheEnvelopesThatGdalNames) {
  for (const Made& made : kMade) {
    const std::string file = make(made);
    const auto entries = read(file);
    ASSERT_TRUE(entries.has_value()) << entries.error().message;
    EXPECT_EQ(entries->size(), kLakeCount) << made.name;
    EXPECT_EQ(*entries, envelopes(file)) << made.name;
  }
}

TEST_F(Vector, CountsOfWindowsAreThoseOfOgrinfoInEveryFormat) {
  for (const Made& made : kMade) {
    const std::string file = make(
        made, "-nlt POINT -dialect SQLite -sql 'SELECT ST_Centroid(geometry) FROM GSHHS_l_L2'");
    compare_windows(file, made.name);
  }
}

TEST_F(Vector, FeaturesBecomeVerticesOrSegments) {
  const auto vertices = read(kLakes, {.as = As::kPoints});
  const auto segments = read(kLakes, {.as = As::kSegments});
  ASSERT_TRUE(vertices && segments);
  // 44 bytes a polygon's head and 8 its own, 4 a ring, 16 a vertex; 100 the file's.
  const std::uint64_t rings = kLakeCount;  // no lake of that layer has an island
  const std::uint64_t bytes = std::filesystem::file_size(kLakes);
  EXPECT_EQ(vertices->size(), (bytes - 100 - kLakeCount * 52 - rings * 4) / 16);
  EXPECT_EQ(segments->size(), vertices->size() - rings);
}

TEST_F(Vector, ConditionLayerAndColumnOfIdsArePassedDown) {
  write("towns.geojson", R"({"type": "FeatureCollection", "features": [
    {"type": "Feature", "properties": {"gid": 7, "kind": "port"},
     "geometry": {"type": "Point", "coordinates": [1, 2]}},
    {"type": "Feature", "properties": {"gid": 9, "kind": "town"},
     "geometry": {"type": "LineString", "coordinates": [[3, 4], [5, 1]]}}]})");
  const std::string file = path("towns.geojson");
  EXPECT_EQ(*read(file, {.where = "kind = 'town'", .id = "gid"}),
            (std::vector<Entry<2>>{{9, {{3, 1}, {5, 4}}}}));
  EXPECT_EQ(read(file, {.limit = 1, .layer = "towns"})->size(), 1u);
  EXPECT_THAT(error_of(file, {.layer = "roads"}),
              HasSubstr("the layer roads is not there; layers with geometries: towns"));
  EXPECT_THAT(error_of(file, {.where = "what = 1"}), HasSubstr("--where what = 1: "));
  EXPECT_THAT(error_of(file, {.id = "what"}), HasSubstr("there is no column what"));
  EXPECT_THAT(error_of(file, {.id = "kind"}), HasSubstr("feature 0 has no id that is a whole"));
}

TEST_F(Vector, NamesABadFeatureOrCountsIt) {
  write("holes.geojson", R"({"type": "FeatureCollection", "features": [
    {"type": "Feature", "id": 4, "properties": {}, "geometry": null},
    {"type": "Feature", "id": 5, "properties": {},
     "geometry": {"type": "LineString", "coordinates": []}},
    {"type": "Feature", "id": 6, "properties": {},
     "geometry": {"type": "Point", "coordinates": [1, 2]}}]})");
  const std::string file = path("holes.geojson");
  EXPECT_THAT(error_of(file), HasSubstr("layer holes: feature 4 has no geometry"));
  auto source = open_dataset<2>(file, {.skip_bad = true});
  ASSERT_TRUE(source.has_value()) << source.error().message;
  EXPECT_EQ(*read_all(**source), (std::vector<Entry<2>>{{6, {{1, 2}, {1, 2}}}}));
  EXPECT_EQ((*source)->skipped(), 2u);
  EXPECT_THAT((*source)->first_skipped(), HasSubstr("feature 4 has no geometry"));
}

TEST_F(Vector, InThreeDimensionsNeedsHeights) {
  write("heights.geojson", R"({"type": "FeatureCollection", "features": [
    {"type": "Feature", "properties": {},
     "geometry": {"type": "LineString", "coordinates": [[1, 2, 9], [4, 0, 3]]}}]})");
  auto source = open_dataset<3>(path("heights.geojson"));
  ASSERT_TRUE(source.has_value()) << source.error().message;
  EXPECT_EQ(*read_all(**source), (std::vector<Entry<3>>{{0, {{1, 0, 3}, {4, 2, 9}}}}));
  auto flat = open_dataset<3>(kLakes);
  ASSERT_TRUE(flat.has_value());
  EXPECT_THAT(read_all(**flat).error().message,
              HasSubstr("feature 0 has a geometry that has no z"));
}

TEST_F(Vector, TellsItsCoordinateSystem) {
  const auto note_of = [](const std::string& file) {
    auto source = open_dataset<2>(file);
    EXPECT_TRUE(source.has_value());
    EXPECT_TRUE(read_all(**source).has_value());
    return (*source)->notes();
  };
  EXPECT_THAT(note_of(kLakes), ElementsAre(HasSubstr("names no coordinate system")));
  EXPECT_THAT(note_of(make(kMade[0], "-a_srs EPSG:4326")),
              ElementsAre(AllOf(HasSubstr("degrees, longitude first"), HasSubstr("EPSG:4326"))));
  EXPECT_THAT(note_of(make(kMade[1], "-s_srs EPSG:4326 -t_srs EPSG:3035 -spat 0 40 20 60")),
              ElementsAre(AllOf(HasSubstr("planar"), HasSubstr("EPSG:3035"))));
}

TEST_F(Vector, WithSeveralLayersAsksForOne) {
  make({"GPKG", "two.gpkg", "lakes"});
  make({"GPKG", "two.gpkg", "ponds"}, "-update -where 'area < 1'");
  const std::string file = path("two.gpkg");
  EXPECT_THAT(error_of(file), HasSubstr("has 2 layers, name one by --layer: lakes, ponds"));
  EXPECT_EQ(read(file, {.layer = "lakes"})->size(), kLakeCount);
}

TEST_F(Vector, OfGpxAndOpenStreetMapIsRead) {
  write("way.gpx", R"(<?xml version="1.0"?><gpx version="1.1" creator="x"
    xmlns="http://www.topografix.com/GPX/1/1"><wpt lat="2" lon="1"></wpt><trk><trkseg>
    <trkpt lat="1" lon="5"/><trkpt lat="3" lon="4"/></trkseg></trk></gpx>)");
  EXPECT_EQ(*read(path("way.gpx"), {.layer = "waypoints"}),
            (std::vector<Entry<2>>{{0, {{1, 2}, {1, 2}}}}));
  EXPECT_EQ(read(path("way.gpx"), {.layer = "tracks"})->at(0).box, (rtree::Box<2>{{4, 1}, {5, 3}}));
  write("map.osm", R"(<?xml version="1.0"?><osm version="0.6">
    <node id="1" lat="2" lon="1" version="1"><tag k="name" v="a"/></node>
    <node id="2" lat="3" lon="4" version="1"/>
    <way id="77" version="1"><nd ref="1"/><nd ref="2"/><tag k="highway" v="path"/></way></osm>)");
  EXPECT_EQ(*read(path("map.osm"), {.layer = "lines"}),
            (std::vector<Entry<2>>{{77, {{1, 2}, {4, 3}}}}));
}

TEST_F(Vector, TruncatedOrDamagedIsAnErrorOrBoxes) {
  Random random(testing_support::seed(20261201));
  for (const Made& made : kMade) {
    if (std::string(made.name) == "OpenFileGDB") continue;  // a folder
    const std::string file = make(made, "-where 'area > 500'");
    std::string whole;
    {
      std::ifstream in(file, std::ios::binary);
      whole.assign(std::istreambuf_iterator<char>(in), {});
    }
    for (int round = 0; round < 6; ++round) {
      const std::string bytes = round % 2 == 0 ? whole.substr(0, random.below(whole.size()))
                                               : testing_support::damaged(random, whole);
      std::ofstream(file, std::ios::binary) << bytes;
      const auto entries = read(file);
      if (!entries) {
        ASSERT_THAT(entries.error().message, HasSubstr(made.file)) << made.name;
        continue;
      }
      for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box)) << made.name;
    }
  }
}

}  // namespace
}  // namespace silurus::datasets
