// SPDX-License-Identifier: Apache-2.0

#include "gate/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gate/limits.h"
#include "gate/service.h"
#include "tests/unit/gate/fake_source.h"

namespace silurus::gate {
namespace {

using nlohmann::json;

Entry<3> at(std::uint64_t id, double x) {
  return {.id = id, .box = {{x, x, 0}, {x + 1, x + 1, 0}}};
}

std::vector<std::uint64_t> changed_ids(const std::vector<Entry<3>>& entries) {
  std::vector<std::uint64_t> ids;
  for (const Entry<3>& entry : entries) ids.push_back(entry.id);
  return ids;
}

TEST(ChangesOfAWindow, AreWhatCameWentAndMoved) {
  const Changes changes =
      changes_of({at(1, 1), at(2, 2), at(3, 3), at(9, 9)}, {at(3, 4), at(1, 1), at(5, 5)});
  EXPECT_EQ(changed_ids(changes.inserted), std::vector<std::uint64_t>{5});
  EXPECT_EQ(changed_ids(changes.erased), (std::vector<std::uint64_t>{2, 9}));
  ASSERT_EQ(changes.moved.size(), 1u);
  EXPECT_EQ(changes.moved[0].first.box, at(3, 3).box);
  EXPECT_EQ(changes.moved[0].second.box, at(3, 4).box);
}

TEST(ChangesOfAWindow, CountEqualEntriesEachByItself) {
  const Changes changes = changes_of({at(1, 1), at(1, 1)}, {at(1, 1), at(1, 1), at(1, 1)});
  EXPECT_EQ(changes.inserted.size(), 1u);
  EXPECT_TRUE(changes.erased.empty());
  EXPECT_TRUE(changes.moved.empty());
}

class PageOfGate : public testing::Test {
 protected:
  HttpAnswer get(const std::string& target, const std::string& accept = "") {
    HttpRequest request;
    request.method = "GET";
    request.target = target;
    request.accept = accept;
    request.host = "localhost:1";
    return service_.answer(request, source_);
  }
  json document(const std::string& target) {
    const HttpAnswer answer = get(target);
    EXPECT_EQ(answer.status, 200) << target << ": " << answer.body;
    return json::parse(answer.body, nullptr, false);
  }
  /// The parameter that the problem document of a target names.
  std::string wrong_of(const std::string& target) {
    const HttpAnswer answer = get(target);
    EXPECT_EQ(answer.status, 400) << target;
    return json::parse(answer.body, nullptr, false).value("parameter", "");
  }

  FakeSource source_{{{.id = 1, .box = {{1, 2, 0}, {3, 4, 0}}}}};
  HttpCounters http_;
  Service service_{{.base_url = "", .hosts = {"localhost"}}, http_};
};

TEST_F(PageOfGate, IsForBrowsersAndAsksNoOtherHost) {
  for (const char* path : {"/", "/page.css", "/page.js", "/map.js", "/tile.js", "/load.js"}) {
    const HttpAnswer answer = get(path, "text/html,*/*");
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(answer.body.find("http://"), std::string::npos) << path;
    EXPECT_EQ(answer.body.find("https://"), std::string::npos) << path;
    EXPECT_THAT(answer.headers,
                testing::Contains(testing::Pair("Content-Security-Policy",
                                                testing::StartsWith("default-src 'none'"))));
  }
  EXPECT_EQ(get("/", "text/html,*/*").type, "text/html; charset=utf-8");
}

TEST_F(PageOfGate, LeavesTheLandingPageOfTheStandardToPrograms) {
  EXPECT_EQ(get("/", "*/*").type, "application/json");
  EXPECT_EQ(get("/", "application/json").type, "application/json");
  EXPECT_EQ(get("/?f=json", "text/html").type, "application/json");
  EXPECT_THAT(get("/?f=html", "text/html").body, testing::HasSubstr("conformance"));
}

TEST_F(PageOfGate, ComparesASearchByEachWay) {
  const json ways = document("/collections/default/ways?bbox=0,0,9,9")["ways"];
  EXPECT_EQ(ways[0]["count"], 1);
  EXPECT_EQ(ways[1], json::parse(R"({"name":"one-sided","problem":"no one-sided reads here"})"));
}

TEST_F(PageOfGate, SaysWhatIsWrongWithAComparison) {
  EXPECT_EQ(wrong_of("/collections/default/ways"), "bbox");
  EXPECT_EQ(wrong_of("/collections/default/ways?bbox=1,2,3"), "bbox");
  EXPECT_EQ(wrong_of("/collections/default/ways?bbox=170,0,-170,9"), "bbox");
  EXPECT_EQ(wrong_of("/collections/default/ways?bbox=0,0,9,9&version=x"), "version");
  EXPECT_EQ(wrong_of("/collections/default/ways?bbox=0,0,9,9&mode=x"), "mode");
  EXPECT_EQ(get("/collections/default/ways?bbox=0,0,9,9&version=8").status, 410);
  EXPECT_EQ(get("/collections/other/ways?bbox=0,0,9,9").status, 404);
}

TEST_F(PageOfGate, ListsTheVersionsThatAreKept) {
  EXPECT_EQ(document("/collections/default/versions")["versions"],
            json::parse(R"([{"version":1,"time":"2026-12-02T00:00:00.250Z","entries":1}])"));
  EXPECT_EQ(wrong_of("/collections/default/versions?x=1"), "x");
}

TEST_F(PageOfGate, ListsSomeOfVeryManyVersions) {
  for (std::size_t i = 0; i < 2 * kMostVersions; ++i) source_.insert(at(i, 1));
  const json answer = document("/collections/default/versions");
  EXPECT_EQ(answer["kept"], 2 * kMostVersions + 1);
  EXPECT_LE(answer["versions"].size(), kMostVersions);
  EXPECT_EQ(answer["versions"].back()["version"], 2 * kMostVersions + 1);
}

TEST_F(PageOfGate, TellsWhatChangedBetweenTwoVersions) {
  source_.insert(at(7, 5));
  source_.insert(at(8, 50));
  const json changes = document("/collections/default/changes?from=1&to=3&bbox=0,0,9,9");
  EXPECT_EQ(changes["count"], json::parse(R"({"inserted":2,"erased":0,"moved":0})"));
  EXPECT_EQ(changes["complete"], true);
  EXPECT_EQ(changes["inserted"], json::parse("[[7,5.0,5.0,6.0,6.0]]"));
}

TEST_F(PageOfGate, TellsNoBoxesOfAWindowThatHasTooManyChanges) {
  FakeSource full(std::vector<Entry<3>>(kMostChanged + 1, at(1, 1)));
  HttpRequest request;
  request.method = "GET";
  request.target = "/collections/default/changes?from=1&to=1&bbox=0,0,9,9";
  request.host = "localhost";
  const json changes = json::parse(service_.answer(request, full).body, nullptr, false);
  EXPECT_EQ(changes["complete"], false);
  EXPECT_FALSE(changes.contains("inserted"));
}

TEST_F(PageOfGate, SaysWhatIsWrongWithARequestForChanges) {
  EXPECT_EQ(wrong_of("/collections/default/changes?to=1&bbox=0,0,9,9"), "from");
  EXPECT_EQ(wrong_of("/collections/default/changes?from=1&to=0&bbox=0,0,9,9"), "to");
  EXPECT_EQ(wrong_of("/collections/default/changes?from=1&to=1x&bbox=0,0,9,9"), "to");
  EXPECT_EQ(wrong_of("/collections/default/changes?from=1&to=1"), "bbox");
  EXPECT_EQ(wrong_of("/collections/default/changes?from=1&to=1&bbox=0,0,9,9&x="), "x");
  EXPECT_EQ(get("/collections/default/changes?from=1&to=5&bbox=0,0,9,9").status, 410);
}

TEST_F(PageOfGate, TellsTheGroupOfReplicas) {
  const json cluster = document("/cluster");
  EXPECT_EQ(cluster["primary"], "b");
  EXPECT_EQ(cluster["members"][0]["url"], "tcp://b:1");
  EXPECT_EQ(cluster["members"][0]["lag_bytes"], 3);
  EXPECT_EQ(wrong_of("/cluster?x=1"), "x");
}

TEST_F(PageOfGate, SaysWhenTheServerIsAway) {
  source_.go_away();
  for (const char* target :
       {"/cluster", "/collections/default/ways?bbox=0,0,9,9", "/collections/default/versions"}) {
    EXPECT_EQ(get(target).status, 503) << target;
  }
  EXPECT_EQ(get("/", "text/html").status, 200);
}

}  // namespace
}  // namespace silurus::gate
