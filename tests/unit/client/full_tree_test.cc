#include "client/full_tree.h"

#include <gtest/gtest.h>

namespace silurus::client {
namespace {

TEST(FullTree, SaysHowMuchThereIsAndWhichOptionRaisesIt) {
  const std::string text = full_tree_text(
      std::string(R"({"memory": {"budget_bytes": 8388608, "used_bytes": 8126464}})"));
  EXPECT_NE(text.find("8 MiB"), std::string::npos) << text;
  EXPECT_NE(text.find("7.8 MiB"), std::string::npos) << text;
  EXPECT_NE(text.find("--memory"), std::string::npos) << text;
}

TEST(FullTree, SaysWhatToDoWithoutStatistics) {
  for (const char* json :
       {"", "{}", "[]", R"({"memory": 3})", R"({"memory": {"budget_bytes": -1}})"}) {
    EXPECT_EQ(full_tree_text(std::string(json)),
              "the tree is full: start the server with a larger --memory");
  }
  EXPECT_NE(full_tree_text(fail(ErrorCode::kConnectionLost, "gone")).find("--memory"),
            std::string::npos);
}

}  // namespace
}  // namespace silurus::client
