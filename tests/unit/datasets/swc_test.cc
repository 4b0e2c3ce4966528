// SPDX-License-Identifier: Apache-2.0

#include "datasets/swc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/random.h"
#include "datasets/formats.h"
#include "datasets/open.h"
#include "tests/support/csv_text.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::HasSubstr;
using testing_support::TemporaryFile;

constexpr const char* kNeuron =
    "# a soma, and two segments\r\n"
    "1 1 0 0 0 5 -1\r\n"
    "2 3 10 0 0 0.5 1\r\n"
    "\r\n"
    " 3 3 10 20 -1 0.25 2 \r\n";

template <int D>
Result<std::vector<Entry<D>>> read_swc(const std::string& text, const OpenOptions& options = {}) {
  const TemporaryFile file(text, ".txt");
  auto source = open_dataset<D>(file.path(), options);
  if (!source) return fail(source.error());
  return read_all(**source);
}

std::string swc_error_of(const std::string& text) {
  const auto entries = read_swc<3>("# SWC\n" + text);
  return entries ? "no error" : entries.error().message;
}

TEST(Swc, IsABoxAboutEachSegmentWithItsRadii) {
  EXPECT_EQ(*read_swc<3>(kNeuron),
            (std::vector<Entry<3>>{{2, {{-5, -5, -5}, {10.5, 5, 5}}},
                                   {3, {{9.5, -0.5, -1.25}, {10.5, 20.25, 0.5}}}}));
  EXPECT_EQ(read_swc<2>(kNeuron)->at(1), (Entry<2>{3, {{9.5, -0.5}, {10.5, 20.25}}}));
}

TEST(Swc, IsToldByItsSevenNumbersNotByItsName) {
  EXPECT_EQ(format_of(kNeuron), FileFormat::kSwc);
  EXPECT_EQ(format_of("1 1 0 0 0 5 -1\n"), FileFormat::kSwc);
  EXPECT_EQ(format_of("1\t0\t0\t0\t1\t1\t1\n"), FileFormat::kText) << "boxes in three dimensions";
  EXPECT_EQ(format_of("#x\n1\t1\t0\t0\t0\t5\t-1\n"), FileFormat::kSwc);
  EXPECT_EQ(format_of("1 2 3\n"), FileFormat::kText);
  EXPECT_EQ(format_of("# nothing but a comment\n"), FileFormat::kText);
}

TEST(Swc, NamesTheLineThatIsMalformed) {
  EXPECT_THAT(swc_error_of("1 1 0 0 0 5 -1\n2 3 x 0 0 1 1\n"),
              HasSubstr(":3: column 3 (x): \"x\", expected a finite number"));
  EXPECT_THAT(swc_error_of("1 1 0 0 0 5 -1\n2 3 0 0 0 1\n"), HasSubstr(":3: column 7 (parent)"));
  EXPECT_THAT(swc_error_of("1 1 0 0 0 5 -1\n2 3 0 0 0 1 1 1\n"),
              HasSubstr(":3: more than 7 columns"));
  EXPECT_THAT(swc_error_of("1 1 0 0 0 5 -1\n2 3 0 0 0 1 9\n"),
              HasSubstr(":3: the parent \"9\" is no sample of a line before"));
  EXPECT_THAT(swc_error_of("1 1 0 0 0 5 -1\n1 3 0 0 0 1 1\n"),
              HasSubstr(":3: the sample 1 is there"));
  EXPECT_THAT(swc_error_of("1 1 0 0 0 -5 -1\n"), HasSubstr(":2: the radius is below 0"));
  EXPECT_THAT(swc_error_of("-1 1 0 0 0 5 -1\n"), HasSubstr(":2: the sample \"-1\""));
}

TEST(Swc, LeavesMalformedLinesOutAndCountsThem) {
  const TemporaryFile file("1 1 0 0 0 5 -1\n2 3 x 0 0 1 1\n3 3 1 1 1 1 1\n", "");
  auto source = open_dataset<3>(file.path(), {.skip_bad = true});
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ(read_all(**source)->size(), 1u);
  EXPECT_EQ((*source)->skipped(), 1u);
  EXPECT_THAT((*source)->first_skipped(), HasSubstr(":2: column 3"));
}

TEST(Swc, DamagedAnywhereIsAnErrorOrBoxes) {
  Random random(testing_support::seed(20261201));
  for (int round = 0; round < 2000; ++round) {
    const TemporaryFile file(testing_support::damaged(random, kNeuron, "0123456789.-e# \n"), "");
    auto source = open_swc<3>(file.path(), {.skip_bad = round % 2 == 0});
    ASSERT_TRUE(source.has_value());
    const auto entries = read_all(**source);
    if (!entries) continue;
    for (const auto& entry : *entries) ASSERT_TRUE(rtree::check_box(entry.box)) << round;
  }
}

}  // namespace
}  // namespace silurus::datasets
