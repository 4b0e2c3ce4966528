// SPDX-License-Identifier: Apache-2.0

#include "bench/peers_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include "bench/command_line.h"
#include "bench/cpus.h"
#include "bench/figures.h"
#include "bench/folder.h"
#include "bench/peers/peer.h"
#include "bench/peers/silurus.h"
#include "common/random.h"
#include "datasets/open.h"

namespace silurus::bench {
using Box2 = rtree::Box<2>;
using Entry2 = rtree::Entry<2>;

namespace {

using Point2 = rtree::Point<2>;

constexpr double kLargeResults = 200;
constexpr std::size_t kQueries = 50'000;  // queries of each kind; asked again and again
constexpr std::size_t kMaxChecked = kQueries;

/// What is asked: windows that find next to nothing, windows that find about 200, and neighbours.
struct QueryKind {
  std::string name;
  std::vector<PeerQuery> queries;
  double bar;  ///< against PostGIS and Redis: one client, one query in flight
};

std::vector<PeerQuery> windows(double edge, Random& random) {
  std::vector<PeerQuery> queries(kQueries);
  for (PeerQuery& query : queries) {
    for (int d = 0; d < 2; ++d) {
      query.window.min[d] = random.uniform(0, 1 - edge);
      query.window.max[d] = query.window.min[d] + edge;
    }
  }
  return queries;
}

std::vector<PeerQuery> points(Random& random) {
  std::vector<PeerQuery> queries = windows(0, random);
  for (PeerQuery& query : queries) query.k = kNeighbors;
  return queries;
}

std::vector<QueryKind> query_kinds(std::size_t entries, std::uint64_t seed) {
  Random random(seed);
  const double large = std::sqrt(kLargeResults / static_cast<double>(entries));
  return {{"small", windows(kSmallEdge, random), 20},
          {"200-results", windows(std::min(0.5, large), random), 50},
          {"knn10", points(random), 20}};
}

/// What sessions did in one run.
struct PeerFigures {
  double per_second = 0;
  double server_cpu = 0, client_cpu = 0;  ///< seconds of a million queries
  Histogram latency;  ///< ns, from sending to the last answer of those sent together
};

struct Load {
  std::uint32_t clients, in_flight;
};

/// That many sessions of one system, each with that many queries in flight, all of this one thread:
/// while one answers the others are at work.
class Asker {
 public:
  template <typename System>
  static Result<Asker> create(System& system, const Load& load, const QueryKind& kind) {
    Asker asker(load, kind);
    for (std::uint32_t i = 0; i < load.clients; ++i) {
      auto session = system.connect();
      if (!session) return fail(session.error());
      asker.lanes_.push_back({std::move(*session), i * kQueries / load.clients, 0});
    }
    asker.cpu_seconds_ = [&system] { return system.cpu_seconds(); };
    return asker;
  }

  Result<PeerFigures> run(double seconds) {
    PeerFigures figures;
    const double server_before = cpu_seconds_(), client_before = thread_cpu_seconds();
    const Nanoseconds start = clock_.now();
    const auto end = start + static_cast<Nanoseconds>(seconds * kSecond);
    std::uint64_t done = 0;
    for (Lane& lane : lanes_) {
      if (auto ok = begin(lane); !ok) return fail(ok.error());
    }
    for (bool more = true; more;) {
      more = clock_.now() < end;
      for (Lane& lane : lanes_) {
        if (auto ok = lane.session->finish(answers_); !ok) return fail(ok.error());
        figures.latency.add(static_cast<std::uint64_t>(clock_.now() - lane.sent));
        done += answers_.size();
        if (!more) continue;
        if (auto ok = begin(lane); !ok) return fail(ok.error());
      }
    }
    const double took = static_cast<double>(clock_.now() - start) / kSecond;
    const double millions = static_cast<double>(done) / 1e6;
    figures.per_second = static_cast<double>(done) / took;
    figures.client_cpu = (thread_cpu_seconds() - client_before) / millions;
    figures.server_cpu = (cpu_seconds_() - server_before) / millions;
    return figures;
  }

 private:
  struct Lane {
    std::unique_ptr<PeerSession> session;
    std::size_t next;  ///< query
    Nanoseconds sent;
  };

  Asker(const Load& load, const QueryKind& kind)
      : queries_(kind.queries), in_flight_(load.in_flight), answers_(load.in_flight) {}

  Status begin(Lane& lane) {
    if (lane.next + in_flight_ > queries_.size()) lane.next = 0;
    const auto batch = queries_.subspan(lane.next, in_flight_);
    lane.next += in_flight_;
    lane.sent = clock_.now();
    return lane.session->begin(batch);
  }

  std::span<const PeerQuery> queries_;
  std::uint32_t in_flight_;
  std::vector<PeerAnswer> answers_;
  std::vector<Lane> lanes_;
  std::function<double()> cpu_seconds_;
  SystemClock clock_;
};

/// All runs of one system under one load.
struct Measured {
  std::vector<double> rates, server_cpu, client_cpu;
  Histogram latency;

  void add(const PeerFigures& figures) {
    rates.push_back(figures.per_second);
    server_cpu.push_back(figures.server_cpu);
    client_cpu.push_back(figures.client_cpu);
    latency.merge(figures.latency);
  }
  Row row(std::string name, bool embedded) const {
    Row out{.name = std::move(name), .value = median(rates), .unit = "ops/s", .spread = rates};
    if (!embedded) out.server_cpu = median(server_cpu);
    out.client_cpu = median(client_cpu);
    out.latency = steps_of(latency);
    return out;
  }
};

const char* explain(Rounding rounding) {
  switch (rounding) {
    case Rounding::kNone:
      return "it holds the same doubles";
    case Rounding::kFloat32:
      return "it grows boxes outward to 32-bit floats";
    case Rounding::kGeohash:
      return "it holds the boxes' centres on a grid of 52 bits, and measures in metres on a sphere";
  }
  return "";
}

class PeersBench {
 public:
  PeersBench(const PeersBenchOptions& options, PeerPlace place, std::vector<Entry2> entries,
             SilurusPeer silurus, Report& report)
      : options_(options),
        place_(std::move(place)),
        entries_(std::move(entries)),
        silurus_(std::move(silurus)),
        kinds_(query_kinds(entries_.size(), options.seed)),
        report_(report) {
    for (const Entry2& entry : entries_) {
      for (int d = 0; d < 2; ++d) {
        longest_edge_ = std::max(longest_edge_, entry.box.max[d] - entry.box.min[d]);
      }
    }
  }

  Status run(const PeerKind& kind) {
    auto peer = kind.start(place_);
    if (!peer) {
      const bool absent =
          peer.error().code == ErrorCode::kUnsupported || peer.error().code == ErrorCode::kNotFound;
      if (!absent) return fail(peer.error());
      std::printf("%s is left out: %s\n", kind.name.c_str(), peer.error().message.c_str());
      std::fflush(stdout);
      return {};
    }
    const SystemClock clock;
    const Nanoseconds start = clock.now();
    if (auto ok = (*peer)->load(entries_); !ok) return ok;
    std::printf("%s: loaded %zu entries in %.3g s\n", (*peer)->traits().title.c_str(),
                entries_.size(), static_cast<double>(clock.now() - start) / kSecond);
    std::fflush(stdout);
    if (auto ok = check(kind, **peer); !ok) return ok;
    for (const QueryKind& query : kinds_) {
      if (query.queries.front().k > 0 && !(*peer)->traits().nearest) {
        std::printf("%s has no search for the k nearest\n", (*peer)->traits().title.c_str());
        continue;
      }
      for (const Load& load : loads((*peer)->traits())) {
        if (auto ok = measure(kind, **peer, query, load); !ok) return ok;
      }
    }
    return {};
  }

  /// What Silurus did beside all the others.
  void report_silurus() {
    for (const std::string& name : asked_) {
      report_.add(ours_.at(name).row(name + "/silurus", false));
    }
  }

 private:
  static std::string row_name(const QueryKind& query, const Load& load) {
    return "peers/" + query.name + "/clients=" + std::to_string(load.clients) +
           "/in-flight=" + std::to_string(load.in_flight);
  }

  std::vector<Load> loads(const PeerTraits& traits) const {
    if (traits.embedded) return {{1, 1}};
    std::vector<Load> all;
    for (const std::uint32_t clients : options_.clients) {
      for (const std::uint32_t in_flight : options_.in_flight) {
        if (in_flight == 1 || traits.pipelines) all.push_back({clients, in_flight});
      }
    }
    return all;
  }

  Status measure(const PeerKind& kind, Peer& peer, const QueryKind& query, const Load& load) {
    auto ours = Asker::create(silurus_, load, query);
    if (!ours) return fail(ours.error());
    auto theirs = Asker::create(peer, load, query);
    if (!theirs) return fail(theirs.error());
    if (ours_.find(row_name(query, load)) == ours_.end()) asked_.push_back(row_name(query, load));
    Measured mine, other;
    for (std::uint32_t run = 0; run <= options_.runs; ++run) {
      const bool warm_up = run == 0;
      const double seconds = warm_up ? options_.seconds / 4 : options_.seconds;
      auto mine_now = ours->run(seconds);
      if (!mine_now) return fail(mine_now.error());
      auto theirs_now = theirs->run(seconds);
      if (!theirs_now) return fail(theirs_now.error());
      if (warm_up) continue;
      mine.add(*mine_now);
      other.add(*theirs_now);
      ours_[row_name(query, load)].add(*mine_now);
    }
    const bool embedded = peer.traits().embedded;
    report_.add(other.row(row_name(query, load) + "/" + kind.name, embedded));
    Row against = mine.row(row_name(query, load) + "/vs-" + kind.name, false);
    against.latency.clear();  // once, in Silurus's own row
    against.baseline = peer.traits().title;
    against.ratio = against.value / median(other.rates);
    against.bar = bar(kind, query, load);
    report_.add(std::move(against));
    return {};
  }

  static std::optional<double> bar(const PeerKind& kind, const QueryKind& query, const Load& load) {
    if (load.clients != 1) return {};
    if (load.in_flight == 1 && (kind.name == "postgis" || kind.name == "redis")) return query.bar;
    if (load.in_flight == 16 && kind.name == "redis") return 10;
    return {};
  }

  // --- agreement

  Result<std::vector<Entry2>> entries_in(Client<2>& client, const Box2& window) const {
    auto found = client.range(window, {.shape = ResultShape::kEntries});
    if (!found) return fail(found.error());
    std::vector<Entry2> entries;
    for (std::size_t i = 0; i < found->ids.size(); ++i) {
      entries.push_back({found->ids[i], found->boxes[i]});
    }
    return entries;
  }

  /// A window that holds all entries that may be among the nearest, whatever the system measures
  /// their distance to.
  Result<Box2> about_nearest(Client<2>& client, const PeerQuery& query) const {
    auto nearest = client.nearest(query.point(), query.k);
    if (!nearest) return fail(nearest.error());
    const double distance = nearest->empty() ? 0 : (*nearest)[nearest->size() - 1].distance;
    const double around = 1.1 * (distance + 2 * longest_edge_);
    Box2 window = query.window;
    for (int d = 0; d < 2; ++d) {
      window.min[d] -= around;
      window.max[d] += around;
    }
    return window;
  }

  Status check_one(const PeerTraits& traits, Client<2>& client, const PeerQuery& query,
                   const PeerAnswer& answer, Agreement& agreement) const {
    auto window = query.k == 0 ? Result<Box2>(query.window) : about_nearest(client, query);
    if (!window) return fail(window.error());
    auto candidates = entries_in(client, reach(*window));
    if (!candidates) return fail(candidates.error());
    if (query.k == 0) {
      return check_window(traits.rounding, query.window, *candidates, answer, agreement);
    }
    return check_nearest(traits.rounding, query.point(), query.k, *candidates, answer, agreement);
  }

  Status check(const PeerKind& kind, Peer& peer) {
    auto client = silurus_.client();
    if (!client) return fail(client.error());
    auto session = peer.connect();
    if (!session) return fail(session.error());
    Agreement agreement;
    for (const QueryKind& asked : kinds_) {
      if (asked.queries.front().k > 0 && !peer.traits().nearest) continue;
      const std::span some = std::span(asked.queries).first(options_.checked);
      std::vector<PeerAnswer> answers(some.size());
      if (auto ok = (*session)->begin(some); !ok) return ok;
      if (auto ok = (*session)->finish(answers); !ok) return ok;
      for (std::size_t i = 0; i < some.size(); ++i) {
        if (auto ok = check_one(peer.traits(), *client, some[i], answers[i], agreement); !ok) {
          return fail(ok.error().code, peer.traits().title + ": " + ok.error().message);
        }
      }
    }
    std::printf("%s: %llu answers with %llu entries agree, but for %llu entries: %s\n",
                peer.traits().title.c_str(), static_cast<unsigned long long>(agreement.queries),
                static_cast<unsigned long long>(agreement.entries),
                static_cast<unsigned long long>(agreement.by_rounding),
                explain(peer.traits().rounding));
    std::fflush(stdout);
    report_.record({.name = "peers/agreement/" + kind.name,
                    .value = static_cast<double>(agreement.by_rounding),
                    .unit = "of " + std::to_string(agreement.entries) + " entries, by rounding"});
    return {};
  }

  const PeersBenchOptions& options_;
  const PeerPlace place_;
  const std::vector<Entry2> entries_;
  SilurusPeer silurus_;
  const std::vector<QueryKind> kinds_;
  Report& report_;
  double longest_edge_ = 0;
  std::vector<std::string> asked_;  ///< loads, in order
  std::map<std::string, Measured> ours_;
};

Result<std::vector<Entry2>> read_entries(const std::string& data) {
  auto source = datasets::open_dataset<2>(data);
  if (!source) return fail(source.error());
  auto entries = datasets::read_all(**source);
  if (!entries) return fail(entries.error());
  constexpr Box2 kUnit{{0, 0}, {1, 1}};
  for (const Entry2& entry : *entries) {
    if (!rtree::contains(kUnit, entry.box)) {
      return fail(ErrorCode::kInvalidArgument,
                  "entry " + std::to_string(entry.id) + " of " + data +
                      " is not within the unit square, where queries are");
    }
  }
  if (entries->empty()) return fail(ErrorCode::kInvalidArgument, data + " has no entries");
  return entries;
}

}  // namespace

Status run_peers(const PeersBenchOptions& options, Report& report) {
  auto entries = read_entries(options.data);
  if (!entries) return fail(entries.error());
  const std::vector<int> cpus = allowed_cpus();
  const Folder folder(options.directory.empty() ? std::filesystem::temp_directory_path()
                                                : std::filesystem::path(options.directory));
  const PeerPlace place{.folder = folder.path(), .cpus = {cpus.front()}};
  auto silurus = SilurusPeer::start(place, options.data);
  if (!silurus) return fail(silurus.error());
  pin_this_thread(cpus.back());
  PeersBench bench(options, place, std::move(*entries), std::move(*silurus), report);
  for (const PeerKind& kind : peer_kinds()) {
    const auto& wanted = options.peers;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), kind.name) == wanted.end()) {
      continue;
    }
    if (Status done = bench.run(kind); !done) return done;
  }
  bench.report_silurus();
  return {};
}

int peers_command(int argc, char** argv, const std::string& command_line) {
  PeersBenchOptions chosen;
  CommandLine line("silurus-bench peers",
                   "Compares Silurus with other systems (scripts/setup --peers)");
  line.option("data", "what all load: a data set in the unit square", chosen.data, "DATA");
  line.option("peers", "of postgis,redis,sqlite,spatialindex,geos,boost; default: all",
              chosen.peers);
  line.option("clients", "numbers of clients", chosen.clients);
  line.option("in-flight", "numbers of queries in flight, of each client", chosen.in_flight);
  line.option("runs", "of each measurement", chosen.runs);
  line.option("seconds", "that one run takes", chosen.seconds);
  line.option("checked", "answers compared, of each kind of query", chosen.checked);
  line.option("seed", "of queries", chosen.seed);
  line.option("directory", "for files and sockets (default: for temporary files)", chosen.directory,
              "DIR");
  const auto within = [](const std::vector<std::uint32_t>& numbers, std::uint32_t most) {
    return std::all_of(numbers.begin(), numbers.end(),
                       [&](std::uint32_t number) { return number > 0 && number <= most; });
  };
  const auto known = [&] {
    return std::all_of(chosen.peers.begin(), chosen.peers.end(), [](const std::string& name) {
      const auto& kinds = peer_kinds();
      return std::any_of(kinds.begin(), kinds.end(),
                         [&](const PeerKind& kind) { return kind.name == name; });
    });
  };
  return line.measure(
      argc, argv, command_line,
      {.sensible =
           [&] {
             return known() && within(chosen.clients, 64) && within(chosen.in_flight, 256) &&
                    chosen.runs > 0 && chosen.seconds > 0 && chosen.seconds <= 60 &&
                    chosen.checked <= kMaxChecked;
           },
       .rule = "--peers are of postgis, redis, sqlite, spatialindex, geos and boost; --clients 1 "
               "to 64, --in-flight 1 to 256, --runs at least 1, --seconds at most 60, --checked at "
               "most 50000",
       .run = [&](Report& report) { return run_peers(chosen, report); }});
}

}  // namespace silurus::bench
