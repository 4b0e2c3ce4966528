// SPDX-License-Identifier: Apache-2.0

#include "client/heartbeats.h"

#include <gtest/gtest.h>

#include "common/clock.h"

// What the heartbeats of one server are taken for, on the client's clock.

namespace silurus::client {
namespace {

class HeartbeatsTest : public testing::Test {
 protected:
  HeartbeatsTest() { clock_.advance(kSecond); }
  /// The next heartbeat, of a server that has got that number of our messages.
  protocol::Heartbeat next(std::uint64_t received, Nanoseconds lease = 100 * kMillisecond) {
    protocol::Heartbeat heartbeat{};
    heartbeat.sequence = ++sequence_;
    heartbeat.version = 5;
    heartbeat.lease_ns = static_cast<std::uint64_t>(lease);
    heartbeat.received = received;
    return heartbeat;
  }

  ManualClock clock_;
  std::uint64_t sequence_ = 0;
  Heartbeats heartbeats_{true};
};

TEST_F(HeartbeatsTest, TheSameOneIsNoNewSignOfLife) {
  const protocol::Heartbeat heartbeat = next(0);
  const Nanoseconds first = clock_.now();
  EXPECT_TRUE(heartbeats_.take(heartbeat, first));
  clock_.advance(kSecond);
  EXPECT_FALSE(heartbeats_.take(heartbeat, clock_.now()));
  EXPECT_EQ(heartbeats_.state().seen, first);
}

TEST_F(HeartbeatsTest, ALeaseEndsEarlierByWhatClocksMayDrift) {
  const Nanoseconds sent = clock_.now();
  heartbeats_.count_message(clock_);
  clock_.advance(10 * kMillisecond);
  heartbeats_.take(next(1), clock_.now());
  EXPECT_LT(heartbeats_.state().lease_until, sent + 100 * kMillisecond);
  EXPECT_GT(heartbeats_.state().lease_until, sent + 99 * kMillisecond);
}

TEST_F(HeartbeatsTest, ALaterMessageDatesNothingWhileAnEarlierOneIsNotKnownOf) {
  const Nanoseconds sent = clock_.now();
  heartbeats_.count_message(clock_);
  clock_.advance(50 * kMillisecond);
  heartbeats_.count_message(clock_);
  heartbeats_.take(next(1), clock_.now());
  EXPECT_EQ(heartbeats_.state().since, sent);
}

TEST_F(HeartbeatsTest, ALeaseOfManyHoursIsNotBelieved) {
  heartbeats_.count_message(clock_);
  heartbeats_.take(next(1, 3'601 * kSecond), clock_.now());
  EXPECT_EQ(heartbeats_.state().lease_until, 0);
}

TEST_F(HeartbeatsTest, APromiseHoldsThoughALaterOneIsShorter) {
  heartbeats_.count_message(clock_);
  heartbeats_.take(next(1, 100 * kMillisecond), clock_.now());
  const Nanoseconds until = heartbeats_.state().lease_until;
  heartbeats_.take(next(1, kMillisecond), clock_.now());
  EXPECT_EQ(heartbeats_.state().lease_until, until);
}

TEST_F(HeartbeatsTest, WhatAVersionWasOldByThenItIsOlderByNow) {
  heartbeats_.count_message(clock_);
  protocol::Heartbeat heartbeat = next(1, 0);
  heartbeat.staleness_ns = 30 * kMillisecond;
  heartbeats_.take(heartbeat, clock_.now());
  EXPECT_EQ(heartbeats_.state().staleness_at(clock_.now() + 20 * kMillisecond),
            static_cast<std::uint64_t>(50 * kMillisecond));
}

TEST_F(HeartbeatsTest, HowOldAVersionIsIsNotKnownBeforeAHeartbeatIsDated) {
  heartbeats_.take(next(0), clock_.now());
  EXPECT_EQ(heartbeats_.state().staleness_at(clock_.now()), protocol::kNoEnd);
}

}  // namespace
}  // namespace silurus::client
