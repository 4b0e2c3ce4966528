// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/queues.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/log.h"
#include "tests/fake_verbs/fake_device.h"

// What becomes of the receives that all queue pairs of a poller share, when pairs come and go.

namespace silurus::transport::verbs {
namespace {

constexpr std::uint32_t kCompletions = 8192;
constexpr std::uint32_t kEntries = 16;  ///< completions of a pair
/// Receives are posted again in batches: those that are not there yet.
constexpr std::uint32_t kOwedAtMost = 64;

class VerbsQueues : public testing::Test, private CompletionSink {
 protected:
  VerbsQueues() {
    log::set_level(log::Level::kOff);
    owner_ = std::make_shared<QueuePairOwner>();
    auto device = Device::create(device_.context());
    EXPECT_TRUE(device);
    queues_ = *Queues::create(*device, kCompletions, nullptr);
    all_ = device_.receives();
    EXPECT_GT(all_, 4 * kOwedAtMost);
    EXPECT_TRUE(queues_->attach(*loop_));
  }
  QueuePair connect() {
    EXPECT_TRUE(queues_->take(kEntries)) << "there is room for its completions";
    auto created = queues_->create_pair({IBV_QPT_RC, 16, 0, 0}, owner_);
    EXPECT_TRUE(created);
    queues_->add(*created->pair, *this);
    return std::move(created->pair);
  }
  /// As the control thread does.
  void tell_events() {
    for (const std::uint32_t number : device_.take_last_receives()) {
      queues_->on_last_receive(number);
    }
    for (int i = 0; i < 4 && device_.take_few_receives(); ++i) queues_->on_few_receives();
  }
  void poll_all() {
    while (queues_->poll() != 0) continue;
  }
  void on_completion(const ibv_wc&) override { ++told_; }

  testing_support::FakeDevice device_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
  std::shared_ptr<const QueuePairOwner> owner_;
  std::shared_ptr<Queues> queues_;
  std::uint32_t all_ = 0;
  std::uint64_t told_ = 0;
};

TEST_F(VerbsQueues, ReceivesOfRetiredPairsComeBack) {
  for (std::uint32_t i = 0; i < 3 * all_; ++i) {
    QueuePair pair = connect();
    ASSERT_TRUE(device_.deliver(*pair)) << "after " << i << " pairs: a client would hang";
    ASSERT_TRUE(device_.deliver(*pair, false));
    queues_->retire(std::move(pair), kEntries, 0);
    tell_events();
    queues_->reap(1);
    poll_all();
    ASSERT_EQ(device_.pairs(), 0u);
  }
  EXPECT_GE(device_.receives() + kOwedAtMost, all_);
  EXPECT_EQ(queues_->lost_receives(), 0u);
  EXPECT_EQ(told_, 0u) << "nothing is told of a pair that is retired";
}

TEST_F(VerbsQueues, WhatAPairThatGoesHasSentIsNoReceive) {
  QueuePair other = connect();
  for (std::uint32_t i = 0; i < 3 * all_; ++i) {
    QueuePair pair = connect();
    // Before and behind completions of the pair that goes lie those of another one.
    ASSERT_TRUE(device_.deliver(*other)) << "after " << i << " pairs: a client would hang";
    for (int sent = 0; sent < 3; ++sent) device_.complete_send(*pair);
    ASSERT_TRUE(device_.deliver(*pair));
    ASSERT_TRUE(device_.deliver(*other));
    if (i % 2 == 0) {
      queues_->destroy(std::move(pair));
      queues_->give_back(kEntries);
    } else {
      queues_->retire(std::move(pair), kEntries, 0);
      tell_events();
      queues_->reap(1);
    }
    poll_all();
    ASSERT_LE(device_.receives(), all_) << "never more: completions would not find room";
  }
  EXPECT_GE(device_.receives() + kOwedAtMost, all_);
  EXPECT_EQ(queues_->lost_receives(), 0u);
  EXPECT_EQ(told_, 6 * all_);
  queues_->retire(std::move(other), kEntries, 0);
}

TEST_F(VerbsQueues, RetiredPairsHoldReceivesThatAreNotLost) {
  QueuePair other = connect();
  std::vector<QueuePair> going;
  for (std::uint32_t i = 0; i < all_ / 16; ++i) {
    going.push_back(connect());
    for (int held = 0; held < 16; ++held) device_.deliver(*going.back(), false);
  }
  ASSERT_TRUE(device_.take_few_receives());
  for (QueuePair& pair : going) queues_->retire(std::move(pair), kEntries, 0);
  queues_->on_few_receives();
  EXPECT_EQ(queues_->lost_receives(), 0u);
  while (device_.pairs() > 1) queues_->reap(kLongestRetirement);
  poll_all();
  EXPECT_EQ(queues_->lost_receives(), 0u);
  EXPECT_LE(device_.receives(), all_);
  EXPECT_GE(device_.receives() + kOwedAtMost, all_);
  while (device_.deliver(*other)) continue;
  EXPECT_TRUE(device_.take_few_receives()) << "it is watched again";
  poll_all();
  queues_->retire(std::move(other), kEntries, 0);
}

TEST_F(VerbsQueues, RetiredPairsAreDestroyedInTimeIfTheDeviceSaysNothing) {
  QueuePair pair = connect();
  queues_->retire(std::move(pair), kEntries, 5);
  EXPECT_EQ(queues_->reap(5), 5 + kLongestRetirement);
  EXPECT_EQ(device_.pairs(), 1u);
  EXPECT_EQ(queues_->reap(5 + kLongestRetirement), kNever);
  EXPECT_EQ(device_.pairs(), 0u);
}

TEST_F(VerbsQueues, ManyRetiredPairsDoNotStopThePoller) {
  constexpr std::size_t kMany = 100;
  for (std::size_t i = 0; i < kMany; ++i) queues_->retire(connect(), kEntries, 0);
  const Nanoseconds now = kLongestRetirement;
  int rounds = 0;
  for (std::size_t left = device_.pairs(); left > 0; left = device_.pairs(), ++rounds) {
    EXPECT_EQ(queues_->reap(now), left > 16 ? now : kNever);
    EXPECT_EQ(device_.pairs(), left - std::min<std::size_t>(left, 16));
  }
  EXPECT_EQ(rounds, 7);
}

TEST_F(VerbsQueues, LostReceivesArePostedAgainBeforeClientsHang) {
  for (std::uint32_t i = 0; i < 3 * all_; ++i) {
    QueuePair pair = connect();
    ASSERT_TRUE(device_.deliver(*pair, false)) << "after " << i << " pairs: a client would hang";
    queues_->destroy(std::move(pair));  // at once: the receive is lost
    queues_->give_back(kEntries);
    tell_events();
    poll_all();
  }
  EXPECT_GT(queues_->lost_receives(), 2 * all_);
}

TEST_F(VerbsQueues, ReceivesThatAreOnlyNotLookedAtYetAreNotLost) {
  QueuePair pair = connect();
  for (int round = 0; round < 5; ++round) {
    while (device_.deliver(*pair)) continue;
    tell_events();
    EXPECT_EQ(queues_->lost_receives(), 0u);
    poll_all();
    EXPECT_GE(device_.receives() + kOwedAtMost, all_);
    EXPECT_LE(device_.receives(), all_) << "never more: completions would not find room";
  }
  EXPECT_GE(told_, 5 * (all_ - kOwedAtMost));
  queues_->retire(std::move(pair), kEntries, 0);
}

}  // namespace
}  // namespace silurus::transport::verbs
