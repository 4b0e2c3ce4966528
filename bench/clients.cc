// SPDX-License-Identifier: Apache-2.0

#include "bench/clients.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <optional>

#include "bench/client_pool.h"
#include "bench/command_line.h"
#include "bench/cpus.h"
#include "bench/driver.h"
#include "bench/figures.h"
#include "bench/folder.h"
#include "bench/server_process.h"
#include "common/clock.h"
#include "common/json.h"

namespace silurus::bench {
namespace {

constexpr double kRingBudget = 64 * 1024 * 1024;  // silurus-server's default
constexpr double kShareKept = 0.8;                // least share of the rate without idle clients
constexpr Nanoseconds kGoneTimeout = 60 * kSecond;
constexpr Nanoseconds kLookInterval = kMillisecond;

/// What the server says of one listener.
struct Listener {
  unsigned clients = 0;
  double ring_bytes = 0;
};

Result<Listener> listener(Client<2>& client, const std::string& url) {
  auto text = client.server_statistics();
  if (!text) return fail(text.error());
  const auto stats = parse_json(text->json);
  for (const auto& one : json_array(stats, "listeners")) {
    if (json_string(one, "address") == url) {
      return Listener{static_cast<unsigned>(json_number(one, "clients")),
                      static_cast<double>(json_number(one, "ring_bytes"))};
    }
  }
  return fail(ErrorCode::kProtocol, "the server's statistics say nothing of " + url);
}

/// Waits until the server has no more than that many clients there; returns how long that took.
Result<Nanoseconds> wait_until_gone(Client<2>& client, const std::string& url, unsigned clients) {
  const SystemClock clock;
  const Nanoseconds start = clock.now();
  while (clock.now() < start + kGoneTimeout) {
    auto now = listener(client, url);
    if (!now) return fail(now.error());
    if (now->clients <= clients) return clock.now() - start;
    usleep(kLookInterval / kMicrosecond);
  }
  return fail(ErrorCode::kDeadlineExceeded, "dead clients keep their places at " + url);
}

class ClientsBench {
 public:
  ClientsBench(const ClientsBenchOptions& options, std::string fabric, std::string url,
               Report& report)
      : options_(options), row_("clients/" + fabric + "/"), url_(std::move(url)), report_(report) {}

  Status run() {
    ClientOptions messaging;
    messaging.mode = Mode::kMessaging;
    Workload workload{.clients = options_.active};
    workload.windows.min_edge = workload.windows.max_edge = kSmallEdge;
    auto driver = Driver::create({"messaging", url_, messaging}, workload, 1);
    if (!driver) return fail(driver.error());
    driver_ = std::move(*driver);
    auto observer = Client<2>::connect(url_, messaging);
    if (!observer) return fail(observer.error());
    observer_.emplace(std::move(*observer));
    const auto warm = driver_->run(static_cast<Nanoseconds>(kWarmUpSeconds * kSecond));
    if (!warm) return fail(warm.error());
    if (Status ok = measure_rates(); !ok) return ok;
    return measure_death();
  }

 private:
  unsigned idle() const { return options_.clients - options_.active - 1; }

  Result<Figures> ask() {
    return driver_->run(static_cast<Nanoseconds>(options_.seconds * kSecond));
  }

  Status measure_rates() {
    Runs alone, among;
    std::vector<double> rings;
    for (std::uint32_t run = 0; run < options_.runs; ++run) {
      auto before = ask();
      if (!before) return fail(before.error());
      alone.figures.push_back(std::move(*before));
      auto pool = ClientPool::connect(url_, idle());
      if (!pool) return fail(pool.error());
      auto within = ask();
      if (!within) return fail(within.error());
      among.figures.push_back(std::move(*within));
      auto full = listener(*observer_, url_);
      if (!full) return fail(full.error());
      rings.push_back(full->ring_bytes);
      if (run == 0) {
        if (Status refused = expect_refusal(); !refused) return refused;
      }
      { const ClientPool gone = std::move(*pool); }
      if (auto left = wait_until_gone(*observer_, url_, options_.active + 1); !left) {
        return fail(left.error());
      }
    }
    rate_alone_ = alone.middle(&Figures::ops_per_second);
    report_.add(alone.rate_row(row_ + "alone"));
    report_.add(against_alone(among, "among-" + std::to_string(options_.clients)));
    report_.add({.name = row_ + "ring-bytes",
                 .value = median(rings),
                 .unit = "bytes",
                 .spread = rings,
                 .bar = kRingBudget,
                 .bar_is_upper = true});
    return {};
  }

  Status expect_refusal() {
    auto one_more = Client<2>::connect(url_);
    if (one_more) return fail(ErrorCode::kProtocol, url_ + " took one client too many");
    std::printf("client %u is told: %s\n", options_.clients + 1, one_more.error().message.c_str());
    return {};
  }

  Status measure_death() {
    auto stay = ClientPool::connect(url_, idle() - options_.killed);
    if (!stay) return fail(stay.error());
    const auto before = listener(*observer_, url_);
    if (!before) return fail(before.error());
    {
      auto die = ClientPool::connect(url_, options_.killed);
      if (!die) return fail(die.error());
    }
    auto took = wait_until_gone(*observer_, url_, options_.clients - options_.killed);
    if (!took) return fail(took.error());
    report_.add({.name = row_ + "killed-" + std::to_string(options_.killed) + "/noticed-after",
                 .value = static_cast<double>(*took) / kMillisecond,
                 .unit = "ms"});
    const auto after = listener(*observer_, url_);
    if (!after) return fail(after.error());
    report_.add({.name = row_ + "killed-" + std::to_string(options_.killed) + "/ring-bytes-left",
                 .value = after->ring_bytes - before->ring_bytes,
                 .unit = "bytes",
                 .bar = 0,
                 .bar_is_upper = true});
    auto still = ask();
    if (!still) return fail(still.error());
    report_.add(against_alone({{std::move(*still)}},
                              "killed-" + std::to_string(options_.killed) + "/rate-then"));
    return {};
  }

  Row against_alone(const Runs& runs, const std::string& what) const {
    Row row = runs.rate_row(row_ + what);
    row.baseline = "alone";
    row.ratio = row.value / rate_alone_;
    row.bar = kShareKept;
    return row;
  }

  const ClientsBenchOptions& options_;
  std::string row_;
  std::string url_;
  Report& report_;
  std::unique_ptr<Driver> driver_;
  std::optional<Client<2>> observer_;
  double rate_alone_ = 0;
};

}  // namespace

Status run_clients(const ClientsBenchOptions& options, Report& report) {
  if (const std::string& url = options.server_url; !url.empty()) {
    return ClientsBench(options, url.substr(0, url.find(':')), url, report).run();
  }
  const std::vector<int> cpus = allowed_cpus();
  const Folder folder(std::filesystem::temp_directory_path());
  for (const std::string fabric : {"shm", "tcp"}) {
    const std::string url = fabric == "shm" ? "shm://" + (folder / "socket") : "tcp://127.0.0.1:0";
    auto server = ServerProcess::start({"--listen", url, "--threads", "1", "--cpus",
                                        std::to_string(cpus.front()), "--max-clients",
                                        std::to_string(options.clients), "--max-clients-per-peer",
                                        std::to_string(options.clients), "--load", options.data});
    if (!server) return fail(server.error());
    pin_this_thread(cpus.back());
    ClientsBench bench(options, fabric, server->address(fabric + "://"), report);
    if (Status done = bench.run(); !done) return done;
  }
  return {};
}

int clients_command(int argc, char** argv, const std::string& command_line) {
  ClientsBenchOptions chosen;
  CommandLine line("silurus-bench clients", "What idle clients cost the busy ones");
  line.option(
      "server",
      "a running server, with --max-clients and --max-clients-per-peer CLIENTS, instead of our own",
      chosen.server_url, "URL");
  line.option("data", "what the server loads (silurus-server --load)", chosen.data);
  line.option("active", "busy clients", chosen.active);
  line.option("clients", "clients in all", chosen.clients);
  line.option("killed", "idle clients that die at once", chosen.killed);
  line.option("runs", "of each measurement", chosen.runs);
  line.option("seconds", "that one run takes", chosen.seconds);
  return line.measure(
      argc, argv, command_line,
      {.sensible =
           [&] {
             return chosen.active >= 2 && chosen.clients <= 100'000 && chosen.runs > 0 &&
                    chosen.clients > chosen.active + chosen.killed + 1 && chosen.seconds > 0 &&
                    chosen.seconds <= 60;
           },
       .rule = "--active is at least 2, --clients more than --active and --killed together, "
               "--runs at least 1, --seconds at most 60",
       .run = [&](Report& report) { return run_clients(chosen, report); }});
}

}  // namespace silurus::bench
