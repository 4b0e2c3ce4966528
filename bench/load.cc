// SPDX-License-Identifier: Apache-2.0

#include "bench/load.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "bench/command_line.h"
#include "bench/cpus.h"
#include "bench/driver.h"
#include "bench/figures.h"
#include "bench/folder.h"
#include "bench/server_process.h"

namespace silurus::bench {
namespace {

constexpr std::uint32_t kInFlightAtPeak = 16;  ///< operations in flight for each client
constexpr std::uint64_t kMostInFlight = 1024;  ///< operations in flight for each client, on average
/// CPU time against what is in proportion: of pauses at any load, and of the default by percent of
/// it.
constexpr double kMostOfProportional = 1.3;
const std::map<std::uint32_t, double> kMostOfProportionalByDefault = {{1, 4}, {10, 1.5}};
constexpr double kMostOfP99 = 3;  ///< at 10 % of the load, of that at 50 %

/// Searches that are due at random times, given to the clients by turns.
class OpenLoop {
 public:
  static Result<std::unique_ptr<OpenLoop>> create(const std::string& url,
                                                  const LoadBenchOptions& options) {
    std::unique_ptr<OpenLoop> loop(new OpenLoop(options.seed));
    ClientOptions messaging;
    messaging.mode = Mode::kMessaging;
    datasets::WindowOptions<2> windows{.seed = options.seed};
    windows.min_edge = windows.max_edge = kSmallEdge;
    auto generator = datasets::WindowGenerator<2>::create(windows);
    if (!generator) return fail(generator.error());
    loop->windows_.emplace(std::move(*generator));
    for (std::uint32_t i = 0; i < options.clients; ++i) {
      auto client = Client<2>::connect(url, messaging);
      if (!client) return fail(client.error());
      loop->clients_.push_back(std::move(*client));
    }
    return loop;
  }

  /// Figures of that many searches a second; their latency is counted from when they were due.
  Result<Figures> run(double per_second, double seconds) {
    double due = static_cast<double>(clock_.now()) + gap(per_second);
    return measure(seconds, [&](Nanoseconds now) -> Status {
      // With too many in flight the next ones wait here; they were due all the same.
      while (due <= static_cast<double>(now) &&
             begun_ - latency_.count() < kMostInFlight * clients_.size()) {
        if (auto ok = begin(static_cast<Nanoseconds>(due)); !ok) return ok;
        due += gap(per_second);
      }
      return {};
    });
  }

  /// Figures of as many as the server takes: that many are always in flight.
  Result<Figures> run_peak(std::uint64_t in_flight, double seconds) {
    return measure(seconds, [&](Nanoseconds now) -> Status {
      while (begun_ - latency_.count() < in_flight) {
        if (auto ok = begin(now); !ok) return ok;
      }
      return {};
    });
  }

 private:
  explicit OpenLoop(std::uint64_t seed) : random_(seed) {}

  /// `more` begins what is due.
  template <typename More>
  Result<Figures> measure(double seconds, const More& more) {
    Figures figures;
    latency_.clear();
    begun_ = 0;
    const auto server_before = server_cpu_seconds(clients_.front());
    if (!server_before) return fail(server_before.error());
    const double client_before = thread_cpu_seconds();
    const Nanoseconds start = clock_.now();
    const Nanoseconds end = start + static_cast<Nanoseconds>(seconds * kSecond);
    for (Nanoseconds now = start; now < end && !failure_; now = clock_.now()) {
      if (auto ok = more(now); !ok) failure_ = ok.error();
      for (auto& client : clients_) client.poll();
    }
    for (auto& client : clients_) client.wait();
    if (failure_) return fail(*failure_);
    figures.seconds = static_cast<double>(clock_.now() - start) / kSecond;
    figures.client_cpu_seconds = thread_cpu_seconds() - client_before;
    const auto server_after = server_cpu_seconds(clients_.front());
    if (!server_after) return fail(server_after.error());
    figures.server_cpu_seconds = *server_after - *server_before;
    figures.statistics.messaging.completed = latency_.count();
    figures.statistics.messaging.latency = latency_;
    return figures;
  }

  /// To the next search, in nanoseconds.
  double gap(double per_second) {
    return -std::log(1 - random_.uniform()) / per_second * static_cast<double>(kSecond);
  }

  Status begin(Nanoseconds due) {
    Client<2>& client = clients_[begun_++ % clients_.size()];
    return client.range_async(
        {.window = windows_->next()}, [this, due](Result<RangeAnswer<2>*> answer) {
          if (!answer) {
            failure_ = answer.error();
          } else {
            latency_.add(static_cast<std::uint64_t>(std::max<Nanoseconds>(0, clock_.now() - due)));
          }
        });
  }

  Random random_;
  SystemClock clock_;
  std::optional<datasets::WindowGenerator<2>> windows_;
  std::uint64_t begun_ = 0;
  Histogram latency_;
  std::optional<Error> failure_;
  std::vector<Client<2>> clients_;  // last, for their callbacks use all the others
};

/// The rows of one way of waiting.
class WaitBench {
 public:
  WaitBench(const LoadBenchOptions& options, std::string wait, std::string url, Report& report)
      : options_(options), wait_(std::move(wait)), url_(std::move(url)), report_(report) {}

  Status run() {
    auto loop = OpenLoop::create(url_, options_);
    if (!loop) return fail(loop.error());
    if (auto ok = measure_peak(**loop); !ok) return ok;
    for (const std::uint32_t percent : options_.percents) {
      if (percent == 100) {
        add_rows(100, peak_);
        continue;
      }
      Runs runs;
      for (std::uint32_t run = 0; run <= options_.runs; ++run) {
        auto figures = (*loop)->run(peak_rate_ * percent / 100, options_.seconds);
        if (!figures) return fail(figures.error());
        if (run > 0) runs.figures.push_back(std::move(*figures));  // the first one warms up
      }
      add_rows(percent, runs);
    }
    add_p99();
    return {};
  }

 private:
  Status measure_peak(OpenLoop& loop) {
    const std::uint64_t in_flight = std::uint64_t{kInFlightAtPeak} * options_.clients;
    if (auto warm = loop.run_peak(in_flight, kWarmUpSeconds); !warm) return fail(warm.error());
    for (std::uint32_t i = 0; i < options_.runs; ++i) {
      auto figures = loop.run_peak(in_flight, options_.seconds);
      if (!figures) return fail(figures.error());
      peak_.figures.push_back(std::move(*figures));
    }
    peak_rate_ = peak_.middle(&Figures::ops_per_second);
    return {};
  }

  std::string name(std::uint32_t percent) const {
    return "load/" + wait_ + "/" + std::to_string(percent) + "%";
  }

  void add_rows(std::uint32_t percent, const Runs& runs) {
    report_.add(runs.rate_row(name(percent)));
    const auto percent_of_core = [](const Figures& figures) {
      return figures.server_cpu_seconds / figures.seconds * 100;
    };
    // By what was really asked and answered, so that the load need not be met to the last search.
    const double proportional =
        peak_.middle(percent_of_core) * runs.middle(&Figures::ops_per_second) / peak_rate_;
    Row row{.name = name(percent) + "/server-cpu",
            .value = runs.middle(percent_of_core),
            .unit = "% of a core",
            .baseline = "proportional",
            .ratio = runs.middle(percent_of_core) / proportional,
            .spread = runs.all(percent_of_core)};
    const auto by_default = kMostOfProportionalByDefault.find(percent);
    if (wait_ == "periodic") {
      row.bar = kMostOfProportional;
      row.bar_is_upper = true;
    } else if (wait_ == "adaptive" && by_default != kMostOfProportionalByDefault.end()) {
      row.bar = by_default->second;
      row.bar_is_upper = true;
    }
    report_.add(std::move(row));
    report_.add({.name = name(percent) + "/p50",
                 .value = runs.middle(&Figures::p50_us),
                 .unit = "us",
                 .spread = runs.all(&Figures::p50_us)});
    p99_[percent] = runs.middle(&Figures::p99_us);
    report_.add({.name = name(percent) + "/p99",
                 .value = p99_[percent],
                 .unit = "us",
                 .spread = runs.all(&Figures::p99_us)});
  }

  void add_p99() {
    if (!p99_.contains(10) || !p99_.contains(50)) return;
    Row row{.name = "load/" + wait_ + "/p99-at-10%-in-those-at-50%",
            .value = p99_[10] / p99_[50],
            .unit = "x"};
    if (wait_ == "periodic") {
      row.bar = kMostOfP99;
      row.bar_is_upper = true;
    }
    report_.add(std::move(row));
  }

  const LoadBenchOptions& options_;
  const std::string wait_;
  const std::string url_;
  Report& report_;
  Runs peak_;
  double peak_rate_ = 0;
  std::map<std::uint32_t, double> p99_;
};

bool is_sensible(const LoadBenchOptions& options) {
  const auto& waits = options.waits;
  const bool known = std::all_of(waits.begin(), waits.end(), [](const std::string& wait) {
    return wait == "periodic" || wait == "adaptive" || wait == "spin" || wait == "sleep";
  });
  const bool shares = std::all_of(options.percents.begin(), options.percents.end(),
                                  [](std::uint32_t n) { return n > 0 && n <= 100; });
  return known && shares && options.clients >= 2 && options.clients <= 1000 && options.runs > 0 &&
         options.seconds > 0 && options.seconds <= 60;
}

}  // namespace

Status run_load(const LoadBenchOptions& options, Report& report) {
  const std::vector<int> cpus = allowed_cpus();
  const Folder folder(std::filesystem::temp_directory_path());
  for (const std::string& wait : options.waits) {
    auto server = ServerProcess::start({"--listen", "shm://" + (folder / "socket"), "--threads",
                                        "1", "--cpus", std::to_string(cpus.front()), "--wait", wait,
                                        "--load", options.data});
    if (!server) return fail(server.error());
    pin_this_thread(cpus.back());
    WaitBench bench(options, wait, server->address("shm://"), report);
    if (Status done = bench.run(); !done) return done;
  }
  return {};
}

int load_command(int argc, char** argv, const std::string& command_line) {
  LoadBenchOptions chosen;
  CommandLine line("silurus-bench load",
                   "What a server's way of waiting costs at less than full load");
  line.option("data", "what the server loads (silurus-server --load)", chosen.data);
  line.option("waits", "of the server: of periodic,adaptive,spin,sleep", chosen.waits);
  line.option("percents", "shares of the peak load", chosen.percents);
  line.option("clients", "that the load is dealt out to", chosen.clients);
  line.option("runs", "of each measurement", chosen.runs);
  line.option("seconds", "that one run takes", chosen.seconds);
  line.option("seed", "of queries and arrivals", chosen.seed);
  return line.measure(
      argc, argv, command_line,
      {.sensible = [&] { return is_sensible(chosen); },
       .rule = "--waits are of periodic, adaptive, spin and sleep, --percents 1 to 100, "
               "--clients 2 to 1000, --runs at least 1, --seconds at most 60",
       .run = [&](Report& report) { return run_load(chosen, report); }});
}

}  // namespace silurus::bench
