// SPDX-License-Identifier: Apache-2.0

#include "client/version_leases.h"

#include <gtest/gtest.h>

namespace silurus::client {
namespace {

constexpr Nanoseconds kAsked = 5 * kSecond;
constexpr Nanoseconds kLease = 10 * kSecond;
const rtree::NodeRef kRoot(7, 3);

TEST(VersionLeases, AVersionIsFoundUntilHalfItsLeaseIsOver) {
  VersionLeases held;
  const LeasedRoot made = held.put(3, kRoot, kAsked, kLease);
  EXPECT_EQ(made.root, kRoot);
  EXPECT_EQ(made.until, kAsked + kLease - kLease / 50);
  const auto found = held.find(3, kAsked + kLease / 2 - 1);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->root, kRoot);
  EXPECT_EQ(found->until, made.until);
  EXPECT_FALSE(held.find(3, kAsked + kLease / 2)) << "then it is asked for again";
  EXPECT_FALSE(held.find(4, kAsked));
}

TEST(VersionLeases, AskedForAgainItIsHeldFromThen) {
  VersionLeases held;
  held.put(3, kRoot, kAsked, kLease);
  const Nanoseconds again = kAsked + kLease / 2;
  held.put(3, kRoot, again, kLease);
  const auto found = held.find(3, again + kLease / 2 - 1);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->until, again + kLease - kLease / 50);
}

TEST(VersionLeases, WhatATimeMeansIsNotRemembered) {
  VersionLeases held;
  EXPECT_EQ(held.put(protocol::kNewest, kRoot, kAsked, kLease).root, kRoot);
  EXPECT_FALSE(held.find(protocol::kNewest, kAsked));
  held.put(kFirstStamp, kRoot, kAsked, kLease);
  EXPECT_FALSE(held.find(kFirstStamp, kAsked));
}

TEST(VersionLeases, TheOneThatEndsFirstMakesRoomForAnother) {
  VersionLeases held;
  for (std::size_t i = 0; i <= protocol::kMaxVersionLeases; ++i) {
    const auto version = static_cast<rtree::Version>(i + 1);
    held.put(version, rtree::NodeRef(7, version), kAsked + static_cast<Nanoseconds>(i), kLease);
  }
  EXPECT_FALSE(held.find(1, kAsked));
  for (rtree::Version version = 2; version <= protocol::kMaxVersionLeases + 1; ++version) {
    const auto found = held.find(version, kAsked);
    ASSERT_TRUE(found) << version;
    EXPECT_EQ(found->root, rtree::NodeRef(7, version));
  }
}

}  // namespace
}  // namespace silurus::client
