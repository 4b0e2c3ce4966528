// SPDX-License-Identifier: Apache-2.0

#include "client/write_window.h"

#include <gtest/gtest.h>

namespace silurus::client {
namespace {

TEST(WriteWindow, TellsHowFarBackTheOldestUnknownOutcomeLies) {
  WriteWindow window;
  EXPECT_EQ(window.next(), 1u);
  EXPECT_EQ(window.next(), 2u);
  EXPECT_EQ(window.next(), 3u);
  EXPECT_EQ(window.outstanding(3), 2u);
  window.resolve(2);
  EXPECT_EQ(window.outstanding(3), 2u) << "1 is still unknown";
  window.resolve(1);
  EXPECT_EQ(window.outstanding(3), 0u);
  window.resolve(3);
  EXPECT_EQ(window.next(), 4u);
  EXPECT_EQ(window.outstanding(4), 0u);
}

TEST(WriteWindow, GivesNoNumberThatTheServerWouldNotTake) {
  WriteWindow window;
  for (std::uint64_t number = 1; number <= protocol::kMaxOutstandingWrites; ++number) {
    ASSERT_EQ(window.next(), number);
    if (number > 1) window.resolve(number);
  }
  const std::uint64_t last = protocol::kMaxOutstandingWrites;
  ASSERT_EQ(window.next(), std::nullopt);
  EXPECT_LT(window.outstanding(last), protocol::kMaxOutstandingWrites);
  window.resolve(1);
  EXPECT_EQ(window.next(), last + 1);
}

TEST(WriteWindow, ForgetsWhatBecameOfTheWriteThatHadAPlaceBefore) {
  WriteWindow window;
  for (std::uint64_t i = 1; i <= protocol::kMaxOutstandingWrites; ++i) {
    ASSERT_EQ(window.next(), i);
    window.resolve(i);
  }
  const std::uint64_t first = *window.next();
  ASSERT_EQ(window.next(), first + 1);
  ASSERT_EQ(window.next(), first + 2);
  window.resolve(first);
  EXPECT_EQ(window.outstanding(first + 2), 1u) << "two are without an outcome";
  window.resolve(first + 2);
  EXPECT_EQ(window.outstanding(first + 2), 1u);
}

}  // namespace
}  // namespace silurus::client
