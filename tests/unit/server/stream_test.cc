// SPDX-License-Identifier: Apache-2.0

#include "server/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "server/limits.h"
#include "tests/unit/server/world.h"

namespace silurus::server {
namespace {

using test::row;
using test::window_of;
using test::World;

/// All messages of a stream, in messages of at most that many bytes.
std::vector<std::vector<std::byte>> run(Stream<2>& stream, std::size_t message_bytes) {
  std::vector<std::vector<std::byte>> messages;
  while (!stream.finished()) {
    if (!stream.has_message()) {
      stream.advance();
      continue;
    }
    messages.emplace_back(stream.next_bytes(message_bytes));
    EXPECT_LE(messages.back().size(), message_bytes);
    stream.encode_next(messages.back());
  }
  return messages;
}

std::vector<std::uint64_t> ids_of(const std::vector<std::vector<std::byte>>& messages) {
  std::vector<std::uint64_t> ids;
  for (const auto& message : messages) {
    const auto answer = protocol::decode_answer(message);
    EXPECT_EQ(answer->more(), &message != &messages.back());
    EXPECT_EQ(answer->header.request_id, 9u);
    const auto array = protocol::answer_array<std::uint64_t>(*answer);
    for (std::size_t i = 0; i < array->size(); ++i) ids.push_back((*array)[i]);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

class StreamTest : public testing::Test {
 protected:
  StreamTest() { SILURUS_CHECK(world_.shard->load(row(kEntries)).has_value()); }
  static constexpr std::uint64_t kEntries = 20000;
  Stream<2>::Pinned pinned() const {
    return std::make_shared<const rtree::Snapshot<2>>(world_.shard->tree().snapshot());
  }
  World world_;
};

TEST_F(StreamTest, SendsEveryResultOnceWhateverAMessageHolds) {
  for (const std::size_t bytes : {std::size_t{256}, std::size_t{4096}, kMaxSegmentBytes}) {
    Stream<2> stream({9, rtree::RangeQuery<2>{.window = window_of(100, 15000)}}, pinned(), bytes);
    const auto ids = ids_of(run(stream, bytes));
    ASSERT_EQ(ids.size(), 15000u) << bytes;
    for (std::uint64_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], 100 + i);
  }
}

TEST_F(StreamTest, VisitsNoMoreThanASliceAtATime) {
  Stream<2> stream({9, rtree::RangeQuery<2>{.window = window_of(0, kEntries),
                                            .shape = rtree::ResultShape::kCount}},
                   pinned(), 4096);
  stream.advance();
  EXPECT_FALSE(stream.finished());
  EXPECT_FALSE(stream.has_message());
  const auto messages = run(stream, 4096);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(protocol::decode_answer(messages[0])->count, kEntries);
}

TEST_F(StreamTest, GoesOnWhereASearchWasStopped) {
  const rtree::RangeQuery<2> everything{.window = window_of(0, kEntries)};
  const auto snapshot = pinned();
  for (const std::uint64_t stop : {1, 500, 5000}) {
    BegunRange<2> begun;
    begun.cursor.start(everything, snapshot->root(), begun.found);
    ASSERT_FALSE(snapshot->go_on(begun.cursor, UINT32_MAX, stop));
    Stream<2> stream({9, everything}, snapshot, 4096, std::move(begun));
    const auto ids = ids_of(run(stream, 4096));
    ASSERT_EQ(ids.size(), kEntries) << stop;
    for (std::uint64_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], i);
  }
  const rtree::NearestQuery<2> nearest{.point = {{0, 0}}, .k = 3000};
  BegunNearest<2> begun;
  begun.cursor.start(nearest, snapshot->root(), begun.found);
  ASSERT_FALSE(snapshot->go_on(begun.cursor, 10));
  Stream<2> stream({9, nearest}, snapshot, 4096, std::move(begun));
  std::uint64_t next = 0;
  for (const auto& message : run(stream, 4096)) {
    const auto answer = protocol::decode_answer(message);
    const auto array = protocol::answer_array<rtree::Neighbor>(*answer);
    for (std::size_t i = 0; i < array->size(); ++i) EXPECT_EQ((*array)[i].id, next++);
  }
  EXPECT_EQ(next, 3000u);
}

TEST_F(StreamTest, StopsAtTheLimit) {
  Stream<2> stream({9, rtree::RangeQuery<2>{.window = window_of(0, kEntries), .limit = 5000}},
                   pinned(), 1024);
  EXPECT_EQ(ids_of(run(stream, 1024)).size(), 5000u);
}

TEST_F(StreamTest, AnswersFromTheVersionThatItBeganWith) {
  Stream<2> stream({9, rtree::RangeQuery<2>{.window = window_of(0, kEntries)}}, pinned(), 4096);
  stream.advance();
  auto job = std::make_unique<WriteJob<2>>();
  for (std::uint64_t id = 0; id < 1000; ++id) job->operations.push_back(test::erase_of(id * 20));
  ASSERT_EQ(world_.shard->writes().submit(std::move(job)), nullptr);
  while (job == nullptr) job = world_.shard->writes().turn(0, false).done.pop_front();
  ASSERT_TRUE(job->failed.empty());
  EXPECT_EQ(ids_of(run(stream, 4096)).size(), kEntries);
  EXPECT_EQ(world_.shard->tree().snapshot().size(), kEntries - 1000);
}

TEST_F(StreamTest, SendsNeighboursInTheirOrder) {
  constexpr std::uint32_t kNeighbours = 3000;
  Stream<2> stream({9, rtree::NearestQuery<2>{.point = {{0, 0}}, .k = kNeighbours}}, pinned(),
                   4096);
  std::uint64_t next = 0;
  for (const auto& message : run(stream, 4096)) {
    const auto answer = protocol::decode_answer(message);
    const auto array = protocol::answer_array<rtree::Neighbor>(*answer);
    for (std::size_t i = 0; i < array->size(); ++i) EXPECT_EQ((*array)[i].id, next++);
  }
  EXPECT_EQ(next, kNeighbours);
}

}  // namespace
}  // namespace silurus::server
