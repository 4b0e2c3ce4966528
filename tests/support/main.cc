// SPDX-License-Identifier: Apache-2.0

#include <fnmatch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "tests/support/expectations.h"

// main() of all test programs: GoogleTest's, but that a test fails if it has evaluated no
// expectation, and the program if its filter names a test that there is not.

namespace {

class NeedsExpectations final : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override {
    silurus::testing_support::expectations_evaluated = 0;
  }
  void OnTestEnd(const testing::TestInfo& test) override {
    const testing::TestResult& result = *test.result();
    if (result.Skipped() || result.Failed()) return;
    if (silurus::testing_support::expectations_evaluated == 0) {
      ADD_FAILURE() << test.test_suite_name() << "." << test.name()
                    << " has evaluated no expectation";
    }
  }
};

bool is_a_test(const std::string& pattern) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const std::string name = std::string(suite.name()) + "." + suite.GetTestInfo(j)->name();
      if (fnmatch(pattern.c_str(), name.c_str(), 0) == 0) return true;
    }
  }
  return false;
}

/// Whether each pattern of the filter, also of those that it leaves out, matches a test. One test
/// that was renamed would be left out, or be run twice, without a word.
bool names_only_tests(std::string filter) {
  const std::size_t minus = filter.find('-');
  if (minus != std::string::npos) filter[minus] = ':';
  std::istringstream patterns(filter);
  bool all = true;
  for (std::string pattern; std::getline(patterns, pattern, ':');) {
    if (pattern.empty() || is_a_test(pattern)) continue;
    std::cerr << "no test is called '" << pattern << "'" << std::endl;
    all = false;
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  // The filter of the environment is for all programs, most of which lack what it names.
  if (std::getenv("GTEST_FILTER") == nullptr && !names_only_tests(GTEST_FLAG_GET(filter))) return 2;
  testing::UnitTest::GetInstance()->listeners().Append(new NeedsExpectations);
  return RUN_ALL_TESTS();
}
