#include "datasets/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/line_reader.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::HasSubstr;

/// A file that is gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    static int number = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("silurus-csv-" + std::to_string(::getpid()) + "-" + std::to_string(number++) + ".csv");
    std::ofstream(path_, std::ios::binary) << content;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

template <int D = 2>
Result<std::vector<Entry<D>>> read_text(const std::string& text) {
  const TemporaryFile file(text);
  auto source = open_csv<D>(file.path());
  if (!source) return fail(source.error());
  return read_all(**source);
}

/// The error's message after the file's name: ":LINE: what".
template <int D = 2>
std::string error_of(const std::string& text) {
  const auto entries = read_text<D>(text);
  if (entries) return "no error";
  EXPECT_EQ(entries.error().code, ErrorCode::kProtocol);
  return entries.error().message.substr(entries.error().message.find(".csv") + 4);
}

const std::vector<Entry<2>> kTwo = {{7, {{-1, 2}, {3, 4.5}}}, {8, {{0, 0}, {1e-3, 1}}}};

TEST(Csv, ReadsBoxes) { EXPECT_EQ(*read_text("7,-1,2,3,4.5\n8,0,0,1e-3,1\n"), kTwo); }

TEST(Csv, ReadsBoxesBehindAHeader) {
  EXPECT_EQ(*read_text("id,xmin,ymin,xmax,ymax\n7,-1,2,3,4.5\n8,0,0,1e-3,1\n"), kTwo);
  EXPECT_EQ(*read_text("fid,west,south,east,north\n7,-1,2,3,4.5\n8,0,0,1e-3,1\n"), kTwo);
}

TEST(Csv, BearsWhatEditorsLeave) {
  EXPECT_EQ(*read_text("\xef\xbb\xbfID, XMIN, YMIN, XMAX, YMAX\r\n\r\n7, -1,2 ,3,\t4.5\r\n"
                       "8,0,0,1e-3,1"),
            kTwo);
}

TEST(Csv, ReadsPoints) {
  const std::vector<Entry<2>> expected = {{1, {{2, 3}, {2, 3}}}};
  EXPECT_EQ(*read_text("id,x,y\n1,2,3\n"), expected);
  EXPECT_EQ(*read_text("1,2,3\n"), expected);
}

TEST(Csv, ReadsThreeDimensions) {
  const std::vector<Entry<3>> box = {{1, {{2, 3, 4}, {5, 6, 7}}}};
  EXPECT_EQ(*read_text<3>("id,xmin,ymin,zmin,xmax,ymax,zmax\n1,2,3,4,5,6,7\n"), box);
  const std::vector<Entry<3>> point = {{1, {{2, 3, 4}, {2, 3, 4}}}};
  EXPECT_EQ(*read_text<3>("1,2,3,4\n"), point);
}

TEST(Csv, AnEmptyFileHasNoEntries) {
  EXPECT_TRUE(read_text("")->empty());
  EXPECT_TRUE(read_text("id,x,y\n")->empty());
  EXPECT_TRUE(read_text("\n\r\n \n")->empty());
}

TEST(Csv, NamesLineAndFieldOfWhatIsWrong) {
  EXPECT_EQ(error_of("1,2,3\nx,2,3\n"), ":2: id \"x\" is not a whole number from 0 to 2^64 - 1");
  EXPECT_EQ(error_of("1,2,3\n-1,2,3\n"), ":2: id \"-1\" is not a whole number from 0 to 2^64 - 1");
  EXPECT_THAT(error_of("18446744073709551616,2,3\n"), HasSubstr(":1: id"));
  EXPECT_EQ(error_of("1,2,3\n\n1,2,east\n"), ":3: y \"east\" is not a number");
  EXPECT_EQ(error_of("1,2,3,4,\n"), ":1: ymax \"\" is not a number");
  EXPECT_EQ(error_of("1,2,3,4,5m\n"), ":1: ymax \"5m\" is not a number");
  EXPECT_EQ(error_of("1,2,3\n1,nan,3\n"), ":2: x \"nan\": coordinates must be finite");
  EXPECT_EQ(error_of("1,2,-inf\n"), ":1: y \"-inf\": coordinates must be finite");
  EXPECT_EQ(error_of("1,2,1e999\n"), ":1: y \"1e999\" does not fit a double");
  EXPECT_EQ(error_of("1,9,3,4,5\n"), ":1: xmin 9 is above xmax 4");
  EXPECT_EQ(error_of("1,2\n"), ":1: 2 fields, expected id,xmin,ymin,xmax,ymax or id,x,y");
  EXPECT_EQ(error_of("1,2,3\n1,2,3,4,5\n"), ":2: 5 fields, expected id,x,y");
  EXPECT_EQ(error_of("id,x,y\n1,2,3,4\n"), ":2: 4 fields, expected id,x,y");
  EXPECT_EQ(error_of("1,2,3,4,5,6,7,8,9\n"),
            ":1: 9 fields, expected id,xmin,ymin,xmax,ymax or id,x,y");
  EXPECT_EQ(error_of<3>("1,2,3,4,5\n"),
            ":1: 5 fields, expected id,xmin,ymin,zmin,xmax,ymax,zmax or id,x,y,z");
}

TEST(Csv, RefusesAHeaderInAnotherOrder) {
  EXPECT_EQ(error_of("id,xmin,xmax,ymin,ymax\n"),
            ":1: column 3 is \"xmax\"; the order must be id,xmin,ymin,xmax,ymax");
}

TEST(Csv, ShowsNoControlCharacters) {
  EXPECT_EQ(error_of(std::string("1,2,\x1b[31m\n")), ":1: y \"\\x1b[31m\" is not a number");
  EXPECT_LT(error_of("1,2," + std::string(4000, 'y') + "\n").size(), 200u);
}

TEST(Csv, RefusesLinesOfNoReasonableLength) {
  EXPECT_EQ(error_of("1,2,3\n1,2," + std::string(LineReader::kMaxLineBytes, '3') + "\n"),
            ":2: the line is longer than 4096 bytes");
  EXPECT_EQ(error_of("1,2,3\n" + std::string(3'000'000, '3')),
            ":2: the line is longer than 4096 bytes");
}

TEST(Csv, SkipsAndCountsBadLinesWhenTold) {
  const TemporaryFile file("id,x,y\n1,2,3\nbad\n4,5\n" + std::string(1'000'000, '7') +
                           "\n4,5,6\n7,8,nan\n");
  auto source = open_csv<2>(file.path(), {.skip_bad = true});
  ASSERT_TRUE(source.has_value());
  const std::vector<Entry<2>> expected = {{1, {{2, 3}, {2, 3}}}, {4, {{5, 6}, {5, 6}}}};
  EXPECT_EQ(*read_all(**source), expected);
  EXPECT_EQ((*source)->skipped(), 4u);
  EXPECT_THAT((*source)->first_skipped(), HasSubstr(".csv:3: 1 field, expected id,x,y"));
}

TEST(Csv, ABadFirstLineDoesNotDecideTheShape) {
  const TemporaryFile file("1,2\n1,2,3,4,x\n4,5,6\n");
  auto source = open_csv<2>(file.path(), {.skip_bad = true});
  EXPECT_EQ(read_all(**source)->size(), 1u);
  EXPECT_EQ((*source)->skipped(), 2u);
}

TEST(Csv, ReportsBytesAsProgress) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i) + ",1,2\n";
  const TemporaryFile file(text);
  auto source = open_csv<2>(file.path());
  EXPECT_EQ((*source)->progress().total, text.size());
  EXPECT_FALSE((*source)->total_entries().has_value());
  std::vector<Entry<2>> batch(1000);
  ASSERT_EQ(*(*source)->read(batch), 1000u);
  EXPECT_GT((*source)->progress().done, 0u);
  EXPECT_LT((*source)->progress().done, text.size());
  EXPECT_EQ(read_all(**source)->size(), 99'000u);
  EXPECT_EQ((*source)->progress().done, text.size());
}

TEST(Csv, ReadsTheSameWhereverTheBufferEnds) {
  // Lines of every length up to some bytes beyond the buffer of 2^18 bytes.
  std::string text;
  std::vector<Entry<2>> expected;
  for (std::uint64_t i = 0; text.size() < 1'200'000; ++i) {
    text += std::string(i % 97, ' ') + std::to_string(i) + ",1,2" + (i % 3 == 0 ? "\r\n" : "\n");
    expected.push_back({i, {{1, 2}, {1, 2}}});
  }
  EXPECT_EQ(*read_text(text), expected);
}

TEST(Csv, AMissingFileIsNotFound) {
  const auto source = open_csv<2>("/no/such/file.csv");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(source.error().message, HasSubstr("/no/such/file.csv: No such file"));
}

TEST(Csv, SurvivesRandomDamage) {
  Random random(testing_support::seed(20261121));
  const std::string good = "id,xmin,ymin,xmax,ymax\n1,0.5,-2,3e2,4\r\n2,-0,0,.5,18\n3,1,1,1,1\n";
  constexpr std::string_view kBytes("0123456789,.-+eE\r\n\"\0xinfa \xff", 27);
  for (int round = 0; round < 400; ++round) {
    const std::string text = testing_support::damaged(random, good, kBytes);
    const TemporaryFile file(text);
    for (const bool skip_bad : {false, true}) {
      auto source = open_csv<2>(file.path(), {.skip_bad = skip_bad});
      ASSERT_TRUE(source.has_value());
      const auto entries = read_all(**source);
      if (!entries) {
        ASSERT_FALSE(skip_bad) << text;
        ASSERT_EQ(entries.error().code, ErrorCode::kProtocol);
        continue;
      }
      for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box).has_value());
    }
  }
}

}  // namespace
}  // namespace silurus::datasets
