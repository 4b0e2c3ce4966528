// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>

// Counts expectations that were evaluated, so that a test that evaluates none fails (main.cc): its
// loop ran zero times, say. GoogleTest itself tells listeners only of those that failed. Comes with
// the precompiled header of all tests.

namespace silurus::testing_support {

/// Since the test began, by any thread.
inline std::atomic<std::uint64_t> expectations_evaluated{0};

inline void count_expectation() {
  // relaxed: a count, which orders nothing.
  expectations_evaluated.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace silurus::testing_support

// The two macros that all of EXPECT_TRUE, EXPECT_EQ, EXPECT_THAT, ASSERT_... end in, as GoogleTest
// defines them but for the count.
#if !defined(GTEST_ASSERT_) || !defined(GTEST_TEST_BOOLEAN_)
#error "this GoogleTest has other macros: expectations would not be counted"
#endif
#undef GTEST_ASSERT_
#define GTEST_ASSERT_(expression, on_failure)                              \
  GTEST_AMBIGUOUS_ELSE_BLOCKER_                                            \
  if (const ::testing::AssertionResult gtest_ar =                          \
          (::silurus::testing_support::count_expectation(), (expression))) \
    ;                                                                      \
  else                                                                     \
    on_failure(gtest_ar.failure_message())
#undef GTEST_TEST_BOOLEAN_
#define GTEST_TEST_BOOLEAN_(expression, text, actual, expected, fail)                             \
  GTEST_AMBIGUOUS_ELSE_BLOCKER_                                                                   \
  if (const ::testing::AssertionResult gtest_ar_ = ::testing::AssertionResult(                    \
          (::silurus::testing_support::count_expectation(), (expression))))                       \
    ;                                                                                             \
  else                                                                                            \
    fail(::testing::internal::GetBoolAssertionFailureMessage(gtest_ar_, text, #actual, #expected) \
             .c_str())
