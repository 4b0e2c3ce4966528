// SPDX-License-Identifier: Apache-2.0

#include "silurus/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/random.h"
#include "silurus/inline_function.h"

namespace silurus {
namespace {

TEST(Histogram, PercentilesAreWithinOnePercent) {
  Random random(1);
  Histogram histogram;
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<std::uint64_t>(std::exp(random.uniform(0, 25))));
    histogram.add(values.back());
  }
  std::ranges::sort(values);
  for (const double percent : {0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9}) {
    const auto exact = static_cast<double>(
        values[static_cast<std::size_t>(percent / 100 * static_cast<double>(values.size()))]);
    EXPECT_NEAR(static_cast<double>(histogram.percentile(percent)), exact, 0.01 * exact + 1);
  }
  EXPECT_EQ(histogram.percentile(100), values.back());
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(histogram.min(), values.front());
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (std::uint64_t i = 0; i < 128; ++i) histogram.add(i);
  EXPECT_EQ(histogram.percentile(50), 63u);
  EXPECT_EQ(histogram.percentile(0), 0u);
}

TEST(Histogram, MergingIsAddingAllValues) {
  Random random(2);
  Histogram one;
  Histogram two;
  Histogram all;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t value = random.below(1'000'000);
    (i % 3 == 0 ? one : two).add(value);
    all.add(value);
  }
  one.merge(two);
  EXPECT_EQ(one.count(), all.count());
  EXPECT_EQ(one.mean(), all.mean());
  for (int percent = 0; percent <= 100; percent += 5) {
    EXPECT_EQ(one.percentile(percent), all.percentile(percent));
  }
}

TEST(Histogram, ACopyIsItsOwn) {
  Histogram one;
  one.add(1000);
  Histogram copy = one;
  copy.add(1000);
  one.add(5);
  EXPECT_EQ(copy.count(), 2u);
  EXPECT_EQ(copy.percentile(0), 1000u);
  copy = one;
  EXPECT_EQ(copy.count(), 2u);
  EXPECT_EQ(copy.percentile(0), 5u);
}

TEST(Histogram, TakesLittleMemoryBeforeItIsUsed) { EXPECT_LE(sizeof(Histogram), 512u); }

TEST(Histogram, HugeValuesAreCounted) {
  Histogram histogram;
  histogram.add(UINT64_MAX);
  EXPECT_EQ(histogram.count(), 1u);
  EXPECT_EQ(histogram.max(), UINT64_MAX);
}

TEST(Histogram, AnEmptyOneHasNoPercentiles) {
  EXPECT_EQ(Histogram().percentile(50), 0u);
  EXPECT_EQ(Histogram().mean(), 0);
}

TEST(InlineFunction, CallsMovesAndDestroysWhatItHolds) {
  auto counted = std::make_shared<int>(0);
  InlineFunction<int(int)> f = [counted](int by) { return *counted += by; };
  EXPECT_EQ(f(2), 2);
  InlineFunction<int(int)> g = std::move(f);
  EXPECT_FALSE(f);  // NOLINT: moved from on purpose
  EXPECT_EQ(g(3), 5);
  EXPECT_EQ(counted.use_count(), 2);
  g.reset();
  EXPECT_EQ(counted.use_count(), 1);
}

}  // namespace
}  // namespace silurus
