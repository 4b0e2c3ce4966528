// SPDX-License-Identifier: Apache-2.0

#include "bench/durable_parts.h"

#include <algorithm>

#include "bench/cpus.h"
#include "bench/driver.h"
#include "bench/random_box.h"

namespace silurus::bench {

double seconds_between(Nanoseconds from, Nanoseconds to) {
  return static_cast<double>(to - from) / static_cast<double>(kSecond);
}

Result<Rate> rate_of(Client<2>& client, double seconds, const std::function<Status()>& operation) {
  const SystemClock clock;
  const auto server_before = server_cpu_seconds(client);
  if (!server_before) return fail(server_before.error());
  const double client_before = thread_cpu_seconds();
  const Nanoseconds start = clock.now();
  const auto end = start + static_cast<Nanoseconds>(seconds * static_cast<double>(kSecond));
  std::uint64_t done = 0;
  Status failed;
  for (; failed && clock.now() < end; ++done) failed = operation();
  client.wait();  // what is in flight answers into the caller's frame
  if (!failed) return fail(failed.error());
  const double took = seconds_between(start, clock.now());
  const double client_used = thread_cpu_seconds() - client_before;
  const auto server_after = server_cpu_seconds(client);
  if (!server_after) return fail(server_after.error());
  const double millions = static_cast<double>(done) / 1e6;
  return Rate{static_cast<double>(done) / took, (*server_after - *server_before) / millions,
              client_used / millions};
}

Result<Rate> insert_rate(Client<2>& client, std::size_t in_flight, double seconds,
                         std::uint64_t seed) {
  Random random(seed);
  if (in_flight == 1) {
    return rate_of(client, seconds, [&]() -> Status {
      auto ok = client.insert(random(), random_box(random));
      return ok ? Status() : fail(ok.error());
    });
  }
  std::optional<Error> error;
  auto rate = rate_of(client, seconds, [&]() -> Status {
    WriteBatch<2> batch;
    batch.insert(random(), random_box(random));
    auto begun = client.write_async(batch, [&](Result<WriteAnswer*> answer) {
      if (!answer) error = answer.error();
    });
    if (!begun) return begun;
    client.wait_below(in_flight);
    return error ? fail(*error) : Status();
  });
  if (error) return fail(*error);
  return rate;
}

namespace {

std::vector<std::string> server_options(const std::string& socket,
                                        const std::vector<std::string>& more) {
  std::vector<std::string> options{"--listen", "shm://" + socket, "--threads", "1", "--memory",
                                   "4G",       "--log-level",     "warning"};
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

}  // namespace

Result<Service> Service::start(const std::string& socket, const std::vector<std::string>& more) {
  auto server = ServerProcess::start(server_options(socket, more));
  if (!server) return fail(server.error());
  auto client = Client<2>::connect(server->address("shm://"));
  if (!client) return fail(client.error());
  return Service{std::move(*server), std::move(*client)};
}

void Paired::add(const Rate& rate, double baseline_rate) {
  ours.push_back(rate.per_second);
  baseline.push_back(baseline_rate);
  server_cpu.push_back(rate.server_cpu);
  client_cpu.push_back(rate.client_cpu);
}

double Paired::ratio() const {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / baseline[i]);
  return median(ratios);
}

Row row_of(const std::string& name, const Paired& paired, const std::string& unit,
           const std::string& baseline, std::optional<double> bar) {
  std::vector<double> spread = paired.ours;
  std::sort(spread.begin(), spread.end());
  Row row{.name = name,
          .value = median(paired.ours),
          .unit = unit,
          .baseline = baseline,
          .ratio = paired.ratio(),
          .spread = spread,
          .bar = bar};
  if (!paired.server_cpu.empty()) row.server_cpu = median(paired.server_cpu);
  if (!paired.client_cpu.empty()) row.client_cpu = median(paired.client_cpu);
  return row;
}

}  // namespace silurus::bench
