#include "server/copies.h"

#include <gtest/gtest.h>

namespace silurus::server {
namespace {

TEST(Copies, TakeThePlaceOfATreeThatLacksWhatTheyHave) {
  EXPECT_TRUE(may_replace_tree(100, true, 100));
  EXPECT_TRUE(may_replace_tree(101, true, 100));
}

TEST(Copies, NeverTakeThePlaceOfATreeThatHasMoreOfWhatWasCommitted) {
  EXPECT_FALSE(may_replace_tree(99, true, 100));
}

TEST(Copies, AreDroppedIfTheMemberNeedsNoneAnyMore) {
  EXPECT_FALSE(may_replace_tree(100, false, 0));
  EXPECT_FALSE(may_replace_tree(100, false, 100));
}

}  // namespace
}  // namespace silurus::server
