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
#include <numeric>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/open.h"
#include "tests/support/command.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"
#include "tests/support/windows_of_file.h"

// Columns of HDF5, which silurus-read-hdf5 reads. Small files are made here with libnetcdf, whose
// fourth version writes HDF5; larger ones by h5py (tests/readers/tables), which also counts what
// lies in windows of them.

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::AllOf;
using testing::HasSubstr;
using testing_support::run_command;

constexpr const char* kSpikes =
    "/usr/share/doc/python3-bmtk-examples/examples/spikes_inputs/lgn_spikes.h5";

void expect_done(int status) { ASSERT_EQ(status, NC_NOERR) << nc_strerror(status); }

std::string tables(const std::string& arguments) {
  const auto script = std::filesystem::path(__FILE__).parent_path() / "../../readers/tables";
  return "/usr/bin/python3 '" + script.string() + "' " + arguments;
}

/// A file that is written here, and gone at the end of the test.
class Hdf5 : public testing::Test {
 protected:
  void SetUp() override {
    const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    if (!std::filesystem::exists(programs / "../libexec/silurus/silurus-read-hdf5")) {
      GTEST_SKIP() << "built without libhdf5-dev";
    }
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void create() { expect_done(nc_create(path_.c_str(), NC_CLOBBER | NC_NETCDF4, &file_)); }
  int group(const char* name) const {
    int id = -1;
    expect_done(nc_def_grp(file_, name, &id));
    return id;
  }
  /// A dataset with that many columns, one if 0 (which has one dimension less); in chunks of
  /// `chunk` rows, if that is not 0.
  template <typename T>
  void dataset(int group, const std::string& name, std::size_t columns, const std::vector<T>& all,
               nc_type type = NC_DOUBLE, std::size_t chunk = 0) const {
    std::array<int, 2> dimensions{};
    int variable = -1;
    const std::array<std::size_t, 2> chunks = {chunk, 2};
    expect_done(nc_def_dim(group, (name + "_rows").c_str(),
                           all.size() / std::max<std::size_t>(columns, 1), dimensions.data()));
    if (columns > 0) {
      expect_done(nc_def_dim(group, (name + "_columns").c_str(), columns, &dimensions[1]));
    }
    expect_done(
        nc_def_var(group, name.c_str(), type, columns > 0 ? 2 : 1, dimensions.data(), &variable));
    if (chunk > 0) {
      expect_done(nc_def_var_chunking(group, variable, NC_CHUNKED, chunks.data()));
      expect_done(nc_def_var_deflate(group, variable, 1, 1, 1));
    }
    if constexpr (std::is_same_v<T, double>) {
      expect_done(nc_put_var_double(group, variable, all.data()));
    } else {
      expect_done(nc_put_var_longlong(group, variable, all.data()));
    }
  }
  void close() { expect_done(nc_close(file_)); }

  template <int D = 2>
  Result<std::vector<Entry<D>>> read(const std::string& columns,
                                     const OpenOptions& options = {}) const {
    auto source = open_dataset<D>(path_ + columns, options);
    if (!source) return fail(source.error());
    return read_all(**source);
  }
  template <int D = 2>
  std::string error(const std::string& columns, const OpenOptions& options = {}) const {
    const auto entries = read<D>(columns, options);
    return entries ? "no error" : entries.error().message;
  }

  /// Two particles, whose ids are 8 and 9.
  void write_particles() {
    create();
    const int gas = group("PartType0");
    dataset<double>(gas, "Coordinates", 3, {1, 2, 3, 4, 5, 6}, NC_FLOAT);
    dataset<long long>(gas, "ParticleIDs", 0, {8, 9}, NC_UINT64);
    dataset<long long>(gas, "Signed", 0, {8, -9}, NC_INT);
    dataset<double>(gas, "Masses", 0, {1, 1});
    close();
  }

  std::string path_ =
      (std::filesystem::temp_directory_path() / ("hdf5-" + std::to_string(::getpid()) + ".data"))
          .string();
  int file_ = -1;
};

TEST_F(Hdf5, DatasetHasAPointInEachRowAndAnotherOneTheIds) {
  write_particles();
  EXPECT_EQ(*read<3>(":/PartType0/Coordinates#ids=/PartType0/ParticleIDs"),
            (std::vector<Entry<3>>{{8, {{1, 2, 3}, {1, 2, 3}}}, {9, {{4, 5, 6}, {4, 5, 6}}}}));
}

TEST_F(Hdf5, OptionsNameTheSameColumns) {
  write_particles();
  EXPECT_EQ(*read<3>("", {.layer = "/PartType0/Coordinates", .id = "/PartType0/ParticleIDs"}),
            *read<3>(":/PartType0/Coordinates#ids=/PartType0/ParticleIDs"));
}

TEST_F(Hdf5, TheOnlyDatasetOfPointsNeedsNoName) {
  write_particles();
  EXPECT_EQ(read<3>("")->at(1), (Entry<3>{1, {{4, 5, 6}, {4, 5, 6}}}));
}

TEST_F(Hdf5, InTwoDimensionsTheThirdColumnIsLeftOut) {
  write_particles();
  auto source = open_dataset<2>(path_ + ":/PartType0/Coordinates");
  ASSERT_TRUE(source.has_value()) << source.error().message;
  EXPECT_EQ(read_all(**source)->at(1), (Entry<2>{1, {{4, 5}, {4, 5}}}));
  EXPECT_THAT((*source)->description(), HasSubstr("whose third column is left out"));
}

TEST_F(Hdf5, TwiceAsManyColumnsMakeBoxes) {
  create();
  dataset<double>(file_, "boxes", 4, {1, 2, 3, 4, 5, 6, 7, 8});
  close();
  EXPECT_EQ(*read(":/boxes"),
            (std::vector<Entry<2>>{{0, {{1, 2}, {3, 4}}}, {1, {{5, 6}, {7, 8}}}}));
}

TEST_F(Hdf5, SeveralDatasetsOrAGroupOfThemMakeARow) {
  create();
  const int nodes = group("nodes");
  dataset<double>(nodes, "x", 0, {1, 2});
  dataset<double>(nodes, "y", 0, {3, 4});
  dataset<double>(nodes, "z", 0, {5, 6});
  close();
  const std::vector<Entry<3>> expected = {{0, {{1, 3, 5}, {1, 3, 5}}}, {1, {{2, 4, 6}, {2, 4, 6}}}};
  EXPECT_EQ(*read<3>(":/nodes/x,/nodes/y,/nodes/z"), expected);
  EXPECT_EQ(*read<3>(":/nodes"), expected);
  EXPECT_THAT(error(":/nodes/x,/nodes/y,/nodes/z"),
              HasSubstr("3 columns, 2 (points) or 4 (boxes)"));
}

TEST_F(Hdf5, WithSeveralDatasetsOfPointsAsksForOne) {
  create();
  dataset<double>(file_, "here", 2, {1, 2});
  dataset<double>(file_, "there", 2, {3, 4});
  close();
  EXPECT_THAT(error(""), AllOf(HasSubstr("has 2 datasets whose rows are points or boxes"),
                               HasSubstr("/here, /there")));
}

TEST_F(Hdf5, NamesWhatMakesNoRows) {
  write_particles();
  EXPECT_THAT(error(":/PartType0/Nothing"), HasSubstr("/PartType0/Nothing is not there"));
  EXPECT_THAT(error(":/PartType0/Masses"), HasSubstr("1 columns, 2 (points) or 4 (boxes)"));
  EXPECT_THAT(error(":/PartType0"), HasSubstr("does not have /PartType0/x, /PartType0/y"));
  EXPECT_THAT(error(":/PartType0/Coordinates#ids=/PartType0/Masses"),
              HasSubstr("does not have one whole number for each row"));
  EXPECT_THAT(error(":/PartType0/Coordinates#id=/x"), HasSubstr("is not of the form #ids="));
  EXPECT_THAT(error(":/PartType0/Coordinates", {.where = "x > 1"}),
              HasSubstr("--where means nothing for HDF5"));
}

TEST_F(Hdf5, NamesABadRowOrCountsIt) {
  write_particles();
  const std::string columns = ":/PartType0/Coordinates#ids=/PartType0/Signed";
  EXPECT_THAT(error(columns), HasSubstr("row 1: has a negative id in /PartType0/Signed"));
  EXPECT_EQ(*read(columns, {.skip_bad = true}), (std::vector<Entry<2>>{{8, {{1, 2}, {1, 2}}}}));
  create();
  dataset<double>(file_, "boxes", 4,
                  {1, 1, 0, 2, 0, 0, std::numeric_limits<double>::quiet_NaN(), 1, 5, 6, 7, 8});
  close();
  EXPECT_THAT(error(":/boxes"), HasSubstr("row 0: box.min[0] = 1 is above box.max[0] = 0"));
  EXPECT_EQ(*read(":/boxes", {.skip_bad = true}), (std::vector<Entry<2>>{{2, {{5, 6}, {7, 8}}}}));
}

TEST_F(Hdf5, IsReadInBlocksThatChunksCross) {
  constexpr std::size_t kRows = 40'000;
  std::vector<double> all(kRows * 3);
  std::iota(all.begin(), all.end(), 0.0);
  create();
  dataset<double>(file_, "points", 3, all, NC_DOUBLE, 7000);
  close();
  const auto entries = read<3>(":/points");
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  ASSERT_EQ(entries->size(), kRows);
  for (std::size_t i = 0; i < kRows; ++i) {
    const double x = static_cast<double>(i) * 3;
    ASSERT_EQ(entries->at(i), (Entry<3>{i, {{x, x + 1, x + 2}, {x, x + 1, x + 2}}}));
  }
}

TEST_F(Hdf5, RowsThatAreNotStoredAreAnError) {
  create();
  std::array<int, 2> dimensions{};
  int variable = -1;
  expect_done(nc_def_dim(file_, "rows", std::size_t{1} << 40, dimensions.data()));
  expect_done(nc_def_dim(file_, "columns", 2, &dimensions[1]));
  expect_done(nc_def_var(file_, "points", NC_DOUBLE, 2, dimensions.data(), &variable));
  const std::array<std::size_t, 2> chunks = {1024, 2};
  expect_done(nc_def_var_chunking(file_, variable, NC_CHUNKED, chunks.data()));
  close();
  EXPECT_THAT(error(":/points"), HasSubstr("of which the file stores next to nothing"));
}

TEST_F(Hdf5, TruncatedOrDamagedIsAnErrorOrBoxes) {
  write_particles();
  std::ifstream in(path_, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  Random random(testing_support::seed(20261202));
  for (int round = 0; round < 40; ++round) {
    const std::string bytes = round % 4 == 0 ? whole.substr(0, 8 + random.below(whole.size() - 8))
                                             : testing_support::damaged(random, whole);
    std::ofstream(path_, std::ios::binary) << bytes;
    const auto entries = read(":/PartType0/Coordinates#ids=/PartType0/ParticleIDs");
    if (!entries) {
      ASSERT_THAT(entries.error().message, HasSubstr(path_)) << round;
      continue;
    }
    for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box)) << round;
  }
}

/// Counts of windows, by this reader and by h5py.
void compare_with_h5py(const std::string& file, const std::string& columns) {
  auto source = open_dataset<2>(file + ":" + columns);
  ASSERT_TRUE(source.has_value()) << source.error().message;
  const auto entries = read_all(**source);
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  const auto printed = run_command(tables("count '" + file + "' " + columns + " " +
                                          testing_support::counts_of_windows(*entries)));
  if (printed.status == 77) GTEST_SKIP() << "python3-h5py is not installed";
  EXPECT_EQ(printed.text, "all are equal\n");
}

TEST_F(Hdf5, HasTheParticlesThatH5pyWrote) {
  const int status = run_command(tables("snapshot '" + path_ + "'")).status;
  if (status == 77) GTEST_SKIP() << "python3-h5py is not installed";
  ASSERT_EQ(status, 0);
  compare_with_h5py(path_, "/PartType0/Coordinates");
}

TEST_F(Hdf5, HasTheSpikesOfSonata) {
  if (!std::filesystem::exists(kSpikes)) GTEST_SKIP() << "python3-bmtk-examples is not installed";
  compare_with_h5py(kSpikes, "/spikes/lgn/timestamps,/spikes/lgn/node_ids");
}

}  // namespace
}  // namespace silurus::datasets
