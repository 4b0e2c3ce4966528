// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/open.h"
#include "tests/support/csv_text.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

// Packed files, which silurus-read-gzip unpacks.

namespace silurus::datasets {
namespace {

using testing::HasSubstr;
using testing_support::TemporaryFile;

/// What `gzip` makes of a text.
std::string packed(const std::string& text) {
  const TemporaryFile file("");
  gzFile out = ::gzopen(file.path().c_str(), "wb");
  EXPECT_EQ(::gzwrite(out, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  EXPECT_EQ(::gzclose(out), Z_OK);
  std::ifstream in(file.path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<std::vector<rtree::Entry<2>>> read_bytes(const std::string& bytes,
                                                const std::string& ending = ".csv",
                                                bool skip_bad = false) {
  const TemporaryFile file(bytes, ending);
  auto source = open_dataset<2>(file.path(), {.skip_bad = skip_bad});
  if (!source) return fail(source.error());
  return read_all(**source);
}

std::string message_of(const std::string& bytes) {
  const auto entries = read_bytes(bytes);
  return entries ? "no error" : entries.error().message;
}

/// Lines that take more than one frame, and what they are.
std::string many_points(std::vector<rtree::Entry<2>>& entries) {
  std::string text = "id,lat,lon\r\n";
  for (std::uint64_t i = 0; i < 30'000; ++i) {
    const auto at = static_cast<double>(i % 180);
    entries.push_back({i, {{at, at / 2}, {at, at / 2}}});
    text += std::to_string(i) + "," + std::to_string(at / 2) + "," + std::to_string(at) + "\r\n";
  }
  return text;
}

TEST(Gzip, IsUnpackedWhateverTheFileIsCalled) {
  std::vector<rtree::Entry<2>> expected;
  const std::string bytes = packed(many_points(expected));
  for (const char* ending : {".csv.gz", ".csv", ".nc", ""}) {
    const auto entries = read_bytes(bytes, ending);
    ASSERT_TRUE(entries.has_value()) << entries.error().message;
    EXPECT_EQ(*entries, expected) << ending;
  }
}

TEST(Gzip, MayHaveSeveralMembersAndZerosAtTheEnd) {
  const std::string bytes = packed("id,x,y\n1,2,") + packed("3\n") + packed("") + packed("4,5,6\n");
  const std::vector<rtree::Entry<2>> expected = {{1, {{2, 3}, {2, 3}}}, {4, {{5, 6}, {5, 6}}}};
  EXPECT_EQ(*read_bytes(bytes), expected);
  EXPECT_EQ(*read_bytes(bytes + std::string(100'000, '\0')), expected);
}

TEST(Gzip, ThatIsNotWholeIsAnError) {
  const std::string bytes = packed("id,x,y\n1,2,3\n");
  for (std::size_t size = 2; size < bytes.size(); ++size) {
    ASSERT_THAT(message_of(bytes.substr(0, size)), HasSubstr("the file ends within packed data"));
  }
  EXPECT_THAT(message_of(bytes + "1,2,4\n"), HasSubstr("neither gzip nor the end of the file"));
  EXPECT_THAT(message_of(bytes + std::string(3, '\0') + bytes), HasSubstr("neither gzip nor"));
  std::string wrong_sum = bytes;
  wrong_sum[bytes.size() - 8] ^= 1;
  EXPECT_THAT(message_of(wrong_sum), HasSubstr("incorrect data check at byte"));
}

TEST(Gzip, NamesLinesOfWhatIsInIt) {
  EXPECT_THAT(message_of(packed("id,x,y\n1,2,3\n1,2,z\n")),
              HasSubstr(".csv:3: column 3 (y): \"z\", expected a number"));
  EXPECT_THAT(message_of(packed(packed("id,x,y\n1,2,3\n"))), HasSubstr("not text, but gzip"));
  EXPECT_THAT(message_of(packed("\x89HDF\r\n\x1a\n")), HasSubstr("not text, but netCDF"));
}

TEST(Gzip, TellsHowFarItIs) {
  std::vector<rtree::Entry<2>> expected;
  const TemporaryFile file(packed(many_points(expected)));
  auto source = open_dataset<2>(file.path());
  ASSERT_TRUE(source.has_value()) << source.error().message;
  EXPECT_EQ(read_all(**source)->size(), expected.size());
  EXPECT_EQ((*source)->progress().done, (*source)->progress().total);
}

TEST(Gzip, DamagedAnywhereIsAnErrorOrBoxes) {
  Random random(testing_support::seed(20261201));
  std::vector<rtree::Entry<2>> all;
  const std::string whole = packed(many_points(all).substr(0, 3'000));
  for (int round = 0; round < 60; ++round) {
    const auto entries =
        read_bytes(testing_support::damaged(random, whole), ".csv", round % 2 == 0);
    if (!entries) {
      ASSERT_EQ(entries.error().code, ErrorCode::kProtocol) << entries.error().message;
      continue;
    }
    for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box).has_value());
  }
}

}  // namespace
}  // namespace silurus::datasets
