// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/open.h"
#include "tests/support/command.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"
#include "tests/support/windows_of_file.h"

// Tables of FITS, which silurus-read-fits reads: small ones written here by the standard (4.0), and
// the stars of Tycho-2, from Debian's astrometry-data-tycho2-10-19-littleendian, of which a table
// is made and counted in Python (tests/readers/fits.py).

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::AllOf;
using testing::HasSubstr;
using testing_support::run_command;

constexpr const char* kTycho = "/usr/share/astrometry/index-tycho2-10.littleendian.fits";
constexpr std::size_t kStars = 362'950;
constexpr std::size_t kUnitBytes = 2880;
constexpr std::size_t kCardBytes = 80;

std::string fits_tables(const std::string& arguments) {
  const auto script = std::filesystem::path(__FILE__).parent_path() / "../../readers/tables";
  return "/usr/bin/python3 '" + script.string() + "' " + arguments;
}

/// A number as FITS has it: the most significant byte first.
template <typename T>
std::string big_endian(T value) {
  std::string bytes(reinterpret_cast<const char*>(&value), sizeof value);
  std::ranges::reverse(bytes);
  return bytes;
}

struct ColumnOfFits {
  const char* name;
  const char* form;       // TFORMn
  const char* unit = "";  // TUNITn
};

/// The text of a file, unit by unit.
class FitsText {
 public:
  FitsText() {
    card("SIMPLE", "T");
    card("BITPIX", "8");
    card("NAXIS", "0");
    card("EXTEND", "T");
    end('\0', "");
  }

  /// `more`: cards of its own.
  FitsText& table(const std::string& name, const std::vector<ColumnOfFits>& columns,
                  const std::vector<std::string>& rows,
                  const std::vector<std::pair<std::string, std::string>>& more = {},
                  const std::string& kind = "BINTABLE") {
    card("XTENSION", "'" + kind + "'");
    card("BITPIX", "8");
    card("NAXIS", "2");
    card("NAXIS1", std::to_string(rows.empty() ? 8 : rows[0].size()));
    card("NAXIS2", std::to_string(rows.size()));
    card("PCOUNT", "0");
    card("GCOUNT", "1");
    card("TFIELDS", std::to_string(columns.size()));
    if (!name.empty()) card("EXTNAME", "'" + name + "'");
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      card("TTYPE" + number, "'" + std::string(columns[i].name) + "'");
      card("TFORM" + number, "'" + std::string(columns[i].form) + "'");
      if (*columns[i].unit != '\0')
        card("TUNIT" + number, "'" + std::string(columns[i].unit) + "'");
    }
    for (const auto& [key, value] : more) card(key, value);
    std::string data;
    for (const std::string& row : rows) data += row;
    end(kind == "TABLE" ? ' ' : '\0', data);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  void card(const std::string& key, const std::string& value) {
    std::string line = key;
    line.resize(8, ' ');
    line += "= " + (value[0] == '\'' ? value : std::string(20 - value.size(), ' ') + value);
    line.resize(kCardBytes, ' ');
    text_ += line;
  }
  void fill(char with) {
    text_.resize((text_.size() + kUnitBytes - 1) / kUnitBytes * kUnitBytes, with);
  }
  void end(char with, const std::string& data) {
    text_ += "END";
    fill(' ');
    text_ += data;
    fill(with);
  }

  std::string text_;
};

class Fits : public testing::Test {
 protected:
  void SetUp() override {
    const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    if (!std::filesystem::exists(programs / "../libexec/silurus/silurus-read-fits")) {
      GTEST_SKIP() << "built without libcfitsio-dev";
    }
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void write(const FitsText& text) const { std::ofstream(path_, std::ios::binary) << text.text(); }
  /// One table, of places alone.
  void write_places(const std::vector<ColumnOfFits>& columns,
                    const std::vector<std::vector<double>>& places) const {
    std::vector<std::string> rows;
    for (const auto& place : places) {
      rows.emplace_back();
      for (const double number : place) rows.back() += big_endian(number);
    }
    write(FitsText().table("STARS", columns, rows));
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

  std::string path_ =
      (std::filesystem::temp_directory_path() / ("fits-" + std::to_string(::getpid()) + ".data"))
          .string();
};

TEST_F(Fits, RightAscensionComesFirstWhereverItStands) {
  write_places({{"DEC", "1D"}, {"RA", "1D"}}, {{-30, 200}, {45, 10}});
  EXPECT_EQ(*read(),
            (std::vector<Entry<2>>{{0, {{200, -30}, {200, -30}}}, {1, {{10, 45}, {10, 45}}}}));
}

TEST_F(Fits, NamesOfManyCataloguesAreKnown) {
  for (const auto& [longitude, latitude] :
       std::vector<std::pair<const char*, const char*>>{{"RAJ2000", "DEJ2000"},
                                                        {"_RA.icrs", "_DE.icrs"},
                                                        {"RAdeg", "DEdeg"},
                                                        {"ALPHA_J2000", "DELTA_J2000"},
                                                        {"GLON", "GLAT"},
                                                        {"ra", "dec"}}) {
    write_places({{longitude, "1D"}, {latitude, "1D"}}, {{1, 2}});
    EXPECT_EQ(read()->at(0), (Entry<2>{0, {{1, 2}, {1, 2}}})) << longitude;
  }
}

TEST_F(Fits, HoursAndRadiansBecomeDegrees) {
  write_places({{"RA", "1D", "h"}, {"DEC", "1D", "rad"}}, {{2, std::numbers::pi / 4}});
  EXPECT_EQ(read()->at(0).box.min, (std::array<double, 2>{30, 45}));
  write_places({{"RA", "1D", "furlong"}, {"DEC", "1D"}}, {{2, 1}});
  EXPECT_THAT(error(), HasSubstr("column RA is in furlong"));
}

TEST_F(Fits, InThreeDimensionsAreUnitVectors) {
  write_places({{"RA", "1D"}, {"DEC", "1D"}}, {{0, 0}, {90, 0}, {123, -90}, {45, 45}});
  const auto entries = read<3>();
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  const std::vector<std::array<double, 3>> expected = {
      {1, 0, 0}, {0, 1, 0}, {0, 0, -1}, {0.5, 0.5, std::sqrt(0.5)}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(entries->at(i).box.min, entries->at(i).box.max);
    for (std::size_t d = 0; d < 3; ++d) {
      EXPECT_NEAR(entries->at(i).box.min[d], expected[i][d], 1e-15) << i;
    }
  }
}

TEST_F(Fits, CoordinatesThatAreNoAnglesAreTakenAsTheyAre) {
  write_places({{"x", "1D"}, {"y", "1D"}, {"z", "1D"}}, {{100, 200, 300}});
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{100, 200}, {100, 200}}}}));
  EXPECT_EQ(*read<3>(), (std::vector<Entry<3>>{{0, {{100, 200, 300}, {100, 200, 300}}}}));
}

TEST_F(Fits, ConditionTableAndColumnOfIdsArePassedDown) {
  const std::vector<ColumnOfFits> columns = {
      {"ID", "1J"}, {"MAG", "1E"}, {"RA", "1D"}, {"DEC", "1D"}};
  const auto row = [](std::int32_t id, float magnitude, double x, double y) {
    return big_endian(id) + big_endian(magnitude) + big_endian(x) + big_endian(y);
  };
  write(FitsText()
            .table("NOTES", {{"TEXT", "8A"}}, {"nothing "})
            .table("BRIGHT", columns, {row(7, 5, 1, 2), row(9, 11, 3, 4), row(-1, 12, 5, 6)})
            .table("FAINT", columns, {row(1, 20, 7, 8)}));
  EXPECT_THAT(error(), HasSubstr("has 2 tables of places, name one by --layer: BRIGHT, FAINT"));
  EXPECT_EQ(*read({.layer = "3"}), (std::vector<Entry<2>>{{0, {{7, 8}, {7, 8}}}}));
  EXPECT_EQ(*read({.layer = "BRIGHT", .where = "MAG > 10 && ID > 0", .id = "id"}),
            (std::vector<Entry<2>>{{9, {{3, 4}, {3, 4}}}}));
  EXPECT_THAT(error({.layer = "BRIGHT", .where = "WHAT > 1"}), HasSubstr("--where WHAT > 1: "));
  EXPECT_THAT(error({.layer = "BRIGHT", .where = "MAG + 1"}),
              HasSubstr("is not true or false for each row"));
  EXPECT_THAT(error({.layer = "BRIGHT", .id = "MAG"}),
              HasSubstr("does not have one whole number in each row"));
  EXPECT_THAT(error({.layer = "BRIGHT", .id = "ID"}),
              HasSubstr("table BRIGHT: row 2: has no id, or a negative one"));
  EXPECT_THAT(error({.layer = "GALAXIES"}), HasSubstr("tables: NOTES, BRIGHT, FAINT"));
  EXPECT_THAT(error({.layer = "NOTES"}),
              AllOf(HasSubstr("has no columns of right ascension"), HasSubstr("columns: TEXT")));
}

TEST_F(Fits, IdsMayHave64BitsWithoutASign) {
  const std::string row = big_endian(std::int64_t{-1}) + big_endian(1.0) + big_endian(2.0);
  write(FitsText().table("", {{"source_id", "1K"}, {"ra", "1D"}, {"dec", "1D"}}, {row},
                         {{"TSCAL1", "1"}, {"TZERO1", "9223372036854775808"}}));
  EXPECT_EQ(*read({.id = "source_id"}),
            (std::vector<Entry<2>>{{(std::uint64_t{1} << 63) - 1, {{1, 2}, {1, 2}}}}));
}

TEST_F(Fits, TablesMayBeOfText) {
  write(FitsText().table("STARS", {{"RA", "F8.3"}, {"DEC", "F8.3"}}, {"  10.500 -20.250"},
                         {{"TBCOL1", "1"}, {"TBCOL2", "9"}}, "TABLE"));
  EXPECT_EQ(*read(), (std::vector<Entry<2>>{{0, {{10.5, -20.25}, {10.5, -20.25}}}}));
}

TEST_F(Fits, NamesABadRowOrCountsIt) {
  write_places({{"RA", "1D"}, {"DEC", "1D"}},
               {{1, 2}, {std::numeric_limits<double>::quiet_NaN(), 2}, {3, 91}, {4, 5}});
  EXPECT_THAT(error(), HasSubstr("table STARS: row 1: box.min[0] is nan"));
  auto source = open_dataset<2>(path_, {.skip_bad = true});
  ASSERT_TRUE(source.has_value()) << source.error().message;
  EXPECT_EQ(read_all(**source)->size(), 2u);
  EXPECT_EQ((*source)->skipped(), 2u);
  write_places({{"RA", "1D"}, {"DEC", "1D"}}, {{3, 91}});
  EXPECT_THAT(error(), HasSubstr("is no angle from -90 to 90 degrees"));
  EXPECT_THAT(error<3>(), HasSubstr("is no angle from -90 to 90 degrees"));
}

TEST_F(Fits, FilesWithoutATableOfPlacesAreAnError) {
  write(FitsText());
  EXPECT_THAT(error(), HasSubstr("has no table with columns of right ascension and declination"));
  write(FitsText().table("T", {{"RA", "8A"}, {"DEC", "8A"}}, {"12 30 0 -1 20 3 "}));
  EXPECT_THAT(error(), HasSubstr("column RA does not have one number in each row"));
}

TEST_F(Fits, TruncatedOrDamagedIsAnErrorOrBoxes) {
  std::vector<std::vector<double>> places;
  for (int i = 0; i < 300; ++i) places.push_back({i * 1.0, i * 0.25});
  write_places({{"RA", "1D"}, {"DEC", "1D"}}, places);
  std::ifstream in(path_, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  Random random(testing_support::seed(20261202));
  for (int round = 0; round < 60; ++round) {
    const std::string bytes = round % 4 == 0 ? whole.substr(0, 9 + random.below(whole.size() - 9))
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

TEST_F(Fits, TruncatedIsAnErrorThatNamesTheFile) {
  write_places({{"RA", "1D"}, {"DEC", "1D"}}, std::vector<std::vector<double>>(1000, {1, 2}));
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 2 * kUnitBytes);
  EXPECT_THAT(error(), AllOf(HasSubstr(path_), HasSubstr("truncated")));
}

TEST_F(Fits, HasTheStarsOfTycho) {
  if (!std::filesystem::exists(kTycho)) {
    GTEST_SKIP() << "astrometry-data-tycho2-10-19-littleendian is not installed";
  }
  const auto made = run_command(fits_tables(std::string("stars ") + kTycho + " '" + path_ + "'"));
  if (made.status == 77) GTEST_SKIP() << "python3-numpy is not installed";
  ASSERT_EQ(made.status, 0);
  const auto entries = read();
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  EXPECT_EQ(entries->size(), kStars);
  EXPECT_EQ(run_command(fits_tables("count '" + path_ + "' RAJ2000,DEJ2000 " +
                                    testing_support::counts_of_windows(*entries)))
                .text,
            "all are equal\n");
}

}  // namespace
}  // namespace silurus::datasets
