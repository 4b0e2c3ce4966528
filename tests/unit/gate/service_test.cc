// SPDX-License-Identifier: Apache-2.0

#include "gate/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/gate/fake_source.h"

namespace silurus::gate {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class ServiceOfGate : public testing::Test {
 protected:
  HttpAnswer get(const std::string& target, const std::string& accept = "",
                 const std::string& method = "GET", const std::string& host = "localhost:1") {
    HttpRequest request;
    request.method = method;
    request.target = target;
    request.accept = accept;
    request.host = host;
    return service_.answer(request, source_);
  }
  json document(const std::string& target) {
    const HttpAnswer answer = get(target);
    EXPECT_EQ(answer.status, 200) << target << ": " << answer.body;
    return json::parse(answer.body, nullptr, false);
  }

  FakeSource source_{{{.id = 1, .box = {{1, 2, 0}, {3, 4, 0}}}}};
  HttpCounters http_;
  Service service_{{.base_url = "", .hosts = {"localhost", "[::1]"}}, http_};
};

TEST_F(ServiceOfGate, HasTheDocumentsOfTheStandard) {
  EXPECT_EQ(document("/")["links"].size(), 6u);
  EXPECT_THAT(document("/conformance")["conformsTo"].dump(), HasSubstr("conf/core"));
  EXPECT_EQ(document("/api")["openapi"], "3.0.3");
  EXPECT_EQ(document("/collections")["collections"][0]["id"], "default");
  EXPECT_EQ(document("/collections/default")["extent"]["spatial"]["bbox"],
            json::parse("[[1,2,3,4]]"));
  EXPECT_EQ(document("/collections/default/items")["numberMatched"], 1);
}

TEST_F(ServiceOfGate, LinksToTheHostThatWasNamed) {
  const json page = document("/");
  for (const json& link : page.at("links")) {
    EXPECT_TRUE(link["href"].get<std::string>().starts_with("http://localhost:1/")) << link;
  }
}

TEST_F(ServiceOfGate, HasPagesForPeople) {
  for (const char* path : {"/?f=html", "/api", "/conformance", "/collections",
                           "/collections/default", "/collections/default/items"}) {
    const HttpAnswer answer = get(path, "text/html,application/xhtml+xml,*/*;q=0.8");
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(answer.body, HasSubstr("<!doctype html>")) << path;
  }
  EXPECT_EQ(get("/?f=json", "text/html").type, "application/json");
}

TEST_F(ServiceOfGate, RefusesHostsThatItDoesNotServe) {
  EXPECT_EQ(get("/", "", "GET", "evil.example:1").status, 421);
  EXPECT_EQ(get("/metrics", "", "GET", "").status, 421);
  EXPECT_EQ(get("/metrics", "", "GET", "[::1]:8080").status, 200);
  EXPECT_EQ(get("/metrics", "", "GET", "LOCALHOST").status, 200);
}

TEST_F(ServiceOfGate, SaysWhatIsWrongWithARequest) {
  EXPECT_EQ(get("/nothing").status, 404);
  EXPECT_EQ(get("/collections/other").status, 404);
  EXPECT_EQ(get("/collections/other/items").status, 404);
  EXPECT_EQ(get("/collections/default/items/1").status, 501);
  EXPECT_EQ(get("/%zz").status, 400);
  EXPECT_EQ(get("/?f=xml").status, 400);
  EXPECT_EQ(get("/collections?x=1").status, 400);
  EXPECT_EQ(get("/", "", "POST").status, 405);
}

TEST_F(ServiceOfGate, SaysWhenTheServerIsAway) {
  source_.go_away();
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(get("/readyz").body, "not ready: the server is away\n");
  EXPECT_EQ(get("/collections").status, 503);
  EXPECT_EQ(get("/collections/default/items").status, 503);
  EXPECT_THAT(get("/metrics").body, HasSubstr("silurus_up 0\n"));
}

TEST_F(ServiceOfGate, CountsWhatItAnswers) {
  get("/collections/default/items");
  get("/collections/default/items?limit=0");
  get("/healthz");
  const auto answers = service_.counters().answers();
  const auto& items = answers[static_cast<std::size_t>(Route::kItems)].by_status;
  EXPECT_EQ(items.at(200), 1u);
  EXPECT_EQ(items.at(400), 1u);
  EXPECT_EQ(answers[static_cast<std::size_t>(Route::kHealth)].by_status.at(200), 1u);
}

}  // namespace
}  // namespace silurus::gate
