// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "datasets/bytes.h"
#include "datasets/fields.h"
#include "datasets/line_reader.h"
#include "tests/support/csv_text.h"

// How programs and countries write the same numbers.

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::HasSubstr;
using testing_support::error_of;
using testing_support::read_text;
using testing_support::TemporaryFile;

const std::vector<Entry<2>> kPoints = {{7, {{2.35, 48.86}, {2.35, 48.86}}},
                                       {8, {{-1, 1e6}, {-1, 1e6}}}};

TEST(CsvDialects, HaveCommasSemicolonsOrTabs) {
  EXPECT_EQ(*read_text("7,2.35,48.86\n8,-1,1e6\n"), kPoints);
  EXPECT_EQ(*read_text("7;2.35;48.86\n8;-1;1e6\n"), kPoints);
  EXPECT_EQ(*read_text("7\t2.35\t48.86\n8\t-1\t1e6\n"), kPoints);
  EXPECT_EQ(*read_text("id;name;x;y\n7;a,b;2.35;48.86\n8;c,d,e;-1;1e6\n"), kPoints);
  EXPECT_EQ(*read_text("id\tname\tx\ty\n7\t\t2.35\t48.86\n8\t a;b\t-1\t1e6\n"), kPoints);
}

TEST(CsvDialects, QuoteAsRfc4180Does) {
  EXPECT_EQ(*read_text("\"id\",\"name\",\"x\",\"y\"\r\n"
                       "\"7\",\"a \"\"b\"\", c\",\"2.35\", \"48.86\" \r\n"
                       "8,\"two\r\nlines\",-1,1e6\r\n"),
            kPoints);
  EXPECT_EQ(*read_text("id,name,x,y\n7,5\" gun,2.35,48.86\n8,\"\",-1,1e6"), kPoints);
}

TEST(CsvDialects, NameTheLineWhereAQuoteIsOpened) {
  const std::string text = "id,name,x,y\n7,a,2.35,48.86\n6,\"b,1,2\n8,c,-1,1e6\n";
  EXPECT_EQ(error_of(text), ":3: column 2: a quote is opened and not closed");
  EXPECT_EQ(*read_text(text, {.skip_bad = true}), kPoints) << "the lines behind it are read";
  EXPECT_EQ(error_of("id,name,x,y\n7,\"a\"b,1,2\n"),
            ":2: column 2: text behind a closing quote, expected a separator");
  EXPECT_EQ(error_of("id,name,x,y\n1,\"a\nb\",1,2\n1,\"\n\",1,z\n"),
            ":4: column 4 (y): \"z\", expected a number");
}

TEST(CsvDialects, QuoteNoMoreThanALineMayHold) {
  std::string text = "id,name,x,y\n7,\"a";
  while (text.size() < 2 * LineReader::kMaxLineBytes) text += "\n1,b,2,3";
  EXPECT_EQ(error_of(text + "\",1,2\n"), ":2: column 2: a quote is opened and not closed");
}

TEST(CsvDialects, LoseNoLineBehindAQuoteAtTheEndOfTheBuffer) {
  constexpr std::size_t kBufferBytes = 1 << 18;  // size of LineReader's buffer
  for (const std::size_t behind : {std::size_t{500}, 3 * LineReader::kMaxLineBytes}) {
    std::vector<Entry<2>> expected;
    std::string text = "id,name,x,y\n";
    const auto fill_to = [&](std::size_t size) {
      while (text.size() < size) {
        const std::uint64_t id = expected.size();
        expected.push_back({id, {{2, 3}, {2, 3}}});
        text += std::to_string(id) + ",b,2,3\n";
      }
    };
    fill_to(kBufferBytes - 100);
    text += "6,\"b,1,2\n";
    fill_to(kBufferBytes + behind);
    const auto entries = read_text(text, {.skip_bad = true});
    ASSERT_TRUE(entries) << entries.error().message;
    EXPECT_EQ(entries->size(), expected.size());
    EXPECT_TRUE(*entries == expected) << behind << " bytes behind the buffer's end";
  }
}

TEST(CsvDialects, WriteNumbersInManyWays) {
  EXPECT_EQ(*read_text("7.0,+2.35,4886e-2\n+8,-1.,+1E+6\n"), kPoints);
  EXPECT_EQ(id_of("17"), 17u);
  EXPECT_EQ(id_of("1.0"), 1u);
  EXPECT_EQ(id_of("1e6"), 1'000'000u);
  EXPECT_EQ(id_of("18446744073709551615.00"), UINT64_MAX);
  for (const char* text :
       {"1.5", "", "-1", "1e-1", "1e17", "++1", "+-1", "1 2", "0x1", ".", "nan"}) {
    EXPECT_EQ(id_of(text), std::nullopt) << text;
  }
  for (const char* text : {"", "+", "+-1", "++1", "1,5", "1.5.5", "x"}) {
    EXPECT_EQ(number_of(text), std::nullopt) << text;
  }
  EXPECT_EQ(error_of("1.5,2,3\n"),
            ":1: column 1 (id): \"1.5\", expected a whole number from 0 to 2^64 - 1");
}

TEST(CsvDialects, WithDecimalCommasAreRefused) {
  EXPECT_EQ(error_of("7;2,35;48,86\n"),
            ":1: column 2 (x): \"2,35\", expected a number with a point");
}

TEST(CsvDialects, HaveMarksCarriageReturnsAndBlankLines) {
  EXPECT_EQ(*read_text("\xef\xbb\xbf\"id\";x;y\r\n\r\n7;2.35;48.86\r\n \t\r\n8;-1;1e6\r\n\r\n"),
            kPoints);
  EXPECT_EQ(*read_text("\xef\xbb\xbf"
                       "7,2.35,48.86\n8,-1,1e6\n"),
            kPoints);
}

TEST(Formats, AreToldByTheirFirstBytes) {
  EXPECT_EQ(format_of("\x1f\x8b\x08"), FileFormat::kGzip);
  EXPECT_EQ(format_of("\x89HDF\r\n\x1a\n"), FileFormat::kNetcdf);
  EXPECT_EQ(format_of("CDF\x01"), FileFormat::kNetcdf);
  EXPECT_EQ(format_of("CDF,x,y"), FileFormat::kText);
  EXPECT_EQ(format_of("id,x,y"), FileFormat::kText);
  EXPECT_EQ(format_of("\xef\xbb\xbf {\"type\""), FileFormat::kVector);
  EXPECT_EQ(format_of("\x1e{\"type\""), FileFormat::kVector);
  EXPECT_EQ(format_of("<?xml"), FileFormat::kVector);
  EXPECT_EQ(format_of("fgb\x03"), FileFormat::kVector);
  EXPECT_EQ(format_of(std::string("\0\0\x27\x0a\0", 5)), FileFormat::kVector);
  EXPECT_EQ(format_of(std::string("\0\0\0\x0e\x0a\x09OSMHeader", 15)), FileFormat::kVector);
  EXPECT_EQ(format_of(std::string("SQLite format 3\0", 16)), FileFormat::kVector);
  EXPECT_EQ(format_of("\x93NUMPY"), FileFormat::kNpy);
  EXPECT_EQ(format_of("LASF"), FileFormat::kLas);
  EXPECT_EQ(format_of("SIMPLE  =                    T"), FileFormat::kFits);
  EXPECT_EQ(format_of(""), FileFormat::kText);
}

TEST(Formats, ThatAreNotReadAreNamed) {
  const auto said = [](const std::string& content) {
    const auto entries = read_text(content);
    return entries ? "no error" : entries.error().message;
  };
  EXPECT_THAT(said("PK\x03\x04zip"), HasSubstr("a zip archive"));
  EXPECT_THAT(said("PAR1"), HasSubstr("Parquet, which Debian's GDAL has no driver for"));
  EXPECT_THAT(said("{\"type\": 1}"), HasSubstr("GeoJSON or XML: name the file itself"));
  EXPECT_THAT(said("\x28\xb5\x2f\xfdzstd"), HasSubstr("zstdcat"));
  EXPECT_THAT(said("\xff\xfei"), HasSubstr("iconv -f UTF-16"));
  EXPECT_THAT(said(std::string("SQLite format 3\0", 16)), HasSubstr("an SQLite database"));
  EXPECT_THAT(said(std::string("ab\0c", 4)), HasSubstr("neither text nor"));
}

}  // namespace
}  // namespace silurus::datasets
