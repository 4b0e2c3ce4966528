// SPDX-License-Identifier: Apache-2.0

#include "bench/outlive.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/command_line.h"
#include "bench/cpus.h"
#include "bench/figures.h"
#include "bench/folder.h"
#include "bench/server_process.h"
#include "common/clock.h"
#include "common/random.h"
#include "silurus/client.h"
#include "silurus/histogram.h"

namespace silurus::bench {
namespace {

constexpr Nanoseconds kDeadline = 60 * kSecond;
/// Where in the time that is watched an event begins, and where a hang ends.
constexpr double kBegin = 0.25;
constexpr double kEnd = 0.75;

struct AskedBy {
  std::string_view name;
  Mode mode;
};

/// The process that the keeper has started; 0: there is none now.
pid_t server_of(pid_t keeper) {
  const std::string id = std::to_string(keeper);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  pid_t child = 0;
  file >> child;
  return child;
}

/// What happens to the server.
struct Event {
  std::string_view name;
  void (*begin)(pid_t keeper);
  void (*end)(pid_t keeper);
};

void nothing(pid_t) {}
constexpr Event kEvents[] = {
    {"crash", [](pid_t keeper) { kill(server_of(keeper), SIGKILL); }, nothing},
    {"hang", [](pid_t keeper) { kill(server_of(keeper), SIGSTOP); },
     [](pid_t keeper) { kill(server_of(keeper), SIGCONT); }},
    {"restart", [](pid_t keeper) { kill(keeper, SIGUSR2); }, nothing},
};

/// A process that takes a core; killed when this object goes.
class Hog {
 public:
  explicit Hog(int cpu) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin_this_thread(cpu);
    volatile std::uint64_t work = 0;
    for (;;) {
      const std::uint64_t next = work + 1;
      work = next;
    }
  }
  Hog(const Hog&) = delete;
  ~Hog() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

class OutliveBench {
 public:
  OutliveBench(const OutliveBenchOptions& options, const ServerProcess& keeper, Report& report)
      : options_(options), keeper_(keeper.pid()), url_(keeper.address("shm://")), report_(report) {}

  Status fill() {
    auto client = connect(Mode::kMessaging);
    if (!client) return fail(client.error());
    Random random(1);
    std::vector<Entry<2>> entries;
    entries.reserve(options_.entries);
    for (std::uint64_t id = 1; id <= options_.entries; ++id) {
      const double x = random.uniform(), y = random.uniform();
      entries.push_back({id, {{x, y}, {x + kSmallEdge, y + kSmallEdge}}});
    }
    const auto loaded = client->load(entries);
    return loaded ? Status{} : fail(loaded.error());
  }

  Status watch(const AskedBy& way, const Event& event) {
    auto client = connect(way.mode);
    if (!client) return fail(client.error());
    const Nanoseconds start = clock_.now();
    const auto after = [&](double share) {
      return start + static_cast<Nanoseconds>(share * options_.seconds * kSecond);
    };
    std::uint64_t answers = 0;
    std::uint64_t failed = 0;
    Nanoseconds longest = 0;
    bool has_begun = false;
    bool has_ended = false;
    for (Nanoseconds last = start; last < after(1);) {
      if (!has_begun && last >= after(kBegin)) event.begin(keeper_);
      has_begun = has_begun || last >= after(kBegin);
      if (!has_ended && last >= after(kEnd)) event.end(keeper_);
      has_ended = has_ended || last >= after(kEnd);
      ++(ask(*client) ? answers : failed);
      const Nanoseconds now = clock_.now();
      longest = std::max(longest, now - std::exchange(last, now));
    }
    const std::string row =
        "outlive/" + std::string(way.name) + "/" + std::string(event.name) + "/";
    report_.add({.name = row + "answers", .value = static_cast<double>(answers), .unit = ""});
    report_.add({.name = row + "failed",
                 .value = static_cast<double>(failed),
                 .unit = "",
                 .bar = 0,
                 .bar_is_upper = true});
    report_.add({.name = row + "longest-pause",
                 .value = static_cast<double>(longest) / kMillisecond,
                 .unit = "ms"});
    return {};
  }

  /// p99 in microseconds while the hogs are there.
  Result<double> busy(const AskedBy& way, const std::string& baseline, double of_baseline) {
    auto client = connect(way.mode);
    if (!client) return fail(client.error());
    Histogram latencies;
    const Nanoseconds until =
        clock_.now() + static_cast<Nanoseconds>(options_.seconds * static_cast<double>(kSecond));
    for (Nanoseconds last = clock_.now(); last < until;) {
      if (!ask(*client)) return fail(ErrorCode::kUnavailable, "a search failed");
      const Nanoseconds now = clock_.now();
      latencies.add(static_cast<std::uint64_t>(now - std::exchange(last, now)));
    }
    const double p99 = static_cast<double>(latencies.percentile(99)) / kMicrosecond;
    Row row{.name = "outlive/busy/" + std::string(way.name) + "/p99",
            .value = p99,
            .unit = "us",
            .latency = steps_of(latencies)};
    if (!baseline.empty()) {
      row.baseline = baseline;
      row.ratio = of_baseline / p99;
    }
    report_.add(row);
    return p99;
  }

 private:
  Result<Client<2>> connect(Mode mode) const {
    ClientOptions options;
    options.mode = mode;
    options.deadline = kDeadline;
    options.reconnect_for = kDeadline;
    return Client<2>::connect(url_, options);
  }
  bool ask(Client<2>& client) {
    const double x = random_.uniform(), y = random_.uniform();
    return client.range({{x, y}, {x + kSmallEdge, y + kSmallEdge}}).has_value();
  }

  const OutliveBenchOptions& options_;
  const pid_t keeper_;
  const std::string url_;
  Report& report_;
  SystemClock clock_;
  Random random_{2};
};

}  // namespace

Status run_outlive(const OutliveBenchOptions& options, Report& report) {
  const std::vector<int> cpus = allowed_cpus();
  const Folder folder(std::filesystem::temp_directory_path());
  auto keeper = ServerProcess::start({"--outlive", "--listen", "shm://" + (folder / "socket"),
                                      "--data", folder / "data", "--memory", "512M", "--threads",
                                      "1", "--cpus", std::to_string(cpus.front())});
  if (!keeper) return fail(keeper.error());
  pin_this_thread(cpus.back());
  OutliveBench bench(options, *keeper, report);
  if (Status filled = bench.fill(); !filled) return filled;
  for (const AskedBy& way :
       {AskedBy{"adaptive", Mode::kAdaptive}, AskedBy{"offload", Mode::kOffload}}) {
    for (const Event& event : kEvents) {
      if (Status seen = bench.watch(way, event); !seen) return seen;
    }
  }
  std::vector<std::unique_ptr<Hog>> hogs;
  for (unsigned i = 0; i < options.hogs; ++i) hogs.push_back(std::make_unique<Hog>(cpus.front()));
  const auto messaging = bench.busy({"messaging", Mode::kMessaging}, "", 0);
  if (!messaging) return fail(messaging.error());
  const auto offload = bench.busy({"offload", Mode::kOffload}, "messaging", *messaging);
  return offload ? Status{} : fail(offload.error());
}

int outlive_command(int argc, char** argv, const std::string& command_line) {
  OutliveBenchOptions chosen;
  CommandLine line("silurus-bench outlive",
                   "What a client notices when its server dies, hangs, is replaced or is busy");
  line.option("entries", "in the unit square", chosen.entries);
  line.option("seconds", "that each event is watched", chosen.seconds);
  line.option("hogs", "processes that take the server's core", chosen.hogs);
  return line.measure(
      argc, argv, command_line,
      {.sensible = [&] { return chosen.entries > 0 && chosen.seconds > 0 && chosen.hogs > 0; },
       .rule = "--entries and --hogs at least 1, --seconds above 0",
       .run = [&](Report& report) { return run_outlive(chosen, report); }});
}

}  // namespace silurus::bench
