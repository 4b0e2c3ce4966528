// SPDX-License-Identifier: Apache-2.0

#include "bench/fairness.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "bench/command_line.h"
#include "bench/cpus.h"
#include "bench/figures.h"
#include "bench/folder.h"
#include "bench/group_processes.h"
#include "bench/server_process.h"
#include "common/clock.h"
#include "common/random.h"
#include "silurus/client.h"
#include "silurus/histogram.h"

namespace silurus::bench {
namespace {

constexpr double kP99Bar = 10;    // ms
constexpr double kWorstBar = 50;  // ms
constexpr Nanoseconds kPause = kMillisecond;
constexpr Nanoseconds kWarmUp = 300 * kMillisecond;
constexpr unsigned kAttackers = 100;
constexpr std::size_t kBatch = 500;
constexpr rtree::Box<2> kPlace{{-1, -1}, {-1, -1}};
constexpr rtree::Box<2> kEverything{{-2, -2}, {2, 2}};
constexpr rtree::Box<2> kSmall{{0.5, 0.5}, {0.5 + kSmallEdge, 0.5 + kSmallEdge}};

/// Ids of the crowd, and of the others, which lie between those: so a search at the crowded spot
/// for one of the others does not end with the first look at a range of ids.
constexpr std::uint64_t crowd_id(std::uint64_t index) { return 2 * index; }
constexpr std::uint64_t other_id(std::uint64_t index) { return 2 * index + 1; }

ClientOptions messaging() {
  ClientOptions options;
  options.mode = Mode::kMessaging;
  options.deadline = 60 * kSecond;
  return options;
}

/// Clients that keep as many searches in flight as the server takes of each.
template <typename Ask>
void ask_without_end(const std::string& url, unsigned clients, std::size_t in_flight, Ask ask) {
  std::vector<Client<2>> all;
  for (unsigned i = 0; i < clients; ++i) {
    if (auto one = Client<2>::connect(url, messaging())) all.push_back(std::move(*one));
  }
  for (;;) {
    for (auto& one : all) {
      while (one.in_flight() < in_flight && ask(one)) {
      }
      one.poll();
    }
  }
}

void ask_for_everything(const std::string& url) {
  ask_without_end(url, kAttackers, 1000, [](Client<2>& client) {
    return client.range_async({.window = kEverything}, [](const auto&) {}).has_value();
  });
}
void ask_at_the_spot(const std::string& url) {
  const rtree::RangeQuery<2> query{.window = kPlace, .shape = ResultShape::kCount};
  ask_without_end(url, kAttackers, 1000, [&](Client<2>& client) {
    return client.range_async(query, [](const auto&) {}).has_value();
  });
}
void ask_for_equals(const std::string& url) {
  ask_without_end(url, kAttackers, 100, [](Client<2>& client) {
    return client.nearest_async({.point = {{-1, -1}}, .k = kNeighbors}, [](const auto&) {})
        .has_value();
  });
}
void erase_absent(const std::string& url) {
  auto client = Client<2>::connect(url, messaging());
  if (!client) return;
  for (std::uint64_t index = 0;;) {
    WriteBatch<2> batch;
    const std::size_t most = std::min(kBatch, client->max_batch());
    for (std::size_t i = 0; i < most; ++i) batch.erase(other_id(index++), kPlace);
    (void)client->write(batch);
  }
}
void connect_and_leave(const std::string& url) {
  for (;;) (void)Client<2>::connect(url, messaging());
}

struct Attack {
  std::string_view name;
  std::string_view what;
  void (*run)(const std::string& url);  ///< does not return
};

constexpr Attack kAttacks[] = {
    {"everything", "100 clients, each with 1,000 searches for the whole tree", ask_for_everything},
    {"one-spot", "100 clients, each with 1,000 counts at a crowded spot", ask_at_the_spot},
    {"equals", "100 clients, each with 100 nearest searches among equals", ask_for_equals},
    {"absent", "a client that erases what is not there, at a crowded spot", erase_absent},
    {"connects", "clients that connect and leave", connect_and_leave},
};

/// A process of its own, of less priority than the bystander: what is measured is the server. It is
/// killed when this object goes.
class Attacker {
 public:
  Attacker(const Attack& attack, const std::string& url) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpriority(PRIO_PROCESS, 0, 10);
    attack.run(url);
    _exit(1);
  }
  Attacker(const Attacker&) = delete;
  ~Attacker() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  bool is_running() const { return pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0; }

 private:
  pid_t pid_;
};

class FairnessBench {
 public:
  FairnessBench(const FairnessBenchOptions& options, std::string fabric, std::string url,
                Report& report)
      : options_(options),
        row_("fairness/" + fabric + "/"),
        url_(std::move(url)),
        report_(report) {}

  Status run() {
    auto bystander = Client<2>::connect(url_, messaging());
    if (!bystander) return fail(bystander.error());
    if (Status filled = fill(*bystander); !filled) return filled;
    if (Status quiet = watch(*bystander, "quiet"); !quiet) return quiet;
    for (const Attack& attack : kAttacks) {
      const auto& chosen = options_.attacks;
      if (!chosen.empty() && std::ranges::find(chosen, attack.name) == chosen.end()) continue;
      const auto epoch_before = epoch(*bystander);
      if (!epoch_before) return fail(epoch_before.error());
      if (Status seen = watch_during(attack, *bystander); !seen) return seen;
      const auto epoch_after = epoch(*bystander);
      if (!epoch_after) return fail(epoch_after.error());
      if (*epoch_after == 0) continue;  // no group
      report_.add({.name = row_ + std::string(attack.name) + "/view-changes",
                   .value = static_cast<double>(*epoch_after - *epoch_before),
                   .unit = "",
                   .bar = 0,
                   .bar_is_upper = true});
    }
    return {};
  }

 private:
  Status fill(Client<2>& client) {
    Random random(1);
    std::vector<Entry<2>> entries;
    entries.reserve(options_.entries + options_.crowd);
    for (std::uint64_t id = 0; id < options_.entries; ++id) {
      const double x = random.uniform(), y = random.uniform();
      entries.push_back({other_id(id), {{x, y}, {x + kSmallEdge, y + kSmallEdge}}});
    }
    for (std::uint64_t i = 0; i < options_.crowd; ++i) {
      entries.push_back({crowd_id(i), kPlace});
    }
    const auto loaded = client.load(entries);
    return loaded ? Status{} : fail(loaded.error());
  }

  Status watch_during(const Attack& attack, Client<2>& bystander) {
    const Attacker attacker(attack, url_);
    usleep(kWarmUp / kMicrosecond);
    if (Status seen = watch(bystander, std::string(attack.name)); !seen) return seen;
    if (attacker.is_running()) return {};
    return fail(ErrorCode::kUnavailable, "the attack '" + std::string(attack.name) + "' ended");
  }

  Status watch(Client<2>& client, const std::string& what) {
    const SystemClock clock;
    Histogram latencies;
    const Nanoseconds until =
        clock.now() + static_cast<Nanoseconds>(options_.seconds * static_cast<double>(kSecond));
    while (clock.now() < until) {
      const Nanoseconds asked = clock.now();
      const auto found = client.count(kSmall);
      if (!found) return fail(found.error());
      const Nanoseconds took = clock.now() - asked;
      latencies.add(static_cast<std::uint64_t>(took));
      if (took < kPause) usleep(static_cast<useconds_t>((kPause - took) / kMicrosecond));
    }
    const auto row = [&](const std::string& name, std::uint64_t value, double bar) {
      report_.add({.name = row_ + what + "/" + name,
                   .value = static_cast<double>(value) / kMillisecond,
                   .unit = "ms",
                   .bar = bar,
                   .bar_is_upper = true,
                   .latency = steps_of(latencies)});
    };
    row("p99", latencies.percentile(99), kP99Bar);
    row("worst", latencies.max(), kWorstBar);
    return {};
  }

  const FairnessBenchOptions& options_;
  std::string row_;
  std::string url_;
  Report& report_;
};

}  // namespace

Status run_fairness(const FairnessBenchOptions& options, Report& report) {
  const std::vector<int> cpus = allowed_cpus();
  const Folder folder(std::filesystem::temp_directory_path());
  for (const std::string fabric : {"shm", "tcp"}) {
    const std::string url = fabric == "shm" ? "shm://" + (folder / "socket") : "tcp://127.0.0.1:0";
    auto server = ServerProcess::start(
        {"--listen", url, "--threads", "1", "--cpus", std::to_string(cpus.front())});
    if (!server) return fail(server.error());
    pin_this_thread(cpus.back());
    FairnessBench bench(options, fabric, server->address(fabric + "://"), report);
    if (Status done = bench.run(); !done) return done;
  }
  // Without fail-over, so that the primary is the one that is attacked.
  auto group = GroupProcesses::start(
      folder, "member", {"--cluster", "static://" + (folder / "member1.group") + "/fairness"},
      {"--lead"});
  if (!group) return fail(group.error());
  return FairnessBench(options, "group", group->members.front().address("shm://"), report).run();
}

int fairness_command(int argc, char** argv, const std::string& command_line) {
  FairnessBenchOptions chosen;
  CommandLine line("silurus-bench fairness",
                   "What the worst that clients can do costs another one");
  std::string names;
  for (const Attack& attack : kAttacks) {
    names +=
        (names.empty() ? "" : "; ") + std::string(attack.name) + ": " + std::string(attack.what);
  }
  line.option("entries", "in the unit square", chosen.entries);
  line.option("crowd", "entries of one box besides", chosen.crowd);
  line.option("seconds", "that each attack is watched", chosen.seconds);
  line.option("attacks", names, chosen.attacks);
  const auto is_known = [](const std::string& name) {
    return std::ranges::find(kAttacks, name, &Attack::name) != std::end(kAttacks);
  };
  return line.measure(argc, argv, command_line,
                      {.sensible =
                           [&] {
                             return chosen.entries > 0 && chosen.seconds > 0 &&
                                    std::ranges::all_of(chosen.attacks, is_known);
                           },
                       .rule = "--entries at least 1, --seconds above 0, --attacks of those named",
                       .run = [&](Report& report) { return run_fairness(chosen, report); }});
}

}  // namespace silurus::bench
