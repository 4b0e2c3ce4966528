// SPDX-License-Identifier: Apache-2.0

#include "common/counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/random.h"

namespace silurus {
namespace {

TEST(SharedHistogram, PercentilesAreWithinSixPercent) {
  constexpr std::uint64_t kSeed = 7;
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  SharedHistogram histogram;
  std::vector<double> values;
  for (int i = 0; i < 20000; ++i) {
    const double value = std::floor(std::exp(random.uniform(0, 40)));
    values.push_back(value);
    histogram.add(static_cast<std::uint64_t>(value));
  }
  std::sort(values.begin(), values.end());
  for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9}) {
    const double exact = values[static_cast<std::size_t>(std::ceil(percent * 200)) - 1];
    EXPECT_NEAR(static_cast<double>(histogram.percentile(percent)), exact, 0.0626 * exact + 0.5)
        << percent;
  }
}

TEST(SharedHistogram, CountsWhatIsBelowAPowerOfTwoExactly) {
  SharedHistogram histogram;
  for (std::uint64_t value = 0; value < 5000; ++value) histogram.add(value);
  for (const int power : {0, 1, 5, 10, 12}) {
    EXPECT_EQ(histogram.count_below_power(power), std::uint64_t{1} << power) << power;
  }
}

TEST(SharedHistogram, SumsToWithinSixPercent) {
  SharedHistogram histogram;
  double sum = 0;
  for (std::uint64_t value = 1; value < 1u << 20; value += value / 7 + 1) {
    histogram.add(value, 3);
    sum += 3 * static_cast<double>(value);
  }
  EXPECT_NEAR(histogram.approximate_sum(), sum, 0.0626 * sum);
}

TEST(SharedHistogram, HoldsTheSmallestAndTheLargestValue) {
  SharedHistogram histogram;
  EXPECT_EQ(histogram.percentile(50), 0u);
  histogram.add(0);
  EXPECT_EQ(histogram.percentile(100), 0u);
  histogram.add(UINT64_MAX);
  EXPECT_GT(histogram.percentile(100), std::uint64_t{1} << 63);
}

TEST(SharedHistogram, MergeAddsCounts) {
  SharedHistogram one;
  SharedHistogram two;
  one.add(5, 3);
  two.add(9, 4);
  one.merge(two);
  EXPECT_EQ(one.count(), 7u);
  EXPECT_EQ(one.percentile(10), 5u);
  EXPECT_EQ(one.percentile(100), 9u);
}

}  // namespace
}  // namespace silurus
