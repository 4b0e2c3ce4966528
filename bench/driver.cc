// SPDX-License-Identifier: Apache-2.0

#include "bench/driver.h"

#include <nlohmann/json.hpp>

#include "bench/cpus.h"

namespace silurus::bench {
namespace {

constexpr double kInsertEdge = 0.0001;
constexpr std::uint64_t kFirstInsertedId = std::uint64_t{1} << 40;  // above those of data sets
constexpr int kSweepsPerClockRead = 16;

}  // namespace

std::vector<Way> all_ways(const std::string& server, const std::string& tcp,
                          const std::string& tcp_sleeping) {
  ClientOptions sleeping, spinning, messaging, offload, catfish, cost;
  sleeping.mode = spinning.mode = messaging.mode = Mode::kMessaging;
  sleeping.wait.policy = WaitPolicy::kSleep;
  spinning.wait.policy = WaitPolicy::kSpin;
  offload.mode = Mode::kOffload;
  catfish.policy = PolicyKind::kCatfish;
  return {{"tcp", tcp_sleeping, sleeping},  {"tcp-spin", tcp, spinning},
          {"messaging", server, messaging}, {"offload", server, offload},
          {"catfish", server, catfish},     {"adaptive", server, cost}};
}

AccessStatistics Figures::all_searches() const {
  AccessStatistics all = statistics.messaging;
  all.merge(statistics.offload);
  return all;
}

double Figures::per_search(std::uint64_t AccessStatistics::*total) const {
  const std::uint64_t count = searches();
  return count == 0 ? 0 : static_cast<double>(all_searches().*total) / static_cast<double>(count);
}
double Figures::server_cpu_us() const {
  return server_cpu_seconds * 1e6 / static_cast<double>(operations());
}
double Figures::client_cpu_us() const {
  return client_cpu_seconds * 1e6 / static_cast<double>(operations());
}
double Figures::p50_us() const {
  return static_cast<double>(all_searches().latency.percentile(50)) / 1e3;
}
double Figures::p99_us() const {
  return static_cast<double>(all_searches().latency.percentile(99)) / 1e3;
}
double Figures::round_trips() const { return per_search(&AccessStatistics::round_trips); }
double Figures::doorbells() const {
  return static_cast<double>(statistics.doorbells) / static_cast<double>(operations());
}
double Figures::work_requests() const {
  return static_cast<double>(statistics.work_requests) / static_cast<double>(operations());
}
double Figures::bytes() const { return per_search(&AccessStatistics::bytes); }

double Figures::wire_bytes() const {
  constexpr double kHeaderBytes = 60;
  return bytes() + kHeaderBytes * per_search(&AccessStatistics::reads);
}

Row Runs::rate_row(std::string name) const {
  Histogram latency;
  for (const Figures& one : figures) latency.merge(one.all_searches().latency);
  return {.name = std::move(name),
          .value = middle(&Figures::ops_per_second),
          .unit = "ops/s",
          .spread = all(&Figures::ops_per_second),
          .server_cpu = middle(&Figures::server_cpu_us),
          .client_cpu = middle(&Figures::client_cpu_us),
          .latency = steps_of(latency)};
}

Result<double> server_cpu_seconds(Client<2>& client) {
  const auto says = client.server_statistics();
  if (!says) return fail(says.error());
  return says->cpu_seconds;
}

Result<std::unique_ptr<Driver>> Driver::create(const Way& way, const Workload& workload,
                                               std::uint64_t seed) {
  std::unique_ptr<Driver> driver(new Driver(workload));
  Random seeds(seed);
  const std::shared_ptr<AccessPolicy> policy = make_policy(way.client.policy, seeds());
  for (unsigned i = 0; i < workload.clients; ++i) {
    ClientOptions options = way.client;
    options.seed = seeds();
    options.shared_policy = policy;
    auto client = Client<2>::connect(way.url, options);
    if (!client) return fail(client.error());
    datasets::WindowOptions<2> window_options = workload.windows;
    window_options.seed = seeds();
    auto windows = datasets::WindowGenerator<2>::create(window_options);
    if (!windows) return fail(windows.error());
    driver->lanes_.push_back(
        std::make_unique<Lane>(Lane{.client = std::move(*client),
                                    .windows = std::move(*windows),
                                    .random = Random(seeds()),
                                    .next_id = kFirstInsertedId + (seeds() >> 32 << 24)}));
  }
  return driver;
}

rtree::RangeQuery<2> Driver::next_query(Lane& lane) const {
  return {.window = lane.windows.next(), .shape = workload_.shape};
}

bool Driver::next_is_insert(Lane& lane) const {
  if (workload_.insert_share <= 0 || lane.random.uniform() >= workload_.insert_share) return false;
  Box<2> box;
  for (int d = 0; d < 2; ++d) {
    const double edge = kInsertEdge * (1 - lane.random.uniform());
    box.min[d] = lane.random.uniform(0, 1 - edge);
    box.max[d] = box.min[d] + edge;
  }
  lane.batch.clear();
  lane.batch.insert(lane.next_id++, box);
  return true;
}

Status Driver::begin(Lane& lane) {
  lane.busy = true;
  const auto finish = [this, &lane](const auto& answer) {
    lane.busy = false;
    lane.answered = true;
    if (!answer) failure_ = fail(answer.error());
  };
  if (next_is_insert(lane)) return lane.client.write_async(lane.batch, finish);
  return lane.client.range_async(next_query(lane), finish);
}

Status Driver::do_one(Lane& lane) {
  if (next_is_insert(lane)) {
    auto done = lane.client.write(lane.batch);
    return done ? Status() : fail(done.error());
  }
  const rtree::RangeQuery<2> query = next_query(lane);
  auto found = lane.client.range(query.window, {.shape = query.shape});
  return found ? Status() : fail(found.error());
}

Status Driver::run_lone(Nanoseconds deadline) {
  Lane& lane = *lanes_.front();
  while (clock_.now() < deadline) {
    for (int i = 0; i < kSweepsPerClockRead; ++i) {
      if (Status done = do_one(lane); !done) return done;
    }
  }
  return {};
}

Status Driver::run_many(Nanoseconds deadline, Figures& figures) {
  std::uint64_t sweeps = 0, idle = 0;
  const auto sweep = [&](bool more) -> Status {
    bool answered = false;
    for (const auto& lane : lanes_) {
      if (more && !lane->busy) {
        if (Status begun = begin(*lane); !begun) return begun;
      }
      lane->client.poll();
      answered |= std::exchange(lane->answered, false);
    }
    ++sweeps;
    if (!answered) ++idle;
    return failure_;
  };
  while (clock_.now() < deadline) {
    for (int i = 0; i < kSweepsPerClockRead; ++i) {
      if (Status swept = sweep(true); !swept) return swept;
    }
  }
  figures.idle_share = static_cast<double>(idle) / static_cast<double>(sweeps);
  for (const auto& lane : lanes_) lane->client.wait();
  return failure_;
}

Result<Figures> Driver::run(Nanoseconds duration) {
  Figures figures;
  for (const auto& lane : lanes_) lane->client.reset_statistics();
  const auto cpu_before = server_cpu_seconds();
  if (!cpu_before) return fail(cpu_before.error());
  const double thread_before = thread_cpu_seconds();
  const Nanoseconds start = clock_.now();
  const Status done =
      lanes_.size() == 1 ? run_lone(start + duration) : run_many(start + duration, figures);
  if (!done) return fail(done.error());
  figures.seconds = static_cast<double>(clock_.now() - start) / kSecond;
  figures.client_cpu_seconds = thread_cpu_seconds() - thread_before;
  const auto cpu_after = server_cpu_seconds();
  if (!cpu_after) return fail(cpu_after.error());
  figures.server_cpu_seconds = *cpu_after - *cpu_before;
  for (const auto& lane : lanes_) figures.statistics.merge(lane->client.statistics());
  return figures;
}

}  // namespace silurus::bench
