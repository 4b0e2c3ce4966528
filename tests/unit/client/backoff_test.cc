// SPDX-License-Identifier: Apache-2.0

#include "client/backoff.h"

#include <gtest/gtest.h>

namespace silurus::client {
namespace {

TEST(Backoff, WaitsTwiceAsLongEachTimeUpToALimit) {
  Backoff backoff(1);
  Nanoseconds longest = Backoff::kFirst;
  for (int attempt = 0; attempt < 20; ++attempt) {
    const Nanoseconds pause = backoff.next();
    EXPECT_GE(pause, longest / 2);
    EXPECT_LE(pause, longest);
    longest = std::min(2 * longest, Backoff::kLongest);
  }
  EXPECT_EQ(longest, Backoff::kLongest);
}

TEST(Backoff, DiffersBetweenClientsOfDifferentSeeds) {
  Backoff one(1), other(2);
  int same = 0;
  for (int attempt = 0; attempt < 10; ++attempt) same += one.next() == other.next() ? 1 : 0;
  EXPECT_LT(same, 2);
}

}  // namespace
}  // namespace silurus::client
