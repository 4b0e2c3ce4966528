// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/core.h"
#include "tests/simulation/cluster/scripted_group.h"
#include "tests/support/seed.h"

// The client that ships, and the members of a group that follow a script: it finds the primary,
// loses it in every way, and each operation ends as it must.

namespace silurus::simulation {
namespace {

namespace sim = transport::sim;

constexpr std::uint64_t kClientId = 77;

class GroupClientTest : public testing::Test, private client::Network {
 protected:
  explicit GroupClientTest() : world_(testing_support::seed(1)), host_(world_.add_host("client")) {
    for (int i = 0; i < 3; ++i) {
      auto& host = world_.add_host("member" + std::to_string(i));
      members_.push_back(std::make_unique<ScriptedMember>(world_, host, i, state_));
    }
    fabric_ = std::make_unique<sim::SimFabric>(world_, host_,
                                               sim::FabricOptions{.give_up = 60 * kMillisecond});
    poller_ = std::move(*fabric_->create_poller());
  }
  ~GroupClientTest() override { group_.reset(); }

  /// `only`: of the members, the one that it is told of; nothing: all.
  void create(ClientOptions options = {}, std::optional<std::size_t> only = {}) {
    options.mode = Mode::kMessaging;
    options.client_id = kClientId;
    std::vector<std::string> urls;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (i == only.value_or(i)) urls.push_back(members_[i]->url());
    }
    auto group =
        client::ClientCore<2>::create(std::move(urls), nullptr, *this, host_.clock(), options);
    ASSERT_TRUE(group) << group.error().message;
    group_ = std::move(*group);
  }
  void connect(const ClientOptions& options = {}) {
    create(options);
    run(kSecond, [&] { return group_->ready(); });
    ASSERT_TRUE(group_->ready());
  }

  /// Drives the client until `done`, or for that time; whether it was done.
  template <typename Done>
  bool run(Nanoseconds time, Done&& done) {
    const Nanoseconds end = world_.now() + time;
    while (!done() && world_.now() < end) {
      group_->flush();
      poller_->progress();
      group_->settle(true);
      group_->flush();
      world_.run_for(20 * kMicrosecond);
    }
    return done();
  }
  void run(Nanoseconds time) {
    run(time, [] { return false; });
  }

  struct Outcome {
    std::optional<ErrorCode> error;
    rtree::Version version = 0;
    Nanoseconds began = 0;
    Nanoseconds ended = 0;
  };
  /// One write of one box; its place in writes_.
  void write() {
    const std::size_t i = writes_.size();
    writes_.emplace_back().began = world_.now();
    const protocol::Operation<2> operation{
        i, protocol::OperationKind::kInsert, 0, {{0, 0}, {1, 1}}, {}};
    ++under_way_;
    const Status begun =
        group_->submit(client::request::Write<2>{{&operation, 1}}, [this, i](auto answer) {
          --under_way_;
          writes_[i].ended = world_.now();
          if (answer) {
            writes_[i].version = (*answer)->version;
          } else {
            writes_[i].error = answer.error().code;
          }
        });
    ASSERT_TRUE(begun) << begun.error().message;
  }
  /// One search; its version is the last of versions_.
  void search() {
    ++under_way_;
    const Status begun =
        group_->submit(client::request::Range<2>{{.window = {{0, 0}, {1, 1}},
                                                  .shape = rtree::ResultShape::kCount}},
                       [this](auto answer) {
                         --under_way_;
                         ASSERT_TRUE(answer) << answer.error().message;
                         versions_.push_back((*answer)->version);
                       });
    ASSERT_TRUE(begun) << begun.error().message;
  }
  bool finish(Nanoseconds time = 20 * kSecond) {
    return run(time, [this] { return under_way_ == 0; });
  }
  void crash_primary() {
    auto& member = *members_[static_cast<std::size_t>(state_.primary)];
    state_.primary = -1;
    member.host().crash();
  }
  void promote(int number) {
    state_.primary = number;
    ++state_.epoch;
  }
  /// Every write that was answered happened once, none twice, and all in the order of their
  /// numbers.
  void expect_once_and_in_order() {
    for (const auto& [who, outcome] : state_.outcomes) {
      EXPECT_EQ(who.first, kClientId);
      EXPECT_EQ(outcome.times, 1u);
    }
    EXPECT_TRUE(std::ranges::is_sorted(state_.order));
    for (std::size_t i = 0; i < writes_.size(); ++i) {
      const auto found = state_.outcomes.find({kClientId, i + 1});
      if (writes_[i].error) continue;
      ASSERT_NE(found, state_.outcomes.end()) << "write " << i << " was answered and is not there";
      EXPECT_EQ(writes_[i].version, found->second.version);
    }
  }

  sim::World world_;
  sim::Host& host_;
  GroupState state_;
  std::vector<std::unique_ptr<ScriptedMember>> members_;
  std::unique_ptr<sim::SimFabric> fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<client::ClientCore<2>> group_;
  std::vector<Outcome> writes_;
  std::vector<rtree::Version> versions_;
  std::size_t under_way_ = 0;

 private:
  Result<Route> route_to(const transport::Address&) override {
    return Route{fabric_.get(), poller_.get()};
  }
};

TEST_F(GroupClientTest, FindsThePrimaryWhicheverMemberItAsksFirst) {
  state_.primary = 2;
  connect();
  write();
  search();
  ASSERT_TRUE(finish());
  EXPECT_EQ(writes_[0].version, 2u);
  EXPECT_EQ(members_[2]->searches, 1u);
  EXPECT_EQ(members_[0]->refused + members_[1]->refused, 0u);
  run(10 * kMillisecond);
  EXPECT_EQ(group_->connections(), 1u) << "the others are left alone";
}

TEST_F(GroupClientTest, BeginsWritesAndSearchesBeforeItHasFoundAMember) {
  create();
  write();
  search();
  EXPECT_FALSE(group_->ready());
  ASSERT_TRUE(finish());
  EXPECT_FALSE(writes_[0].error);
  expect_once_and_in_order();
}

TEST_F(GroupClientTest, WritesUnderWayHappenOnceAndInOrderThroughAFailOver) {
  connect();
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    for (int i = 0; i < 32; ++i) write();
    for (int i = 0; i < 4; ++i) search();
    // Some are carried out and answered, some carried out only, some have not arrived.
    run(static_cast<Nanoseconds>(world_.random().below(40)) * kMicrosecond);
    const int old = state_.primary;
    crash_primary();
    run(30 * kMillisecond);
    for (int i = 0; i < 8; ++i) write();  // while there is none
    const Nanoseconds since = world_.now();
    promote((old + 1) % 3);
    ASSERT_TRUE(finish());
    Nanoseconds last = 0;
    for (const Outcome& outcome : writes_) {
      EXPECT_FALSE(outcome.error);
      last = std::max(last, outcome.ended);
    }
    std::cout << "found the next primary within " << (last - since) / kMicrosecond << " us\n";
    EXPECT_LT(last - since, 500 * kMillisecond) << "what a client may add to a fail-over";
    expect_once_and_in_order();
    members_[static_cast<std::size_t>(old)].reset();
    auto& host = *world_.find_host("member" + std::to_string(old));
    host.restart();
    members_[static_cast<std::size_t>(old)] =
        std::make_unique<ScriptedMember>(world_, host, old, state_);
  }
  EXPECT_EQ(state_.order.size(), writes_.size());
  EXPECT_EQ(group_->statistics().reconnects, 3u);
}

TEST_F(GroupClientTest, LeavesAPrimaryThatIsNoneAnyMore) {
  connect();
  write();
  ASSERT_TRUE(finish());
  promote(1);
  for (int i = 0; i < 10; ++i) write();
  search();
  ASSERT_TRUE(finish());
  for (const Outcome& outcome : writes_) EXPECT_FALSE(outcome.error);
  expect_once_and_in_order();
  EXPECT_EQ(members_[1]->searches, 1u);
}

TEST_F(GroupClientTest, AnOrderThatNothingRepeatsGoesWholeToTheNextPrimary) {
  connect();
  write();  // its slot is that of the order afterwards
  ASSERT_TRUE(finish());
  promote(1);
  std::string outcome;
  ASSERT_TRUE(group_->submit(
      client::request::Task{.kind = protocol::TaskKind::kBackup, .text = "/somewhere"},
      [&](auto answer) { outcome = answer ? "done" : answer.error().message; }));
  run(kSecond, [&] { return !outcome.empty(); });
  EXPECT_EQ(outcome, "done");
  EXPECT_EQ(members_[0]->refused, 1u);
  EXPECT_EQ(members_[1]->tasks, 1u);
  EXPECT_EQ(state_.order.size(), 1u) << "and nothing else was sent again";
}

TEST_F(GroupClientTest, AWriteThatAServerWithoutAGroupRefusesIsNotSentAgain) {
  state_.epoch = 0;  // a server that remembers no writes
  connect();
  write();
  ASSERT_TRUE(finish());
  state_.primary = -1;
  write();
  ASSERT_TRUE(finish());
  EXPECT_EQ(writes_[1].error, ErrorCode::kNotPrimary);
  EXPECT_EQ(state_.order.size(), 1u);
}

TEST_F(GroupClientTest, FailsOverWithAsManyCallsUnderWayAsThereMayBe) {
  connect();
  members_[0]->answers = false;
  for (std::size_t i = 0; i < client::PendingCalls<2>::kMaxInFlight; ++i) search();
  EXPECT_EQ(group_->submit(client::request::Range<2>{{.window = {{0, 0}, {1, 1}}}}, [](auto) {})
                .error()
                .code,
            ErrorCode::kUnavailable);
  run(kMillisecond);
  crash_primary();
  promote(1);
  ASSERT_TRUE(finish());
  EXPECT_EQ(versions_.size(), client::PendingCalls<2>::kMaxInFlight);
}

TEST_F(GroupClientTest, CallbacksMayBeginSearchesWhileTheClientIsDestroyed) {
  for (auto& member : members_) member->staleness = 0;
  connect({.read = {.from = ReadFrom::kAny, .max_staleness = 50 * kMillisecond}});
  run(50 * kMillisecond);
  ASSERT_EQ(group_->connections(), 3u);
  for (auto& member : members_) member->answers = false;
  std::size_t ended = 0;
  std::size_t refused = 0;
  const client::request::Range<2> query{{.window = {{0, 0}, {1, 1}}}};
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(group_->submit(query, [&](auto answer) {
      EXPECT_FALSE(answer);
      ++ended;
      if (!group_->submit(query, [](auto) { ADD_FAILURE() << "it was refused"; })) ++refused;
    }));
  }
  run(kMillisecond);
  // Not reset(): callbacks find the client where it was.
  delete group_.get();
  (void)group_.release();
  EXPECT_EQ(ended, 30u);
  EXPECT_EQ(refused, 30u);
}

TEST_F(GroupClientTest, GivesUpAPrimaryThatHasFallenSilent) {
  connect({.silence = 100 * kMillisecond});
  members_[0]->answers = false;
  for (int i = 0; i < 5; ++i) write();
  run(10 * kMillisecond);
  promote(1);
  const Nanoseconds since = world_.now();
  ASSERT_TRUE(finish());
  for (const Outcome& outcome : writes_) {
    EXPECT_FALSE(outcome.error);
    EXPECT_LT(outcome.ended - since, 600 * kMillisecond);
  }
  expect_once_and_in_order();
}

TEST_F(GroupClientTest, GivesAPrimaryThatIsOnlySlowMoreTimeEachTimeItWasGivenUp) {
  connect({.deadline = 20 * kSecond, .silence = 10 * kMillisecond});
  members_[0]->thinks = 35 * kMillisecond;
  search();
  ASSERT_TRUE(finish());
  EXPECT_EQ(versions_.size(), 1u);
  EXPECT_EQ(group_->statistics().reconnects, 2u) << "after 10 ms and 20 ms, not after 40 ms";
}

TEST_F(GroupClientTest, EndsEveryOperationByItsDeadlineAndDoubtsOnlyWhatWasSent) {
  connect({.deadline = 400 * kMillisecond});
  members_[0]->carries_out = false;
  for (int i = 0; i < 5; ++i) write();
  run(5 * kMillisecond);  // sent, and not answered
  for (auto& member : members_) member->host().crash();
  run(100 * kMillisecond);
  for (int i = 0; i < 5; ++i) write();  // never sent
  ASSERT_TRUE(finish());
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(writes_[i].error, i < 5 ? ErrorCode::kInDoubt : ErrorCode::kDeadlineExceeded) << i;
    EXPECT_LT(writes_[i].ended - writes_[i].began, 410 * kMillisecond) << i;
  }
}

TEST_F(GroupClientTest, GivesUpWhenThereIsNoMemberForTooLongAndBeginsAgainLater) {
  connect({.reconnect_for = 300 * kMillisecond});
  for (auto& member : members_) member->host().crash();
  write();
  ASSERT_TRUE(finish(kSecond));
  EXPECT_EQ(writes_[0].error, ErrorCode::kInDoubt);
  ASSERT_TRUE(group_->failure());
  for (auto& member : members_) {
    const int number = static_cast<int>(&member - members_.data());
    member.reset();
    auto& host = *world_.find_host("member" + std::to_string(number));
    host.restart();
    member = std::make_unique<ScriptedMember>(world_, host, number, state_);
  }
  write();
  ASSERT_TRUE(finish(kSecond));
  EXPECT_FALSE(writes_[1].error);
  expect_once_and_in_order();
}

TEST_F(GroupClientTest, WhoIsToldOfAFailureMayBeginAnew) {
  connect({.reconnect_for = 300 * kMillisecond});
  for (auto& member : members_) member->host().crash();
  std::string first;
  std::string second;
  const client::request::Range<2> query{{.window = {{0, 0}, {1, 1}}}};
  ASSERT_TRUE(group_->submit(query, [&](auto answer) {
    const Status begun = group_->submit(
        query, [&second](auto again) { second = again ? "found" : again.error().message; });
    EXPECT_TRUE(begun);
    first = answer ? "found" : answer.error().message;
  }));
  run(2 * kSecond, [&] { return !second.empty(); });
  EXPECT_NE(first.find("no other"), std::string::npos) << first;
  EXPECT_NE(second.find("no other"), std::string::npos) << second;
  EXPECT_EQ(group_->in_flight(), 0u);
}

TEST_F(GroupClientTest, TellsWhichOutcomesItKnows) {
  connect();
  for (int i = 0; i < 10; ++i) {
    write();
    ASSERT_TRUE(finish());
    EXPECT_EQ(members_[0]->forgettable, static_cast<std::uint64_t>(i + 1));
  }
}

TEST_F(GroupClientTest, SpreadsSearchesByLoad) {
  for (auto& member : members_) member->staleness = 0;
  members_[1]->cpu_busy_permyriad = 9'500;
  connect({.read = {.from = ReadFrom::kAny, .max_staleness = 50 * kMillisecond}});
  run(50 * kMillisecond);  // connects to the others, and hears of them
  EXPECT_EQ(group_->connections(), 3u);
  for (int i = 0; i < 400; ++i) {
    for (int j = 0; j < 4; ++j) search();
    ASSERT_TRUE(finish());
  }
  std::cout << members_[0]->searches << ", " << members_[1]->searches << " (busy), "
            << members_[2]->searches << " searches\n";
  EXPECT_GT(members_[0]->searches, 500u);
  EXPECT_GT(members_[2]->searches, 500u);
  EXPECT_LT(members_[1]->searches, 300u);
}

TEST_F(GroupClientTest, BelievesNoMemberThatMayBeTooFarBehind) {
  for (auto& member : members_) member->staleness = 30 * kMillisecond;
  connect({.read = {.from = ReadFrom::kAny, .max_staleness = 20 * kMillisecond}});
  run(50 * kMillisecond);
  for (int i = 0; i < 100; ++i) {
    search();
    ASSERT_TRUE(finish());
  }
  EXPECT_EQ(members_[0]->searches, 100u) << "the primary alone is fresh enough";
  for (auto& member : members_) member->staleness = 5 * kMillisecond;
  run(50 * kMillisecond);
  for (int i = 0; i < 100; ++i) {
    search();
    ASSERT_TRUE(finish());
  }
  EXPECT_GT(members_[1]->searches + members_[2]->searches, 20u);
}

TEST_F(GroupClientTest, ReadsFromAnyMemberThoughItHasNeverSeenAPrimary) {
  for (auto& member : members_) member->staleness = 5 * kMillisecond;
  state_.version = 40;
  crash_primary();
  create({.reconnect_for = 200 * kMillisecond,
          .read = {.from = ReadFrom::kAny, .max_staleness = 20 * kMillisecond}});
  ASSERT_TRUE(run(kSecond, [this] { return group_->has_readers(); }));
  EXPECT_FALSE(group_->ready());
  for (int i = 0; i < 20; ++i) {
    search();
    ASSERT_TRUE(finish());
    EXPECT_EQ(versions_.back(), 40u);
    run(50 * kMillisecond);  // beyond the time for which it looks for a primary
  }
  write();
  ASSERT_TRUE(finish());
  EXPECT_TRUE(writes_.back().error.has_value()) << "writes need one";
  promote(1);
  run(kSecond, [this] {
    write();
    return finish() && !writes_.back().error;
  });
  EXPECT_FALSE(writes_.back().error.has_value()) << "and go on when there is one";
}

TEST_F(GroupClientTest, HasNoReadersThatAreTooFarBehind) {
  for (auto& member : members_) member->staleness = 30 * kMillisecond;
  crash_primary();
  create({.read = {.from = ReadFrom::kAny, .max_staleness = 20 * kMillisecond}});
  EXPECT_FALSE(run(500 * kMillisecond, [this] { return group_->has_readers(); }));
}

TEST_F(GroupClientTest, StaysWithTheMemberThatIsNamedIfItIsTold) {
  create({.follow_primary = false}, 2);
  ASSERT_TRUE(run(kSecond, [&] { return group_->ready(); }));
  std::string text;
  ASSERT_TRUE(group_->submit(client::request::Cluster(), [&](auto answer) {
    ASSERT_TRUE(answer) << answer.error().message;
    text = (*answer)->json;
  }));
  ASSERT_TRUE(run(kSecond, [&] { return !text.empty(); }));
  EXPECT_NE(text.find("\"self\":\"3\""), std::string::npos) << text;
  EXPECT_EQ(group_->connections(), 1u);
}

TEST_F(GroupClientTest, AnAnswerOfAMemberIsTooLateWhenWhatItShowsIsTooOldByThen) {
  for (auto& member : members_) {
    member->staleness = 30 * kMillisecond;
    member->behind = 1;
  }
  state_.version = 100;
  connect(
      {.read = {.from = ReadFrom::kAny, .max_staleness = 50 * kMillisecond, .monotonic = false}});
  const auto set_latency_of_backups = [this](Nanoseconds latency) {
    for (std::size_t i = 1; i < members_.size(); ++i) {
      sim::LinkModel link = world_.link(host_, members_[i]->host());
      link.latency = latency;
      world_.set_link(host_, members_[i]->host(), link);
      world_.set_link(members_[i]->host(), host_, link);
    }
  };
  for (int i = 0; i < 20; ++i) {
    set_latency_of_backups(kMicrosecond);
    run(50 * kMillisecond);
    // There and back takes less than what an answer may be old, but more than is left of that.
    set_latency_of_backups(13 * kMillisecond);
    search();
    ASSERT_TRUE(finish());
    EXPECT_EQ(versions_.back(), 100u);
  }
  EXPECT_GT(members_[1]->searches + members_[2]->searches, 0u) << "they were asked";
}

TEST_F(GroupClientTest, CountsHowFarBehindInVersions) {
  for (auto& member : members_) {
    member->staleness = 0;
    member->behind = 3;
  }
  state_.version = 100;
  connect({.read = {.from = ReadFrom::kAny,
                    .max_staleness = 50 * kMillisecond,
                    .max_versions_behind = 2,
                    .monotonic = false}});
  run(50 * kMillisecond);
  for (int i = 0; i < 50; ++i) {
    search();
    ASSERT_TRUE(finish());
    EXPECT_EQ(versions_.back(), 100u);
  }
  for (auto& member : members_) member->behind = 2;
  run(50 * kMillisecond);
  for (int i = 0; i < 50; ++i) {
    search();
    ASSERT_TRUE(finish());
  }
  EXPECT_EQ(std::ranges::min(versions_), 98u);
}

TEST_F(GroupClientTest, NeverSeesAnOlderVersionThanItHasSeen) {
  for (auto& member : members_) member->staleness = 0;
  state_.version = 100;
  members_[1]->behind = 1;
  members_[2]->behind = 4;
  connect({.read = {.from = ReadFrom::kAny, .max_staleness = 50 * kMillisecond}});
  run(50 * kMillisecond);
  for (int i = 0; i < 500; ++i) {
    if (i % 5 == 0) {
      write();
      ASSERT_TRUE(finish());
    }
    search();
    ASSERT_TRUE(finish());
    EXPECT_GE(versions_.back(), writes_.back().version) << "it sees its own writes";
  }
  EXPECT_TRUE(std::ranges::is_sorted(versions_));
}

TEST_F(GroupClientTest, ReadsFromAnyMemberThroughAFailOver) {
  for (auto& member : members_) member->staleness = 0;
  connect({.read = {.from = ReadFrom::kAny, .max_staleness = 50 * kMillisecond}});
  run(50 * kMillisecond);
  for (int i = 0; i < 50; ++i) search();
  for (int i = 0; i < 10; ++i) write();
  run(5 * kMicrosecond);
  crash_primary();
  run(30 * kMillisecond);
  promote(2);
  ASSERT_TRUE(finish());
  EXPECT_EQ(versions_.size(), 50u);
  for (const Outcome& outcome : writes_) EXPECT_FALSE(outcome.error);
  expect_once_and_in_order();
}

}  // namespace
}  // namespace silurus::simulation
