// SPDX-License-Identifier: Apache-2.0

#include "client/tool/dry_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/csv_text.h"

namespace silurus::tool {
namespace {

using testing::HasSubstr;
using testing_support::TemporaryFile;

constexpr const char* kText = "gid,lat,lon,name\n7,2,1,a\n8,-4,3,b\n9,0,5,c\n10,0,6,d\n";

std::string run_dry(const std::string& text, LoadCommand command = {},
                    Format format = Format::kText) {
  const TemporaryFile file(text);
  command.source = file.path();
  const auto answer = dry_run(command, format);
  return answer ? *answer : answer.error().message;
}

TEST(DryRun, TellsCountBoundsColumnsAndTheFirstThreeEntries) {
  EXPECT_EQ(run_dry(kText),
            "4 boxes would be loaded\n"
            "bounds: 1 -4 6 2\n"
            "columns: gid as id, lat as y, lon as x, by the header; ignored: name\n"
            "first: id 7, box 1 2 1 2\n"
            "       id 8, box 3 -4 3 -4\n"
            "       id 9, box 5 0 5 0\n");
}

TEST(DryRun, IsJsonToo) {
  const auto json = nlohmann::json::parse(run_dry(kText, {}, Format::kJson));
  EXPECT_EQ(json["count"], 4);
  EXPECT_EQ(json["bounds"]["min"], (std::array<double, 2>{1, -4}));
  EXPECT_EQ(json["rows"].size(), 3u);
  EXPECT_EQ(json["rows"][1]["id"], 8);
  const auto empty = nlohmann::json::parse(run_dry("id,x,y\n", {}, Format::kJson));
  EXPECT_TRUE(empty["bounds"].is_null());
}

TEST(DryRun, PrintsItsFirstEntriesAsCsv) {
  EXPECT_EQ(run_dry(kText, {.limit = 1}, Format::kCsv), "id,xmin,ymin,xmax,ymax\n7,1,2,1,2\n");
}

TEST(DryRun, IsOfThreeDimensionsIfThatIsSaid) {
  EXPECT_THAT(run_dry("id,x,y,z\n7,1,2,3\n", {.dimensions = 3}),
              HasSubstr("bounds: 1 2 3 1 2 3\n"));
}

TEST(DryRun, CountsWhatIsLeftOut) {
  EXPECT_THAT(run_dry("id,x,y\n7,1,2\n8,x,2\n", {.skip_bad = true}),
              HasSubstr("left out 1 that are malformed, the first: "));
  EXPECT_THAT(run_dry("id,x,y\n7,1,2\n8,x,2\n"), HasSubstr(":3: column 2"));
}

}  // namespace
}  // namespace silurus::tool
