// SPDX-License-Identifier: Apache-2.0

#include "common/result.h"

#include <gtest/gtest.h>

#include <exception>
#include <string>

namespace silurus {
namespace {

TEST(Result, ThrowsItsErrorsMessageWhereThereIsNoValue) {
  const Result<int> result = fail(ErrorCode::kNotFound, "no such file: /x");
  try {
    static_cast<void>(result.value());
    FAIL() << "it has no value";
  } catch (const std::exception& error) {
    EXPECT_STREQ(error.what(), "no such file: /x");
  }
}

TEST(Result, ThrowsTheErrorItself) {
  const Result<int> result = fail(ErrorCode::kTooLarge, "too much");
  try {
    static_cast<void>(result.value());
    FAIL() << "it has no value";
  } catch (const tl::bad_expected_access<Error>& thrown) {
    EXPECT_EQ(thrown.error().code, ErrorCode::kTooLarge);
    EXPECT_EQ(thrown.error().message, "too much");
  }
}

}  // namespace
}  // namespace silurus
