// SPDX-License-Identifier: Apache-2.0

#include "datasets/gshhg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netcdf.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/open.h"
#include "tests/support/seed.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::HasSubstr;

/// What a tiny file of bins of 60 degrees (6 around, 3 down) says; a test changes what it likes.
struct Content {
  int minutes = 3600;
  int around = 6;
  int down = 3;
  std::vector<short> bin_segments = std::vector<short>(18, 0);
  std::vector<int> bin_firsts = std::vector<int>(18, 0);
  std::vector<int> segment_points;  // before the shift
  std::vector<int> segment_firsts;
  std::vector<short> x;
  std::vector<short> y;

  void add_segment(std::size_t bin, const std::vector<std::pair<int, int>>& points) {
    ++bin_segments[bin];
    for (std::size_t b = bin + 1; b < bin_firsts.size(); ++b) ++bin_firsts[b];
    segment_firsts.push_back(static_cast<int>(x.size()));
    segment_points.push_back(static_cast<int>(points.size()) << 9 | 0x155);
    for (const auto& [px, py] : points) {
      x.push_back(static_cast<short>(static_cast<std::uint16_t>(px)));
      y.push_back(static_cast<short>(static_cast<std::uint16_t>(py)));
    }
  }
};

Content good() {
  Content content;
  content.add_segment(0, {{0, 0}, {65535, 65535}, {13107, 52428}});  // lon 0..60, lat 30..90
  content.add_segment(3, {{0, 0}});                                  // one point: no box
  content.add_segment(3, {{0, 65535}, {32768, 0}});                  // lon -180..-120
  content.add_segment(17, {{65535, 0}, {65535, 0}});                 // lon -60..0, lat -90..-30
  return content;
}

class GshhgFile : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() /
            ("silurus-gshhg-" + std::to_string(::getpid()) + ".nc");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  static void ok(int status) { ASSERT_EQ(status, NC_NOERR) << nc_strerror(status); }

  template <typename T>
  static void define(int file, const char* name, const std::vector<T>& values,
                     std::vector<std::pair<int, std::vector<T>>>& pending) {
    int dimension = -1;
    int variable = -1;
    ok(nc_def_dim(file, (std::string("dim_") + name).c_str(), values.size(), &dimension));
    ok(nc_def_var(file, name, std::is_same_v<T, short> ? NC_SHORT : NC_INT, 1, &dimension,
                  &variable));
    pending.emplace_back(variable, values);
  }

  void write(const Content& content) {
    int file = -1;
    ok(nc_create(path_.c_str(), NC_CLOBBER | NC_NETCDF4, &file));
    std::vector<std::pair<int, std::vector<int>>> ints;
    std::vector<std::pair<int, std::vector<short>>> shorts;
    define<int>(file, "Bin_size_in_minutes", {content.minutes}, ints);
    define<int>(file, "N_bins_in_360_longitude_range", {content.around}, ints);
    define<int>(file, "N_bins_in_180_degree_latitude_range", {content.down}, ints);
    define(file, "N_segments_in_a_bin", content.bin_segments, shorts);
    define(file, "Id_of_first_segment_in_a_bin", content.bin_firsts, ints);
    define(file, "Embedded_npts_levels_exit_entry_for_a_segment", content.segment_points, ints);
    define(file, "Id_of_first_point_in_a_segment", content.segment_firsts, ints);
    define(file, "Relative_longitude_from_SW_corner_of_bin", content.x, shorts);
    define(file, "Relative_latitude_from_SW_corner_of_bin", content.y, shorts);
    ok(nc_enddef(file));
    for (const auto& [variable, values] : ints) ok(nc_put_var_int(file, variable, values.data()));
    for (const auto& [variable, values] : shorts) {
      ok(nc_put_var_short(file, variable, values.data()));
    }
    ok(nc_close(file));
  }

  Result<std::vector<Entry<2>>> read() const {
    auto source = open_dataset<2>(path_.string());
    if (!source) return fail(source.error());
    return read_all(**source);
  }

  /// What the reader says of such a file.
  std::string error_of(const Content& content) {
    write(content);
    const auto entries = read();
    if (entries) return "no error";
    EXPECT_EQ(entries.error().code, ErrorCode::kProtocol);
    EXPECT_THAT(entries.error().message, testing::StartsWith(path_.string() + ": "));
    EXPECT_THAT(entries.error().message, HasSubstr("apt-get install --reinstall"));
    return entries.error().message;
  }

  std::string bytes() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void set_bytes(std::string_view bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

  /// Whatever was done to the file: an error that names it, or boxes that are boxes.
  void expect_error_or_sane_boxes(const std::string& what) const {
    const auto entries = read();
    if (!entries) {
      ASSERT_THAT(entries.error().message, HasSubstr(path_.string())) << what;
      return;
    }
    for (const auto& entry : *entries) {
      ASSERT_TRUE(rtree::check_box(entry.box).has_value()) << what;
      ASSERT_TRUE(rtree::contains({{-180, -90}, {180, 90}}, entry.box)) << what;
    }
  }

  std::filesystem::path path_;
};

TEST_F(GshhgFile, IsOneBoxForEachPairOfConsecutivePoints) {
  const double third = 60 * (13107 / 65535.0);
  const double half = -180 + 32768 / 65535.0 * 60;
  const std::vector<Entry<2>> expected = {
      {0, {{0, 30}, {60, 90}}},
      {1, {{third, 30 + 60 * (52428 / 65535.0)}, {60, 90}}},
      {2, {{-180, 30}, {half, 90}}},
      {3, {{0, -90}, {0, -90}}},
  };
  write(good());
  const auto entries = read();
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  ASSERT_EQ(entries->size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ((*entries)[i].id, i);
    for (int d = 0; d < 2; ++d) {
      EXPECT_DOUBLE_EQ((*entries)[i].box.min[d], expected[i].box.min[d]) << i;
      EXPECT_DOUBLE_EQ((*entries)[i].box.max[d], expected[i].box.max[d]) << i;
    }
  }
}

TEST_F(GshhgFile, IsReadTheSameInBatchesOfAnySize) {
  write(good());
  const auto whole = read();
  for (const std::size_t size : {1, 2, 3}) {
    auto source = open_gshhg(path_.string());
    EXPECT_EQ((*source)->total_entries(), 4u);
    std::vector<Entry<2>> pieces;
    std::vector<Entry<2>> batch(size);
    for (;;) {
      const auto count = (*source)->read(batch);
      ASSERT_TRUE(count.has_value());
      if (*count == 0) break;
      pieces.insert(pieces.end(), batch.begin(), batch.begin() + static_cast<long>(*count));
    }
    EXPECT_EQ(pieces, *whole);
    EXPECT_EQ((*source)->progress().done, 4u);
  }
}

TEST_F(GshhgFile, ThatContradictsItselfIsRefusedWithThePlace) {
  Content content = good();
  content.minutes = 60;
  EXPECT_THAT(error_of(content), HasSubstr("do not cover the world"));
  content = good();
  content.minutes = -3600;
  content.around = -6;
  EXPECT_THAT(error_of(content), HasSubstr("do not cover the world"));
  content = good();
  content.bin_segments.pop_back();
  EXPECT_THAT(error_of(content), HasSubstr("N_segments_in_a_bin has length 17, expected 18"));
  content = good();
  content.bin_segments[17] = 2;
  EXPECT_THAT(error_of(content), HasSubstr("have 5 segments, the file only 4"));
  content = good();
  content.bin_segments[17] = 0;
  EXPECT_THAT(error_of(content), HasSubstr("the bins have 3 segments, the file 4"));
  content = good();
  content.bin_firsts[17] = 2;
  EXPECT_THAT(error_of(content), HasSubstr("bin 17 starts at segment 2, expected 3"));
  content = good();
  content.segment_points[1] = 0;
  EXPECT_THAT(error_of(content), HasSubstr("segment 1 has no points"));
  content = good();
  content.segment_points[2] = -1;
  EXPECT_THAT(error_of(content), HasSubstr("segment 3 starts at point 6"));
  content = good();
  content.segment_firsts[1] = 4;
  EXPECT_THAT(error_of(content), HasSubstr("segment 1 starts at point 4, expected 3"));
  content = good();
  content.x.pop_back();
  EXPECT_THAT(error_of(content), HasSubstr("7 longitudes and 8 latitudes"));
}

TEST_F(GshhgFile, OfAnotherKindIsRefused) {
  int file = -1;
  ok(nc_create(path_.c_str(), NC_CLOBBER | NC_NETCDF4, &file));
  ok(nc_close(file));
  EXPECT_THAT(read().error().message, HasSubstr("has no grid, points or mesh"));
  ok(nc_create(path_.c_str(), NC_CLOBBER, &file));  // the classic format
  ok(nc_close(file));
  EXPECT_THAT(read().error().message, HasSubstr("has no grid, points or mesh"));
  set_bytes("");
  EXPECT_THAT(read().error().message, HasSubstr("not readable"));
  set_bytes("id,xmin,ymin,xmax,ymax\n");
  EXPECT_THAT(open_gshhg(path_.string()).error().message, HasSubstr("not readable"));
  EXPECT_EQ(open_gshhg("/dev/null").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(open_gshhg("http://127.0.0.1:9/x.nc").error().code, ErrorCode::kNotFound);
}

TEST_F(GshhgFile, IsToldByItsFirstBytesNotByItsName) {
  write(good());
  const std::string netcdf = bytes();
  path_.replace_extension(".csv");
  set_bytes(netcdf);
  EXPECT_EQ(read()->size(), 4u);
  std::filesystem::remove(path_);
  path_.replace_extension(".nc");
  set_bytes("lat,lon,id\n1,2,3\n");
  const std::vector<Entry<2>> expected = {{3, {{2, 1}, {2, 1}}}};
  EXPECT_EQ(*read(), expected);
}

TEST_F(GshhgFile, WithAVariableOfAnotherTypeIsRefused) {
  int file = -1;
  int dimension = -1;
  int variable = -1;
  ok(nc_create(path_.c_str(), NC_CLOBBER | NC_NETCDF4, &file));
  ok(nc_def_dim(file, "one", 1, &dimension));
  ok(nc_def_var(file, "Bin_size_in_minutes", NC_DOUBLE, 1, &dimension, &variable));
  ok(nc_close(file));
  EXPECT_THAT(read().error().message, HasSubstr("is of type 6, expected 4"));
}

TEST_F(GshhgFile, TruncatedAnywhereIsAnError) {
  write(good());
  const std::string whole = bytes();
  for (std::size_t size = 0; size < whole.size(); size += 1 + size / 24) {
    set_bytes(std::string_view(whole).substr(0, size));
    const auto entries = read();
    ASSERT_FALSE(entries.has_value()) << "cut to " << size << " of " << whole.size();
    ASSERT_EQ(entries.error().code, ErrorCode::kProtocol);
    ASSERT_THAT(entries.error().message, HasSubstr(path_.string()));
  }
}

TEST_F(GshhgFile, DamagedAnywhereIsAnErrorOrStillSane) {
  Random random(testing_support::seed(20261122));
  write(good());
  const std::string whole = bytes();
  for (int round = 0; round < 150; ++round) {
    std::string damaged = whole;
    for (std::uint64_t i = 0; i <= random.below(4); ++i) {
      damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
    }
    set_bytes(damaged);
    expect_error_or_sane_boxes("round " + std::to_string(round));
  }
}

/// The real file of Debian's package, or a skipped test that says what is missing.
TEST(Gshhg, HoldsAllTheCoastlinesOfTheWorld) {
  if (!std::filesystem::exists(kGshhgPath)) {
    GTEST_SKIP() << kGshhgPath << " is not there: install gmt-gshhg-full";
  }
  const auto start = std::chrono::steady_clock::now();
  auto source = open_dataset<2>("gshhg");
  ASSERT_TRUE(source.has_value()) << source.error().message;
  EXPECT_EQ((*source)->total_entries(), 10'781'311u);
  const rtree::Box<2> iceland = {{-25, 63}, {-13, 67}};
  std::uint64_t count = 0;
  std::uint64_t in_iceland = 0;
  std::vector<Entry<2>> batch(8192);
  for (;;) {
    const auto got = (*source)->read(batch);
    ASSERT_TRUE(got.has_value()) << got.error().message;
    if (*got == 0) break;
    for (std::size_t i = 0; i < *got; ++i) {
      const auto& entry = batch[i];
      ASSERT_EQ(entry.id, count++);
      ASSERT_TRUE(rtree::check_box(entry.box).has_value());
      ASSERT_TRUE(rtree::contains({{-180, -90}, {180, 90}}, entry.box));
      in_iceland += rtree::intersects(iceland, entry.box) ? 1 : 0;
    }
  }
  EXPECT_EQ(count, 10'781'311u);
  EXPECT_EQ(in_iceland, 57825u);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::cout << "read in " << took.count() << " s\n";
}

}  // namespace
}  // namespace silurus::datasets
