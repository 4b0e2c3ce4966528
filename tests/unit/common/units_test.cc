// SPDX-License-Identifier: Apache-2.0

#include "common/units.h"

#include <gtest/gtest.h>

namespace silurus {
namespace {

TEST(Units, SizesArePowersOf1024InAnyCase) {
  EXPECT_EQ(parse_size("512").value(), 512u);
  EXPECT_EQ(parse_size("64K").value(), 64u << 10);
  EXPECT_EQ(parse_size("64kib").value(), 64u << 10);
  EXPECT_EQ(parse_size("4G").value(), std::uint64_t{4} << 30);
  EXPECT_EQ(parse_size("1.5 MiB").value(), 3u << 19);
  EXPECT_EQ(parse_size("2t").value(), std::uint64_t{2} << 40);
}

TEST(Units, DurationsNeedAUnitUnlessZero) {
  EXPECT_EQ(parse_duration("50ms").value(), 50 * kMillisecond);
  EXPECT_EQ(parse_duration("1.5s").value(), 1500 * kMillisecond);
  EXPECT_EQ(parse_duration("250 ns").value(), 250);
  EXPECT_EQ(parse_duration("2min").value(), 120 * kSecond);
  EXPECT_EQ(parse_duration("10m").value(), 600 * kSecond);
  EXPECT_EQ(parse_duration("1h").value(), 3600 * kSecond);
  EXPECT_EQ(parse_duration("0").value(), 0);
  EXPECT_FALSE(parse_duration("50"));
}

TEST(Units, RefusalsQuoteTheTextAndNameWhatWasExpected) {
  for (const char* text : {"", "G", "4Q", "-1K", "nan", "inf", "1e400", "0x10", "4 G B"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(size.error().message.find("'" + std::string(text) + "'"), std::string::npos);
  }
  EXPECT_FALSE(parse_size("99999999999999T"));
  EXPECT_FALSE(parse_duration("99999999999999999s"));
}

TEST(Units, FormatsForPeople) {
  EXPECT_EQ(format_size(512), "512 B");
  EXPECT_EQ(format_size(std::uint64_t{4} << 30), "4 GiB");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_duration(50 * kMillisecond), "50 ms");
  EXPECT_EQ(format_duration(1500 * kMillisecond), "1.5 s");
}

TEST(Units, NumbersReadBackAsTheyWere) {
  EXPECT_EQ(format_number(0.1), "0.1");
  EXPECT_EQ(format_number(-1e-7), "-1e-07");
  EXPECT_EQ(format_number(1e300), "1e+300");
  EXPECT_EQ(format_number(-0.0), "-0");
  EXPECT_EQ(format_number(180), "180");
  EXPECT_EQ(std::stod(format_number(1.0 / 3)), 1.0 / 3);
}

}  // namespace
}  // namespace silurus
