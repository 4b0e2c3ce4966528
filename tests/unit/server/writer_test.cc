#include "server/writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "server/limits.h"
#include "tests/unit/server/world.h"

namespace silurus::server {
namespace {

using test::erase_of;
using test::insert_of;

class WriterTest : public testing::Test {
 protected:
  WriterTest() {
    auto made = rtree::Tree<2>::create({}, slabs_, clock_);
    SILURUS_CHECK(made.has_value());
    tree_ = std::move(*made);
    writer_ = std::make_unique<Writer<2>>(*tree_);
  }

  WriteJob<2>& submit(std::vector<protocol::Operation<2>> operations) {
    auto& job = jobs_.emplace_back(std::make_unique<WriteJob<2>>());
    job->operations = std::move(operations);
    SILURUS_CHECK(writer_->submit(job.get()));
    return *job;
  }
  static std::vector<protocol::Operation<2>> inserts(std::uint64_t first, std::uint64_t count) {
    std::vector<protocol::Operation<2>> operations;
    for (std::uint64_t i = 0; i < count; ++i) operations.push_back(insert_of(first + i));
    return operations;
  }
  static std::vector<WriteJob<2>*> list(const Writer<2>::Turn& turn) {
    std::vector<WriteJob<2>*> jobs;
    for (WriteJob<2>* job = turn.done; job != nullptr; job = job->next) jobs.push_back(job);
    return jobs;
  }

  rtree::AnonymousSlabs slabs_;
  ManualClock clock_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  std::unique_ptr<Writer<2>> writer_;
  std::vector<std::unique_ptr<WriteJob<2>>> jobs_;
};

TEST_F(WriterTest, AppliesJobsInTheOrderOfSubmission) {
  auto& early_erase = submit({erase_of(1)});
  auto& insert = submit({insert_of(1)});
  auto& erase = submit({erase_of(1)});
  const auto turn = writer_->turn(0);
  EXPECT_EQ(list(turn), (std::vector{&early_erase, &insert, &erase}));
  ASSERT_EQ(early_erase.failed.size(), 1u);
  EXPECT_EQ(early_erase.failed[0].code, static_cast<std::uint32_t>(ErrorCode::kNotFound));
  EXPECT_TRUE(insert.failed.empty());
  EXPECT_TRUE(erase.failed.empty());
  EXPECT_EQ(tree_->snapshot().size(), 0u);
}

TEST_F(WriterTest, PublishesTheRequestsOfABatchAsOneVersion) {
  const auto before = tree_->snapshot().version();
  for (std::uint64_t id = 0; id < 100; ++id) submit({insert_of(id)});
  const auto done = list(writer_->turn(0));
  ASSERT_EQ(done.size(), 100u);
  for (const WriteJob<2>* job : done) EXPECT_EQ(job->version, before + 1);
  EXPECT_EQ(tree_->snapshot().version(), before + 1);
  EXPECT_FALSE(writer_->pending());
}

/// Trackers without a fix all report the same place.
TEST_F(WriterTest, AppliesABatchThatTakesLongInSlices) {
  constexpr std::uint64_t kCrowd = 200'000;
  const rtree::Box<2> place{{0, 0}, {0, 0}};
  std::vector<rtree::Entry<2>> crowd;
  for (std::uint64_t id = 0; id < kCrowd; ++id) crowd.push_back({id, place});
  ASSERT_TRUE(tree_->bulk_load(std::move(crowd), {.threads = 1}));
  const std::uint64_t leaves = kCrowd / rtree::kLeafFanout<2>;
  const auto before = tree_->snapshot().version();
  constexpr std::uint64_t kAbsent = 20;
  std::vector<protocol::Operation<2>> operations;
  const auto erase = [&](std::uint64_t id) {
    operations.push_back({id, protocol::OperationKind::kErase, 0, place, {}});
  };
  for (std::uint64_t i = 0; i < kAbsent; ++i) erase(kCrowd + i);
  erase(7);
  operations.push_back(insert_of(1));
  auto& long_job = submit(std::move(operations));
  auto& next_job = submit({insert_of(2)});
  std::uint64_t turns = 1;
  auto turn = writer_->turn(0);
  for (; turn.done == nullptr; turn = writer_->turn(0), ++turns) {
    ASSERT_TRUE(turn.has_worked && turn.must_return);
    EXPECT_FALSE(writer_->try_acquire()) << "the tree holds half a batch";
    EXPECT_EQ(tree_->snapshot().version(), before);
    EXPECT_EQ(tree_->snapshot().size(), kCrowd);
  }
  EXPECT_EQ(list(turn), (std::vector{&long_job, &next_job}));
  EXPECT_GE(turns, kAbsent * leaves / rtree::kSliceOfWork);
  EXPECT_EQ(long_job.failed.size(), kAbsent);
  EXPECT_EQ(tree_->snapshot().size(), kCrowd + 1);
  EXPECT_EQ(tree_->snapshot().version(), before + 1);
  EXPECT_FALSE(turn.must_return);
  EXPECT_TRUE(writer_->try_acquire());
}

TEST_F(WriterTest, NeverSplitsARequestBetweenVersions) {
  submit(inserts(0, 700));
  submit(inserts(1000, 700));
  submit(inserts(2000, kMaxCombinedOperations - 700));
  const auto first = writer_->turn(0);
  EXPECT_EQ(list(first).size(), 1u);
  EXPECT_TRUE(first.must_return);
  EXPECT_EQ(tree_->snapshot().size(), 700u);
  const auto second = writer_->turn(0);
  EXPECT_EQ(list(second).size(), 2u);
  EXPECT_FALSE(second.must_return);
  EXPECT_EQ(tree_->snapshot().size(), 700u + kMaxCombinedOperations);
}

TEST_F(WriterTest, OperationsFailOneByOne) {
  auto nan_box = insert_of(5);
  nan_box.box.min[1] = std::numeric_limits<double>::quiet_NaN();
  auto unknown = insert_of(6);
  unknown.kind = static_cast<protocol::OperationKind>(77);
  auto& job = submit({insert_of(1), erase_of(2), nan_box, unknown, insert_of(3)});
  static_cast<void>(writer_->turn(0));
  ASSERT_EQ(job.failed.size(), 3u);
  EXPECT_EQ(job.failed[0].index, 1u);
  EXPECT_EQ(job.failed[0].code, static_cast<std::uint32_t>(ErrorCode::kNotFound));
  EXPECT_EQ(job.failed[1].index, 2u);
  EXPECT_EQ(job.failed[1].code, static_cast<std::uint32_t>(ErrorCode::kInvalidArgument));
  EXPECT_EQ(job.failed[2].index, 3u);
  EXPECT_EQ(tree_->snapshot().size(), 2u);
}

TEST_F(WriterTest, ATurnDoesNothingWhileAnotherHasTheRole) {
  submit({insert_of(1)});
  ASSERT_TRUE(writer_->try_acquire());
  const auto turn = writer_->turn(0);
  EXPECT_EQ(turn.done, nullptr);
  EXPECT_FALSE(turn.must_return);  // the holder will see the job
  writer_->release();
  EXPECT_TRUE(writer_->pending());
  EXPECT_EQ(list(writer_->turn(0)).size(), 1u);
}

TEST_F(WriterTest, RefusesMoreThanMayWait) {
  std::uint64_t taken = 0;
  for (;;) {
    auto job = std::make_unique<WriteJob<2>>();
    job->operations.assign(kMaxBatchOperations, erase_of(1));  // which is not there
    if (!writer_->submit(job.get())) break;
    jobs_.push_back(std::move(job));
    taken += kMaxBatchOperations;
  }
  EXPECT_LE(taken, kMaxQueuedOperations);
  EXPECT_GT(taken, kMaxQueuedOperations - 2 * kMaxBatchOperations);
  std::size_t given_back = 0;
  const auto take_turns_until = [&](std::size_t count) {
    for (int turns = 0; turns < 10'000 && given_back < count; ++turns) {
      given_back += list(writer_->turn(0)).size();
    }
  };
  take_turns_until(1);
  submit({insert_of(1)});  // there is room again
  take_turns_until(jobs_.size());
  EXPECT_EQ(given_back, jobs_.size());
  EXPECT_FALSE(writer_->pending()) << "the one that was refused does not wait";
}

TEST_F(WriterTest, GivesEachJobOfManyThreadsBackOnce) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kJobs = 2000;
  std::atomic<std::uint64_t> given_back{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::vector<std::unique_ptr<WriteJob<2>>> mine;
        const auto take_turns = [&] {
          Writer<2>::Turn turn;
          do {
            turn = writer_->turn(0);
            std::uint64_t count = 0;
            for (auto* job = turn.done; job != nullptr; job = job->next) ++count;
            given_back += count;
          } while (turn.must_return);
        };
        for (std::uint64_t i = 0; i < kJobs; ++i) {
          auto& job = mine.emplace_back(std::make_unique<WriteJob<2>>());
          job->operations = {insert_of(t * kJobs + i)};
          SILURUS_CHECK(writer_->submit(job.get()));
          take_turns();
        }
        // No thread may leave while others may still be looking at its jobs.
        while (given_back.load() != kThreads * kJobs) std::this_thread::yield();
      });
    }
  }
  EXPECT_EQ(tree_->snapshot().size(), kThreads * kJobs);
  EXPECT_FALSE(writer_->pending());
}

}  // namespace
}  // namespace silurus::server
