// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/send_queue.h"

#include <gtest/gtest.h>

namespace silurus::transport::verbs {
namespace {

TEST(VerbsSendQueue, HoldsNoMoreThanItsCapacity) {
  SendQueue queue(5);
  for (std::uint64_t i = 0; i < 5; ++i) queue.push({Operation::Kind::kRead, i});
  EXPECT_EQ(queue.room(), 0u);
  EXPECT_EQ(queue.pop().value, 0u);
  EXPECT_EQ(queue.room(), 1u);
}

TEST(VerbsSendQueue, GivesBackInTheOrderOfPosting) {
  SendQueue queue(4);
  for (std::uint64_t i = 0; i < 100; ++i) {
    const std::uint64_t number = queue.push({Operation::Kind::kRead, i});
    EXPECT_TRUE(queue.contains(number));
    EXPECT_FALSE(queue.contains(number + 1));
    EXPECT_EQ(queue.pop().value, i);
    EXPECT_FALSE(queue.contains(number));
  }
}

}  // namespace
}  // namespace silurus::transport::verbs
