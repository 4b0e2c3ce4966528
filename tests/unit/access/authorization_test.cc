// SPDX-License-Identifier: Apache-2.0

#include "access/authorization.h"

#include <gtest/gtest.h>

namespace silurus::access {
namespace {

constexpr uid_t kServersUser = 4711;
const Principal kStranger{4712, "user 4712"};

TEST(Authorization, WithoutRulesIsForAllUsers) {
  Authorization authorization(nullptr, kStranger);
  EXPECT_EQ(authorization.role(), Role::kOperator);
  EXPECT_TRUE(authorization.check(Role::kOperator, "do anything"));
}

TEST(Authorization, IsForWhatTheRoleMayDoAndLess) {
  const RuleBook rules(Rules::of_user(kServersUser, Role::kWriter));
  Authorization authorization(&rules, kStranger);
  EXPECT_TRUE(authorization.check(Role::kReader, "read"));
  EXPECT_TRUE(authorization.check(Role::kWriter, "write"));
  const Status refused = authorization.check(Role::kOperator, "load");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kPermission);
}

TEST(Authorization, ChangesWithTheRules) {
  RuleBook rules(Rules::of_user(kServersUser, Role::kWriter));
  Authorization authorization(&rules, kStranger);
  ASSERT_EQ(authorization.role(), Role::kWriter);
  rules.replace(Rules::of_user(kServersUser));
  EXPECT_EQ(authorization.role(), Role::kNone);
  rules.replace(Rules::of_user(kServersUser, Role::kReader));
  EXPECT_EQ(authorization.role(), Role::kReader);
}

}  // namespace
}  // namespace silurus::access
