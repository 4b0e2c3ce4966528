// SPDX-License-Identifier: Apache-2.0

#include "gate/items.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "gate/limits.h"
#include "tests/support/seed.h"
#include "tests/unit/gate/fake_source.h"

namespace silurus::gate {
namespace {

using nlohmann::json;

constexpr const char* kBase = "http://localhost:1";

/// The whole body of an answer, however many pieces it has; the bytes of the largest one.
std::string body_of(HttpAnswer answer, Source& source, std::size_t* largest = nullptr) {
  std::string body = answer.body;
  if (largest != nullptr) *largest = body.size();
  for (bool more = answer.stream != nullptr; more;) {
    std::string piece;
    const auto next = answer.stream->next(source, piece);
    EXPECT_TRUE(next) << next.error().message;
    if (!next) break;
    more = *next;
    if (largest != nullptr) *largest = std::max(*largest, piece.size());
    body += piece;
  }
  return body;
}

class Items {
 public:
  explicit Items(Source& source) : source_(source) {}
  HttpAnswer get(const std::string& query) {
    return answer_items(*parse_target("/collections/default/items" + query), kBase,
                        *source_.find("default"), source_, extents_);
  }
  json page(const std::string& query) {
    HttpAnswer answer = get(query);
    EXPECT_EQ(answer.status, 200) << answer.body;
    const json page = json::parse(body_of(std::move(answer), source_), nullptr, false);
    EXPECT_TRUE(page.is_object());
    return page;
  }
  /// The query of its `next` link; empty: it has none.
  static std::string next_of(const json& page) {
    for (const json& link : page["links"]) {
      const std::string href = link["href"];
      if (link["rel"] == "next") return href.substr(href.find('?'));
    }
    return "";
  }
  /// Ids of all pages, with what is done between two of them.
  template <typename F>
  std::vector<std::uint64_t> all(std::string query, F&& between) {
    std::vector<std::uint64_t> ids;
    while (!query.empty()) {
      const json page = this->page(query);
      EXPECT_EQ(page["numberReturned"], page["features"].size());
      for (const json& feature : page["features"]) ids.push_back(feature["id"]);
      query = next_of(page);
      between();
    }
    return ids;
  }

 private:
  Source& source_;
  Extents extents_;
};

std::vector<std::uint64_t> ids_of(const std::vector<Entry<3>>& entries) {
  std::vector<std::uint64_t> ids;
  for (const auto& entry : entries) ids.push_back(entry.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(Items, OfAllPagesAreThoseOfTheSearch) {
  const std::uint64_t seed = testing_support::seed(21);
  Random random(seed);
  FakeSource source(random_entries(random, 700));
  Items items(source);
  for (const char* bbox : {"", "&bbox=-30,-20,100,50", "&bbox=500,500,501,501"}) {
    auto ids = items.all("?limit=13" + std::string(bbox), [] {});
    std::sort(ids.begin(), ids.end());
    const auto window = *bbox == 0 ? BoundingBox{{{{-180, -90, 0}, {180, 90, 0}}}}
                                   : *parse_bbox(std::string(bbox).substr(6), 2);
    const auto expected = ids_of(source.in(window.parts[0]));
    EXPECT_EQ(ids, expected) << bbox;
    EXPECT_EQ(items.page("?limit=1" + std::string(bbox))["numberMatched"], expected.size());
  }
}

TEST(Items, OfABoxThatWrapsAreFoundOnce) {
  const std::uint64_t seed = testing_support::seed(22);
  Random random(seed);
  FakeSource source(random_entries(random, 700));
  source.insert({.id = 9999, .box = {{-180, 0, 0}, {180, 1, 0}}});  // reaches into both parts
  Items items(source);
  const std::string bbox = "&bbox=100,-50,-120,60";
  std::vector<std::uint64_t> expected;
  const auto west = source.in({{100, -50, 0}, {180, 60, 0}});
  const auto east = source.in({{-180, -50, 0}, {-120, 60, 0}});
  auto all = west;
  for (const auto& entry : east) {
    if (entry.box.max[0] < 100 || entry.box.max[1] < -50 || entry.box.min[1] > 60) {
      all.push_back(entry);
    }
  }
  auto ids = items.all("?limit=50" + bbox, [] {});
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, ids_of(all));
  EXPECT_EQ(items.page("?limit=1" + bbox)["numberMatched"], all.size());
}

TEST(Items, OfAllPagesAreOfOneVersionWhateverIsWritten) {
  const std::uint64_t seed = testing_support::seed(23);
  Random random(seed);
  FakeSource source(random_entries(random, 300));
  const auto expected = ids_of(source.in({{-180, -90, 0}, {180, 90, 0}}));
  Items items(source);
  auto ids = items.all("?limit=20", [&] {
    const double x = random.uniform(-300, 300);
    source.insert({.id = 100'000, .box = {{x, 0, 0}, {x + 1, 1, 0}}});
  });
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, expected);
}

TEST(Items, OfAVersionThatIsGoneAreToldToBe) {
  FakeSource source({{.id = 1, .box = {}}, {.id = 2, .box = {}}});
  Items items(source);
  const std::string next = Items::next_of(items.page("?limit=1"));
  ASSERT_FALSE(next.empty());
  source.insert({.id = 3, .box = {}});
  source.forget(1);
  Items later(source);
  EXPECT_EQ(later.get(next).status, 410);
}

TEST(Items, OfManyAreMadeInSmallPieces) {
  std::vector<Entry<3>> entries;
  for (std::uint64_t id = 0; id < 20'000; ++id) {
    const auto x = static_cast<double>(id % 200);
    const auto y = static_cast<double>(id / 200);
    entries.push_back({id, {{x, y, 0}, {x, y, 0}}});
  }
  FakeSource source(entries);
  Items items(source);
  std::size_t largest = 0;
  const std::string body = body_of(items.get("?limit=20000"), source, &largest);
  EXPECT_EQ(json::parse(body)["features"].size(), 20'000u);
  EXPECT_LT(largest, kPieceBytes + 1000);
  EXPECT_LE(source.most_found(), 2 * kMostCell + 1);
}

TEST(Items, ArePolygonsAndPoints) {
  FakeSource source({{.id = 7, .box = {{1, 2, 0}, {3, 4, 0}}}});
  EXPECT_EQ(Items(source).page("")["features"][0], json::parse(R"({"type":"Feature","id":7,
      "geometry":{"type":"Polygon","coordinates":[[[1,2],[3,2],[3,4],[1,4],[1,2]]]},
      "properties":{"entry":7}})"));
  FakeSource points(
      {{.id = 18'446'744'073'709'551'615u, .box = {{0.1, -2e-9, 5}, {0.1, -2e-9, 5}}}}, 3);
  EXPECT_EQ(Items(points).page("")["features"][0],
            json::parse(R"({"type":"Feature","id":18446744073709551615,
      "bbox":[0.1,-2e-9,5,0.1,-2e-9,5],"geometry":{"type":"Point","coordinates":[0.1,-2e-9,5]},
      "properties":{"entry":18446744073709551615}})"));
}

TEST(Items, AreOnlyCountedForHits) {
  FakeSource source(one_entry());
  const json page = Items(source).page("?resultType=hits");
  EXPECT_EQ(page["numberMatched"], 1);
  EXPECT_TRUE(page["features"].empty());
}

TEST(Items, NameTheParameterThatIsWrong) {
  FakeSource source(one_entry());
  Items items(source);
  for (const char* query : {"bbox=1,2,3", "limit=0", "datetime=now", "page=x", "version=-1",
                            "resultType=x", "entry=1"}) {
    const HttpAnswer answer = items.get("?" + std::string(query));
    EXPECT_EQ(answer.status, 400) << query;
    EXPECT_EQ(answer.type, "application/problem+json");
    const std::string name = std::string(query).substr(0, std::string(query).find('='));
    EXPECT_EQ(json::parse(answer.body)["parameter"], name);
  }
}

TEST(Items, OfAServerThatIsAwayAreToBeAskedLater) {
  FakeSource source(one_entry());
  const Collection collection = *source.find("default");
  source.go_away();
  Extents extents;
  const HttpAnswer answer =
      answer_items(*parse_target("/collections/default/items"), kBase, collection, source, extents);
  EXPECT_EQ(answer.status, 503);
  EXPECT_TRUE(std::any_of(answer.headers.begin(), answer.headers.end(),
                          [](const auto& header) { return header.first == "Retry-After"; }));
}

}  // namespace
}  // namespace silurus::gate
