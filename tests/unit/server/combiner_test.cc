// SPDX-License-Identifier: Apache-2.0

#include "server/combiner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "server/limits.h"
#include "tests/support/crowd.h"
#include "tests/unit/server/world.h"

namespace silurus::server {
namespace {

using test::erase_of;
using test::insert_of;

class CombinerTest : public testing::Test {
 protected:
  CombinerTest() {
    auto made = rtree::Tree<2>::create({}, slabs_, clock_);
    SILURUS_CHECK(made.has_value());
    tree_ = made->get();
    collections_ = std::make_unique<ServedCollections<2>>(
        replication::Collections<2>(std::move(*made)), HistoryOptions{});
    combiner_ = std::make_unique<Combiner<2>>(
        Combiner<2>::Parts{*collections_, admission_, nullptr, clock_, executor_});
  }

  using Done = std::vector<std::unique_ptr<WriteJob<2>>>;
  static std::unique_ptr<WriteJob<2>> job_of(std::vector<protocol::Operation<2>> operations) {
    auto job = std::make_unique<WriteJob<2>>();
    job->operations = std::move(operations);
    return job;
  }
  /// The job, which is to be looked at only once it is done.
  const WriteJob<2>* submit(std::vector<protocol::Operation<2>> operations) {
    auto job = job_of(std::move(operations));
    const WriteJob<2>* const submitted = job.get();
    SILURUS_CHECK(combiner_->submit(std::move(job)) == nullptr);
    return submitted;
  }
  Done turn() { return list(combiner_->turn(0, false)); }
  static std::vector<protocol::Operation<2>> inserts(std::uint64_t first, std::uint64_t count) {
    std::vector<protocol::Operation<2>> operations;
    for (std::uint64_t i = 0; i < count; ++i) operations.push_back(insert_of(first + i));
    return operations;
  }
  static Done list(WriteTurn<2> turn) {
    Done jobs;
    while (auto job = turn.done.pop_front()) jobs.push_back(std::move(job));
    return jobs;
  }

  rtree::AnonymousSlabs slabs_;
  ManualClock clock_;
  std::unique_ptr<ServedCollections<2>> collections_;
  rtree::Tree<2>* tree_ = nullptr;
  AdmissionControl admission_;
  InlineExecutor executor_;
  std::unique_ptr<Combiner<2>> combiner_;
};

TEST_F(CombinerTest, AppliesJobsInTheOrderOfSubmission) {
  const auto* const early_erase = submit({erase_of(1)});
  const auto* const insert = submit({insert_of(1)});
  const auto* const erase = submit({erase_of(1)});
  const Done done = turn();
  ASSERT_EQ(done.size(), 3u);
  EXPECT_EQ(done[0].get(), early_erase);
  EXPECT_EQ(done[1].get(), insert);
  EXPECT_EQ(done[2].get(), erase);
  ASSERT_EQ(early_erase->failed.size(), 1u);
  EXPECT_EQ(early_erase->failed[0].code, static_cast<std::uint32_t>(ErrorCode::kNotFound));
  EXPECT_TRUE(insert->failed.empty());
  EXPECT_TRUE(erase->failed.empty());
  EXPECT_EQ(tree_->snapshot().size(), 0u);
}

TEST_F(CombinerTest, AppliesEveryOperationOfEachJobOfABatch) {
  for (std::uint64_t id = 0; id < 30; id += 3) {
    submit({insert_of(id), insert_of(id + 1), insert_of(id + 2)});
  }
  EXPECT_EQ(turn().size(), 10u);
  EXPECT_EQ(tree_->snapshot().size(), 30u);
}

TEST_F(CombinerTest, PublishesTheRequestsOfABatchAsOneVersion) {
  const auto before = tree_->snapshot().version();
  for (std::uint64_t id = 0; id < 100; ++id) submit({insert_of(id)});
  const Done done = turn();
  ASSERT_EQ(done.size(), 100u);
  for (const auto& job : done) EXPECT_EQ(job->version, before + 1);
  EXPECT_EQ(tree_->snapshot().version(), before + 1);
  EXPECT_FALSE(combiner_->pending());
}

/// Neither boxes nor ids say where to look for what is absent.
TEST_F(CombinerTest, AppliesABatchThatTakesLongInSlices) {
  constexpr std::uint64_t kCrowd = 200'000;
  const rtree::Box<2> place{{0, 0}, {0, 0}};
  std::vector<rtree::Entry<2>> crowd;
  for (std::uint64_t i = 0; i < kCrowd; ++i) {
    crowd.push_back(testing_support::crowd_entry(i, kCrowd));
  }
  const rtree::Entry<2> present = crowd[7];
  ASSERT_TRUE(tree_->bulk_load(std::move(crowd), {.threads = 1}));
  const std::uint64_t leaves = kCrowd / rtree::kLeafFanout<2>;
  const auto before = tree_->snapshot().version();
  constexpr std::uint64_t kAbsent = 20;
  std::vector<protocol::Operation<2>> operations;
  const auto erase = [&](const rtree::Entry<2>& entry) {
    operations.push_back({entry.id, protocol::OperationKind::kErase, 0, entry.box, {}});
  };
  for (std::uint64_t i = 0; i < kAbsent; ++i) erase({kCrowd + 2 * i + 1, place});
  erase(present);
  operations.push_back(insert_of(1));
  const auto* const long_job = submit(std::move(operations));
  const auto* const next_job = submit({insert_of(2)});
  std::uint64_t turns = 1;
  auto turn = combiner_->turn(0, false);
  for (; turn.done.empty(); turn = combiner_->turn(0, false), ++turns) {
    ASSERT_TRUE(turn.has_worked && turn.must_return);
    EXPECT_FALSE(combiner_->try_acquire()) << "the tree holds half a batch";
    EXPECT_EQ(tree_->snapshot().version(), before);
    EXPECT_EQ(tree_->snapshot().size(), kCrowd);
  }
  const bool must_return = turn.must_return;
  const Done done = list(std::move(turn));
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0].get(), long_job);
  EXPECT_EQ(done[1].get(), next_job);
  EXPECT_GE(turns, kAbsent * leaves / rtree::kSliceOfWork);
  EXPECT_EQ(long_job->failed.size(), kAbsent);
  EXPECT_EQ(tree_->snapshot().size(), kCrowd + 1);
  EXPECT_EQ(tree_->snapshot().version(), before + 1);
  EXPECT_FALSE(must_return);
  EXPECT_TRUE(combiner_->try_acquire());
}

TEST_F(CombinerTest, NeverSplitsARequestBetweenVersions) {
  submit(inserts(0, 700));
  submit(inserts(1000, 700));
  submit(inserts(2000, kMaxCombinedOperations - 700));
  auto first = combiner_->turn(0, false);
  EXPECT_TRUE(first.must_return);
  EXPECT_EQ(list(std::move(first)).size(), 1u);
  EXPECT_EQ(tree_->snapshot().size(), 700u);
  auto second = combiner_->turn(0, false);
  EXPECT_FALSE(second.must_return);
  EXPECT_EQ(list(std::move(second)).size(), 2u);
  EXPECT_EQ(tree_->snapshot().size(), 700u + kMaxCombinedOperations);
}

TEST_F(CombinerTest, OperationsFailOneByOne) {
  auto nan_box = insert_of(5);
  nan_box.box.min[1] = std::numeric_limits<double>::quiet_NaN();
  auto unknown = insert_of(6);
  unknown.kind = static_cast<protocol::OperationKind>(77);
  submit({insert_of(1), erase_of(2), nan_box, unknown, insert_of(3)});
  const Done done = turn();
  ASSERT_EQ(done.size(), 1u);
  const WriteJob<2>& job = *done[0];
  ASSERT_EQ(job.failed.size(), 3u);
  EXPECT_EQ(job.failed[0].index, 1u);
  EXPECT_EQ(job.failed[0].code, static_cast<std::uint32_t>(ErrorCode::kNotFound));
  EXPECT_EQ(job.failed[1].index, 2u);
  EXPECT_EQ(job.failed[1].code, static_cast<std::uint32_t>(ErrorCode::kInvalidArgument));
  EXPECT_EQ(job.failed[2].index, 3u);
  EXPECT_EQ(tree_->snapshot().size(), 2u);
}

TEST_F(CombinerTest, ATurnDoesNothingWhileAnotherHasTheRole) {
  submit({insert_of(1)});
  ASSERT_TRUE(combiner_->try_acquire());
  const auto in_vain = combiner_->turn(0, false);
  EXPECT_TRUE(in_vain.done.empty());
  EXPECT_FALSE(in_vain.must_return);  // the holder will see the job
  combiner_->release();
  EXPECT_TRUE(combiner_->pending());
  EXPECT_EQ(turn().size(), 1u);
}

TEST_F(CombinerTest, RefusesMoreThanMayWait) {
  // Erasures of what is not there.
  const std::vector<protocol::Operation<2>> operations(kMaxBatchOperations, erase_of(1));
  std::size_t jobs = 0;
  while (combiner_->submit(job_of(operations)) == nullptr) ++jobs;
  const std::uint64_t taken = jobs * kMaxBatchOperations;
  EXPECT_LE(taken, kMaxQueuedOperations);
  EXPECT_GT(taken, kMaxQueuedOperations - 2 * kMaxBatchOperations);
  std::size_t given_back = 0;
  const auto take_turns_until = [&](std::size_t count) {
    for (int turns = 0; turns < 10'000 && given_back < count; ++turns) given_back += turn().size();
  };
  take_turns_until(1);
  submit({insert_of(1)});  // there is room again
  take_turns_until(jobs + 1);
  EXPECT_EQ(given_back, jobs + 1);
  EXPECT_FALSE(combiner_->pending()) << "the one that was refused does not wait";
}

TEST_F(CombinerTest, GivesBackWhatItRefuses) {
  const std::vector<protocol::Operation<2>> operations(kMaxBatchOperations, erase_of(1));
  std::unique_ptr<WriteJob<2>> refused;
  while (refused == nullptr) refused = combiner_->submit(job_of(operations));
  EXPECT_EQ(refused->operations.size(), operations.size());
}

TEST_F(CombinerTest, GivesEachJobOfManyThreadsBackOnce) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kJobs = 2000;
  std::atomic<std::uint64_t> given_back{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const auto take_turns = [&] {
          for (bool must_return = true; must_return;) {
            auto turn = combiner_->turn(0, false);
            must_return = turn.must_return;
            given_back += list(std::move(turn)).size();
          }
        };
        for (std::uint64_t i = 0; i < kJobs; ++i) {
          SILURUS_CHECK(combiner_->submit(job_of({insert_of(t * kJobs + i)})) == nullptr);
          take_turns();
        }
        // Until each thread has seen the jobs of all others done.
        while (given_back.load() != kThreads * kJobs) std::this_thread::yield();
      });
    }
  }
  EXPECT_EQ(tree_->snapshot().size(), kThreads * kJobs);
  EXPECT_FALSE(combiner_->pending());
}

}  // namespace
}  // namespace silurus::server
