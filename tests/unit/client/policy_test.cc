// SPDX-License-Identifier: Apache-2.0

#include "client/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <vector>

#include "common/random.h"

namespace silurus::client {
namespace {

double offloaded_of(AccessPolicy& policy, int searches) {
  int offloaded = 0;
  for (int i = 0; i < searches; ++i) offloaded += policy.choose(0) == Access::kOffload ? 1 : 0;
  return static_cast<double>(offloaded) / searches;
}

/// The rule that doubles its window whatever heartbeats say.
CatfishPolicy doubling(std::uint64_t seed, CatfishOptions options = {}) {
  options.rule = CatfishRule::kPerWindow;
  return CatfishPolicy(seed, options);
}

/// How many of the next searches are offloaded before one goes by message.
int run_of_offloads(AccessPolicy& policy) {
  int run = 0;
  while (policy.choose(0) == Access::kOffload) ++run;
  return run;
}

/// The longest run of offloaded searches among that number.
int longest_run(AccessPolicy& policy, int searches) {
  int longest = 0;
  int run = 0;
  for (int i = 0; i < searches; ++i) {
    run = policy.choose(0) == Access::kOffload ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

TEST(CatfishPolicy, SendsMessagesWhileTheServerIsNotBusy) {
  for (CatfishPolicy policy : {CatfishPolicy(1), doubling(1)}) {
    EXPECT_EQ(offloaded_of(policy, 100), 0);
    policy.on_heartbeat({.cpu_busy = 0.95});
    EXPECT_EQ(offloaded_of(policy, 100), 0);
  }
}

TEST(CatfishPolicy, EachBusyHeartbeatHasTheNextSearchesOffloadedAndNoMore) {
  CatfishPolicy policy(1);
  policy.on_heartbeat({.cpu_busy = 1.0});
  policy.on_heartbeat({.cpu_busy = 1.0});
  EXPECT_GE(run_of_offloads(policy), 8);
  EXPECT_EQ(offloaded_of(policy, 1'000), 0) << "until the next heartbeat";
  policy.on_heartbeat({.cpu_busy = 1.0});
  EXPECT_GE(run_of_offloads(policy), 16);
}

/// The r-th of them, of the sizes from (r - 1) N to r N - 1, all of which occur.
TEST(CatfishPolicy, TheNumberGrowsByNWithEachBusyHeartbeat) {
  constexpr int kHeartbeats = 6, kWindow = 5;
  std::vector<std::set<int>> runs(kHeartbeats);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CatfishPolicy policy(seed, {.window = kWindow});
    for (auto& run : runs) {
      policy.on_heartbeat({.cpu_busy = 1.0});
      run.insert(run_of_offloads(policy));
    }
  }
  for (int r = 1; r <= kHeartbeats; ++r) {
    const std::set<int>& seen = runs[r - 1];
    EXPECT_EQ(seen.size(), std::size_t{kWindow}) << r;
    EXPECT_EQ(*seen.begin(), (r - 1) * kWindow);
    EXPECT_EQ(*seen.rbegin(), r * kWindow - 1);
  }
}

TEST(CatfishPolicy, AHeartbeatReplacesWhatTheLastOneLeft) {
  CatfishPolicy policy(1);
  for (int i = 0; i < 100; ++i) policy.on_heartbeat({.cpu_busy = 1.0});
  const int run = run_of_offloads(policy);
  EXPECT_GE(run, 99 * 8);
  EXPECT_LT(run, 100 * 8);
}

TEST(CatfishPolicy, TheCounterBeginsAnewWhenTheServerBecomesBusyAgain) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CatfishPolicy policy(seed);
    for (int i = 0; i < 20; ++i) policy.on_heartbeat({.cpu_busy = 1.0});
    policy.on_heartbeat({.cpu_busy = 0.3});
    policy.on_heartbeat({.cpu_busy = 1.0});
    EXPECT_LT(run_of_offloads(policy), 8) << "seed " << seed;
  }
}

TEST(CatfishPolicy, NoNumberOfHeartbeatsOverflowsTheCounter) {
  CatfishPolicy policy(1, {.window = 4'000});
  for (int i = 0; i < 2'200'000; ++i) policy.on_heartbeat({.cpu_busy = 1.0});
  EXPECT_EQ(offloaded_of(policy, 100'000), 1);
}

TEST(CatfishPolicy, ComesBackAtOnceWhenTheServerIsNoLongerBusy) {
  for (CatfishPolicy policy : {CatfishPolicy(1), doubling(1)}) {
    for (int i = 0; i < 10; ++i) policy.on_heartbeat({.cpu_busy = 1.0});
    EXPECT_GT(offloaded_of(policy, 40), 0.5);
    policy.on_heartbeat({.cpu_busy = 0.3});
    EXPECT_EQ(offloaded_of(policy, 100), 0);
  }
}

/// Between two heartbeats a client with short searches runs thousands: with the one rule it
/// offloads a few, with the other nearly all.
TEST(CatfishPolicy, TheTwoRulesDifferBetweenTwoHeartbeats) {
  CatfishPolicy recalled(1);
  CatfishPolicy other = doubling(1);
  recalled.on_heartbeat({.cpu_busy = 1.0});
  other.on_heartbeat({.cpu_busy = 1.0});
  EXPECT_LT(offloaded_of(recalled, 2'000), 0.005);
  EXPECT_GT(offloaded_of(other, 2'000), 0.95);
}

TEST(CatfishPolicy, TheKindsOfPoliciesAreTheTwoRules) {
  const auto offloaded = [](PolicyKind kind) {
    const auto policy = make_policy(kind, 1);
    policy->on_heartbeat({.cpu_busy = 1.0});
    return offloaded_of(*policy, 2'000);
  };
  EXPECT_LT(offloaded(PolicyKind::kCatfish), 0.005);
  EXPECT_GT(offloaded(PolicyKind::kCatfishDoubling), 0.95);
}

TEST(CatfishPolicy, DoublingBacksOffFurtherWhileTheServerStaysBusy) {
  CatfishPolicy policy = doubling(1);
  policy.on_heartbeat({.cpu_busy = 1.0});
  const double at_first = offloaded_of(policy, 20);
  const double later = offloaded_of(policy, 4'000);
  EXPECT_GT(at_first, 0);
  EXPECT_GT(later, 0.98);
}

TEST(CatfishPolicy, DoublingsFirstWindowIsNoLongerThanN) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CatfishPolicy policy = doubling(seed);
    policy.on_heartbeat({.cpu_busy = 1.0});
    EXPECT_EQ(policy.choose(0), Access::kMessaging);
    const int run = run_of_offloads(policy);
    EXPECT_GE(run, 1);
    EXPECT_LE(run, 8);
  }
}

TEST(CatfishPolicy, DoublingBeginsAnewWhenTheServerBecomesBusyAgain) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CatfishPolicy policy = doubling(seed);
    policy.on_heartbeat({.cpu_busy = 1.0});
    EXPECT_GT(longest_run(policy, 10'000), 8);
    policy.on_heartbeat({.cpu_busy = 0.3});
    policy.on_heartbeat({.cpu_busy = 1.0});
    EXPECT_EQ(policy.choose(0), Access::kMessaging);
    EXPECT_LE(run_of_offloads(policy), 8) << "seed " << seed;
  }
}

TEST(CatfishPolicy, DoublingsWindowsAreNoLongerThanTheLongest) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    CatfishPolicy policy = doubling(seed, {.max_window = 32});
    policy.on_heartbeat({.cpu_busy = 1.0});
    const int longest = longest_run(policy, 20'000);
    EXPECT_GT(longest, 24) << "seed " << seed;
    EXPECT_LE(longest, 32) << "seed " << seed;
  }
}

TEST(ReadDelay, FallsBelowTheShareThatIsOffloadedWhenReadsAreHeldUp) {
  ReadDelay delay;
  EXPECT_EQ(delay.ceiling(), 1.0);
  for (int i = 0; i < 32; ++i) delay.add(0, 1, 1'000, 0.1);
  EXPECT_EQ(delay.ceiling(), 1.0) << "nothing to compare with";
  for (int i = 0; i < 64; ++i) delay.add(0, 1, 2'000, 0.1);
  EXPECT_NEAR(delay.ceiling(), 0.07, 1e-9) << "0.7 of what is offloaded, not of the ceiling";
}

SearchOutcome outcome(Access access, double latency_us, double now_us) {
  return {.search_class = 0,
          .access = access,
          .latency = static_cast<Nanoseconds>(latency_us * 1000),
          .completed_at = static_cast<Nanoseconds>(now_us * 1000)};
}

/// A closed loop in virtual time: one client thread that keeps `window` searches in flight, and a
/// server. A search by message costs the client `client_message` and the server `server_message` of
/// their time, and takes `wire` besides; an offloaded one costs the client `client_offload`. Other
/// clients take `server_share` of the server.
struct Loop {
  double client_message = 0.3;
  double server_message = 1.2;
  double client_offload = 2.0;
  double wire = 0.5;
  int window = 8;
  double noise = 0.3;

  /// Searches per microsecond under a policy.
  double run(const std::function<Access()>& choose,
             const std::function<void(Access, double, double)>& done, int searches,
             std::uint64_t seed) const {
    Random random(seed);
    struct Flying {
      Access access;
      double begun;
      double ready;  // when a message's answer is here
    };
    std::vector<Flying> flying;
    double now = 0;
    double server_free = 0;
    int completed = 0;
    const auto varied = [&](double cost) {
      return cost * (1 + noise * (random.uniform() * 2 - 1));
    };
    while (completed < searches) {
      while (static_cast<int>(flying.size()) < window) {
        const Access access = choose();
        flying.push_back({access, now, now});
        if (access == Access::kOffload) continue;
        now += client_message / 2;
        server_free = std::max(server_free, now + wire / 2) + varied(server_message);
        flying.back().ready = server_free + wire / 2;
      }
      // One round of polling: what is offloaded is worked off, what has come is taken in.
      const auto before = flying.size();
      std::erase_if(flying, [&](const Flying& search) {
        if (search.ready > now) return false;
        now += search.access == Access::kOffload ? varied(client_offload) : client_message / 2;
        done(search.access, now - search.begun, now);
        ++completed;
        return true;
      });
      if (flying.size() == before) {
        double first = flying.front().ready;
        for (const auto& search : flying) first = std::min(first, search.ready);
        now = std::max(now, first);
      }
    }
    return completed / now;
  }

  double fixed(Access access) const {
    return run([=] { return access; }, [](Access, double, double) {}, 50'000, 7);
  }
  /// The policy's rate after a warm-up.
  double adaptive(std::uint64_t seed) const {
    CostPolicy policy(seed);
    const auto choose = [&] { return policy.choose(0); };
    const auto done = [&](Access access, double us, double now_us) {
      policy.on_search(outcome(access, us, now_us));
    };
    run(choose, done, 100'000, seed);
    return run(choose, done, 100'000, seed + 100);
  }
};

void expect_no_worse_than_the_better(const Loop& loop) {
  const double messaging = loop.fixed(Access::kMessaging);
  const double offload = loop.fixed(Access::kOffload);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_GT(loop.adaptive(seed), 0.95 * std::max(messaging, offload))
        << "messaging " << messaging << ", offload " << offload;
  }
}

TEST(CostPolicy, OneAtATimeItTakesTheFasterWay) {
  expect_no_worse_than_the_better({.client_offload = 1.0, .window = 1});
  expect_no_worse_than_the_better({.client_offload = 3.0, .window = 1});
  expect_no_worse_than_the_better({.client_offload = 20.0, .window = 1});
}

TEST(CostPolicy, ManyInFlightItIsNoWorseThanTheBetterWay) {
  expect_no_worse_than_the_better({.server_message = 0.4, .client_offload = 5.0, .window = 16});
  expect_no_worse_than_the_better({.server_message = 5.0, .client_offload = 0.5, .window = 16});
  expect_no_worse_than_the_better({.client_offload = 30.0, .window = 8});
}

TEST(CostPolicy, ASaturatedServerAndAnIdleClientDoMoreTogetherThanEitherAlone) {
  const Loop loop{.window = 8};
  const double better = std::max(loop.fixed(Access::kMessaging), loop.fixed(Access::kOffload));
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_GT(loop.adaptive(seed), 1.1 * better);
  }
}

/// Many clients on one core, each with one search in flight and a policy of its own, visited in
/// turn. What a client does itself is quick for it and keeps all the others waiting.
struct SharedCore {
  int clients = 16;
  double client_message = 0.3;
  double server_message = 0.4;
  double client_offload = 1.6;
  double wire = 0.5;

  double run(std::vector<CostPolicy>* policies, Access fixed, int searches,
             std::uint64_t seed) const {
    struct Lane {
      bool busy = false;
      Access access = Access::kMessaging;
      double begun = 0;
      double ready = 0;
    };
    Random random(seed);
    std::vector<Lane> lanes(clients);
    double now = 0;
    double server_free = 0;
    int completed = 0;
    const auto varied = [&](double cost) { return cost * random.uniform(0.7, 1.3); };
    const auto visit = [&](Lane& lane, CostPolicy* policy) {
      if (lane.busy && lane.ready <= now) {
        now += lane.access == Access::kOffload ? varied(client_offload) : client_message / 2;
        if (policy != nullptr) policy->on_search(outcome(lane.access, now - lane.begun, now));
        lane.busy = false;
        ++completed;
      }
      now += 0.02;
      if (lane.busy) return;
      lane = {true, policy != nullptr ? policy->choose(0) : fixed, now, now};
      if (lane.access == Access::kOffload) return;
      now += client_message / 2;
      server_free = std::max(server_free, now + wire / 2) + varied(server_message);
      lane.ready = server_free + wire / 2;
    };
    while (completed < searches) {
      for (int i = 0; i < clients; ++i) {
        visit(lanes[i], policies != nullptr ? &(*policies)[i] : nullptr);
      }
    }
    return completed / now;
  }

  void expect_no_worse_than(double share_of_the_better) const {
    const double messaging = run(nullptr, Access::kMessaging, 50'000, 7);
    const double offload = run(nullptr, Access::kOffload, 50'000, 7);
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      std::vector<CostPolicy> policies;
      for (int i = 0; i < clients; ++i) policies.emplace_back(seed * 1'000 + i);
      run(&policies, Access::kMessaging, 20'000 * clients, seed);
      EXPECT_GT(run(&policies, Access::kMessaging, 20'000 * clients, seed + 100),
                share_of_the_better * std::max(messaging, offload))
          << "messaging " << messaging << ", offload " << offload << ", seed " << seed;
    }
  }
};

TEST(CostPolicy, ClientsThatShareACoreDontKeepEachOtherWaiting) {
  SharedCore{}.expect_no_worse_than(0.95);
  SharedCore{.clients = 4}.expect_no_worse_than(0.95);
  SharedCore{.clients = 4, .server_message = 5.0}.expect_no_worse_than(0.95);
}

TEST(CostPolicy, ClientsThatShareACoreTakeTheServerAndTheCoreTogether) {
  SharedCore{.server_message = 3.0, .client_offload = 2.0}.expect_no_worse_than(1.1);
}

TEST(CostPolicy, WhereTheCallerSetsTheRateLatencyDecides) {
  for (const double offload_us : {2.0, 9.0}) {
    CostPolicy policy(3);
    Random random(5);
    int offloaded = 0;
    double now = 0;
    for (int i = 0; i < 40'000; ++i) {
      now += 1'000;
      const Access access = policy.choose(0);
      const double us = (access == Access::kOffload ? offload_us : 5.0) * random.uniform(0.7, 1.3);
      offloaded += i >= 20'000 && access == Access::kOffload ? 1 : 0;
      policy.on_search(outcome(access, us, now + us));
    }
    EXPECT_GT(offload_us < 5 ? offloaded : 20'000 - offloaded, 18'000);
  }
}

/// What is said to be forgotten counts no longer among the searches in flight, which share out a
/// search's latency: else, at a rate that the caller sets, no difference of latencies would be
/// seen.
TEST(CostPolicy, SearchesThatAreForgottenAreNoLongerInFlight) {
  for (const double offload_us : {2.0, 9.0}) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      CostPolicy policy(seed);
      Random random(100 + seed);
      for (int i = 0; i < 2'000; ++i) policy.forget(policy.choose(0));
      int offloaded = 0;
      double now = 0;
      for (int i = 0; i < 20'000; ++i) {
        now += 10 * random.uniform(0.9, 1.1);
        const Access access = policy.choose(0);
        offloaded += i >= 10'000 && access == Access::kOffload ? 1 : 0;
        policy.on_search(outcome(access, access == Access::kOffload ? offload_us : 5.5, now));
      }
      EXPECT_GT(offload_us < 5 ? offloaded : 10'000 - offloaded, 9'000) << "seed " << seed;
    }
  }
}

TEST(CostPolicy, TheFirstShareIsThatOfTheBetterWay) {
  const auto first_share = [](double messaging_us, double offload_us) {
    CostPolicy policy(3);
    Random random(5);
    // The survey: messages, then blocks of offloaded searches until they get no faster.
    for (int i = 0; i < 4'000 && policy.share() == 0; ++i) {
      const Access access = policy.choose(0);
      const double us = access == Access::kOffload ? offload_us : messaging_us;
      policy.on_search({.search_class = 0,
                        .access = access,
                        .latency = static_cast<Nanoseconds>(us * random.uniform(900, 1'100))});
    }
    return policy.share();
  };
  EXPECT_EQ(first_share(5.0, 2.0), 1.0);
  EXPECT_EQ(first_share(2.0, 5.0), 0.0);
}

TEST(CostPolicy, OffloadsTheSearchesThatGainByIt) {
  CostPolicy policy(1);
  Random random(5);
  int right = 0;
  constexpr int kSearches = 40'000;
  for (int i = 0; i < kSearches; ++i) {
    // Class 1 is faster offloaded, class 2 by message.
    const auto search_class = static_cast<std::uint8_t>(1 + random.below(2));
    const Access access = policy.choose(search_class);
    const bool fits = (search_class == 1) == (access == Access::kOffload);
    if (i >= kSearches / 2) right += fits ? 1 : 0;
    const double us = (fits ? 1.0 : 4.0) * random.uniform(0.7, 1.3);
    policy.on_search({.search_class = search_class,
                      .access = access,
                      .latency = static_cast<Nanoseconds>(us * 1000)});
  }
  EXPECT_GT(right, kSearches / 2 * 0.75);
}

TEST(CostPolicy, NoticesWhenTheServerBecomesBusy) {
  CostPolicy policy(3);
  Random random(5);
  const auto run = [&](double messaging_us, int searches) {
    int offloaded = 0;
    for (int i = 0; i < searches; ++i) {
      const Access access = policy.choose(0);
      offloaded += access == Access::kOffload ? 1 : 0;
      const double us =
          (access == Access::kOffload ? 2.0 : messaging_us) * random.uniform(0.7, 1.3);
      policy.on_search(
          {.search_class = 0, .access = access, .latency = static_cast<Nanoseconds>(us * 1000)});
    }
    return static_cast<double>(offloaded) / searches;
  };
  run(1.0, 50'000);
  EXPECT_LT(run(1.0, 10'000), 0.05);
  policy.on_heartbeat({.cpu_busy = 1.0});
  run(20.0, 50'000);
  EXPECT_GT(run(20.0, 10'000), 0.9);
  policy.on_heartbeat({.cpu_busy = 0.2});
  run(1.0, 60'000);
  EXPECT_LT(run(1.0, 10'000), 0.1);
}

TEST(CostPolicy, AColdCacheIsNotHeldAgainstOffloading) {
  CostPolicy policy(3);
  Random random(5);
  double warmth = 0;  // grows by offloading, is lost by not offloading
  int offloaded = 0;
  for (int i = 0; i < 40'000; ++i) {
    const Access access = policy.choose(0);
    double us = 1.7;
    if (access == Access::kOffload) {
      us = 1.2 + 4 * (1 - warmth);
      warmth += 0.001 * (1 - warmth);
      offloaded += i >= 20'000 ? 1 : 0;
    } else {
      warmth *= 0.998;
    }
    policy.on_search({.search_class = 0,
                      .access = access,
                      .latency = static_cast<Nanoseconds>(us * random.uniform(700, 1'300))});
  }
  EXPECT_GT(offloaded, 18'000);
}

/// Lets a policy run that many searches, of these latencies; the share that it offloads.
double offloaded_share(CostPolicy& policy, double messaging_us, double offload_us, int searches) {
  Random random(5);
  int offloaded = 0;
  for (int i = 0; i < searches; ++i) {
    const Access access = policy.choose(0);
    offloaded += access == Access::kOffload ? 1 : 0;
    const double us = access == Access::kOffload ? offload_us : messaging_us;
    policy.on_search({.search_class = 0,
                      .access = access,
                      .latency = static_cast<Nanoseconds>(us * random.uniform(700, 1'300))});
  }
  return static_cast<double>(offloaded) / searches;
}

/// A fleet whose reads stand in the way of its messages: both wait in the same queue, of which
/// there would be none if nothing were offloaded.
TEST(CostPolicy, WhileTheServerHasTimeNothingIsOffloadedThatIsNotClearlyQuicker) {
  CostPolicy policy(3);
  policy.on_heartbeat({.cpu_busy = 1.0});
  offloaded_share(policy, 5.0, 6.0, 5'000);
  offloaded_share(policy, 40.0, 8.0, 40'000);
  EXPECT_GT(offloaded_share(policy, 40.0, 8.0, 5'000), 0.5);
  EXPECT_GT(offloaded_share(policy, 40.0, 39.0, 2'000), 0);
  policy.on_heartbeat({.cpu_busy = 0.8});
  EXPECT_EQ(offloaded_share(policy, 40.0, 39.0, 5'000), 0);
  policy.on_heartbeat({.cpu_busy = 1.0});
  EXPECT_LT(offloaded_share(policy, 40.0, 8.0, 2'000), 0.2) << "it begins again slowly";
}

TEST(CostPolicy, WhatIsClearlyQuickerIsOffloadedThoughTheServerHasTime) {
  CostPolicy policy(3);
  policy.on_heartbeat({.cpu_busy = 0.2});
  offloaded_share(policy, 5.0, 2.0, 5'000);
  policy.on_heartbeat({.cpu_busy = 0.2});
  EXPECT_GT(offloaded_share(policy, 5.0, 2.0, 5'000), 0.9);
}

/// All of a fleet survey at once when they start together, and fill the network for as long.
TEST(CostPolicy, ASurveyEndsWhenTheServerSaysThatItHasTime) {
  CostPolicy policy(3);
  EXPECT_EQ(offloaded_share(policy, 50.0, 100.0, 256), 0);
  EXPECT_EQ(offloaded_share(policy, 50.0, 100.0, 100), 1);
  policy.on_heartbeat({.cpu_busy = 0.1});
  EXPECT_EQ(offloaded_share(policy, 5.0, 3.0, 2'000), 0);
}

TEST(ReadDelay, ReadsThatAreHeldUpLowerTheShareAndOthersRaiseIt) {
  ReadDelay delay;
  const auto run = [&](double us, int searches) {
    for (int i = 0; i < searches; ++i) delay.add(0, 1, us * 1'000, delay.ceiling());
  };
  run(3.0, 1'000);
  EXPECT_EQ(delay.ceiling(), 1);
  run(9.0, 1'000);
  EXPECT_LT(delay.ceiling(), 0.05);
  run(3.2, 3'000);
  EXPECT_GT(delay.ceiling(), 0.5);
}

TEST(ReadDelay, ManyInFlightOfOneClientTakeTheirTimeWithoutBeingHeldUp) {
  ReadDelay delay;
  for (const std::uint32_t in_flight : {1, 16, 4, 16, 1, 16}) {
    for (int i = 0; i < 512; ++i) delay.add(0, in_flight, 500.0 * in_flight, delay.ceiling());
  }
  EXPECT_EQ(delay.ceiling(), 1);
}

TEST(CostPolicy, WhatTheServersTimeHeldBackBeginsAgainSlowly) {
  CostPolicy policy(3);
  policy.on_heartbeat({.cpu_busy = 1.0});
  offloaded_share(policy, 40.0, 8.0, 20'000);
  offloaded_share(policy, 8.0, 8.0, 60'000);  // the trials notice that messages are as quick now
  ASSERT_EQ(policy.share(), 1.0);
  policy.on_heartbeat({.cpu_busy = 0.8});
  EXPECT_EQ(policy.share(), 0.0);
  policy.on_heartbeat({.cpu_busy = 1.0});
  EXPECT_GT(policy.share(), 0.0);
  EXPECT_LE(policy.share(), 0.1);
}

TEST(CostPolicy, FollowsTheBestShareWhenItFalls) {
  const Loop slow{.server_message = 1.2};   // best at a share of 0.31
  const Loop quick{.server_message = 0.6};  // best at a share of 0.13
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    CostPolicy policy(seed);
    const auto choose = [&] { return policy.choose(0); };
    const auto done = [&](Access access, double us, double now_us) {
      policy.on_search(outcome(access, us, now_us));
    };
    slow.run(choose, done, 100'000, seed);
    quick.run(choose, done, 100'000, seed + 100);
    EXPECT_GT(quick.run(choose, done, 50'000, seed + 200), 0.9 * quick.adaptive(seed))
        << "seed " << seed;
  }
}

TEST(CostPolicy, TheSameSeedMakesTheSameChoices) {
  CostPolicy a(9);
  CostPolicy b(9);
  for (int i = 0; i < 5'000; ++i) {
    const Access access = a.choose(0);
    ASSERT_EQ(access, b.choose(0));
    const SearchOutcome outcome{.search_class = 0, .access = access, .latency = 1'000 + i % 7};
    a.on_search(outcome);
    b.on_search(outcome);
  }
}

}  // namespace
}  // namespace silurus::client
