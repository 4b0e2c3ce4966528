// SPDX-License-Identifier: Apache-2.0

#include "transport/wait_plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <queue>
#include <vector>

#include "common/random.h"

namespace silurus::transport {
namespace {

using Way = WaitPlan::Way;

constexpr std::uint64_t kSeed = 4711;
constexpr Nanoseconds kLongestPause = 2 * kMillisecond;
constexpr Nanoseconds kRestCost = 8 * kMicrosecond;  ///< CPU time of a sleep or a pause
constexpr Nanoseconds kWakeUp = 15 * kMicrosecond;   ///< from the call to the first instruction
constexpr Nanoseconds kEach = 350;                   ///< work on a request among many
constexpr Nanoseconds kRound = 450;                  ///< and on all that were found together
constexpr double kPeak = static_cast<double>(kSecond) / static_cast<double>(kEach);

/// When requests come, and whether an answer makes its client ask again.
class Requests {
 public:
  virtual ~Requests() = default;
  virtual void answered(Nanoseconds now, std::size_t count) = 0;
  Nanoseconds next() const { return due_.empty() ? INT64_MAX : due_.top(); }
  /// How many are there by now; takes them.
  std::size_t take(Nanoseconds now, Nanoseconds& longest_wait) {
    std::size_t count = 0;
    for (; next() <= now; ++count) {
      longest_wait = std::max(longest_wait, now - due_.top());
      due_.pop();
      taken();
    }
    return count;
  }

 protected:
  virtual void taken() {}
  std::priority_queue<Nanoseconds, std::vector<Nanoseconds>, std::greater<>> due_;
};

/// At random times, whatever becomes of those before.
class Open final : public Requests {
 public:
  explicit Open(double per_second, Nanoseconds from = 0) : per_second_(per_second), last_(from) {
    taken();
  }
  void answered(Nanoseconds, std::size_t) override {}

 private:
  void taken() override {
    last_ += static_cast<Nanoseconds>(-std::log(1 - random_.uniform()) / per_second_ *
                                      static_cast<double>(kSecond));
    due_.push(last_);
  }
  double per_second_;
  Nanoseconds last_;
  Random random_{kSeed};
};

/// Requests of clients that each ask again some time after the answer.
class Closed final : public Requests {
 public:
  Closed(std::size_t clients, Nanoseconds pause, Nanoseconds from = 0) : pause_(pause) {
    for (std::size_t i = 0; i < clients; ++i) due_.push(from + static_cast<Nanoseconds>(i));
  }
  void answered(Nanoseconds now, std::size_t count) override {
    for (; count > 0; --count) {
      const double share = 0.5 + random_.uniform();
      due_.push(now + static_cast<Nanoseconds>(share * static_cast<double>(pause_)));
    }
  }

 private:
  Nanoseconds pause_;
  Random random_{kSeed};
};

/// A thread that serves requests and waits by the plan, in virtual time.
struct Thread {
  explicit Thread(Nanoseconds longest_pause) : plan({.longest_pause = longest_pause}) {}

  void run(Requests& requests, Nanoseconds time) {
    const Nanoseconds end = now + time;
    while (now < end) {
      serve(requests, end);
      wait(requests, end);
    }
  }
  /// CPU time, in multiples of what the same requests take at full load.
  double against_proportional() const {
    return static_cast<double>(cpu) / static_cast<double>(events * kEach);
  }

  WaitPlan plan;
  Nanoseconds now = 0;
  Nanoseconds cpu = 0;
  Nanoseconds longest_wait = 0;
  std::uint64_t events = 0;
  std::uint64_t pauses = 0;
  std::uint64_t sleeps = 0;
  std::uint64_t spins = 0;

 private:
  /// All that is there, and what comes while it looks in vain for a moment.
  void serve(Requests& requests, Nanoseconds end) {
    Worked worked;
    const Nanoseconds begun = now;
    while (now < end) {
      const std::size_t count = requests.take(now, longest_wait);
      if (count == 0) {
        const Nanoseconds patience = (plan.is_to_spin() ? 4 : 1) * kMicrosecond;
        worked.in_vain = std::clamp<Nanoseconds>(requests.next() - now, 0, patience);
        now += worked.in_vain;
        cpu += worked.in_vain;
        if (requests.next() > now) break;
        ++worked.met;
        continue;
      }
      const Nanoseconds work = kRound + static_cast<Nanoseconds>(count) * kEach;
      now += work;
      cpu += work;
      worked.busy += work;
      worked.events += count;
      requests.answered(now, count);
    }
    worked.time = now - begun;
    events += worked.events;
    plan.add(worked);
  }

  void wait(Requests& requests, Nanoseconds end) {
    while (requests.next() > now && now < end) {
      const auto choice = plan.next();
      if (choice.way == Way::kSpin) {
        ++spins;
        const Nanoseconds took = std::min(choice.time, requests.next() - now);
        now += took;
        cpu += took;
        plan.spun(took, requests.next() <= now);
        if (requests.next() <= now) return;
      }
      const bool is_pause = choice.way == Way::kPeriodic;
      const Nanoseconds until = is_pause ? now + choice.time : std::min(requests.next(), end);
      (is_pause ? pauses : sleeps) += 1;
      plan.rested(until + kWakeUp - now);
      plan.cost(kRestCost);
      now = until + kWakeUp;
      cpu += kRestCost;
    }
  }
};

TEST(WaitPlan, CostsLittleMoreThanTheWorkAtAHundredthAndATenthOfTheLoad) {
  for (const auto& [load, most] : {std::pair(0.01, 4.0), std::pair(0.1, 1.5)}) {
    Open requests(load * kPeak);
    Thread thread(kLongestPause);
    thread.run(requests, 20 * kSecond);
    EXPECT_LE(thread.against_proportional(), most) << load;
    std::printf("load %.2f: %.2f x proportional, %.1f requests a pause\n", load,
                thread.against_proportional(),
                static_cast<double>(thread.events) / static_cast<double>(thread.pauses));
  }
}

TEST(WaitPlan, LetsNoRequestWaitForLongerThanItIsTold) {
  for (const double load : {0.01, 0.05, 0.15}) {
    Open requests(load * kPeak);
    Thread thread(kMillisecond / 2);
    thread.run(requests, 5 * kSecond);
    EXPECT_GT(thread.pauses, 0u) << load;
    // What came first in the pause, and what is done before it then.
    EXPECT_LE(thread.longest_wait, kMillisecond) << load;
  }
}

struct Crowd {
  std::size_t clients;
  Nanoseconds pause;
};
class ClientsInTurn : public ::testing::TestWithParam<Crowd> {};

TEST_P(ClientsInTurn, AreNotHeldBackByPauses) {
  const auto served = [](Nanoseconds longest_pause) {
    Closed requests(GetParam().clients, GetParam().pause);
    Thread thread(longest_pause);
    thread.run(requests, 10 * kSecond);
    return static_cast<double>(thread.events);
  };
  EXPECT_GE(served(kLongestPause), 0.97 * served(0));
}

INSTANTIATE_TEST_SUITE_P(WaitPlan, ClientsInTurn,
                         ::testing::Values(Crowd{1, kMicrosecond}, Crowd{1, 20 * kMicrosecond},
                                           Crowd{1, 200 * kMicrosecond}, Crowd{8, 5 * kMicrosecond},
                                           Crowd{8, 50 * kMicrosecond},
                                           Crowd{64, 500 * kMicrosecond}));

TEST(WaitPlan, PausesAgainWhenClientsNoLongerWaitForTheirAnswers) {
  Thread thread(kLongestPause);
  Closed in_turn(1, 20 * kMicrosecond);
  thread.run(in_turn, kSecond);
  Open at_random(0.05 * kPeak, thread.now);
  thread.run(at_random, 20 * kSecond);
  const std::uint64_t pauses = thread.pauses;
  thread.run(at_random, kSecond);
  EXPECT_GT(thread.pauses, pauses + 100);
}

TEST(WaitPlan, SleepsUntilCalledWhereANapWouldCollectNothing) {
  Open requests(500);
  Thread thread(kLongestPause);
  thread.run(requests, 20 * kSecond);
  EXPECT_EQ(thread.pauses, 0u);
  EXPECT_LE(thread.sleeps, thread.events + 1);
}

TEST(WaitPlan, PausesNoMoreWhenNothingComes) {
  Thread thread(kLongestPause);
  Open some(0.05 * kPeak);
  thread.run(some, 2 * kSecond);
  ASSERT_GT(thread.pauses, 0u);
  const std::uint64_t pauses = thread.pauses, sleeps = thread.sleeps;
  Closed nothing(0, 0);
  thread.run(nothing, 2 * kSecond);
  EXPECT_LE(thread.pauses, pauses + 4);
  EXPECT_EQ(thread.sleeps, sleeps + 1);
}

TEST(WaitPlan, PausesAtOnceWhenALoadThatHasStoppedReturns) {
  Thread thread(kLongestPause);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t pauses = thread.pauses;
    Open some(0.05 * kPeak, thread.now);
    thread.run(some, (80 + 4 * round) * kMillisecond);
    EXPECT_GT(thread.pauses, pauses) << "round " << round;
    Closed nothing(0, 0);
    thread.run(nothing, kSecond);
  }
}

TEST(WaitPlan, DoesNotNapWhileBusyHalfOfTheTime) {
  Open requests(0.6 * kPeak);
  Thread thread(kLongestPause);
  thread.run(requests, 2 * kSecond);
  EXPECT_EQ(thread.pauses, 0u);
}

TEST(WaitPlan, DoesNotNapUnlessItIsTold) {
  Open requests(0.1 * kPeak);
  Thread thread(0);
  thread.run(requests, 2 * kSecond);
  EXPECT_EQ(thread.pauses, 0u);
}

TEST(WaitPlan, SpinsWhereTheNextRequestComesSoon) {
  Closed requests(1, 6 * kMicrosecond);
  Thread thread(0);
  thread.run(requests, kSecond);
  EXPECT_EQ(thread.sleeps, 0u);
}

TEST(WaitPlan, SleepsAtOnceWhereTheNextRequestTakesLong) {
  Closed requests(1, 200 * kMicrosecond);
  Thread thread(0);
  thread.run(requests, kSecond);
  EXPECT_LE(thread.spins * 10, thread.sleeps);
}

TEST(WaitPlan, SpinsAgainWhenRequestsComeSoonAgain) {
  Thread thread(0);
  Closed slow(1, 200 * kMicrosecond);
  thread.run(slow, kSecond);
  Closed fast(1, 6 * kMicrosecond, thread.now);
  thread.run(fast, kSecond);
  const std::uint64_t sleeps = thread.sleeps;
  thread.run(fast, kSecond);
  EXPECT_EQ(thread.sleeps, sleeps);
}

TEST(SpinGain, WeighsWhatASpinCostsAgainstWhatItSaves) {
  SpinGain gain;
  ASSERT_TRUE(gain.pays()) << "nothing is known yet";
  // One in two comes after 4 us, the other spins last 10 us for nothing: 7 us for half of 20.
  for (int i = 0; i < 100; ++i) {
    gain.spun(4 * kMicrosecond, true, 20'000);
    gain.spun(10 * kMicrosecond, false, 20'000);
  }
  EXPECT_TRUE(gain.is_likely());
  for (int i = 0; i < 100; ++i) {
    gain.spun(4 * kMicrosecond, true, 10'000);
    gain.spun(10 * kMicrosecond, false, 10'000);
  }
  EXPECT_FALSE(gain.is_likely()) << "7 us for half of 10";
}

}  // namespace
}  // namespace silurus::transport
