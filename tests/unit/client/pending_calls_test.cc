// SPDX-License-Identifier: Apache-2.0

#include "client/pending_calls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "tests/support/seed.h"

// Calls above links: what becomes of them when their link is lost. No link is needed for that: the
// tests say in which state one has left a call.

namespace silurus::client {
namespace {

const Error kLinkLost{ErrorCode::kConnectionLost, "the link was lost"};
constexpr Treatment kOrdinary{};
constexpr Treatment kRepeatable{.is_repeatable = true};

class PendingCallsTest : public testing::Test {
 protected:
  struct Outcome {
    int times = 0;
    std::optional<ErrorCode> error;
  };

  /// A client whose calls go on when a link is lost, and that has a name.
  static ClientOptions lasting() {
    return {.deadline = kSecond, .patience = 5 * kSecond, .reconnect_for = kSecond, .client_id = 7};
  }
  void create(const ClientOptions& options) { calls_.emplace(clock_, options); }

  template <typename Answer>
  std::uint32_t open(const Treatment& how = kOrdinary) {
    Outcome& outcome = outcomes_.emplace_back();
    return calls_->open(AnyCallback<2>(Callback<Answer>([&outcome](Result<Answer*> answer) {
                          ++outcome.times;
                          if (!answer) outcome.error = answer.error().code;
                        })),
                        how, clock_.now());
  }
  std::uint32_t open_write() {
    const std::uint32_t index = open<WriteAnswer>();
    (*calls_)[index].sequence = *calls_->writes.next();
    return index;
  }
  /// As a link does that has carried it so far.
  void put(std::uint32_t index, CallState state) { (*calls_)[index].state = state; }
  const Outcome& last() const { return outcomes_.back(); }

  ManualClock clock_;
  std::deque<Outcome> outcomes_;
  std::optional<PendingCalls<2>> calls_;
};

TEST_F(PendingCallsTest, ASearchKeepsItsNameWhileItsLinkChanges) {
  create(lasting());
  const std::uint32_t index = open<RangeAnswer<2>>();
  const std::uint32_t name = calls_->id(index);
  put(index, CallState::kSent);
  (*calls_)[index].range().ids = {1, 2, 3};
  calls_->lose(index, kLinkLost, false);
  EXPECT_EQ((*calls_)[index].state, CallState::kQueued);
  EXPECT_TRUE((*calls_)[index].range().ids.empty()) << "what the lost link had answered";
  EXPECT_EQ(calls_->find(name), index);
  EXPECT_EQ(calls_->take_queue(), std::vector<std::uint32_t>{index});
  EXPECT_EQ(calls_->find(name), index);
  calls_->end(index, nullptr, clock_.now());
  EXPECT_EQ(last().times, 1);
  EXPECT_EQ(calls_->find(name), std::nullopt);
}

TEST_F(PendingCallsTest, ASearchThatMovesOnLeavesItsNameToTheAnswerThatIsToCome) {
  create(lasting());
  // So that this slot has had another name, and the other one has not.
  calls_->end(open<RangeAnswer<2>>(), nullptr, clock_.now());
  const std::uint32_t old_slot = open<RangeAnswer<2>>();
  const std::uint32_t name = calls_->id(old_slot);
  put(old_slot, CallState::kSent);
  const auto slot = calls_->move_on(old_slot);
  ASSERT_TRUE(slot);
  EXPECT_EQ(calls_->find(name), old_slot);
  EXPECT_EQ((*calls_)[old_slot].state, CallState::kForgotten);
  EXPECT_NE(calls_->id(*slot), name);
}

TEST_F(PendingCallsTest, ASearchThatMovesOnEndsOnce) {
  create(lasting());
  const std::uint32_t old_slot = open<RangeAnswer<2>>();
  put(old_slot, CallState::kSent);
  const auto slot = calls_->move_on(old_slot);
  ASSERT_TRUE(slot);
  put(*slot, CallState::kOffloading);
  calls_->end(*slot, nullptr, clock_.now());
  calls_->release(old_slot);  // the late answer was dropped
  EXPECT_EQ(last().times, 1);
  EXPECT_EQ(last().error, std::nullopt);
  EXPECT_EQ(calls_->in_flight(), 0u);
}

TEST_F(PendingCallsTest, ASignOfLifeForgetsThatASearchWasGivenBack) {
  create(lasting());
  const std::uint32_t index = open<RangeAnswer<2>>();
  put(index, CallState::kSent);
  (*calls_)[index].given_back = true;
  calls_->forget_given_back((*calls_)[index].link);
  EXPECT_FALSE((*calls_)[index].given_back);
}

TEST_F(PendingCallsTest, AWriteThatWasSentIsRepeatedOnlyToAGroupAndUnderAName) {
  struct Case {
    bool remembers, has_name, was_sent, is_repeated;
  };
  for (const Case& one : {Case{true, true, true, true}, Case{false, true, true, false},
                          Case{true, false, true, false}, Case{false, false, false, true}}) {
    ClientOptions options = lasting();
    if (!one.has_name) options.client_id = 0;
    create(options);
    const std::uint32_t index = open_write();
    put(index, one.was_sent ? CallState::kSent : CallState::kWaiting);
    calls_->lose(index, kLinkLost, one.remembers);
    EXPECT_EQ(calls_->is_queue_empty(), !one.is_repeated);
    if (one.is_repeated) {
      EXPECT_EQ((*calls_)[index].in_doubt, one.was_sent);
      EXPECT_EQ(last().times, 0);
    } else {
      EXPECT_EQ(last().error, ErrorCode::kInDoubt);
    }
  }
}

TEST_F(PendingCallsTest, OnceInDoubtAWriteStaysSo) {
  create(lasting());
  const std::uint32_t index = open_write();
  put(index, CallState::kSent);
  calls_->lose(index, kLinkLost, true);
  EXPECT_EQ(calls_->take_queue().size(), 1u);
  put(index, CallState::kWaiting);
  calls_->lose(index, kLinkLost, true);
  calls_->end_queue(kLinkLost);
  EXPECT_EQ(last().error, ErrorCode::kInDoubt);
}

TEST_F(PendingCallsTest, WritesLeaveTheQueueInTheirOrderAfterTheOthers) {
  create(lasting());
  const std::uint32_t first = open_write();
  const std::uint32_t second = open_write();
  const std::uint32_t text = open<TextAnswer>(kRepeatable);
  const std::uint32_t third = open_write();
  for (const std::uint32_t index : {third, first, text, second}) {
    put(index, CallState::kSent);
    calls_->lose(index, kLinkLost, true);
  }
  EXPECT_EQ(calls_->take_queue(), (std::vector<std::uint32_t>{text, first, second, third}));
}

TEST_F(PendingCallsTest, WhatMayNotBeAskedTwiceEndsWithItsLink) {
  create(lasting());
  const std::uint32_t load = open<LoadAnswer>();
  put(load, CallState::kSent);
  calls_->lose(load, kLinkLost, true);
  EXPECT_EQ(last().error, ErrorCode::kConnectionLost);
  const std::uint32_t begin = open<LoadAnswer>(kRepeatable);
  put(begin, CallState::kSent);
  calls_->lose(begin, kLinkLost, true);
  EXPECT_EQ(last().times, 0);
}

TEST_F(PendingCallsTest, WithTheFourthLostLinkACallEnds) {
  create(lasting());
  const std::uint32_t index = open<NearestAnswer>();
  for (int i = 0; i < 3; ++i) {
    put(index, CallState::kSent);
    calls_->lose(index, kLinkLost, false);
    ASSERT_EQ(last().times, 0);
    ASSERT_EQ(calls_->take_queue().size(), 1u);
  }
  put(index, CallState::kSent);
  calls_->lose(index, kLinkLost, false);
  EXPECT_EQ(last().error, ErrorCode::kConnectionLost);
}

TEST_F(PendingCallsTest, NothingIsRepeatedAfterALinkThatBrokeTheProtocol) {
  create(lasting());
  const std::uint32_t index = open<NearestAnswer>();
  put(index, CallState::kSent);
  calls_->lose(index, {ErrorCode::kProtocol, "it broke the protocol"}, false);
  EXPECT_EQ(last().error, ErrorCode::kProtocol);
}

TEST_F(PendingCallsTest, NothingIsRepeatedIfThereIsNoNextLink) {
  ClientOptions options = lasting();
  options.reconnect_for = 0;
  create(options);
  const std::uint32_t index = open<NearestAnswer>();
  put(index, CallState::kSent);
  calls_->lose(index, kLinkLost, false);
  EXPECT_EQ(last().error, ErrorCode::kConnectionLost);
}

TEST_F(PendingCallsTest, TheClientsOwnCallsAreNeitherCountedNorSentElsewhere) {
  create(lasting());
  const std::uint32_t index = open<TextAnswer>({.is_repeatable = true, .is_own = true});
  EXPECT_EQ(calls_->in_flight(), 0u);
  put(index, CallState::kSent);
  calls_->lose(index, kLinkLost, true);
  EXPECT_EQ(last().error, ErrorCode::kConnectionLost);
  EXPECT_EQ(calls_->in_flight(), 0u);
}

TEST_F(PendingCallsTest, WritesThatFailGiveTheirPlacesInTheWindowBack) {
  create(lasting());
  for (std::uint32_t i = 0; i < protocol::kMaxOutstandingWrites; ++i) {
    const std::uint32_t index = open_write();
    put(index, CallState::kWaiting);
    calls_->end(index, &kLinkLost, clock_.now());
  }
  EXPECT_TRUE(calls_->writes.next()) << "no write is without an outcome";
}

TEST_F(PendingCallsTest, QueuedCallsEndByTheirDeadline) {
  create(lasting());
  const std::uint32_t index = open<NearestAnswer>();
  calls_->queue(index);
  EXPECT_EQ(calls_->queue_deadline(), clock_.now() + kSecond);
  const auto end_due = [&] {
    return calls_->end_due(
        clock_.now(), [](Link<2>&) { return true; },
        [&](std::uint32_t due) {
          const Error late{ErrorCode::kDeadlineExceeded, "late"};
          calls_->end(due, &late, clock_.now());
        });
  };
  clock_.advance(kSecond - 1);
  EXPECT_EQ(end_due(), 0u);
  clock_.advance(1);
  EXPECT_EQ(end_due(), 1u);
  EXPECT_EQ(last().error, ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(calls_->is_queue_empty());
  EXPECT_EQ(calls_->queue_deadline(), INT64_MAX);
}

TEST_F(PendingCallsTest, ThereIsRoomForAsManyAsAreAllowedAndNoMore) {
  create(lasting());
  for (std::uint32_t i = 0; i < PendingCalls<2>::kMaxInFlight; ++i) {
    ASSERT_TRUE(calls_->check_room());
    calls_->queue(open<NearestAnswer>());
  }
  EXPECT_EQ(calls_->check_room().error().code, ErrorCode::kUnavailable);
  calls_->end_queue(kLinkLost);
  EXPECT_EQ(calls_->in_flight(), 0u);
  EXPECT_TRUE(calls_->check_room());
}

/// Whatever happens to links, each call ends once, and all slots come back.
TEST_F(PendingCallsTest, EachCallEndsOnceWhateverHappensToLinks) {
  Random random(testing_support::fresh_seed());
  create(lasting());
  std::vector<std::uint32_t> carried;
  const auto take = [&] {
    const std::size_t which = random.below(carried.size());
    const std::uint32_t index = std::exchange(carried[which], carried.back());
    carried.pop_back();
    return index;
  };
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t dice = random.below(10);
    if (dice < 4 && calls_->check_room()) {
      const std::uint64_t kind = random.below(4);
      // A number may be refused while an old write has no outcome.
      const auto sequence = kind == 0 ? calls_->writes.next() : std::nullopt;
      const std::uint32_t index = sequence    ? open<WriteAnswer>()
                                  : kind == 1 ? open<RangeAnswer<2>>()
                                  : kind == 2 ? open<TextAnswer>(kRepeatable)
                                              : open<LoadAnswer>();
      (*calls_)[index].sequence = sequence.value_or(0);
      if (random.below(2) == 0) {
        calls_->queue(index);
      } else {
        put(index, random.below(2) == 0 ? CallState::kWaiting : CallState::kSent);
        carried.push_back(index);
      }
    } else if (dice < 6 && !carried.empty()) {
      calls_->lose(take(), kLinkLost, random.below(2) == 0);
    } else if (dice < 8 && !carried.empty()) {
      calls_->end(take(), nullptr, clock_.now());
    } else if (dice == 8) {
      for (const std::uint32_t index : calls_->take_queue()) {
        put(index, CallState::kSent);
        carried.push_back(index);
      }
    } else if (random.below(20) == 0) {
      calls_->end_queue(kLinkLost);
    }
    ASSERT_LE(calls_->in_flight(), outcomes_.size());
  }
  while (!carried.empty()) calls_->end(take(), nullptr, clock_.now());
  calls_->end_queue(kLinkLost);
  EXPECT_EQ(calls_->in_flight(), 0u);
  const auto ended_once = [](const Outcome& outcome) { return outcome.times == 1; };
  EXPECT_TRUE(std::ranges::all_of(outcomes_, ended_once));
  EXPECT_EQ(calls_->writes.outstanding(*calls_->writes.next()), 0u) << "all outcomes are known";
}

}  // namespace
}  // namespace silurus::client
