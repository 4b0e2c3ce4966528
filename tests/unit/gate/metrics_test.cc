// SPDX-License-Identifier: Apache-2.0

#include "gate/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/result.h"

namespace silurus::gate {
namespace {

using testing::HasSubstr;
using testing::Not;

ServerStatistics statistics() {
  return {.version = 9,
          .state = "serving",
          .json = R"({"version":9,"entries":3,"requests":{"range":12,"nearest":5},
    "refused":{"hello":2},"listeners":[{"address":"shm:///a\"b","clients":4}],
    "workers":[{"sessions":1,"busy_seconds":0.5}],
    "service_time":{"search":{"count":3,"sum_seconds":0.25,"buckets":[1,2,2]}},
    "group":{"role":"primary","committed_lsn":100,"members":[{"id":1,"applied_lsn":60},
                                                             {"id":2,"applied_lsn":null}]}})"};
}

std::string metrics(const Result<ServerStatistics>& server) {
  const HttpCounters http;
  GateCounters gate;
  gate.add(Route::kItems, 200, 3 * kMillisecond);
  gate.add(Route::kItems, 400, 9 * kSecond);
  return render_metrics(server, "default", http, gate);
}

TEST(Metrics, TellWhatTheServerSays) {
  const std::string text = metrics(statistics());
  for (const char* line :
       {"silurus_up 1\n", "silurus_serving 1\n", "silurus_version{collection=\"default\"} 9\n",
        "silurus_requests_total{kind=\"range\"} 12\n",
        "silurus_refusals_total{reason=\"hello\"} 2\n",
        "silurus_clients{address=\"shm:///a\\\"b\"} 4\n",
        "silurus_group_lag_bytes{member=\"1\"} 40\n", "silurus_group_is_primary 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("member=\"2\"")));
}

TEST(Metrics, HaveTimesOfServiceAsAHistogram) {
  const std::string text = metrics(statistics());
  for (const char* line :
       {"_bucket{kind=\"search\",le=\"1.024e-06\"} 1\n",
        "_bucket{kind=\"search\",le=\"2.048e-06\"} 2\n", "_bucket{kind=\"search\",le=\"+Inf\"} 3\n",
        "_sum{kind=\"search\"} 0.25\n", "_count{kind=\"search\"} 3\n"}) {
    EXPECT_THAT(text, HasSubstr("silurus_request_seconds" + std::string(line)));
  }
}

TEST(Metrics, CountAnswersByRouteAndTime) {
  const std::string text = metrics(statistics());
  for (const char* line : {"answers_total{route=\"items\",status=\"400\"} 1\n",
                           "answer_seconds_bucket{route=\"items\",le=\"0.0025\"} 0\n",
                           "answer_seconds_bucket{route=\"items\",le=\"0.005\"} 1\n",
                           "answer_seconds_bucket{route=\"items\",le=\"+Inf\"} 2\n"}) {
    EXPECT_THAT(text, HasSubstr("silurus_gate_" + std::string(line)));
  }
}

TEST(Metrics, OfAServerThatIsAwayAreThoseOfTheGate) {
  const std::string text = metrics(fail(ErrorCode::kUnavailable, "no server listens there"));
  EXPECT_THAT(text, HasSubstr("silurus_up 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("silurus_version")));
  EXPECT_THAT(text, HasSubstr("silurus_gate_connections 0\n"));
}

TEST(Metrics, AddUpWhatAllSourcesHaveAsked) {
  GateCounters gate;
  ClientStatistics asked;
  asked.messaging.completed = 3;
  asked.offload.completed = 4;
  const int first = 0;
  const int second = 0;
  gate.put(&first, asked);
  gate.put(&second, asked);
  gate.put(&second, asked);  // the same source again: it counts from its beginning
  EXPECT_EQ(gate.searches().messaging, 6u);
  EXPECT_EQ(gate.searches().offload, 8u);
}

TEST(Readiness, HasAReason) {
  ServerStatistics server = statistics();
  EXPECT_EQ(not_ready_since(server), "");
  server.state = "read-only: the disk is full";
  EXPECT_EQ(not_ready_since(server), "");
  server.state = "frozen";
  EXPECT_EQ(not_ready_since(server), "the server is frozen");
  EXPECT_EQ(not_ready_since(fail(ErrorCode::kUnavailable, "gone")), "gone");
}

}  // namespace
}  // namespace silurus::gate
