// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/limits.h"
#include "server/session.h"
#include "tests/unit/server/session_fixture.h"

// Sessions that are for a collection: each for the one that it named when it connected.

namespace silurus::server {
namespace {

using protocol::TaskKind;
using test::ask_nearest;
using test::ask_range;
using test::ask_task;
using test::ask_write;
using test::code_of;
using test::insert_of;
using test::Loopback;
using test::SessionTest;
using test::window_of;
using test::World;

constexpr ErrorCode kDone{};  ///< in an answer: no error

class SessionCollections : public SessionTest {
 protected:
  SessionCollections() { operator_ = &world_.connect(); }

  Loopback& connect(std::string_view collection) { return world_.connect(0, 4096, collection); }
  ErrorCode order(TaskKind kind, std::string_view text, std::uint64_t dimensions = 2) {
    ask_task(*operator_, 1, kind, kind == TaskKind::kCreate ? dimensions : 0, 0, text);
    world_.run();
    return code_of(operator_->receive());
  }
  ErrorCode insert(Loopback& client, std::uint64_t id) {
    ask_write(client, 2, {insert_of(id)});
    world_.run();
    return code_of(client.receive());
  }
  std::uint64_t count(Loopback& client) {
    ask_range(client, 3, everything());
    world_.run();
    return client.receive().answer.count;
  }
  static rtree::RangeQuery<2> everything() {
    return {.window = window_of(0, 1000), .shape = rtree::ResultShape::kCount};
  }

  World world_;
  Loopback* operator_ = nullptr;
};

TEST_F(SessionCollections, WritesAreForThatOfTheConnection) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = connect("roads");
  EXPECT_EQ(insert(roads, 1), kDone);
  EXPECT_EQ(insert(roads, 2), kDone);
  EXPECT_EQ(insert(*operator_, 1), kDone);
  EXPECT_EQ(count(roads), 2u);
  EXPECT_EQ(count(*operator_), 1u);
}

TEST_F(SessionCollections, SearchesOfSeveralInOneSweepAreEachOfTheirOwn) {
  for (const char* name : {"a", "b"}) ASSERT_EQ(order(TaskKind::kCreate, name), kDone);
  Loopback& a = connect("a");
  Loopback& b = connect("b");
  insert(a, 1);
  for (std::uint64_t id = 0; id < 5; ++id) insert(b, id);
  ask_range(a, 1, everything());
  ask_nearest(b, 2, {.point = {{0, 0}}, .k = 10});
  ask_range(b, 3, everything());
  ask_range(*operator_, 4, everything());
  ask_nearest(a, 5, {.point = {{0, 0}}, .k = 10});
  world_.run();
  EXPECT_EQ(a.receive().answer.count, 1u);
  EXPECT_EQ(a.receive().answer.count, 1u);
  EXPECT_EQ(b.receive().answer.count, 5u);
  EXPECT_EQ(b.receive().answer.count, 5u);
  EXPECT_EQ(operator_->receive().answer.count, 0u);
}

TEST_F(SessionCollections, OfOneThatIsDroppedNothingIsAnsweredAnyMore) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = connect("roads");
  insert(roads, 1);
  ASSERT_EQ(order(TaskKind::kDrop, "roads"), kDone);
  ask_range(roads, 1, everything());
  ask_task(roads, 2, TaskKind::kHistory, 0, 0);
  ask_write(roads, 3, {insert_of(2)});
  world_.run();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(code_of(roads.receive()), ErrorCode::kNoCollection);
  EXPECT_FALSE(roads.closed());
}

TEST_F(SessionCollections, AWriteBehindADropInOneBatchIsRefused) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = connect("roads");
  ask_write(roads, 1, {insert_of(1)});
  ask_task(*operator_, 1, TaskKind::kDrop, 0, 0, "roads");
  ask_write(roads, 2, {insert_of(2)});
  world_.run();
  EXPECT_EQ(code_of(roads.receive()), kDone);
  EXPECT_EQ(code_of(roads.receive()), ErrorCode::kNoCollection);
  EXPECT_EQ(code_of(operator_->receive()), kDone);
}

TEST_F(SessionCollections, AnAnswerUnderWayEndsWhenItsCollectionIsDropped) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = world_.connect(0, 256, "roads");
  Loopback& loader = connect("roads");
  for (std::uint64_t first = 0; first < 2 * kInlineResults; first += 32) {
    std::vector<protocol::Operation<2>> operations;
    for (std::uint64_t id = first; id < first + 32; ++id) operations.push_back(insert_of(id));
    ask_write(loader, 2, operations);
    world_.run();
    loader.receive();
  }
  roads.set_room(1);
  ask_range(roads, 1,
            {.window = window_of(0, 2 * kInlineResults), .shape = rtree::ResultShape::kEntries});
  world_.run();
  EXPECT_EQ(code_of(roads.receive()), kDone);
  ASSERT_EQ(order(TaskKind::kDrop, "roads"), kDone);
  roads.give_room(1000);
  world_.run();
  ErrorCode last = kDone;
  while (roads.waiting() > 0) last = code_of(roads.receive());
  EXPECT_EQ(last, ErrorCode::kNoCollection);
}

TEST_F(SessionCollections, AReplacementIsWhatNewConnectionsFind) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  ASSERT_EQ(order(TaskKind::kCreate, "roads-new"), kDone);
  Loopback& before = connect("roads");
  Loopback& loader = connect("roads-new");
  insert(before, 1);
  for (std::uint64_t id = 0; id < 3; ++id) insert(loader, id);
  ASSERT_EQ(order(TaskKind::kReplace, "roads-new\nroads"), kDone);
  EXPECT_EQ(insert(before, 9), ErrorCode::kNoCollection);
  EXPECT_EQ(insert(loader, 9), ErrorCode::kNoCollection);
  EXPECT_EQ(count(connect("roads")), 3u);
}

class SessionJoins : public SessionCollections {
 protected:
  void ask_join(Loopback& client, std::string_view other, double within = 0) {
    client.request(sizeof(protocol::JoinRequest), [&](std::span<std::byte> out) {
      protocol::encode_join(out, 7, protocol::collection_key(other), {within});
    });
    world_.run();
  }
  /// Pairs of all segments of an answer.
  static std::vector<IdPair> pairs_of(Loopback& client) {
    std::vector<IdPair> pairs;
    for (bool more = true; more;) {
      const auto received = client.receive();
      EXPECT_EQ(code_of(received), kDone);
      const auto part = protocol::answer_array<IdPair>(received.answer);
      for (std::size_t i = 0; i < part->size(); ++i) pairs.push_back((*part)[i]);
      more = received.answer.more();
    }
    std::ranges::sort(pairs);
    return pairs;
  }
};

TEST_F(SessionJoins, FindPairsOfTwoCollections) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = connect("roads");
  for (const std::uint64_t id : {1, 3}) insert(roads, id);
  for (const std::uint64_t id : {1, 2}) insert(*operator_, id);
  ask_join(roads, "default");
  EXPECT_EQ(pairs_of(roads), (std::vector<IdPair>{{1, 1}}));
  ask_join(*operator_, "roads", 1);  // boxes are one apart
  EXPECT_EQ(pairs_of(*operator_), (std::vector<IdPair>{{1, 1}, {2, 1}, {2, 3}}));
}

TEST_F(SessionJoins, OfMoreThanAMessageComeInSegments) {
  for (std::uint64_t id = 0; id < 100; ++id) insert(*operator_, id);
  ask_join(*operator_, "default", 1000);
  const auto pairs = pairs_of(*operator_);
  ASSERT_EQ(pairs.size(), 100u * 100u);
  EXPECT_EQ(std::ranges::adjacent_find(pairs), pairs.end());
}

TEST_F(SessionJoins, WithACollectionThatIsNotThereAreRefused) {
  ask_join(*operator_, "rivers");
  EXPECT_EQ(code_of(operator_->receive()), ErrorCode::kNotFound);
}

TEST_F(SessionJoins, OfACollectionThatIsGoneAreRefused) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = connect("roads");
  ASSERT_EQ(order(TaskKind::kDrop, "roads"), kDone);
  ask_join(roads, "default");
  EXPECT_EQ(code_of(roads.receive()), ErrorCode::kNoCollection);
}

/// A thread that sleeps until something arrives would hold what is dropped for ever.
TEST(WorkerOfCollections, IsWokenWhenOneOfItsCollectionsIsGone) {
  World world(2);
  Loopback& operating = world.connect(0);
  ask_task(operating, 1, TaskKind::kCreate, 2, 0, "roads");
  world.run();
  world.connect(1, 4096, "roads");
  world.run();
  const auto roads = world.shard->served().collections->find(protocol::collection_key("roads"));
  int wakes = 0;
  world.worker(1).set_waker([&] { ++wakes; });
  ask_task(operating, 2, TaskKind::kDrop, 0, 0, "roads");
  for (int i = 0; i < 10; ++i) world.worker(0).sweep();
  EXPECT_GT(wakes, 0);
  const long before = roads.use_count();
  world.worker(1).sweep();
  EXPECT_LT(roads.use_count(), before) << "the session holds it no more";
}

TEST_F(SessionCollections, AClearedOneIsEmptyForThoseThatHaveIt) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = connect("roads");
  insert(roads, 1);
  ASSERT_EQ(order(TaskKind::kClear, "roads"), kDone);
  EXPECT_EQ(count(roads), 0u);
  EXPECT_EQ(insert(roads, 2), kDone);
}

TEST_F(SessionCollections, OrdersThatMakeNoSenseAreRefused) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  EXPECT_EQ(order(TaskKind::kCreate, "roads"), ErrorCode::kConflict);
  EXPECT_EQ(order(TaskKind::kCreate, "a b"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(order(TaskKind::kCreate, "deep", 3), ErrorCode::kUnsupported);
  EXPECT_EQ(order(TaskKind::kDrop, "rivers"), ErrorCode::kNotFound);
  EXPECT_EQ(order(TaskKind::kDrop, "default"), ErrorCode::kConflict);
  EXPECT_EQ(order(TaskKind::kRename, "roads\ndefault"), ErrorCode::kConflict);
  EXPECT_EQ(order(TaskKind::kRename, "roads"), ErrorCode::kInvalidArgument);
}

TEST_F(SessionCollections, AnOrderIsAVersionOfItsOwnBetweenTheWritesBesideIt) {
  ask_write(*operator_, 1, {insert_of(1)});
  ask_task(*operator_, 2, TaskKind::kCreate, 2, 0, "roads");
  ask_write(*operator_, 3, {insert_of(2)});
  world_.run();
  const rtree::Version first = operator_->receive().answer.version;
  operator_->receive();
  EXPECT_EQ(operator_->receive().answer.version, first + 2);
}

TEST_F(SessionCollections, HeartbeatsTellTheVersionOfTheTreeThatTheyAreFor) {
  ASSERT_EQ(order(TaskKind::kCreate, "roads"), kDone);
  Loopback& roads = connect("roads");
  ask_write(roads, 1, {insert_of(1)});
  world_.run();
  const rtree::Version of_roads = roads.receive().answer.version;
  insert(*operator_, 1);
  ask_range(roads, 2, everything());
  world_.clock.advance(20 * kMillisecond);
  world_.run();
  protocol::Heartbeat heartbeat;
  ASSERT_GE(roads.mailbox().size(), sizeof heartbeat);
  std::memcpy(&heartbeat, roads.mailbox().data(), sizeof heartbeat);
  EXPECT_EQ(heartbeat.version, of_roads);
}

}  // namespace
}  // namespace silurus::server
