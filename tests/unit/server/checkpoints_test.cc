// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoints.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "common/log.h"
#include "replication/data_directory.h"
#include "rtree/arena.h"
#include "tests/support/patience.h"
#include "tests/support/server_process.h"

namespace silurus::server {
namespace {

TEST(CheckpointsTest, OneThatFailedIsTriedAgainThoughNoneIsAskedForOrDue) {
  log::set_level(log::Level::kOff);
  const testing_support::TemporaryFolder folder;
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto directory = replication::open_directory<2>(
      folder / "data",
      {.log_bytes = replication::kMinLogBytes, .tree_bytes = std::uint64_t{8} << 20});
  ASSERT_TRUE(directory) << directory.error().message;
  auto opened = replication::Store<2>::open(
      std::move(directory->volume), {{.memory_budget_bytes = std::uint64_t{8} << 20}, slabs, clock},
      {.threads = 1}, 1, 2);
  ASSERT_TRUE(opened) << opened.error().message;
  std::promise<void> second;
  Checkpoints<2> checkpoints(*opened->store, 1000 * kSecond);
  checkpoints.start(*opened->tree, [&, tries = 0](std::stop_token) mutable {
    if (++tries == 2) second.set_value();
    return Result<std::optional<CheckpointBasis<2>>>(
        fail(ErrorCode::kNoSpace, "the disk of the test is full"));
  });
  checkpoints.want();
  EXPECT_EQ(second.get_future().wait_for(
                std::chrono::nanoseconds(testing_support::patient(20 * kSecond))),
            std::future_status::ready)
      << "it was given up";
  checkpoints.stop_thread();
  log::set_level(log::Level::kInfo);
}

}  // namespace
}  // namespace silurus::server
