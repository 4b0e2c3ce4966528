// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "bench/plan.h"
#include "bench/plan_grid_world.h"
#include "bench/plan_server.h"
#include "client/request.h"
#include "common/clock.h"
#include "server/core.h"

// Where each way of asking wins: a grid of plans (docs/scaling.md).

namespace silurus::bench {
namespace {

/// Windows that are counted in the tree, from which all clients draw.
constexpr std::size_t kSampled = 4096;
/// What one request costs a worker that the kernel wakes for it (issue 16; the Catfish paper's
/// server waits for events).
constexpr double kWakeNs = 8'000;

struct Card {
  const char* name;
  double bytes_per_second;
  double reads_per_second;
};
/// Nominal rates; reads by issue 16 (half of the messages that product briefs of ConnectX-4 to -7
/// state, rounded down); a read is a message each way.
constexpr Card kCards[] = {{"100", 12.5e9, 75e6}, {"200", 25e9, 110e6}, {"400", 50e9, 200e6}};
constexpr unsigned kCores[] = {1, 2, 4, 8, 28};

constexpr GridTime kFixed = {.warm_up_operations = 20,
                             .warm_up = 300 * kMicrosecond,
                             .operations = 10'000,
                             .duration = 500 * kMicrosecond};
/// Where the cost policy starts at the worse end of the scale it takes up to 10,000 searches.
constexpr GridTime kAdaptive = {.warm_up_operations = 10'000,
                                .warm_up = 20 * kMillisecond,
                                .operations = 20'000,
                                .duration = 10 * kMillisecond};
/// Catfish's counter grows by one each 10 ms.
constexpr GridTime kRules = {.warm_up_operations = 0,
                             .warm_up = 200 * kMillisecond,
                             .operations = 20'000,
                             .duration = 100 * kMillisecond};

class FixedWay final : public AccessPolicy {
 public:
  explicit FixedWay(Access access) : access_(access) {}
  Access choose(std::uint8_t) override { return access_; }
  void on_search(const SearchOutcome&) override {}
  void on_heartbeat(const ServerLoad&) override {}

 private:
  Access access_;
};

/// Offloads a share of the searches, those of the smallest windows first: it is they that read the
/// fewest bytes for each nanosecond that they take off the server. A judge for policies, which
/// must find the share.
class Mixture final : public AccessPolicy {
 public:
  Mixture(std::array<double, kSearchClasses> shares, std::uint64_t seed)
      : shares_(shares), random_(seed) {}
  Access choose(std::uint8_t search_class) override {
    return random_.uniform() < shares_[search_class] ? Access::kOffload : Access::kMessaging;
  }
  void on_search(const SearchOutcome&) override {}
  void on_heartbeat(const ServerLoad&) override {}

 private:
  std::array<double, kSearchClasses> shares_;
  Random random_;
};

struct GridWorkload {
  const char* name;
  const char* edge;
  std::vector<GridSearch> searches = {};
};

/// By class, that `share` of all searches are offloaded.
std::array<double, kSearchClasses> shares_of(const GridWorkload& workload, double share) {
  std::array<double, kSearchClasses> shares{};
  for (const GridSearch& search : workload.searches) shares[search.search_class] += 1;
  double left = share * static_cast<double>(workload.searches.size());
  for (double& each : shares) {
    const double taken = std::min(each, left);
    left -= taken;
    each = each > 0 ? taken / each : 0;
  }
  return shares;
}

/// The searches of all workloads as counted in one tree, and its levels.
Result<unsigned> count_searches(const PlanEntries& entries, std::vector<GridWorkload>& workloads) {
  const SystemClock clock;
  server::InlineExecutor executor;
  auto core = server::Core<2>::create({.workers = 1}, clock, executor);
  if (!core) return fail(core.error());
  if (auto loaded = (*core)->load(entries); !loaded) return fail(loaded.error());
  const auto snapshot = (*core)->shard().tree().snapshot();
  DemandCounter counter;
  for (GridWorkload& workload : workloads) {
    const auto options = plan_windows(workload.edge);
    if (!options) return fail(options.error());
    auto windows = datasets::WindowGenerator<2>::create(*options);
    if (!windows) return fail(windows.error());
    for (std::size_t i = 0; i < kSampled; ++i) {
      const client::request::Range<2> range{{.window = windows->next()}};
      const SearchDemand demand = counter.count(snapshot, range.query);
      workload.searches.push_back(
          {.search_class = client::search_class<2>(client::Search<2>(range)),
           .inner = std::max(1.0, static_cast<double>(demand.inner)) - 1,
           .leaves = static_cast<double>(demand.leaves),
           .results = static_cast<double>(demand.results)});
    }
  }
  return snapshot.node(snapshot.root().ref).level() + 1;
}

/// One server, which clients with different caches ask.
struct Place {
  const GridWorkload* workload;
  bool is_mixed;
  bool is_woken;
  const Card* card;
  unsigned cores;
};

struct Outcome {
  GridFigures messaging, offload, mixture;
  std::optional<GridFigures> policy;  ///< the cost policy's
};
using Outcomes = std::array<Outcome, kGridClients>;

/// Whether the policy is simulated, too, which takes a second of a core or more: a sample.
bool is_sampled(const Place& place) {
  return std::string_view(place.workload->name) == "small" && !place.is_mixed &&
         place.card != &kCards[2] && (!place.is_woken || place.cores == 28);
}

class Grid {
 public:
  Grid(PlanRun base, unsigned levels) : base_(std::move(base)), levels_(levels) {}
  GridRun run_at(const Place& place, GridClient client) const;
  Outcomes outcomes_at(const Place& place) const;

 private:
  PlanRun base_;
  unsigned levels_;
};

GridRun Grid::run_at(const Place& place, GridClient client) const {
  GridRun run{.model = base_.model,
              .costs = base_.costs,
              .wake_ns = place.is_woken ? kWakeNs : 0,
              .client = client,
              .insert_share = place.is_mixed ? 0.1 : 0,
              .levels = levels_,
              .searches = place.workload->searches,
              .seed = base_.seed};
  run.model.host.server_cores = place.cores;
  run.model.network.bytes_per_second = place.card->bytes_per_second;
  run.model.card.reads_per_second = place.card->reads_per_second;
  run.model.card.messages_per_second = 2 * place.card->reads_per_second;
  return run;
}

GridPolicy fixed(Access access) {
  return [access](unsigned) { return std::make_unique<FixedWay>(access); };
}

GridPolicy shipped(PolicyKind kind) {
  return [kind](unsigned number) { return make_policy(kind, 7919 + number); };
}

/// Near the share at which both ways do what they can, as if they had nothing in common; the fixed
/// ways are mixtures, too.
GridFigures best_mixture(const Place& place, const GridRun& run, const Outcome& fixed_ways) {
  const double by_message = fixed_ways.messaging.ops_per_second;
  const double offloaded = fixed_ways.offload.ops_per_second;
  GridFigures best = by_message >= offloaded ? fixed_ways.messaging : fixed_ways.offload;
  for (const double part : {0.65, 0.85, 0.95, 1.0}) {
    const double share = std::min(1.0, part * offloaded / (by_message + offloaded));
    const auto shares = shares_of(*place.workload, share);
    const GridFigures figures = run_grid(
        run, [&](unsigned number) { return std::make_unique<Mixture>(shares, number); }, kFixed);
    if (figures.ops_per_second > best.ops_per_second) best = figures;
  }
  return best;
}

Outcomes Grid::outcomes_at(const Place& place) const {
  Outcomes outcomes;
  for (std::size_t i = 0; i < kGridClients; ++i) {
    const GridRun run = run_at(place, static_cast<GridClient>(i));
    Outcome& outcome = outcomes[i];
    outcome.messaging =
        i == 0 ? run_grid(run, fixed(Access::kMessaging), kFixed) : outcomes[0].messaging;
    outcome.offload = run_grid(run, fixed(Access::kOffload), kFixed);
    outcome.mixture = best_mixture(place, run, outcome);
    if (is_sampled(place)) {
      outcome.policy = run_grid(run, shipped(PolicyKind::kCost), kAdaptive);
    }
  }
  return outcomes;
}

std::string name_of(const Place& place, GridClient client) {
  return std::string("plan/grid/") + place.workload->name +
         (place.is_mixed ? "/mixed90" : "/search") + (place.is_woken ? "/woken/" : "/polled/") +
         grid_client_name(client) + "/card=" + place.card->name +
         "/cores=" + std::to_string(place.cores);
}

/// What issue 16 asks of small windows that are only searched, with groups of entries: 1.4 and 1.8
/// times the better fixed way on 28 cores with 100 and 200 Gb/s; 3 with four cores, and with 28
/// that are woken, at 100 Gb/s.
std::optional<double> bar_of(const Place& place, GridClient client) {
  const bool is_asked = client == GridClient::kGroups && !place.is_mixed &&
                        std::string_view(place.workload->name) == "small";
  if (!is_asked) return {};
  const bool is_100 = place.card == &kCards[0];
  if (place.cores == 28 && place.is_woken && is_100) return 3;
  if (place.cores == 4 && !place.is_woken && is_100) return 3;
  if (place.cores != 28 || place.is_woken || place.card == &kCards[2]) return {};
  return is_100 ? 1.4 : 1.8;
}

/// The cost policy's part of a square that is in the sample.
void report_policy(const std::string& name, const Outcome& outcome, double better,
                   std::optional<double> bar, Report& report) {
  const double rate = outcome.policy->ops_per_second;
  std::printf(" %8.2f %6.2f %6.2f %5.0f", rate / 1e6, rate / better,
              rate / outcome.mixture.ops_per_second, 100 * outcome.policy->offload_share);
  report.record({.name = name + "/policy",
                 .value = rate,
                 .unit = "ops/s",
                 .baseline = "better-fixed",
                 .ratio = rate / better,
                 .bar = bar});
  report.record({.name = name + "/policy/vs-best-mixture",
                 .value = rate,
                 .unit = "ops/s",
                 .baseline = "best-mixture",
                 .ratio = rate / outcome.mixture.ops_per_second});
}

void report_place(const Place& place, const Outcomes& outcomes, Report& report) {
  for (std::size_t i = 0; i < kGridClients; ++i) {
    const auto client = static_cast<GridClient>(i);
    const Outcome& outcome = outcomes[i];
    const std::string name = name_of(place, client);
    const double by_message = outcome.messaging.ops_per_second;
    const double offloaded = outcome.offload.ops_per_second;
    const double better = std::max(by_message, offloaded);
    const double mixture = outcome.mixture.ops_per_second;
    std::printf("%-66s %8.2f %8.2f %8.2f %6.2f", name.c_str(), by_message / 1e6, offloaded / 1e6,
                mixture / 1e6, mixture / better);
    report.record({.name = name,
                   .value = mixture,
                   .unit = "ops/s",
                   .baseline = by_message >= offloaded ? "messaging" : "offload",
                   .ratio = mixture / better});
    report.record({.name = name + "/messaging", .value = by_message, .unit = "ops/s"});
    report.record({.name = name + "/offload", .value = offloaded, .unit = "ops/s"});
    if (outcome.policy) report_policy(name, outcome, better, bar_of(place, client), report);
    std::printf("\n");
  }
  std::fflush(stdout);
}

/// `work(i)` for each i below `count`, side by side on all cores, and `done(i)` on this thread, in
/// order.
template <typename Work, typename Done>
void side_by_side(std::size_t count, const Work& work, const Done& done) {
  std::vector<std::promise<void>> ends(count);
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> workers;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    workers.emplace_back([&] {
      // Relaxed: a ticket, and no more; results are handed over by the promises.
      for (std::size_t at = next.fetch_add(1, std::memory_order_relaxed); at < count;
           at = next.fetch_add(1, std::memory_order_relaxed)) {
        work(at);
        ends[at].set_value();
      }
    });
  }
  for (std::size_t i = 0; i < count; ++i) {
    ends[i].get_future().get();
    done(i);
  }
}

std::vector<Place> all_places(const std::vector<GridWorkload>& workloads) {
  std::vector<Place> places;
  for (const GridWorkload& workload : workloads) {
    for (const bool is_mixed : {false, true}) {
      for (const bool is_woken : {false, true}) {
        for (const Card& card : kCards) {
          for (const unsigned cores : kCores) {
            places.push_back({&workload, is_mixed, is_woken, &card, cores});
          }
        }
      }
    }
  }
  return places;
}

/// Both readings of the Catfish paper, small windows at 100 Gb/s, for long enough that the counter
/// of busy heartbeats comes to matter.
void compare_rules(const Grid& grid, const GridWorkload& small, Report& report) {
  struct Rule {
    Place place;
    GridClient client;
    PolicyKind kind;
    GridFigures figures = {};
  };
  std::vector<Rule> rules;
  for (const bool is_woken : {false, true}) {
    for (const unsigned cores : {4u, 28u}) {
      for (const GridClient client : {GridClient::kNoCache}) {
        for (const auto kind :
             {PolicyKind::kCatfish, PolicyKind::kCatfishDoubling, PolicyKind::kCost}) {
          rules.push_back({{&small, false, is_woken, &kCards[0], cores}, client, kind});
        }
      }
    }
  }
  const auto work = [&](std::size_t i) {
    Rule& rule = rules[i];
    rule.figures = run_grid(grid.run_at(rule.place, rule.client), shipped(rule.kind), kRules);
  };
  const auto done = [&](std::size_t i) {
    const Rule& rule = rules[i];
    const char* policy = rule.kind == PolicyKind::kCatfish           ? "catfish"
                         : rule.kind == PolicyKind::kCatfishDoubling ? "catfish-doubling"
                                                                     : "cost";
    const std::string name =
        "plan/grid/rules/" + name_of(rule.place, rule.client).substr(10) + "/" + policy;
    std::printf("%-72s %8.2f  offloaded %5.1f %%\n", name.c_str(),
                rule.figures.ops_per_second / 1e6, 100 * rule.figures.offload_share);
    std::fflush(stdout);
    report.record({.name = name, .value = rule.figures.ops_per_second, .unit = "ops/s"});
  };
  side_by_side(rules.size(), work, done);
}

}  // namespace

Status run_grid_experiment(const PlanExperiment& asked, Report& report) {
  const auto base = base_run(asked);
  if (!base) return fail(base.error());
  std::vector<GridWorkload> workloads = {
      {"small", "0.00001"}, {"large", "0.01"}, {"power-law", "power-law"}};
  const auto levels = count_searches(*base->entries, workloads);
  if (!levels) return fail(levels.error());
  const Grid grid(*base, *levels);
  const std::vector<Place> places = all_places(workloads);
  std::vector<Outcomes> outcomes(places.size());
  std::printf("%-66s %8s %8s %8s %6s %8s %6s %6s %5s\n", "M ops/s", "message", "offload", "mixture",
              "/fixed", "policy", "/fixed", "/mixt.", "offl%");
  side_by_side(
      places.size(), [&](std::size_t i) { outcomes[i] = grid.outcomes_at(places[i]); },
      [&](std::size_t i) { report_place(places[i], outcomes[i], report); });
  compare_rules(grid, workloads.front(), report);
  return {};
}

}  // namespace silurus::bench
