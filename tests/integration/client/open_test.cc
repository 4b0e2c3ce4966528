// SPDX-License-Identifier: Apache-2.0

#include "silurus/open.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/in_child.h"
#include "tests/support/patience.h"
#include "tests/support/server_process.h"

// Servers that a program starts beside itself.

namespace silurus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

constexpr Box<2> kBox = {{1, 2}, {3, 4}};

std::string socket_of(const std::string& url) { return url.substr(std::string("shm://").size()); }

Result<OwnServer<2>> open_small(const std::string& path = "") {
  return open<2>({.path = path, .memory = "64M"});
}

TEST(Open, StartsAServerThatIsSearchedAndChanged) {
  auto db = open_small();
  ASSERT_TRUE(db.has_value()) << db.error().message;
  ASSERT_TRUE((*db)->insert(7, kBox).has_value());
  EXPECT_THAT((*db)->range({{0, 0}, {9, 9}})->ids, ElementsAre(7));
}

TEST(Open, SearchesMayReadTheServersMemory) {
  auto db = open<2>({.memory = "64M", .client = {.mode = Mode::kOffload}});
  ASSERT_TRUE(db.has_value()) << db.error().message;
  ASSERT_TRUE((*db)->insert(7, kBox).has_value());
  EXPECT_THAT((*db)->range({{0, 0}, {9, 9}})->ids, ElementsAre(7));
}

TEST(Open, TreesHaveThreeDimensionsToo) {
  auto db = open<3>({.memory = "64M"});
  ASSERT_TRUE(db.has_value()) << db.error().message;
  EXPECT_EQ(probe(db->url())->dimensions, 3u);
}

TEST(Open, ServerEndsWithItsObjectAndLeavesNothing) {
  std::string socket;
  {
    auto db = open_small();
    ASSERT_TRUE(db.has_value()) << db.error().message;
    socket = socket_of(db->url());
    ASSERT_TRUE(std::filesystem::exists(socket));
  }
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(socket).parent_path()));
}

TEST(Open, DirectoryKeepsItsData) {
  const TemporaryFolder folder;
  {
    auto db = open_small(folder / "data");
    ASSERT_TRUE(db.has_value()) << db.error().message;
    ASSERT_TRUE((*db)->insert(7, kBox).has_value());
  }
  auto again = open_small(folder / "data");
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(*(*again)->count(kBox), 1u);
}

TEST(Open, ServerEndsWithAProcessThatCrashes) {
  const TemporaryFolder folder;
  const std::string told = folder / "url";
  testing_support::in_child([&] {
    auto db = open_small();
    if (!db) return 1;
    std::ofstream(told) << db->url();
    ::raise(SIGKILL);
    return 0;
  });
  std::string url;
  std::ifstream(told) >> url;
  ASSERT_THAT(url, HasSubstr("shm://"));
  const auto parent = std::filesystem::path(socket_of(url)).parent_path();
  EXPECT_TRUE(wait_until([&] { return !std::filesystem::exists(parent); }));
}

TEST(Open, ChildOfForkLeavesTheServerToItsParent) {
  auto db = open_small();
  ASSERT_TRUE(db.has_value()) << db.error().message;
  EXPECT_EQ(testing_support::in_child([&] {
              { const auto theirs = std::move(*db); }
              return 0;
            }),
            0);
  EXPECT_TRUE((*db)->insert(7, kBox).has_value());
}

TEST(Open, SaysWhyAServerDoesNotStart) {
  const auto wrong = open<2>({.arguments = {"--no-such-option"}});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(wrong.error().message, HasSubstr("no-such-option"));
}

TEST(Open, NamesAProgramThatIsNotThere) {
  const auto wrong = open<2>({.program = "/no/such/silurus-server"});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(wrong.error().message, HasSubstr("/no/such/silurus-server"));
}

}  // namespace
}  // namespace silurus
