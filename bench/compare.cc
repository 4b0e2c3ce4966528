// SPDX-License-Identifier: Apache-2.0

// silurus-compare: asks a running server the same queries in every way, and checks that the answers
// agree.

#include <algorithm>
#include <cstdio>
#include <vector>

#include "bench/command_line.h"
#include "bench/cpus.h"
#include "bench/driver.h"
#include "bench/report.h"

namespace silurus::bench {
namespace {

constexpr int kGridColumns = 36;
constexpr int kGridRows = 18;
constexpr std::uint64_t kSamplesPerCell = 64;
constexpr std::uint64_t kNearestEvery = 5;

struct CompareOptions {
  std::string server_url;  ///< a running 2-D server with one-sided reads
  std::string tcp_url;     ///< the same server, over TCP
  std::string collection;  ///< empty: the default one
  std::uint64_t queries = 20'000;
  double edge = 0.2;  ///< edge of the windows, in the units of the data
  std::uint32_t k = 10;
  std::uint64_t seed = 1;
};

constexpr Box<2> kWorld{{-180, -90}, {180, 90}};

/// Places where there is something: the data's extent in a grid, and some boxes of each cell.
Result<std::vector<Point<2>>> sample_places(Client<2>& client) {
  std::vector<Point<2>> places;
  for (int row = 0; row < kGridRows; ++row) {
    for (int column = 0; column < kGridColumns; ++column) {
      Box<2> cell;
      const std::array<int, 2> at{column, row};
      const std::array<int, 2> of{kGridColumns, kGridRows};
      for (int d = 0; d < 2; ++d) {
        const double step = (kWorld.max[d] - kWorld.min[d]) / of[d];
        cell.min[d] = kWorld.min[d] + step * at[d];
        cell.max[d] = cell.min[d] + step;
      }
      auto found = client.range(cell, {.shape = ResultShape::kEntries, .limit = kSamplesPerCell});
      if (!found) return fail(found.error());
      for (const Box<2>& box : found->boxes) places.push_back({box.min});
    }
  }
  if (places.empty()) return fail(ErrorCode::kNotFound, "the server holds no entries to ask for");
  return places;
}

struct Query {
  bool nearest;
  Point<2> place;
  Box<2> window;
};

std::vector<Query> make_queries(const std::vector<Point<2>>& places,
                                const CompareOptions& options) {
  Random random(options.seed);
  std::vector<Query> queries;
  for (std::uint64_t i = 0; i < options.queries; ++i) {
    Query query{.nearest = i % kNearestEvery == kNearestEvery - 1,
                .place = places[random.below(places.size())],
                .window = {}};
    for (int d = 0; d < 2; ++d) {
      const auto within = [&](double at) { return std::clamp(at, kWorld.min[d], kWorld.max[d]); };
      double& at = query.place.at[d];
      at = within(at + random.uniform(-options.edge, options.edge) / 2);
      query.window.min[d] = within(at - options.edge / 2);
      query.window.max[d] = within(at + options.edge / 2);
    }
    queries.push_back(query);
  }
  return queries;
}

/// What an answer says, in an order that does not depend on the way: ids, ascending for a window.
Result<std::vector<std::uint64_t>> answer(Client<2>& client, const Query& query, std::uint32_t k) {
  if (query.nearest) {
    auto found = client.nearest(query.place, k);
    if (!found) return fail(found.error());
    std::vector<std::uint64_t> ids;
    for (const Neighbor& neighbor : *found) ids.push_back(neighbor.id);
    return ids;
  }
  auto found = client.range(query.window);
  if (!found) return fail(found.error());
  std::sort(found->ids.begin(), found->ids.end());
  return std::move(found->ids);
}

Result<Figures> ask_all(Client<2>& client, const std::vector<Query>& queries, std::uint32_t k,
                        std::vector<std::vector<std::uint64_t>>& answers) {
  answers.clear();
  const SystemClock clock;
  const auto cpu_before = server_cpu_seconds(client);
  if (!cpu_before) return fail(cpu_before.error());
  client.reset_statistics();
  const double thread_before = thread_cpu_seconds();
  const Nanoseconds start = clock.now();
  for (const Query& query : queries) {
    auto ids = answer(client, query, k);
    if (!ids) return fail(ids.error());
    answers.push_back(std::move(*ids));
  }
  Figures figures{.seconds = static_cast<double>(clock.now() - start) / kSecond};
  figures.statistics = client.statistics();
  figures.client_cpu_seconds = thread_cpu_seconds() - thread_before;
  const auto cpu_after = server_cpu_seconds(client);
  if (!cpu_after) return fail(cpu_after.error());
  figures.server_cpu_seconds = *cpu_after - *cpu_before;
  return figures;
}

Status check_same(const std::vector<std::vector<std::uint64_t>>& expected,
                  const std::vector<std::vector<std::uint64_t>>& answers, const std::string& way) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (answers[i] != expected[i]) {
      return fail(ErrorCode::kProtocol,
                  "query " + std::to_string(i) + " was answered otherwise by " + way + ": " +
                      std::to_string(answers[i].size()) + " entries, not the same " +
                      std::to_string(expected[i].size()));
    }
  }
  return {};
}

/// Asks the same queries in every way (four windows about places where there is something, to one
/// search for nearest neighbours), checks that all ways give the same answers, and prints one
/// table; adds rows compare/WAY. An answer that differs is an error.
Status run_compare(const CompareOptions& options, Report& report) {
  std::vector<std::vector<std::uint64_t>> expected, answers;
  std::vector<Query> queries;
  std::printf("%-10s %12s %9s %9s %12s %12s %10s %10s\n", "", "queries/s", "p50 us", "p99 us",
              "round trips", "bytes/query", "server us", "client us");
  for (const Way& way : all_ways(options.server_url, options.tcp_url, options.tcp_url)) {
    ClientOptions how = way.client;
    how.collection = options.collection;
    auto client = Client<2>::connect(way.url, how);
    if (!client) return fail(client.error());
    if (queries.empty()) {
      auto places = sample_places(*client);
      if (!places) return fail(places.error());
      queries = make_queries(*places, options);
    }
    // once unmeasured, for caches to fill and policies to learn
    for (int round = 0; round < 2; ++round) {
      auto figures = ask_all(*client, queries, options.k, answers);
      if (!figures) return fail(figures.error());
      if (expected.empty()) expected = answers;
      if (Status same = check_same(expected, answers, way.name); !same) return same;
      if (round == 0) continue;
      std::printf("%-10s %12.0f %9.2f %9.2f %12.2f %12.0f %10.2f %10.2f\n", way.name.c_str(),
                  figures->ops_per_second(), figures->p50_us(), figures->p99_us(),
                  figures->round_trips(), figures->bytes(), figures->server_cpu_us(),
                  figures->client_cpu_us());
      report.record({.name = "compare/" + way.name,
                     .value = figures->ops_per_second(),
                     .unit = "ops/s",
                     .server_cpu = figures->server_cpu_us(),
                     .client_cpu = figures->client_cpu_us(),
                     .latency = steps_of(figures->all_searches().latency)});
    }
    std::fflush(stdout);
  }
  std::uint64_t entries = 0;
  for (const auto& ids : expected) entries += ids.size();
  std::printf(
      "%zu queries (windows of %g, and the %u nearest), %.1f entries each: all answers agree\n",
      queries.size(), options.edge, options.k,
      static_cast<double>(entries) / static_cast<double>(queries.size()));
  return {};
}

int run(int argc, char** argv) {
  std::string whole_line;
  for (int i = 0; i < argc; ++i) whole_line += (i == 0 ? "" : " ") + std::string(argv[i]);
  CompareOptions chosen;
  CommandLine line("silurus-compare",
                   "Asks a running server the same queries in every way and compares the answers; "
                   "geographic data (-180 -90 180 90)");
  line.option("server", "a server with one-sided reads", chosen.server_url, "URL");
  line.option("tcp", "the same server over TCP", chosen.tcp_url, "URL");
  line.option("collection", "the collection that is asked", chosen.collection, "NAME");
  line.option("queries", "number of queries", chosen.queries);
  line.option("edge", "edge of the windows, in degrees", chosen.edge);
  line.option("k", "number of nearest neighbours", chosen.k);
  line.option("seed", "seed of the queries", chosen.seed);
  return line.measure(argc, argv, whole_line,
                      {.sensible =
                           [&] {
                             return !chosen.server_url.empty() && !chosen.tcp_url.empty() &&
                                    chosen.queries > 0 && chosen.edge > 0 && chosen.k > 0;
                           },
                       .rule = "needs --server URL and --tcp URL; --queries, --edge and --k are "
                               "above 0",
                       .run = [&](Report& report) { return run_compare(chosen, report); }});
}

}  // namespace
}  // namespace silurus::bench

int main(int argc, char** argv) { return silurus::bench::run(argc, argv); }
