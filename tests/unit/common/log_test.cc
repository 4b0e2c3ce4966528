// SPDX-License-Identifier: Apache-2.0

#include "common/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

namespace silurus::log {
namespace {

/// The line that a message makes.
std::string line_of(std::string_view message, Format format) {
  ::testing::internal::CaptureStderr();
  set_format(format);
  warning(message);
  set_format(Format::kText);
  return ::testing::internal::GetCapturedStderr();
}

TEST(Log, LinesOfTextBeginWithATimeInUtc) {
  const std::string line = line_of("all \"is\" well", Format::kText);
  EXPECT_TRUE(std::regex_match(
      line, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning all "is" well\n)")))
      << line;
}

TEST(Log, AnyMessageIsOneLineOfJson) {
  std::string message = "a \"quoted\" \\ path,\nanother line\ttabbed {} %v";
  message += '\x01';
  message += "\x1b[31m ü";
  const std::string line = line_of(message, Format::kJson);
  ASSERT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json.at("message"), message);
  EXPECT_EQ(json.at("level"), "warning");
  EXPECT_EQ(json.at("time").get<std::string>().back(), 'Z');
  EXPECT_EQ(json.size(), 3u);
}

TEST(Log, BytesThatAreNoUtf8DoNotBreakALine) {
  const std::string line = line_of("\xff\xfe name", Format::kJson);
  EXPECT_TRUE(nlohmann::json::accept(line)) << line;
}

}  // namespace
}  // namespace silurus::log
