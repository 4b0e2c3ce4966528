// SPDX-License-Identifier: Apache-2.0

#include "server/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

namespace silurus::server {
namespace {

using ::testing::HasSubstr;

const Machine kSmall{.memory_bytes = std::uint64_t{8} << 30, .cpus = {0, 1, 2, 5}};

ServerOptions options() {
  ServerOptions made;
  made.listen = {"shm:///tmp/a"};
  return made;
}

TEST(Machine, MoreMemoryThanThereIsIsRefusedWithWhatThereIs) {
  auto asked = options();
  asked.memory_bytes = kSmall.memory_bytes;
  EXPECT_TRUE(check_machine(asked, kSmall));
  asked.memory_bytes += 1 << 20;
  const auto refused = check_machine(asked, kSmall);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("--memory: 8.0 GiB is more than the 8 GiB"));
}

TEST(Machine, CoresThatThisProcessMayNotUseAreRefusedWithThoseThatItMay) {
  auto asked = options();
  asked.cpus = {0, 5};
  EXPECT_TRUE(check_machine(asked, kSmall));
  asked.cpus = {0, 4};
  const auto refused = check_machine(asked, kSmall);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("core 4"));
  EXPECT_THAT(refused.error().message, HasSubstr("0-2,5"));
}

TEST(Machine, FarMoreThreadsThanCoresAreRefused) {
  auto asked = options();
  asked.threads = 32;
  EXPECT_TRUE(check_machine(asked, kSmall));
  asked.threads = 33;
  const auto refused = check_machine(asked, kSmall);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("4 cores"));
}

TEST(Machine, ThisOneHasMemoryAndCores) {
  const Machine machine = this_machine();
  EXPECT_GT(machine.memory_bytes, std::uint64_t{64} << 20);
  EXPECT_FALSE(machine.cpus.empty());
}

TEST(Machine, OffersTheCoresThatAnInheritedMaskLeavesOut) {
  const auto all = this_machine().cpus;
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(all.back()), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(this_machine().cpus, all);
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&after, &one));
  sched_setaffinity(0, sizeof before, &before);
}

}  // namespace
}  // namespace silurus::server
