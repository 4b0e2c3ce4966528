// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/npy_header.h"
#include "datasets/open.h"
#include "tests/support/csv_text.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

// Binary formats that are read in this process: arrays of NumPy and point clouds. What numpy itself
// writes is read in tests/integration/datasets/numpy_test.cc.

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::HasSubstr;
using testing_support::TemporaryFile;

template <typename... T>
std::string bytes_of(const T&... values) {
  std::string bytes;
  (bytes.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
  return bytes;
}

template <int D = 2>
Result<std::vector<Entry<D>>> read_binary(const std::string& bytes,
                                          const OpenOptions& options = {}) {
  const TemporaryFile file(bytes, "");
  auto source = open_dataset<D>(file.path(), options);
  if (!source) return fail(source.error());
  return read_all(**source);
}

template <int D = 2>
std::string refusal_of(const std::string& bytes, const OpenOptions& options = {}) {
  const auto entries = read_binary<D>(bytes, options);
  return entries ? "no error" : entries.error().message;
}

/// An array: its header's text and its data.
std::string npy(const std::string& header, const std::string& data) {
  return std::string("\x93NUMPY\1\0", 8) + bytes_of(static_cast<std::uint16_t>(header.size())) +
         header + data;
}
std::string npy(const std::string& type, const std::string& shape, const std::string& data,
                bool is_fortran_order = false) {
  return npy("{'descr': " + type + ", 'fortran_order': " + (is_fortran_order ? "True" : "False") +
                 ", 'shape': " + shape + ", }\n",
             data);
}

TEST(Npy, OfTwoColumnsArePointsOfFourBoxes) {
  EXPECT_EQ(*read_binary(npy("'<f8'", "(2, 2)", bytes_of(1.0, 2.0, 3.0, 4.5))),
            (std::vector<Entry<2>>{{0, {{1, 2}, {1, 2}}}, {1, {{3, 4.5}, {3, 4.5}}}}));
  EXPECT_EQ(*read_binary(npy("'<f4'", "(1, 4)", bytes_of(1.0f, 2.0f, 3.0f, 4.5f))),
            (std::vector<Entry<2>>{{0, {{1, 2}, {3, 4.5}}}}));
  EXPECT_EQ(*read_binary<3>(npy("'<i2'", "(1, 3)",
                                bytes_of(std::int16_t{-1}, std::int16_t{2}, std::int16_t{3}))),
            (std::vector<Entry<3>>{{0, {{-1, 2, 3}, {-1, 2, 3}}}}));
}

TEST(Npy, OfSignedNumbersKeepsTheirSigns) {
  const std::vector<Entry<2>> expected = {{0, {{-1, 2}, {-1, 2}}}};
  EXPECT_EQ(*read_binary(npy("'|i1'", "(1, 2)", bytes_of(std::int8_t{-1}, std::int8_t{2}))),
            expected);
  EXPECT_EQ(*read_binary(npy("'<i4'", "(1, 2)", bytes_of(-1, 2))), expected);
  EXPECT_EQ(*read_binary(npy("'<i8'", "(1, 2)", bytes_of(std::int64_t{-1}, std::int64_t{2}))),
            expected);
}

TEST(Npy, MayLieInTheFileByColumns) {
  EXPECT_EQ(*read_binary(npy("'<f8'", "(2, 2)", bytes_of(1.0, 3.0, 2.0, 4.5), true)),
            (std::vector<Entry<2>>{{0, {{1, 2}, {1, 2}}}, {1, {{3, 4.5}, {3, 4.5}}}}));
}

TEST(Npy, MayBeOfTheOtherOrderOfBytes) {
  const std::string one("\x3f\xf0\0\0\0\0\0\0", 8);
  EXPECT_EQ(*read_binary(npy("'>f8'", "(1, 2)", one + one)),
            (std::vector<Entry<2>>{{0, {{1, 1}, {1, 1}}}}));
}

TEST(Npy, OfRecordsIsUnderstoodByTheNamesOfItsFields) {
  const std::string record = bytes_of(2.5f, std::uint32_t{0}) + "abcd" + bytes_of(-7.25) +
                             bytes_of(std::uint64_t{18446744073709551615u});
  EXPECT_EQ(*read_binary(npy("[('lat', '<f4'), ('', '|V4'), ('name', 'S4'), ('lon', '<f8'), "
                             "('gid', '<u8')]",
                             "(1,)", record)),
            (std::vector<Entry<2>>{{18446744073709551615u, {{-7.25, 2.5}, {-7.25, 2.5}}}}));
}

TEST(Npy, OfAnotherShapeIsRefusedWithWhatIsRead) {
  EXPECT_THAT(refusal_of(npy("'<f8'", "(1, 3)", bytes_of(1.0, 2.0, 3.0))),
              HasSubstr("rows of 3 numbers; a tree of 2 dimensions takes 2 (points) or 4"));
  EXPECT_THAT(refusal_of(npy("'<f8'", "(2,)", bytes_of(1.0, 2.0))), HasSubstr("has 1 dimensions"));
  EXPECT_THAT(refusal_of(npy("'<c16'", "(1, 2)", std::string(32, '\0'))),
              HasSubstr("no array of numbers"));
  EXPECT_THAT(refusal_of(npy("'|O'", "(1, 2)", "x")), HasSubstr("objects of Python"));
  EXPECT_THAT(refusal_of(npy("[('a', '<f8')]", "(1,)", bytes_of(1.0))),
              HasSubstr("its columns are"));
}

TEST(Npy, ThatIsShorterThanItsHeaderSaysIsRefusedAtOnce) {
  const std::string whole = npy("'<f8'", "(2, 2)", bytes_of(1.0, 2.0, 3.0, 4.0));
  EXPECT_THAT(refusal_of(whole.substr(0, whole.size() - 1)),
              HasSubstr("has 1 rows, its header says 2"));
  EXPECT_THAT(refusal_of(npy("'<f8'", "(18446744073709551615, 2)", bytes_of(1.0, 2.0))),
              HasSubstr("has 1 rows, its header says 18446744073709551615"));
  for (std::size_t size = 6; size < whole.size(); ++size) {
    ASSERT_NE(refusal_of(whole.substr(0, size)), "no error") << size;
  }
}

TEST(Npy, NamesABadRowOrCountsIt) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string array = npy("'<f8'", "(2, 2)", bytes_of(1.0, nan, 3.0, 4.0));
  EXPECT_THAT(refusal_of(array), HasSubstr("row 0: box.min[1] is nan"));
  EXPECT_EQ(*read_binary(array, {.skip_bad = true}),
            (std::vector<Entry<2>>{{1, {{3, 4}, {3, 4}}}}));
}

TEST(Npy, HeadersThatMakeNoSenseAreRefusedWithThePlace) {
  const auto why = [](const std::string& text) {
    const auto header = parse_npy_header(text);
    return header ? "no error" : header.error().message;
  };
  EXPECT_THAT(why("x"), HasSubstr("expected { at character 1"));
  EXPECT_THAT(why("{'descr': '<f9', 'shape': (1,)}"), HasSubstr("no error")) << "no number is read";
  EXPECT_THAT(why("{'descr': 'what', 'shape': (1,)}"), HasSubstr("unknown type \"what\""));
  EXPECT_THAT(why("{'descr': '<f8'}"), HasSubstr("descr or shape is missing"));
  EXPECT_THAT(why("{'descr': '<f8', 'shape': (1,)} x"), HasSubstr("more than a dictionary"));
  EXPECT_THAT(why("{'descr': [('a', [('b', '<f8')])], 'shape': (1,)}"),
              HasSubstr("records in records"));
  EXPECT_THAT(why("{'descr': [('a', '<f8', (99999999,))], 'shape': (1,)}"), HasSubstr("too large"));
}

TEST(Npy, DamagedAnywhereIsAnErrorOrBoxes) {
  Random random(testing_support::seed(20261201));
  const std::string whole =
      npy("[('id', '<u8'), ('x', '<f8'), ('y', '>f4', (1,))]", "(2,)", std::string(40, '\1'));
  for (int round = 0; round < 2000; ++round) {
    const std::string bytes = testing_support::damaged(random, whole);
    const auto entries = read_binary(bytes);
    if (!entries) continue;
    for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box)) << round;
  }
}

/// A file of LAS with two points: (1, 2, 3) and (-4, 5, 6) hundredths from (100, 200, 300).
std::string las(std::uint8_t minor, std::uint8_t format, std::uint16_t record_size) {
  const std::uint16_t header_size = minor == 4 ? 375 : minor == 3 ? 235 : 227;
  const std::string keys =
      bytes_of(std::uint16_t{1}, std::uint16_t{1}, std::uint16_t{0}, std::uint16_t{1}) +
      bytes_of(std::uint16_t{3072}, std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{25832});
  std::string file(header_size, '\0');
  const auto put = [](std::string& into, std::size_t at, const std::string& bytes) {
    into.replace(at, bytes.size(), bytes);
  };
  put(file, 0, "LASF");
  put(file, 24, std::string{1, static_cast<char>(minor)});
  put(file, 94, bytes_of(header_size));
  put(file, 96, bytes_of(static_cast<std::uint32_t>(header_size + 54 + keys.size())));
  put(file, 100, bytes_of(std::uint32_t{1}));
  put(file, 104, bytes_of(format, record_size));
  put(file, minor == 4 ? 247 : 107, bytes_of(std::uint32_t{2}));
  put(file, 131, bytes_of(0.01, 0.01, 0.01, 100.0, 200.0, 300.0));
  std::string note(54, '\0');
  put(note, 2, "LASF_Projection");
  put(note, 18, bytes_of(std::uint16_t{34735}, static_cast<std::uint16_t>(keys.size())));
  file += note + keys;
  for (const auto& [x, y, z] : {std::array{1, 2, 3}, std::array{-4, 5, 6}}) {
    std::string point(record_size, '\7');
    put(point, 0, bytes_of(x, y, z));
    file += point;
  }
  return file;
}

TEST(Las, OfAllVersionsIsReadWithItsScales) {
  const std::array<double, 3> first = {1 * 0.01 + 100, 2 * 0.01 + 200, 3 * 0.01 + 300};
  const std::array<double, 3> second = {-4 * 0.01 + 100, 5 * 0.01 + 200, 6 * 0.01 + 300};
  for (const std::string& file : {las(2, 1, 28), las(3, 5, 70), las(4, 10, 67)}) {
    EXPECT_EQ(*read_binary<3>(file),
              (std::vector<Entry<3>>{{0, {first, first}}, {1, {second, second}}}));
    const auto flat = read_binary<2>(file);
    ASSERT_TRUE(flat.has_value());
    EXPECT_EQ(flat->at(1).box.min, (std::array<double, 2>{second[0], second[1]}));
  }
}

TEST(Las, TellsItsCoordinateSystem) {
  const TemporaryFile file(las(2, 0, 20), "");
  const auto source = open_dataset<2>(file.path());
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ((*source)->total_entries(), 2u);
  EXPECT_THAT((*source)->notes(), testing::ElementsAre(HasSubstr("coordinates are in EPSG:25832")));
}

TEST(Las, KeyWhoseValueIsElsewhereIsNoCoordinateSystem) {
  std::string bytes = las(2, 0, 20);
  bytes.replace(227 + 54 + 8 + 2, 2, bytes_of(std::uint16_t{34736}));  // the place of the value
  const TemporaryFile file(bytes, "");
  const auto source = open_dataset<2>(file.path());
  ASSERT_TRUE(source.has_value());
  EXPECT_THAT((*source)->notes(), testing::ElementsAre(HasSubstr("no coordinate system")));
}

TEST(Las, HasNothingMoreAfterAPointThatIsNotFinite) {
  std::string bytes = las(2, 0, 20);
  bytes.replace(131, 8, bytes_of(4e307));    // x of the first point is beyond double,
  bytes.replace(155, 8, bytes_of(1.5e308));  // that of the second is not
  const TemporaryFile file(bytes, "");
  const auto source = open_dataset<2>(file.path());
  ASSERT_TRUE(source.has_value());
  std::vector<Entry<2>> batch(10);
  const auto count = (*source)->read(batch);
  ASSERT_FALSE(count.has_value());
  EXPECT_THAT(count.error().message, HasSubstr("point 0 is not finite"));
  EXPECT_EQ(*(*source)->read(batch), 0u);
}

TEST(Las, ThatIsCompressedNamesTheConversion) {
  EXPECT_THAT(refusal_of(las(2, 0x81, 28)), HasSubstr("laszip -i FILE.laz -o FILE.las"));
}

TEST(Las, ThatContradictsItselfIsRefused) {
  EXPECT_THAT(refusal_of(las(2, 1, 20)), HasSubstr("points of 20 bytes, format 1 takes 28"));
  EXPECT_THAT(refusal_of(las(2, 11, 99)), HasSubstr("points of format 11"));
  EXPECT_THAT(refusal_of(las(5, 0, 20)), HasSubstr("LAS of version 1.5"));
  const std::string whole = las(4, 6, 30);
  EXPECT_THAT(refusal_of(whole.substr(0, whole.size() - 1)),
              HasSubstr("has 1 points, its header says 2"));
  for (std::size_t size = 4; size < whole.size(); size += 7) {
    ASSERT_NE(refusal_of(whole.substr(0, size)), "no error") << size;
  }
}

TEST(Las, DamagedAnywhereIsAnErrorOrBoxes) {
  Random random(testing_support::seed(20261201));
  const std::string whole = las(4, 6, 30);
  for (int round = 0; round < 2000; ++round) {
    const auto entries = read_binary<3>(testing_support::damaged(random, whole));
    if (!entries) continue;
    for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box)) << round;
  }
}

TEST(DatasetLimit, EndsASourceAfterThatManyEntries) {
  const std::string array = npy("'<f8'", "(3, 2)", bytes_of(1.0, 2.0, 3.0, 4.0, 5.0, 6.0));
  EXPECT_EQ(read_binary(array, {.limit = 2})->size(), 2u);
  EXPECT_EQ(read_binary(array, {.limit = 0})->size(), 0u);
  EXPECT_EQ(read_binary(array, {.limit = 9})->size(), 3u);
  EXPECT_EQ((*open_dataset<2>("uniform:10", {.limit = 4}))->total_entries(), 4u);
}

TEST(DatasetOptions, ThatMeanNothingForAFormatAreRefused) {
  const std::string array = npy("'<f8'", "(1, 2)", bytes_of(1.0, 2.0));
  EXPECT_THAT(refusal_of(array, {.layer = "roads"}),
              HasSubstr("--layer means nothing for arrays of NumPy"));
  EXPECT_THAT(refusal_of("id,x,y\n1,2,3\n", {.where = "id > 1"}),
              HasSubstr("--where means nothing for text files"));
  const auto source = open_dataset<2>("uniform:10", {.as = As::kPoints});
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(source.error().message, HasSubstr("--as means nothing for generators"));
}

}  // namespace
}  // namespace silurus::datasets
