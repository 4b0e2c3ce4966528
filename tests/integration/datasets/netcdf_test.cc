// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netcdf.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/open.h"
#include "tests/support/command.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

// netCDF files by the CF and UGRID conventions, which silurus-read-netcdf reads: small ones made
// here with libnetcdf, and those of Debian's ferret-datasets, compared with a reader of the classic
// format in Python (tests/readers/cdf.py). gshhg_test.cc has the coastlines.

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kFerret = "/usr/share/ferret-vis/data";
constexpr double kFill = -1e34;

void succeed(int status) { ASSERT_EQ(status, NC_NOERR) << nc_strerror(status); }

/// A file that is written here, and gone at the end of the test.
class Netcdf : public testing::Test {
 protected:
  Netcdf()
      : path_((std::filesystem::temp_directory_path() /
               ("netcdf-" + std::to_string(::getpid()) + ".data"))
                  .string()) {}
  ~Netcdf() override { std::filesystem::remove(path_); }

  void create(int format = NC_NETCDF4) {
    succeed(nc_create(path_.c_str(), NC_CLOBBER | format, &file_));
  }
  int dimension(const char* name, std::size_t length) {
    int id = -1;
    succeed(nc_def_dim(file_, name, length, &id));
    return id;
  }
  int variable(const char* name, const std::vector<int>& dimensions,
               const std::vector<std::pair<const char*, const char*>>& attributes,
               nc_type type = NC_DOUBLE) {
    int id = -1;
    succeed(
        nc_def_var(file_, name, type, static_cast<int>(dimensions.size()), dimensions.data(), &id));
    for (const auto& [attribute, text] : attributes) {
      succeed(nc_put_att_text(file_, id, attribute, std::char_traits<char>::length(text), text));
    }
    return id;
  }
  void number(int variable, const char* attribute, double value) {
    succeed(nc_put_att_double(file_, variable, attribute, NC_DOUBLE, 1, &value));
  }
  void values(int variable, const std::vector<double>& all) {
    succeed(nc_put_var_double(file_, variable, all.data()));
  }

  /// Three columns about 0, 1, 2 and two rows about 10 and 20; one cell has no value.
  void write_grid(int format = NC_NETCDF4) {
    create(format);
    const int x = dimension("lon", 3);
    const int y = dimension("lat", 2);
    const int time = dimension("time", 1);
    const int lon = variable("lon", {x}, {{"units", "degrees_east"}});
    const int lat = variable("lat", {y}, {{"units", "degrees_north"}});
    const int height = variable("height", {time, y, x}, {}, NC_FLOAT);
    const auto fill = static_cast<float>(kFill);
    succeed(nc_put_att_float(file_, height, "_FillValue", NC_FLOAT, 1, &fill));
    succeed(nc_enddef(file_));
    values(lon, {0, 1, 2});
    values(lat, {10, 20});
    values(height, {5, kFill, 7, 8, 9, 4});
    succeed(nc_close(file_));
  }

  template <int D = 2>
  Result<std::vector<Entry<D>>> read(const OpenOptions& options = {}) const {
    auto source = open_dataset<D>(path_, options);
    if (!source) return fail(source.error());
    return read_all(**source);
  }
  template <int D = 2>
  std::string error(const OpenOptions& options = {}) const {
    const auto entries = read<D>(options);
    return entries ? "no error" : entries.error().message;
  }

  std::string path_;
  int file_ = -1;
};

TEST_F(Netcdf, GridIsABoxForEachCellThatHasAValue) {
  const std::vector<Entry<2>> expected = {{0, {{-0.5, 5}, {0.5, 15}}},
                                          {2, {{1.5, 5}, {2.5, 15}}},
                                          {3, {{-0.5, 15}, {0.5, 25}}},
                                          {4, {{0.5, 15}, {1.5, 25}}},
                                          {5, {{1.5, 15}, {2.5, 25}}}};
  for (const int format : {NC_NETCDF4, 0, NC_64BIT_OFFSET}) {
    write_grid(format);
    EXPECT_EQ(*read(), expected) << format;
  }
}

TEST_F(Netcdf, GridTellsWhatWasReadOfIt) {
  write_grid();
  auto source = open_dataset<2>(path_);
  ASSERT_TRUE(source.has_value()) << source.error().message;
  ASSERT_TRUE(read_all(**source).has_value());
  EXPECT_THAT((*source)->description(), HasSubstr("grid height (CF)"));
  EXPECT_THAT((*source)->description(), HasSubstr("of the other dimensions the first place: time"));
  EXPECT_THAT((*source)->notes(), ElementsAre(HasSubstr("degrees, longitude first")));
}

TEST_F(Netcdf, GridHasItsBoundsWhereTheFileNamesThem) {
  create();
  const int x = dimension("lon", 2);
  const int y = dimension("lat", 2);
  const int ends = dimension("ends", 2);
  const int lon = variable("lon", {x}, {{"axis", "X"}, {"bounds", "lon_ends"}});
  const int lat = variable("lat", {y}, {{"units", "degrees_north"}});
  const int lon_ends = variable("lon_ends", {x, ends}, {});
  const int value = variable("value", {y, x}, {}, NC_INT);
  succeed(nc_enddef(file_));
  values(lon, {1, 2});
  values(lat, {-90, 80});
  values(lon_ends, {0, 1.25, 1.25, 9});
  values(value, {1, 2, 3, 4});
  succeed(nc_close(file_));
  const auto entries = read();
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  EXPECT_EQ(entries->at(1), (Entry<2>{1, {{1.25, -90}, {9, -5}}}));
  EXPECT_EQ(entries->at(2), (Entry<2>{2, {{0, -5}, {1.25, 90}}}));
}

/// Packed in halves of a degree from 100 on.
TEST_F(Netcdf, GridHasThePlacesThatPackedCoordinatesAndTheirBoundsStandFor) {
  create();
  const int x = dimension("lon", 2);
  const int y = dimension("lat", 2);
  const int ends = dimension("ends", 2);
  const int lon =
      variable("lon", {x}, {{"units", "degrees_east"}, {"bounds", "lon_ends"}}, NC_SHORT);
  const int lat = variable("lat", {y}, {{"units", "degrees_north"}}, NC_SHORT);
  const int lon_ends = variable("lon_ends", {x, ends}, {}, NC_SHORT);
  const int value = variable("value", {y, x}, {}, NC_INT);
  number(lon, "scale_factor", 0.5);
  number(lon, "add_offset", 100);
  number(lat, "scale_factor", 0.25);
  succeed(nc_enddef(file_));
  values(lon, {0, 2});
  values(lat, {40, 80});
  values(lon_ends, {-1, 1, 1, 4});
  values(value, {1, 2, 3, 4});
  succeed(nc_close(file_));
  const auto entries = read();
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  EXPECT_EQ(entries->at(0), (Entry<2>{0, {{99.5, 5}, {100.5, 15}}}));
  EXPECT_EQ(entries->at(3), (Entry<2>{3, {{100.5, 15}, {102, 25}}}));
}

TEST_F(Netcdf, GridOverTheSeamOfLongitudesGoesTheShortWayRound) {
  create();
  const int x = dimension("lon", 4);
  const int y = dimension("lat", 1);
  const int lon = variable("lon", {x}, {{"units", "degrees_east"}});
  const int lat = variable("lat", {y}, {{"units", "degrees_north"}});
  const int value = variable("value", {y, x}, {});
  succeed(nc_enddef(file_));
  values(lon, {177, 179, -179, -177});
  values(lat, {10});
  values(value, {1, 2, 3, 4});
  succeed(nc_close(file_));
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{176, 10}, {178, 10}}},
                                            {1, {{178, 10}, {180, 10}}},
                                            {2, {{-180, 10}, {-178, 10}}},
                                            {3, {{-178, 10}, {-176, 10}}}}));
}

TEST_F(Netcdf, BoundsOverTheSeamReachBeyondItAndThoseAboutTheGlobeStay) {
  create();
  const int x = dimension("lon", 3);
  const int y = dimension("lat", 1);
  const int ends = dimension("ends", 2);
  const int lon = variable("lon", {x}, {{"units", "degrees_east"}, {"bounds", "lon_ends"}});
  const int lat = variable("lat", {y}, {{"units", "degrees_north"}});
  const int lon_ends = variable("lon_ends", {x, ends}, {});
  const int value = variable("value", {y, x}, {});
  succeed(nc_enddef(file_));
  values(lon, {179.5, -179.5, 0});
  values(lat, {10});
  values(lon_ends, {178, -179, 179, -178, -180, 180});
  values(value, {1, 2, 3});
  succeed(nc_close(file_));
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{178, 10}, {181, 10}}},
                                            {1, {{-181, 10}, {-178, 10}}},
                                            {2, {{-180, 10}, {180, 10}}}}));
}

TEST_F(Netcdf, GridInThreeDimensionsHasLevels) {
  create();
  const int x = dimension("x", 1);
  const int y = dimension("y", 1);
  const int z = dimension("z", 2);
  const int at_x = variable("x", {x}, {{"axis", "X"}});
  const int at_y = variable("y", {y}, {{"axis", "Y"}});
  const int at_z = variable("z", {z}, {{"positive", "down"}});
  const int value = variable("value", {z, y, x}, {});
  succeed(nc_enddef(file_));
  values(at_x, {3});
  values(at_y, {4});
  values(at_z, {0, 10});
  values(value, {1, 2});
  succeed(nc_close(file_));
  EXPECT_EQ(*read<3>(),
            (std::vector<Entry<3>>{{0, {{3, 4, -5}, {3, 4, 5}}}, {1, {{3, 4, 5}, {3, 4, 15}}}}));
  EXPECT_EQ(read<2>()->size(), 1u) << "the first level";
  write_grid();
  EXPECT_THAT(error<3>(), HasSubstr("has no vertical axis"));
}

TEST_F(Netcdf, GridMayBeCurvilinear) {
  create();
  const int x = dimension("i", 2);
  const int y = dimension("j", 2);
  const int lon = variable("lon", {y, x}, {{"units", "degrees_east"}});
  const int lat = variable("lat", {y, x}, {{"units", "degrees_north"}});
  const int value = variable("value", {y, x}, {{"coordinates", "lat lon"}});
  succeed(nc_enddef(file_));
  values(lon, {0, 2, 1, 3});
  values(lat, {0, 0, 2, 2});
  values(value, {1, 2, 3, 4});
  succeed(nc_close(file_));
  const auto entries = read();
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  // Half way to the neighbour in the row, 1, and to the one in the column, 0.5.
  EXPECT_EQ(entries->at(0), (Entry<2>{0, {{-1.5, -1}, {1.5, 1}}}));
  EXPECT_EQ(entries->size(), 4u);
}

TEST_F(Netcdf, CurvilinearCellsOverTheSeamReachBeyondIt) {
  create();
  const int x = dimension("i", 2);
  const int y = dimension("j", 1);
  const int lon = variable("lon", {y, x}, {{"units", "degrees_east"}});
  const int lat = variable("lat", {y, x}, {{"units", "degrees_north"}});
  const int value = variable("value", {y, x}, {{"coordinates", "lat lon"}});
  succeed(nc_enddef(file_));
  values(lon, {179, -179});
  values(lat, {0, 0});
  values(value, {1, 2});
  succeed(nc_close(file_));
  EXPECT_EQ(*read(),
            (std::vector<Entry<2>>{{0, {{178, 0}, {180, 0}}}, {1, {{-180, 0}, {-178, 0}}}}));
}

TEST_F(Netcdf, WithSeveralGridsAsksForOne) {
  create();
  const int x = dimension("x", 1);
  const int y = dimension("y", 1);
  const int at_x = variable("x", {x}, {{"axis", "X"}});
  const int at_y = variable("y", {y}, {{"axis", "Y"}});
  const int one = variable("warmth", {y, x}, {});
  const int other = variable("wind", {y, x}, {});
  succeed(nc_enddef(file_));
  for (const int each : {at_x, at_y, one, other}) values(each, {1});
  succeed(nc_close(file_));
  EXPECT_THAT(error(), HasSubstr("has 2 grids, name one by --layer: warmth, wind"));
  EXPECT_EQ(read({.layer = "wind"})->size(), 1u);
  EXPECT_THAT(error({.layer = "rain"}), HasSubstr("the variable rain is no grid, mesh or points"));
}

TEST_F(Netcdf, PointsLieOnOneDimension) {
  create();
  const int place = dimension("obs", 3);
  const int lon = variable("lon", {place}, {{"standard_name", "longitude"}});
  const int lat = variable("lat", {place}, {{"standard_name", "latitude"}});
  const int depth = variable("depth", {place}, {{"positive", "down"}});
  succeed(nc_put_att_double(file_, lat, "_FillValue", NC_DOUBLE, 1, &kFill));
  succeed(nc_enddef(file_));
  values(lon, {1, 2, 3});
  values(lat, {4, kFill, 6});
  values(depth, {7, 8, 9});
  succeed(nc_close(file_));
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{1, 4}, {1, 4}}}, {2, {{3, 6}, {3, 6}}}}));
  EXPECT_EQ(read<3>()->at(1), (Entry<3>{2, {{3, 6, 9}, {3, 6, 9}}}));
}

TEST_F(Netcdf, PointsMayBePackedAndAreMissingByTheirPackedNumber) {
  create();
  const int place = dimension("obs", 3);
  const int lon = variable("lon", {place}, {{"standard_name", "longitude"}}, NC_INT);
  const int lat = variable("lat", {place}, {{"standard_name", "latitude"}}, NC_INT);
  const int missing = -1;
  succeed(nc_put_att_int(file_, lat, "_FillValue", NC_INT, 1, &missing));
  number(lon, "add_offset", 10);
  number(lat, "scale_factor", 0.5);
  succeed(nc_enddef(file_));
  values(lon, {1, 2, 3});
  values(lat, {4, -1, -2});  // the last is -1 degrees, which is not missing
  succeed(nc_close(file_));
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{11, 2}, {11, 2}}}, {2, {{13, -1}, {13, -1}}}}));
}

TEST_F(Netcdf, ValuesThatWereNeverWrittenAreNoneInEveryTypeThatHasADefault) {
  for (const nc_type type :
       {NC_SHORT, NC_USHORT, NC_INT, NC_UINT, NC_INT64, NC_UINT64, NC_FLOAT, NC_DOUBLE}) {
    create();
    const int x = dimension("x", 2);
    const int y = dimension("y", 1);
    const int at_x = variable("x", {x}, {{"axis", "X"}});
    const int at_y = variable("y", {y}, {{"axis", "Y"}});
    const int value = variable("value", {y, x}, {}, type);
    succeed(nc_enddef(file_));
    values(at_x, {1, 2});
    values(at_y, {1});
    const std::array<std::size_t, 2> second = {0, 1};
    const double one = 1;
    succeed(nc_put_var1_double(file_, value, second.data(), &one));
    succeed(nc_close(file_));
    const auto entries = read();
    ASSERT_TRUE(entries.has_value()) << entries.error().message;
    ASSERT_EQ(entries->size(), 1u) << "type " << type;
    EXPECT_EQ(entries->at(0).id, 1u) << "type " << type;
  }
}

TEST_F(Netcdf, MissingValueOfAWiderTypeIsKnown) {
  create();
  const int x = dimension("x", 2);
  const int y = dimension("y", 1);
  const int at_x = variable("x", {x}, {{"axis", "X"}});
  const int at_y = variable("y", {y}, {{"axis", "Y"}});
  const int value = variable("value", {y, x}, {}, NC_FLOAT);
  number(value, "missing_value", kFill);  // a double, which no float is
  succeed(nc_enddef(file_));
  values(at_x, {1, 2});
  values(at_y, {1});
  values(value, {kFill, 5});
  succeed(nc_close(file_));
  EXPECT_EQ(read()->size(), 1u);
}

/// A triangle and a quadrilateral.
void write_mesh(const std::string& path, double last_corner,
                const std::array<double, 5>& x = {0, 1, 1, 0, 3}) {
  int file = -1;
  std::array<int, 3> dimensions{};
  std::array<int, 4> all{};
  succeed(nc_create(path.c_str(), NC_CLOBBER | NC_NETCDF4, &file));
  succeed(nc_def_dim(file, "node", 5, dimensions.data()));
  succeed(nc_def_dim(file, "face", 2, &dimensions[1]));
  succeed(nc_def_dim(file, "corner", 4, &dimensions[2]));
  succeed(nc_def_var(file, "mesh", NC_INT, 0, nullptr, all.data()));
  succeed(nc_def_var(file, "node_y", NC_DOUBLE, 1, dimensions.data(), &all[1]));
  succeed(nc_def_var(file, "node_x", NC_DOUBLE, 1, dimensions.data(), &all[2]));
  succeed(nc_def_var(file, "faces", NC_INT, 2, &dimensions[1], &all[3]));
  const auto put = [&](int variable, const char* name, const std::string& text) {
    succeed(nc_put_att_text(file, variable, name, text.size(), text.c_str()));
  };
  put(all[0], "cf_role", "mesh_topology");
  put(all[0], "node_coordinates", "node_y node_x");
  put(all[0], "face_node_connectivity", "faces");
  put(all[1], "standard_name", "latitude");
  put(all[2], "standard_name", "longitude");
  const int fill = -999;
  const int one = 1;
  succeed(nc_put_att_int(file, all[3], "_FillValue", NC_INT, 1, &fill));
  succeed(nc_put_att_int(file, all[3], "start_index", NC_INT, 1, &one));
  succeed(nc_enddef(file));
  const std::array<double, 5> y = {0, 0, 2, 2, 1};
  const std::array<double, 8> faces = {1, 2, 3, 4, 2, 5, 3, last_corner};
  succeed(nc_put_var_double(file, all[1], y.data()));
  succeed(nc_put_var_double(file, all[2], x.data()));
  succeed(nc_put_var_double(file, all[3], faces.data()));
  succeed(nc_close(file));
}

TEST_F(Netcdf, MeshIsABoxAboutTheNodesOfEachFace) {
  write_mesh(path_, -999);
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{0, 0}, {1, 2}}}, {1, {{1, 0}, {3, 2}}}}));
}

TEST_F(Netcdf, MeshMayHaveItsFacesAlongTheSecondDimension) {
  create();
  const int node = dimension("node", 4);
  const int face = dimension("face", 2);
  const int corner = dimension("corner", 3);
  const int mesh = variable("mesh", {},
                            {{"cf_role", "mesh_topology"},
                             {"node_coordinates", "node_x node_y"},
                             {"face_node_connectivity", "faces"},
                             {"face_dimension", "face"}},
                            NC_INT);
  const int at_x = variable("node_x", {node}, {{"standard_name", "longitude"}});
  const int at_y = variable("node_y", {node}, {{"standard_name", "latitude"}});
  const int faces = variable("faces", {corner, face}, {}, NC_INT);
  succeed(nc_enddef(file_));
  values(mesh, {0});
  values(at_x, {0, 1, 2, 3});
  values(at_y, {0, 5, 0, 7});
  values(faces, {0, 1, 1, 2, 2, 3});  // 0, 1, 2 and 1, 2, 3
  succeed(nc_close(file_));
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{0, 0}, {2, 5}}}, {1, {{1, 0}, {3, 7}}}}));
}

TEST_F(Netcdf, FacesOverTheSeamReachBeyondItAndThoseAboutAPoleStay) {
  write_mesh(path_, -999, {179, -179, -178, 178, -175});
  EXPECT_EQ(*read(),
            (std::vector<Entry<2>>{{0, {{178, 0}, {182, 2}}}, {1, {{-179, 0}, {-175, 2}}}}));
  write_mesh(path_, -999, {-170, -60, 60, 170, -50});
  EXPECT_EQ(read()->at(0), (Entry<2>{0, {{-170, 0}, {170, 2}}}));
}

TEST_F(Netcdf, MeshWithANodeThatItDoesNotHaveIsAnError) {
  write_mesh(path_, 6);
  EXPECT_THAT(error(), HasSubstr("cell 1 has no node, or one that the mesh does not have"));
  EXPECT_EQ(read({.skip_bad = true})->size(), 1u);
}

TEST_F(Netcdf, TruncatedOrDamagedIsAnErrorOrBoxes) {
  Random random(testing_support::seed(20261201));
  for (const int format : {NC_NETCDF4, 0}) {
    write_grid(format);
    std::ifstream in(path_, std::ios::binary);
    const std::string whole(std::istreambuf_iterator<char>(in), {});
    for (int round = 0; round < 20; ++round) {
      const std::string bytes = round % 4 == 0 ? whole.substr(0, 8 + random.below(whole.size() - 8))
                                               : testing_support::damaged(random, whole);
      std::ofstream(path_, std::ios::binary) << bytes;
      const auto entries = read();
      if (!entries) {
        ASSERT_THAT(entries.error().message, HasSubstr(path_)) << round;
        continue;
      }
      for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box)) << round;
    }
  }
}

/// Counts of windows in a grid of ferret-datasets, by this reader and by Python.
void compare_with_python(const std::string& name, const std::string& variable) {
  const std::string file = std::string(kFerret) + "/" + name;
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "ferret-datasets is not installed";
  auto source = open_dataset<2>(file, {.layer = variable});
  ASSERT_TRUE(source.has_value()) << source.error().message;
  const auto entries = read_all(**source);
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  Random random(testing_support::seed(20261201));
  std::string arguments = std::to_string(entries->size());
  for (int i = 0; i < 30; ++i) {
    rtree::Box<2> window;
    window.min = {random.uniform(0, 300), random.uniform(-90, 60)};
    window.max = {window.min[0] + random.uniform(0, 60), window.min[1] + random.uniform(0, 30)};
    const auto count = std::ranges::count_if(
        *entries, [&](const auto& entry) { return rtree::intersects(window, entry.box); });
    std::ostringstream text;
    text.precision(17);
    text << " " << window.min[0] << "," << window.min[1] << "," << window.max[0] << ","
         << window.max[1] << "," << count;
    arguments += text.str();
  }
  const auto script = std::filesystem::path(__FILE__).parent_path() / "../../readers/count_cells";
  const auto printed = testing_support::run_command("/usr/bin/python3 '" + script.string() + "' '" +
                                                    file + "' " + variable + " " + arguments);
  if (printed.status == 77) GTEST_SKIP() << "python3-numpy is not installed";
  EXPECT_EQ(printed.text, "all are equal\n");
}

TEST(NetcdfOfFerret, HasTheReliefOfTheEarth) { compare_with_python("etopo20.cdf", "ROSE"); }
TEST(NetcdfOfFerret, HasTheClimateOfTheSeas) {
  compare_with_python("coads_climatology.cdf", "SST");
}

}  // namespace
}  // namespace silurus::datasets
