// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "server/limits.h"
#include "server/session.h"
#include "tests/unit/server/session_fixture.h"

// Old versions, which clients search, and which sessions hold for them.

namespace silurus::server {
namespace {

using test::ask_range;
using test::ask_task;
using test::ask_write;
using test::box_of;
using test::code_of;
using test::erase_of;
using test::insert_of;
using test::Loopback;
using test::row;
using test::SessionTest;
using test::window_of;
using test::World;

constexpr std::uint64_t kMemory = std::uint64_t{64} << 20;
HistoryOptions short_history() { return {.age = kSecond, .versions = kMinRetainVersions}; }

/// Inserts the entry; the version that has it.
rtree::Version insert(World& world, Loopback& client, std::uint32_t id) {
  ask_write(client, id, {insert_of(id)});
  world.run();
  return client.receive().answer.version;
}
/// Asks for the version to be held, or held for longer; whether it is.
bool holds(World& world, Loopback& client, rtree::Version version) {
  client.request(sizeof(protocol::HoldRequest),
                 [&](std::span<std::byte> out) { protocol::encode_hold(out, 1, version); });
  world.run();
  return !client.receive().answer.is_error();
}
void ask_range_at(Loopback& client, std::uint32_t request, rtree::Version version,
                  const rtree::Box<2>& window) {
  client.request(sizeof(protocol::AtRequest) + sizeof(protocol::RangeRequest<2>),
                 [&](std::span<std::byte> out) {
                   protocol::encode_range<2>(
                       out.subspan(protocol::encode_at(out, request, version)), request,
                       {.window = window});
                 });
}

TEST_F(SessionTest, RenewsTheHoldOfAVersionThatIsForgottenMeanwhile) {
  World world(1, kMemory, 0, short_history());
  Loopback& reader = world.connect();
  Loopback& writer = world.connect();
  const rtree::Version version = insert(world, writer, 0);
  EXPECT_TRUE(holds(world, reader, version));
  for (std::uint32_t id = 1; id < 200; ++id) insert(world, writer, id);
  EXPECT_FALSE(holds(world, writer, version)) << "it is forgotten";
  for (int renewal = 0; renewal < 5; ++renewal) {
    world.clock.advance(kDefaultHoldLease / 2);
    EXPECT_TRUE(holds(world, reader, version));
  }
  world.clock.advance(2 * kDefaultHoldLease);
  EXPECT_FALSE(holds(world, reader, version)) << "it is not held any more";
}

/// A version of the server is asked of each of its trees by the same number.
TEST_F(SessionTest, RenewsTheHoldOfAVersionOfAnotherCollectionThatIsForgottenMeanwhile) {
  World world(1, std::uint64_t{256} << 20, 0, {.age = kSecond});
  Loopback& writer = world.connect();
  ask_task(writer, 1, protocol::TaskKind::kCreate, 2, 0, "roads");
  world.run();
  ASSERT_FALSE(writer.receive().answer.is_error());
  const rtree::Version version = insert(world, world.connect(0, 4096, "roads"), 2);
  Loopback& reader = world.connect();
  ASSERT_TRUE(holds(world, reader, version));
  for (std::uint64_t id = 0; id < 10; ++id) {
    world.clock.advance(kSecond);
    ask_write(writer, 2, {insert_of(id)});
    world.run();
    writer.receive();
    EXPECT_TRUE(holds(world, reader, version)) << id;
  }
  EXPECT_FALSE(holds(world, writer, version)) << "it is forgotten";
}

TEST_F(SessionTest, AHoldLastsFromWhenItsClientAskedNotFromTheSweepBefore) {
  World world(1, kMemory, 0, short_history());
  Loopback& reader = world.connect();
  Loopback& writer = world.connect();
  const rtree::Version version = insert(world, writer, 0);
  world.clock.advance(kSecond / 2);  // and no sweep before the client asks
  ASSERT_TRUE(holds(world, reader, version));
  for (std::uint32_t id = 1; id < 200; ++id) insert(world, writer, id);
  ASSERT_FALSE(holds(world, writer, version)) << "it is forgotten";
  world.clock.advance(kDefaultHoldLease * 97 / 100);
  world.run();
  EXPECT_TRUE(holds(world, reader, version)) << "the client's lease is not over";
}

/// Bytes that old versions have some time after one was held, or was not.
std::uint64_t bytes_held_after_a_lease(bool is_held) {
  World world(1, kMemory, 0, short_history());
  SILURUS_CHECK(world.shard->load(row(10'000)).has_value());
  Loopback& reader = world.connect();
  Loopback& writer = world.connect();
  const rtree::Version version = insert(world, writer, 20'000);
  EXPECT_TRUE(!is_held || holds(world, reader, version));
  const auto write_all_over = [&] {
    for (std::uint32_t i = 0; i < 200; ++i) {
      ask_write(writer, i, {erase_of(i * 50), insert_of(i * 50)});
      world.run();
      EXPECT_EQ(writer.receive().answer.count, 0u);
    }
  };
  write_all_over();
  const std::uint64_t before = world.shard->tree().stats().bytes_held;
  EXPECT_TRUE(!is_held || before > 100 * rtree::kChunkBytes<2>) << before;
  for (int i = 0; i < 60; ++i) {
    world.clock.advance(kDefaultHoldLease / 20);
    world.run();
  }
  EXPECT_EQ(world.worker().deadline(), std::nullopt) << "no session is active any more";
  write_all_over();
  return world.shard->tree().stats().bytes_held;
}

TEST_F(SessionTest, AHoldThatIsOverHoldsNothingThoughItsClientIsThere) {
  EXPECT_EQ(bytes_held_after_a_lease(true), bytes_held_after_a_lease(false));
}

TEST_F(SessionTest, TheVersionOfABulkLoadCanBeAskedLater) {
  World world(1, kMemory, 0, {.age = 600 * kSecond});
  SILURUS_CHECK(world.shard->load(row(1000)).has_value());
  const rtree::Version loaded = world.shard->tree().snapshot().version();
  Loopback& client = world.connect();
  ASSERT_EQ(insert(world, client, 5000), loaded + 1);
  ask_range_at(client, 7, loaded, window_of(0, 10'000));
  world.run();
  std::vector<std::uint64_t> ids;
  while (client.waiting() != 0) {
    const auto received = client.receive();
    ASSERT_FALSE(received.answer.is_error());
    EXPECT_EQ(received.answer.version, loaded);
    const auto array = protocol::answer_array<std::uint64_t>(received.answer);
    for (std::size_t i = 0; i < array->size(); ++i) ids.push_back((*array)[i]);
  }
  std::ranges::sort(ids);
  ASSERT_EQ(ids.size(), 1000u);
  for (std::uint64_t id = 0; id < ids.size(); ++id) ASSERT_EQ(ids[id], id);
}

TEST_F(SessionTest, OldVersionsTakeTheirShareOfTheMemoryAndNoMore) {
  constexpr std::uint64_t kBudget = std::uint64_t{8} << 20;
  constexpr std::uint64_t kEntries = 20'000;
  World world(1, kBudget, 0, {.age = 600 * kSecond, .versions = kMaxRetainVersions});
  SILURUS_CHECK(world.shard->load(row(kEntries)).has_value());
  Loopback& client = world.connect();
  std::uint64_t most = 0;
  for (std::uint32_t i = 0; i < kEntries; ++i) {  // far apart, so that each needs other nodes
    auto update = insert_of(i * 7919 % kEntries);
    update.kind = protocol::OperationKind::kUpdate;
    update.to = box_of(update.id);
    update.to.max[1] += 1;
    ask_write(client, i, {update});
    world.run();
    ASSERT_EQ(client.waiting(), 1u) << "it waits for memory that old versions have";
    ASSERT_EQ(client.receive().answer.count, 0u);
    most = std::max(most, world.shard->tree().stats().bytes_held);
  }
  EXPECT_GT(most, kBudget / kHistoryShare / 2) << "or it shows nothing";
  // One that is given up gives back at the next look of the writer.
  EXPECT_LE(most, kBudget / kHistoryShare + 16 * rtree::kChunkBytes<2>);
}

TEST_F(SessionTest, SearchesOfOldVersionsThatWaitHoldNothing) {
  World world(1, kMemory, 0, short_history());
  SILURUS_CHECK(world.shard->load(row(30000)).has_value());
  Loopback& reader = world.connect();
  Loopback& writer = world.connect();
  reader.set_room(1);
  std::uint32_t id = 1;
  const auto write = [&](int times) {
    for (; times > 0; --times, ++id) {
      ask_write(writer, id, {insert_of(40000 + id)});
      world.run();
      ASSERT_FALSE(writer.receive().answer.is_error());
    }
  };
  for (std::uint32_t request = 0; request < 40; ++request) {
    write(5);
    ask_range_at(reader, request, world.shard->tree().snapshot().version(), window_of(0, 30000));
    world.run();
  }
  write(200);
  const rtree::TreeStats stats = world.shard->tree().stats();
  // The versions of the history, and that of the one stream; each holds the few nodes of a path.
  EXPECT_LE(stats.bytes_held, (kMinRetainVersions + 2) * 60 * rtree::kChunkBytes<2>);
  // The first is answered, the others hear that their versions are gone.
  std::size_t refused = 0;
  std::uint64_t found = 0;
  for (reader.give_room(1000); reader.waiting() != 0; world.run()) {
    const auto received = reader.receive();
    if (received.answer.is_error()) {
      EXPECT_EQ(code_of(received), ErrorCode::kNotFound);
      ++refused;
    } else {
      EXPECT_EQ(received.answer.header.request_id, 0u);
      found += received.answer.count;
    }
  }
  EXPECT_EQ(found, 30000u);
  EXPECT_EQ(refused, 39u);
}

TEST_F(SessionTest, EndsStreamsOfOldVersionsWhenWritersNeedTheirMemory) {
  constexpr std::uint32_t kEntries = 150000;
  World world(1, std::uint64_t{16} << 20);
  SILURUS_CHECK(world.shard->load(row(kEntries)).has_value());
  Loopback& reader = world.connect();
  Loopback& writer = world.connect();
  reader.set_room(1);
  ask_range(reader, 1, {.window = window_of(0, kEntries)});
  world.run();
  const auto retired = [&] { return world.shard->tree().stats().bytes_retired; };
  const std::uint64_t limit = world.shard->tree().stats().bytes_retired_limit;
  std::uint32_t id = 0;
  const auto write = [&] {  // far apart from the ones before, so that each needs other nodes
    ask_write(writer, id, {erase_of(id * 7919 % kEntries)});
    ++id;
    world.run();
  };
  for (; retired() <= limit && id < kEntries; writer.receive()) write();
  write();
  EXPECT_EQ(writer.waiting(), 0u) << "the stream holds it back";
  const auto let_pass = [&](Nanoseconds time) {
    for (; time > 0; time -= 10 * kMillisecond) {
      world.clock.advance(10 * kMillisecond);
      world.run();
    }
  };
  let_pass(kStreamTimeWhenShort - 10 * kMillisecond);
  EXPECT_GT(retired(), limit) << "the stream has its time";
  let_pass(20 * kMillisecond);
  while (writer.waiting() != 0) writer.receive();
  for (int i = 0; i < 100; ++i, writer.receive()) {
    write();
    ASSERT_EQ(writer.waiting(), 1u);
  }
  EXPECT_LT(retired(), limit / 2);
  EXPECT_TRUE(reader.receive().answer.more());
  reader.give_room(1);
  world.run();
  EXPECT_EQ(code_of(reader.receive()), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace silurus::server
