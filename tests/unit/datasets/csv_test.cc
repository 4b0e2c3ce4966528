// SPDX-License-Identifier: Apache-2.0

#include "datasets/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "common/random.h"
#include "datasets/line_reader.h"
#include "tests/support/csv_text.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::HasSubstr;
using testing_support::error_of;
using testing_support::read_text;
using testing_support::TemporaryFile;

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

TEST(Csv, NamesLineColumnTextAndWhatWasExpected) {
  EXPECT_EQ(error_of("1,2,3\nx,2,3\n"),
            ":2: column 1 (id): \"x\", expected a whole number from 0 to 2^64 - 1");
  EXPECT_EQ(error_of("1,2,3\n-1,2,3\n"),
            ":2: column 1 (id): \"-1\", expected a whole number from 0 to 2^64 - 1");
  EXPECT_THAT(error_of("18446744073709551616,2,3\n"), HasSubstr(":1: column 1 (id)"));
  EXPECT_EQ(error_of("1,2,3\n\n1,2,east\n"), ":3: column 3 (y): \"east\", expected a number");
  EXPECT_EQ(error_of("1,2,3,4,\n"), ":1: column 5 (ymax): \"\", expected a number");
  EXPECT_EQ(error_of("1,2,3,4,5m\n"), ":1: column 5 (ymax): \"5m\", expected a number");
  EXPECT_EQ(error_of("1,2,3\n1,nan,3\n"), ":2: column 2 (x): \"nan\", expected a finite number");
  EXPECT_EQ(error_of("1,2,-inf\n"), ":1: column 3 (y): \"-inf\", expected a finite number");
  EXPECT_EQ(error_of("1,2,1e999\n"),
            ":1: column 3 (y): \"1e999\", expected a number that fits a double");
  EXPECT_EQ(error_of("lat,id,lon\n48,1,2\n48.x,2,2\n"),
            ":3: column 1 (lat as y): \"48.x\", expected a number");
}

TEST(Csv, NamesTheLineOfAnInvertedBox) {
  EXPECT_EQ(error_of("1,9,3,4,5\n"),
            ":1: column 2 (xmin): \"9\", expected at most 4, which is in column 4 (xmax)");
  EXPECT_EQ(error_of("id,minX,maxX,minY,maxY\n1,0,1,0,1\n2,0,1,5,-5\n"),
            ":3: column 4 (minY as ymin): \"5\", expected at most -5, which is in column 5 "
            "(maxY as ymax)");
  EXPECT_EQ(error_of<3>("1,2,3,9,5,6,7\n"),
            ":1: column 4 (zmin): \"9\", expected at most 7, which is in column 7 (zmax)");
}

TEST(Csv, NamesTheNumberOfFields) {
  EXPECT_THAT(error_of("1,2\n"), HasSubstr(":1: 2 fields, expected id,xmin,ymin,xmax,ymax or id,x,y"
                                           ", or a header"));
  EXPECT_EQ(error_of("1,2,3\n1,2,3,4,5\n"), ":2: 5 fields, expected 3: id,x,y");
  EXPECT_EQ(error_of("id,x,y\n1,2,3,4\n"), ":2: 4 fields, expected 3: id,x,y");
  EXPECT_THAT(error_of("1,2,3,4,5,6,7,8,9\n"), HasSubstr(":1: 9 fields, expected id,xmin"));
  EXPECT_THAT(error_of<3>("1,2,3,4,5\n"),
              HasSubstr(":1: 5 fields, expected id,xmin,ymin,zmin,xmax,ymax,zmax or id,x,y,z"));
}

TEST(Csv, ShowsNoControlCharacters) {
  EXPECT_EQ(error_of(std::string("1,2,\x1b[31m\n")),
            ":1: column 3 (y): \"\\x1b[31m\", expected a number");
  EXPECT_LT(error_of("1,2," + std::string(4000, 'y') + "\n").size(), 200u);
}

TEST(Csv, RefusesLinesOfNoReasonableLength) {
  EXPECT_EQ(error_of("1,2,3\n1,2," + std::string(LineReader::kMaxLineBytes, '3') + "\n"),
            ":2: the line is longer than 65536 bytes");
  EXPECT_EQ(error_of("1,2,3\n" + std::string(3'000'000, '3')),
            ":2: the line is longer than 65536 bytes");
}

TEST(Csv, SkipsAndCountsBadLinesWhenTold) {
  const TemporaryFile file("id,x,y\n1,2,3\nbad\n4,5\n" + std::string(1'000'000, '7') +
                           "\n4,5,6\n7,8,nan\n");
  auto source = open_csv<2>(file.path(), {.skip_bad = true});
  ASSERT_TRUE(source.has_value());
  const std::vector<Entry<2>> expected = {{1, {{2, 3}, {2, 3}}}, {4, {{5, 6}, {5, 6}}}};
  EXPECT_EQ(*read_all(**source), expected);
  EXPECT_EQ((*source)->skipped(), 4u);
  EXPECT_THAT((*source)->first_skipped(), HasSubstr(".csv:3: 1 field, expected 3: id,x,y"));
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

/// Reads such a file in both ways; what comes out, if anything, are boxes.
void expect_errors_or_boxes(const std::string& text) {
  const TemporaryFile file(text);
  for (const bool skip_bad : {false, true}) {
    for (const char* columns : {"", "id,ignore,y,x,..."}) {
      auto source = open_csv<2>(file.path(), {.skip_bad = skip_bad, .columns = columns});
      ASSERT_TRUE(source.has_value());
      const auto entries = read_all(**source);
      if (!entries) {
        const std::string& message = entries.error().message;
        ASSERT_EQ(entries.error().code, ErrorCode::kProtocol);
        ASSERT_LT(message.size(), 2000u);
        ASSERT_EQ(std::ranges::count_if(message, [](char c) { return c < ' ' || c > '~'; }), 0);
        // A file that is no text, or whose header makes no sense, has no lines to be skipped.
        ASSERT_TRUE(!skip_bad || message.find("the header") != std::string::npos ||
                    message.find("text") != std::string::npos ||
                    message.find("no separated fields") != std::string::npos)
            << message;
        continue;
      }
      for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box).has_value());
      // An entry takes six bytes at least.
      ASSERT_LE(entries->size() * 4, text.size() + 4);
    }
  }
}

constexpr std::string_view kDamage("0123456789,;\t.-+eE\r\n\"\"\0xinfalat \xff", 34);

TEST(Csv, SurvivesRandomDamage) {
  Random random(testing_support::seed(20261121));
  const std::vector<std::string> good = {
      "id,xmin,ymin,xmax,ymax\n1,0.5,-2,3e2,4\r\n2,-0,0,.5,18\n3,1,1,1,1\n",
      "id;name;lat;lon\r\n1;\"a \"\"b\"\";48.86;2.35\r\n2;\"two\r\nlines\";-1;+3e1\r\n",
      "\xef\xbb\xbf"
      "7\tParis\t48.86\t2.35\tP\n8.0\t\"\"\t1\t2\t\n",
      "X,Y\n1,2\n3,4\n5,6\n"};
  for (int round = 0; round < 400; ++round) {
    expect_errors_or_boxes(testing_support::damaged(random, good[round % good.size()], kDamage));
  }
}

TEST(Csv, SurvivesRandomBytes) {
  Random random(testing_support::seed(20261130));
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const std::uint64_t size = random.below(round % 10 == 0 ? 300'000 : 300);
    const bool any = round % 3 == 0;
    while (text.size() < size) {
      text += any ? static_cast<char>(random.below(256)) : kDamage[random.below(kDamage.size())];
    }
    expect_errors_or_boxes(text);
  }
}

}  // namespace
}  // namespace silurus::datasets
