// SPDX-License-Identifier: Apache-2.0

#include "client/full_tree.h"

#include <gtest/gtest.h>

namespace silurus::client {
namespace {

ServerStatistics said(std::string json) {
  ServerStatistics says;
  says.json = std::move(json);
  return says;
}

TEST(FullTree, SaysHowMuchThereIsAndWhichOptionRaisesIt) {
  const std::string text =
      full_tree_text(said(R"({"memory": {"budget_bytes": 8388608, "used_bytes": 8126464}})"));
  EXPECT_NE(text.find("8 MiB"), std::string::npos) << text;
  EXPECT_NE(text.find("7.8 MiB"), std::string::npos) << text;
  EXPECT_NE(text.find("--memory"), std::string::npos) << text;
}

TEST(FullTree, SaysWhatTheMemoryIsUsedFor) {
  const std::string text = full_tree_text(said(
      R"({"memory": {"budget_bytes": 8388608, "used_bytes": 8126464, "retired_bytes": 2097152,)"
      R"( "held_bytes": 1048576, "reserved_bytes": 524288}})"));
  for (const char* said : {"2 MiB of them for older versions", "1 MiB of which are held",
                           "512 KiB are kept for erasures", "--memory", "silurus compact"}) {
    EXPECT_NE(text.find(said), std::string::npos) << said << ": " << text;
  }
}

TEST(FullTree, SaysWhatToDoWithoutStatistics) {
  for (const char* json :
       {"", "{}", "[]", R"({"memory": 3})", R"({"memory": {"budget_bytes": -1}})"}) {
    EXPECT_EQ(full_tree_text(said(json)),
              "the tree is full: start the server with a larger --memory");
  }
  EXPECT_NE(full_tree_text(fail(ErrorCode::kConnectionLost, "gone")).find("--memory"),
            std::string::npos);
}

}  // namespace
}  // namespace silurus::client
