// SPDX-License-Identifier: Apache-2.0

#include "server/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "server/combiner.h"
#include "server/limits.h"
#include "server/member_status.h"
#include "tests/unit/server/session_fixture.h"

namespace silurus::server {
namespace {

using protocol::MessageType;
using test::ask_bare;
using test::ask_load_commit;
using test::ask_load_entries;
using test::ask_nearest;
using test::ask_range;
using test::ask_task;
using test::ask_write;
using test::code_of;
using test::erase_of;
using test::insert_of;
using test::json_of;
using test::Loopback;
using test::row;
using test::SessionTest;
using test::window_of;
using test::World;

/// Takes all that waits; ids by request.
std::map<std::uint32_t, std::vector<std::uint64_t>> take_ids(Loopback& client) {
  std::map<std::uint32_t, std::vector<std::uint64_t>> ids;
  while (client.waiting() != 0) {
    const auto received = client.receive();
    EXPECT_FALSE(received.answer.is_error());
    auto& of = ids[received.answer.header.request_id];
    const auto array = protocol::answer_array<std::uint64_t>(received.answer);
    for (std::size_t i = 0; i < array->size(); ++i) of.push_back((*array)[i]);
  }
  return ids;
}

TEST_F(SessionTest, AnswersTheSearchesOfOneSweepTogether) {
  fill(1000);
  Loopback& client = world_.connect();
  for (std::uint32_t i = 0; i < 200; ++i) ask_range(client, i, {.window = window_of(i, 3)});
  ask_nearest(client, 1000, {.point = {{20.5, 5}}, .k = 1});
  world_.run();
  EXPECT_EQ(world_.worker().counters().sweeps.get(), 1u);
  for (std::uint32_t i = 0; i < 200; ++i) {
    const auto received = client.receive();
    ASSERT_EQ(received.answer.header.request_id, i);
    ASSERT_EQ(received.answer.count, 3u);
    ASSERT_FALSE(received.answer.more());
  }
  const auto nearest = client.receive();
  const auto neighbors = protocol::answer_array<rtree::Neighbor>(nearest.answer);
  EXPECT_EQ((*neighbors)[0], (rtree::Neighbor{10, 4.0}));
}

TEST_F(SessionTest, GoesOnWithABigAnswerAsTheClientTakesIt) {
  fill(30000);
  Loopback& client = world_.connect();
  client.set_room(2);
  ask_range(client, 7, {.window = window_of(0, 30000)});
  world_.run();
  EXPECT_EQ(client.waiting(), 2u);
  std::set<std::uint64_t> ids;
  for (bool more = true; more;) {
    while (client.waiting() != 0) {
      const auto received = client.receive();
      more = received.answer.more();
      const auto array = protocol::answer_array<std::uint64_t>(received.answer);
      for (std::size_t i = 0; i < array->size(); ++i) ids.insert((*array)[i]);
    }
    client.give_room(3);
    world_.run();
    ASSERT_LE(client.waiting(), 3u);
  }
  EXPECT_EQ(ids.size(), 30000u);
}

TEST_F(SessionTest, ABigAnswerKeepsNoOtherClientWaiting) {
  fill(30000);
  Loopback& greedy = world_.connect();
  Loopback& other = world_.connect();
  ask_range(greedy, 1, {.window = window_of(0, 30000)});
  world_.worker().sweep();  // finds out that it is big
  ask_range(other, 2, {.window = window_of(5, 1)});
  world_.worker().sweep();
  EXPECT_EQ(other.waiting(), 1u);
  EXPECT_LT(greedy.waiting(), 20u);
  world_.run();
  EXPECT_EQ(take_ids(greedy)[1].size(), 30000u);
}

TEST_F(SessionTest, GoesOnWithABigSearchInsteadOfBeginningAgain) {
  fill(30000);
  Loopback& greedy = world_.connect();
  Loopback& writer = world_.connect();
  ask_range(greedy, 1, {.window = window_of(0, 30000)});
  world_.worker().sweep();
  EXPECT_EQ(greedy.waiting(), 0u);
  const rtree::Version begun = world_.team.shard->tree().snapshot().version();
  ask_write(writer, 2, {erase_of(7)});
  world_.worker().sweep();
  ASSERT_GT(greedy.waiting(), 0u);
  EXPECT_GT(world_.team.shard->tree().snapshot().version(), begun);
  const auto first = greedy.receive();
  EXPECT_EQ(first.answer.version, begun) << "what the first sweep found is part of the answer";
  world_.run();
  EXPECT_EQ(first.answer.count + take_ids(greedy)[1].size(), 30000u);
}

TEST_F(SessionTest, WhoAsksForMuchAtOnceGetsNoMoreThanItsShareOfTheTime) {
  struct SlowClock final : Clock {
    Nanoseconds now() const override { return time += kSearchTime; }
    mutable Nanoseconds time = 0;
  } slow;
  fill(1000);
  Loopback& greedy = world_.connect();
  Loopback& other = world_.connect();
  world_.team.served.clock = &slow;
  for (std::uint32_t i = 0; i < 500; ++i) ask_range(greedy, i, {.window = window_of(i, 3)});
  ask_range(other, 7, {.window = window_of(5, 1)});
  world_.worker().sweep();
  EXPECT_EQ(greedy.waiting(), kMaxSearchBatch) << "there was no time for more";
  EXPECT_EQ(other.waiting(), 0u);
  for (std::uint32_t i = 500; i < 600; ++i) ask_nearest(greedy, i, {.point = {{0, 0}}, .k = 1});
  world_.worker().sweep();
  EXPECT_EQ(greedy.waiting(), kMaxSearchBatch + 1);
  EXPECT_EQ(other.waiting(), 1u);
  world_.run();
  for (std::uint32_t i = 0; i < 600; ++i) {
    ASSERT_EQ(greedy.receive().answer.header.request_id, i) << "in the order of asking";
  }
  world_.team.served.clock = &world_.clock;
}

/// Time that goes on by that much whenever it is looked at.
struct TickingClock final : Clock {
  explicit TickingClock(Nanoseconds by) : tick(by) {}
  Nanoseconds now() const override { return time += tick; }
  const Nanoseconds tick;
  mutable Nanoseconds time = 0;
};

TEST_F(SessionTest, StreamsTakeTurnsOverSeveralSweeps) {
  const TickingClock slow(kSlicesTime);
  fill(kOfManySlices);
  std::vector<Loopback*> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(&world_.connect());
  world_.team.served.clock = &slow;
  for (Loopback* client : clients) {
    ask_range(*client, 1,
              {.window = window_of(0, kOfManySlices), .shape = rtree::ResultShape::kCount});
  }
  std::vector<int> answered_in;
  for (int sweep = 0; sweep < 2000 && answered_in.size() < clients.size(); ++sweep) {
    world_.worker().sweep();
    int answered = 0;
    for (Loopback* client : clients) {
      if (client->waiting() == 0) continue;
      EXPECT_EQ(client->receive().answer.count, kOfManySlices);
      ++answered;
      answered_in.push_back(sweep);
    }
    ASSERT_LE(answered, 2) << "each has a slice in each sweep";
  }
  ASSERT_EQ(answered_in.size(), clients.size());
  EXPECT_LE(answered_in.back() - answered_in.front(), 40) << "a client was passed over";
  world_.team.served.clock = &world_.clock;
}

TEST_F(SessionTest, NearestSearchesTakeTurnsOverSeveralSweeps) {
  const TickingClock slow(kSearchTime);
  fill(1000);
  std::vector<Loopback*> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(&world_.connect());
  Loopback& other = world_.connect();
  world_.team.served.clock = &slow;
  // More than are run between two looks at the clock.
  for (Loopback* client : clients) {
    for (std::uint32_t i = 0; i < 4; ++i) ask_nearest(*client, i, {.point = {{0, 0}}, .k = 1});
  }
  std::map<const Loopback*, int> answers;
  int all = 0;
  for (int sweep = 0; sweep < 100 && all < 160; ++sweep) {
    if (sweep == 1) ask_nearest(other, 7, {.point = {{0, 0}}, .k = 1});
    world_.worker().sweep();
    if (sweep == 1) {
      EXPECT_EQ(other.waiting(), 1u) << "it came last, and asks little";
    }
    int answered = 0;
    for (Loopback* client : clients) {
      for (; client->waiting() != 0; ++answered) {
        EXPECT_EQ(client->receive().answer.header.request_id,
                  static_cast<std::uint32_t>(answers[client]++));
      }
    }
    all += answered;
    EXPECT_LE(answered, static_cast<int>(kNearestBatch)) << "in sweep " << sweep;
    const auto [least, most] = std::ranges::minmax_element(
        clients, {}, [&](const Loopback* client) { return answers[client]; });
    EXPECT_LE(answers[*most] - answers[*least], 4) << "in sweep " << sweep;
  }
  EXPECT_EQ(all, 160);
  world_.team.served.clock = &world_.clock;
}

TEST_F(SessionTest, PacksNodesStepByStepWhenAsked) {
  fill(20000);
  Loopback& client = world_.connect(0, 1u << 16);
  for (std::uint64_t first = 0; first < 20000; first += 500) {
    std::vector<protocol::Operation<2>> operations;
    for (std::uint64_t id = first; id < first + 500; ++id) {
      if (id % 8 > 2) operations.push_back(erase_of(id));
    }
    ask_write(client, 1, operations);
    world_.run();
    ASSERT_EQ(client.receive().answer.count, 0u);
  }
  const auto before = world_.shard->tree().stats();
  std::uint64_t cursor = 0;
  std::uint64_t saved = 0;
  for (bool is_done = false; !is_done;) {
    const rtree::Version version = world_.shard->tree().snapshot().version();
    ask_task(client, 2, protocol::TaskKind::kCompact, cursor, 10'000);
    world_.run();
    const auto json = json_of(client.receive());
    is_done = json["done"].get<bool>();
    cursor = json["next"].get<std::uint64_t>();
    saved += json["saved_nodes"].get<std::uint64_t>();
    EXPECT_FALSE(json["must_wait"].get<bool>());
    EXPECT_EQ(json["version"].get<rtree::Version>(), version + 1);
  }
  const auto after = world_.shard->tree().stats();
  EXPECT_GT(saved, 0u);
  EXPECT_LE(before.nodes - saved, after.nodes);
  EXPECT_LE(static_cast<double>(after.nodes), 1.1 * 7500 / rtree::kLeafFanout<2>);
  EXPECT_EQ(after.entries, 7500u);
  EXPECT_TRUE(world_.shard->tree().snapshot().validate());
  ask_task(client, 3, protocol::TaskKind::kCompact, 0, 10'001);
  world_.run();
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kInvalidArgument);
}

TEST_F(SessionTest, PutsACompactionOffWhileMuchIsRetired) {
  World world(1, std::uint64_t{8} << 20, 50 * kMillisecond);
  SILURUS_CHECK(world.shard->load(row(60000)).has_value());
  Loopback& client = world.connect(0, 1u << 16);
  std::uint64_t cursor = 0;
  int put_off = 0;
  int steps = 0;
  for (bool is_done = false; !is_done && steps < 10000; ++steps) {
    ask_task(client, 2, protocol::TaskKind::kCompact, cursor, 10'000);
    world.run();
    ASSERT_EQ(client.waiting(), 1u) << "a compaction is put off, and keeps no writer waiting";
    const auto json = json_of(client.receive());
    is_done = json["done"].get<bool>();
    if (json["must_wait"].get<bool>()) {
      ++put_off;
      EXPECT_EQ(json["next"].get<std::uint64_t>(), cursor);
      ask_write(client, 3, {insert_of(100'000 + steps)});
      world.run();
      ASSERT_EQ(client.receive().answer.count, 0u);
      world.clock.advance(60 * kMillisecond);
    }
    cursor = json["next"].get<std::uint64_t>();
  }
  EXPECT_GT(put_off, 0);
  EXPECT_LT(steps, 10000);
}

TEST_F(SessionTest, KeepsOnlyTheQuestionsOfAClientThatTakesNothing) {
  fill(5000);
  Loopback& client = world_.connect();
  client.set_room(0);
  for (std::uint32_t i = 0; i < protocol::kMaxRequestsInFlight; ++i) {
    ask_range(client, i, {.window = window_of(i, 1000)});
  }
  world_.run();
  EXPECT_EQ(client.waiting(), 0u);
  client.give_room(std::numeric_limits<std::size_t>::max());
  world_.run();
  const auto ids = take_ids(client);
  EXPECT_EQ(ids.size(), protocol::kMaxRequestsInFlight);
  for (const auto& [request, found] : ids) ASSERT_EQ(found.size(), 1000u) << request;
}

TEST_F(SessionTest, LeavesRequestsInTheRingWhileAnswersFindNoRoom) {
  fill(100);
  Loopback& client = world_.connect();
  client.set_room(1);
  for (std::uint32_t i = 0; i < kMaxQueuedAnswers; ++i) {
    ask_range(client, i, {.window = window_of(0, 1)});
  }
  world_.run();
  EXPECT_FALSE(client.paused());  // one was sent
  ask_range(client, 1000, {.window = window_of(0, 1)});
  world_.run();
  EXPECT_TRUE(client.paused());
  client.give_room(500);
  world_.run();
  EXPECT_FALSE(client.paused());
  EXPECT_EQ(take_ids(client).size(), kMaxQueuedAnswers + 1);
}

TEST_F(SessionTest, AnswersHalfSentAreFinishedFirst) {
  fill(5000);
  Loopback& client = world_.connect(0, 256);
  client.set_room(1);
  ask_range(client, 1, {.window = window_of(0, 100)});
  ask_range(client, 2, {.window = window_of(0, 1)});
  world_.run();
  client.give_room(1000);
  world_.run();
  std::vector<std::uint32_t> order;
  std::vector<std::uint64_t> first;
  while (client.waiting() != 0) {
    const auto received = client.receive();
    order.push_back(received.answer.header.request_id);
    if (order.back() != 1) continue;
    const auto array = protocol::answer_array<std::uint64_t>(received.answer);
    for (std::size_t i = 0; i < array->size(); ++i) first.push_back((*array)[i]);
  }
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.back(), 2u);
  std::ranges::sort(first);
  ASSERT_EQ(first.size(), 100u) << "it goes on where it had got to";
  for (std::uint64_t id = 0; id < first.size(); ++id) EXPECT_EQ(first[id], id);
}

TEST_F(SessionTest, AStreamThatIsDoneIsARequestAnswered) {
  fill(30000);
  Loopback& client = world_.connect();
  ask_range(client, 1, {.window = window_of(0, 30000)});
  world_.run();
  EXPECT_EQ(world_.worker().counters().streams.get(), 1u);
  EXPECT_EQ(take_ids(client)[1].size(), 30000u);
  world_.clock.advance(10 * kMillisecond);
  world_.run();
  EXPECT_TRUE(world_.worker().deadline().has_value());
  world_.clock.advance(2 * kActiveFor);
  world_.run();
  EXPECT_EQ(world_.worker().deadline(), std::nullopt) << "the client waits for nothing";
}

TEST_F(SessionTest, DisconnectsAClientWithTooManyRequestsUnanswered) {
  Loopback& client = world_.connect();
  Loopback& other = world_.connect();
  client.set_room(0);
  for (std::uint32_t i = 0; i <= protocol::kMaxRequestsInFlight; ++i) {
    ask_range(client, i, {.window = window_of(0, 1)});
  }
  EXPECT_TRUE(client.closed());
  client.hang_up();
  ask_range(other, 1, {.window = window_of(0, 1)});
  world_.run();
  EXPECT_EQ(other.waiting(), 1u);
  EXPECT_EQ(world_.worker().counters().sessions.load(), 1u);
}

TEST_F(SessionTest, RefusesNonsenseWithAnErrorAndStaysConnected) {
  Loopback& client = world_.connect(0, 1u << 20);
  auto window = window_of(0, 1);
  window.max[0] = std::numeric_limits<double>::quiet_NaN();
  ask_range(client, 1, {.window = window});
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kInvalidArgument);
  ask_nearest(client, 2, {.point = {{0, 0}}, .k = 0});
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kInvalidArgument);
  ask_nearest(client, 3, {.point = {{0, 0}}, .k = kMaxK + 1});
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kTooLarge);
  ask_write(client, 4, std::vector<protocol::Operation<2>>(kMaxBatchOperations + 1, insert_of(1)));
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kTooLarge);
  ask_load_entries(client, 5, row(1));
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kConflict);
  EXPECT_FALSE(client.closed());
  EXPECT_EQ(world_.worker().counters().errors.get(), 5u);
}

TEST_F(SessionTest, DisconnectsWhoBreaksTheProtocol) {
  const std::vector<std::byte> short_one(3);
  std::vector<std::byte> unknown(sizeof(protocol::Header));
  unknown[0] = std::byte{200};
  std::vector<std::byte> wrong_length(sizeof(protocol::RangeRequest<2>) + 8);
  wrong_length[0] = static_cast<std::byte>(MessageType::kRange);
  const std::vector<std::byte> an_answer(sizeof(protocol::AnswerHeader));
  for (const auto& message : {short_one, unknown, wrong_length, an_answer}) {
    Loopback& client = world_.connect();
    client.raw(message);
    EXPECT_TRUE(client.closed()) << message.size();
  }
  EXPECT_EQ(world_.worker().counters().disconnects.get(), 4u);
}

TEST_F(SessionTest, ALoneClientsWriteIsAnsweredInTheSweepThatFoundIt) {
  Loopback& client = world_.connect();
  ask_write(client, 1, {insert_of(1), erase_of(2)});
  world_.worker().sweep();
  const auto received = client.receive();
  const auto failed = protocol::answer_array<protocol::FailedOperation>(received.answer);
  ASSERT_EQ(failed->size(), 1u);
  EXPECT_EQ((*failed)[0].index, 1u);
  EXPECT_EQ(received.answer.version, world_.shard->tree().snapshot().version());
}

TEST_F(SessionTest, AWriterAnswersTheWritesOfOtherWorkersThroughThem) {
  World world(2);
  int woken = 0;
  world.worker(0).set_waker([&] { ++woken; });
  Loopback& first = world.connect(0);
  Loopback& second = world.connect(1);
  ask_write(first, 1, {insert_of(1)});
  ask_write(second, 2, {insert_of(2)});
  world.worker(1).sweep();  // writes for both
  EXPECT_EQ(second.waiting(), 1u);
  EXPECT_EQ(first.waiting(), 0u);
  EXPECT_EQ(woken, 1);
  world.worker(0).sweep();
  EXPECT_EQ(first.waiting(), 1u);
  EXPECT_EQ(first.receive().answer.version, second.receive().answer.version);
}

TEST_F(SessionTest, AWriteOfAClientThatHasGoneIsDoneAndItsAnswerDropped) {
  Loopback& client = world_.connect();
  ask_write(client, 1, {insert_of(1)});
  client.hang_up();
  world_.run();
  EXPECT_EQ(world_.shard->tree().snapshot().size(), 1u);
  EXPECT_EQ(world_.worker().counters().sessions.load(), 0u);
}

TEST_F(SessionTest, AMemberThatMayNotReadForItsGroupAnswersThoseWhoAskAnyMember) {
  fill(1000);
  const MemberStatus outside("group", 0, 1);
  world_.team.served.member_status = &outside;
  Loopback& client = world_.connect();
  for (const std::uint32_t id : {1u, 2u}) {
    const std::uint8_t flags = id == 1 ? std::uint8_t{0} : protocol::kAnyMember;
    ask_range(client, id, {.window = window_of(0, 3)}, flags);
    ask_nearest(client, 10 * id, {.point = {{20.5, 5}}, .k = 1}, flags);
  }
  world_.run();
  ASSERT_EQ(client.waiting(), 4u);
  while (client.waiting() != 0) {
    const auto received = client.receive();
    const std::uint32_t id = received.answer.header.request_id;
    const bool is_refused = id == 1 || id == 10;
    EXPECT_EQ(code_of(received), is_refused ? ErrorCode::kNotPrimary : ErrorCode{}) << id;
    if (!is_refused) {
      EXPECT_EQ(received.answer.count, id == 2 ? 3u : 1u);
    }
  }
  world_.team.served.member_status = nullptr;
}

TEST_F(SessionTest, AMemberThatMayNotReadForItsGroupAnyMoreBeginsNoStreamForIt) {
  fill(30000);
  const MemberStatus outside("group", 0, 1);
  Loopback& client = world_.connect();
  client.set_room(2);
  for (const std::uint32_t id : {1u, 2u, 3u}) {  // one after the other
    ask_range(client, id, {.window = window_of(0, 30000)},
              id == 3 ? protocol::kAnyMember : std::uint8_t{0});
  }
  world_.run();
  EXPECT_EQ(client.waiting(), 2u);
  world_.team.served.member_status = &outside;
  client.give_room(1000);
  world_.run();
  std::map<std::uint32_t, std::uint64_t> found;
  while (client.waiting() != 0) {
    const auto received = client.receive();
    const std::uint32_t id = received.answer.header.request_id;
    EXPECT_EQ(code_of(received), id == 2 ? ErrorCode::kNotPrimary : ErrorCode{}) << id;
    if (id != 2) found[id] += received.answer.count;
  }
  EXPECT_EQ(found, (std::map<std::uint32_t, std::uint64_t>{{1, 30000}, {3, 30000}}));
  world_.team.served.member_status = nullptr;
}

TEST_F(SessionTest, WritersWaitWhenTooMuchIsRetiredAndReadersDoNot) {
  World world(1, std::uint64_t{8} << 20, 50 * kMillisecond);
  Loopback& client = world.connect();
  std::uint32_t id = 0;
  for (; id < 100000; ++id) {  // adds and removes one box: retires nodes, needs no more of them
    ask_write(client, id, {id % 2 == 0 ? insert_of(1) : erase_of(1)});
    world.worker().sweep();
    if (client.waiting() == 0) break;
    ASSERT_EQ(client.receive().answer.count, 0u);
  }
  ASSERT_LT(id, 100000u);
  EXPECT_TRUE(world.worker().deadline().has_value());
  ask_range(client, 1u << 30, {.window = window_of(0, 2)});
  world.run();
  ASSERT_EQ(client.waiting(), 1u);
  EXPECT_EQ(client.receive().answer.header.request_id, 1u << 30);
  world.clock.advance(60 * kMillisecond);
  world.run();
  ASSERT_EQ(client.waiting(), 1u);
  EXPECT_EQ(client.receive().answer.header.request_id, id);
}

TEST_F(SessionTest, TellsAnyoneWhoIsInItsGroup) {
  Loopback& client = world_.connect();
  ask_bare(client, 1, protocol::MessageType::kCluster);
  world_.run();
  const auto received = client.receive();
  EXPECT_EQ(received.answer.header.code, 0u);
  EXPECT_EQ(received.answer.count, world_.team.cluster().size());
}

TEST_F(SessionTest, HeartbeatsReachActiveClientsOnly) {
  Loopback& active = world_.connect();
  Loopback& idle = world_.connect();
  EXPECT_EQ(world_.worker().deadline(), std::nullopt);
  ask_range(active, 1, {.window = window_of(0, 1)});
  world_.run();
  ASSERT_TRUE(world_.worker().deadline().has_value());
  for (int i = 0; i < 3; ++i) {
    world_.clock.advance(10 * kMillisecond);
    world_.run();
  }
  EXPECT_EQ(active.heartbeats(), 3u);
  EXPECT_EQ(idle.heartbeats(), 0u);
  protocol::Heartbeat heartbeat{};
  std::memcpy(&heartbeat, active.mailbox().data(), sizeof heartbeat);
  EXPECT_EQ(heartbeat.sequence, 3u);
  EXPECT_EQ(heartbeat.version, world_.shard->tree().snapshot().version());
  EXPECT_EQ(heartbeat.lease_ns, protocol::kNoEnd);
  EXPECT_EQ(heartbeat.staleness_ns, 0u);
  EXPECT_EQ(heartbeat.received, 1u);
  world_.clock.advance(2 * kActiveFor);
  world_.run();
  EXPECT_EQ(world_.worker().deadline(), std::nullopt);  // sleeps for ever
}

TEST_F(SessionTest, WhoWaitsForALongAnswerHearsHeartbeats) {
  Loopback& client = world_.connect();
  ask_bare(client, 1, protocol::MessageType::kLoadBegin);
  ask_load_entries(client, 2, row(5));
  world_.run();
  ASSERT_EQ(client.waiting(), 2u);
  ASSERT_TRUE(world_.shard->combiner().try_acquire());  // so that the tree can't be built
  ask_load_commit(client, 3, 5);
  world_.worker().sweep();
  world_.clock.advance(2 * kActiveFor);
  world_.worker().sweep();
  for (int i = 0; i < 3; ++i) {
    const std::size_t before = client.heartbeats();
    world_.clock.advance(10 * kMillisecond);
    world_.worker().sweep();
    ASSERT_GT(client.heartbeats(), before);
  }
  world_.shard->combiner().release();
  world_.run();
  EXPECT_EQ(client.waiting(), 3u);
}

TEST_F(SessionTest, GivesUpAStreamWhoseClientTakesNothing) {
  fill(30000);
  Loopback& client = world_.connect();
  client.set_room(1);
  ask_range(client, 1, {.window = window_of(0, 30000)});
  world_.run();
  EXPECT_TRUE(client.receive().answer.more());
  world_.clock.advance(kMaxStreamStall + 20 * kMillisecond);
  world_.run();
  client.give_room(10);
  world_.run();
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kDeadlineExceeded);
  ask_range(client, 2, {.window = window_of(0, 1)});
  world_.run();
  EXPECT_EQ(client.receive().answer.count, 1u);
}

TEST_F(SessionTest, DoesNotGiveUpAStreamThatIsSlowItself) {
  fill(kOfManySlices);
  Loopback& client = world_.connect();
  ask_range(client, 1,
            {.window = window_of(0, kOfManySlices), .shape = rtree::ResultShape::kCount});
  Nanoseconds took = 0;
  for (; client.waiting() == 0; took += kSecond) {
    world_.worker().sweep();
    world_.clock.advance(kSecond);
  }
  EXPECT_GT(took, 2 * kMaxStreamStall) << "or it shows nothing";
  EXPECT_EQ(client.receive().answer.count, kOfManySlices);
}

TEST_F(SessionTest, StatisticsComeAsText) {
  Loopback& client = world_.connect();
  ask_bare(client, 3, MessageType::kStats);
  const auto received = client.receive();
  EXPECT_EQ(received.answer.payload.size(), received.answer.count);
  EXPECT_EQ(received.answer.payload[0], std::byte{'{'});
}

TEST_F(SessionTest, LoadsInBulk) {
  Loopback& client = world_.connect(0, 1u << 16);
  ask_bare(client, 1, MessageType::kLoadBegin);
  EXPECT_FALSE(client.receive().answer.is_error());
  const auto all = row(3000);
  for (std::uint32_t i = 0; i < 3; ++i) {
    ask_load_entries(client, 2 + i, {all.begin() + i * 1000, all.begin() + (i + 1) * 1000});
    EXPECT_FALSE(client.receive().answer.is_error());
  }
  EXPECT_EQ(world_.shard->load_slot().staged_bytes(), 3000 * sizeof(rtree::Entry<2>));
  ask_load_commit(client, 9, 3000);
  world_.run();
  EXPECT_EQ(client.receive().answer.count, 3000u);
  EXPECT_EQ(world_.shard->tree().snapshot().size(), 3000u);
  EXPECT_FALSE(world_.shard->load_slot().taken());
  ask_bare(client, 10, MessageType::kLoadBegin);  // not empty any more
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kConflict);
  EXPECT_FALSE(world_.shard->load_slot().taken());
}

TEST_F(SessionTest, OneLoadAtATimeAndNoWritesMeanwhile) {
  Loopback& loader = world_.connect();
  Loopback& other = world_.connect();
  ask_bare(loader, 1, MessageType::kLoadBegin);
  EXPECT_FALSE(loader.receive().answer.is_error());
  ask_bare(other, 1, MessageType::kLoadBegin);
  EXPECT_EQ(code_of(other.receive()), ErrorCode::kConflict);
  ask_write(other, 2, {insert_of(1)});
  EXPECT_EQ(code_of(other.receive()), ErrorCode::kConflict);
  ask_bare(loader, 2, MessageType::kLoadAbort);
  EXPECT_FALSE(loader.receive().answer.is_error());
  ask_write(other, 3, {insert_of(1)});
  world_.run();
  EXPECT_FALSE(other.receive().answer.is_error());
}

TEST_F(SessionTest, ALoadEndsWithItsClient) {
  Loopback& loader = world_.connect();
  Loopback& other = world_.connect();
  ask_bare(loader, 1, MessageType::kLoadBegin);
  loader.hang_up();
  world_.run();
  ask_bare(other, 1, MessageType::kLoadBegin);
  EXPECT_FALSE(other.receive().answer.is_error());
}

TEST_F(SessionTest, AnIdleLoadIsGivenUp) {
  Loopback& loader = world_.connect();
  ask_bare(loader, 1, MessageType::kLoadBegin);
  world_.clock.advance(kMaxLoadIdle + kSecond);
  world_.run();
  EXPECT_FALSE(world_.shard->load_slot().taken());
}

TEST_F(SessionTest, ALoadThatTakesLongIsNotIdle) {
  Loopback& loader = world_.connect(0, 1u << 16);
  ask_bare(loader, 1, MessageType::kLoadBegin);
  loader.receive();
  const auto all = row(700);
  for (std::uint32_t i = 0; i < 7; ++i) {
    world_.clock.advance(kMaxLoadIdle / 2);
    world_.run();
    ask_load_entries(loader, 2 + i, {all.begin() + i * 100, all.begin() + (i + 1) * 100});
    ASSERT_FALSE(loader.receive().answer.is_error()) << i;
  }
  ask_load_commit(loader, 9, 700);
  world_.run();
  EXPECT_EQ(loader.receive().answer.count, 700u);
}

TEST_F(SessionTest, ALoadIsRefusedWhatWouldNotFitBesideItsTree) {
  constexpr std::uint64_t kBudget = std::uint64_t{4} << 20;
  World world(1, kBudget);
  Loopback& loader = world.connect(0, 1u << 16);
  ask_bare(loader, 1, MessageType::kLoadBegin);
  loader.receive();
  const auto some = row(1000);
  std::uint64_t staged = 0;
  for (std::uint32_t i = 0; i < 200; ++i) {
    ask_load_entries(loader, 2 + i, some);
    const auto received = loader.receive();
    if (received.answer.is_error()) {
      EXPECT_EQ(code_of(received), ErrorCode::kOutOfMemory);
      break;
    }
    staged += some.size() * sizeof(rtree::Entry<2>);
  }
  EXPECT_EQ(world.shard->load_slot().staged_bytes(), staged);
  const auto limit = static_cast<std::uint64_t>(kLoadStagingShare * kBudget);
  EXPECT_LE(staged, limit);
  EXPECT_GT(staged + some.size() * sizeof(rtree::Entry<2>), limit);
}

TEST_F(SessionTest, ALoadRefusesABadBoxAndAWrongCount) {
  Loopback& loader = world_.connect();
  ask_bare(loader, 1, MessageType::kLoadBegin);
  static_cast<void>(loader.receive());
  auto entries = row(3);
  std::swap(entries[1].box.min, entries[1].box.max);
  ask_load_entries(loader, 2, entries);
  const auto refused = loader.receive();
  EXPECT_EQ(code_of(refused), ErrorCode::kInvalidArgument);
  EXPECT_NE(protocol::answer_error(refused.answer).message.find("entry 1"), std::string::npos);
  ask_load_entries(loader, 3, row(3));
  EXPECT_FALSE(loader.receive().answer.is_error());
  ask_load_commit(loader, 4, 6);
  EXPECT_EQ(code_of(loader.receive()), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(world_.shard->load_slot().taken());
}

/// Entries that go into an empty tree, one request after the other, until one is refused.
std::uint64_t fill_up(World& world) {
  Loopback& client = world.connect();
  for (std::uint32_t id = 0;; ++id) {
    ask_write(client, id, {insert_of(id)});
    for (world.run(); client.waiting() == 0; world.run()) world.clock.advance(kMillisecond);
    if (client.receive().answer.count != 0) return id;
  }
}

TEST_F(SessionTest, WritersWaitForRetiredMemoryRatherThanBeRefused) {
  World at_once(1, std::uint64_t{4} << 20);
  World after_grace(1, std::uint64_t{4} << 20, 50 * kMillisecond);
  const auto entries = static_cast<double>(fill_up(at_once));
  EXPECT_GT(entries, 20000);
  EXPECT_NEAR(static_cast<double>(fill_up(after_grace)), entries, 0.02 * entries);
}

TEST_F(SessionTest, AFullTreeAnswersWritesWithOutOfMemoryAndStillSearches) {
  World world(1, std::uint64_t{4} << 20);
  Loopback& client = world.connect(0, 1u << 16);
  bool full = false;
  std::uint64_t id = 0;
  for (std::uint32_t request = 0; !full && request < 10000; ++request) {
    std::vector<protocol::Operation<2>> operations;
    for (int i = 0; i < 100; ++i) operations.push_back(insert_of(id++));
    ask_write(client, request, operations);
    world.run();
    const auto received = client.receive();
    const auto failed = protocol::answer_array<protocol::FailedOperation>(received.answer);
    full = !failed->empty();
    if (full) {
      EXPECT_EQ((*failed)[0].code, static_cast<std::uint32_t>(ErrorCode::kOutOfMemory));
    }
  }
  ASSERT_TRUE(full);
  ask_range(client, 1, {.window = window_of(0, 10)});
  world.run();
  EXPECT_EQ(client.receive().answer.count, 10u);
  ask_write(client, 2, {erase_of(3)});
  world.run();
  EXPECT_EQ(client.receive().answer.count, 0u);
}

/// No retired node comes back, for time stands still.
TEST_F(SessionTest, AFullTreeErasesAndUpdatesWithoutWaitingForMemory) {
  World world(1, std::uint64_t{16} << 20, 50 * kMillisecond);
  const auto entries = fill_up(world);
  world.clock.advance(kSecond);
  Loopback& client = world.connect();
  for (std::uint32_t i = 0; i < 60; ++i) {
    ask_write(client, i, {erase_of(i * 100)});
    world.run();
    ASSERT_EQ(client.waiting(), 1u) << i << " of " << entries << " waits";
    EXPECT_EQ(client.receive().answer.count, 0u);
  }
  auto update = insert_of(1);
  update.kind = protocol::OperationKind::kUpdate;
  update.to = test::box_of(0);
  ask_write(client, 1000, {update});
  world.run();
  ASSERT_EQ(client.waiting(), 1u);
  EXPECT_EQ(client.receive().answer.count, 0u);
}

}  // namespace
}  // namespace silurus::server
