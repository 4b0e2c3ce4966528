#include "bench/durable_parts.h"

#include <algorithm>

#include "bench/random_box.h"

namespace silurus::bench {

using client::WriteBatch;

double seconds_between(Nanoseconds from, Nanoseconds to) {
  return static_cast<double>(to - from) / static_cast<double>(kSecond);
}

Result<double> insert_rate(Client<2>& client, std::size_t in_flight, double seconds,
                           std::uint64_t seed) {
  const SystemClock clock;
  Random random(seed);
  std::uint64_t done = 0;
  std::optional<Error> error;
  const Nanoseconds start = clock.now();
  const auto end = start + static_cast<Nanoseconds>(seconds * static_cast<double>(kSecond));
  while (clock.now() < end && !error) {
    if (in_flight == 1) {
      if (auto ok = client.insert(random(), random_box(random)); !ok) return fail(ok.error());
      ++done;
      continue;
    }
    WriteBatch<2> batch;
    batch.insert(random(), random_box(random));
    auto begun = client.write_async(batch, [&](Result<WriteAnswer*> answer) {
      if (!answer) {
        error = answer.error();
      } else {
        ++done;
      }
    });
    if (!begun) return fail(begun.error());
    client.wait_below(in_flight);
  }
  client.wait();
  if (error) return fail(*error);
  return static_cast<double>(done) / seconds_between(start, clock.now());
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

double Paired::ratio() const {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / baseline[i]);
  return median(ratios);
}

Row row_of(const std::string& name, const Paired& paired, const std::string& unit,
           const std::string& baseline, std::optional<double> bar) {
  std::vector<double> spread = paired.ours;
  std::sort(spread.begin(), spread.end());
  return {.name = name,
          .value = median(paired.ours),
          .unit = unit,
          .baseline = baseline,
          .ratio = paired.ratio(),
          .spread = spread,
          .bar = bar};
}

}  // namespace silurus::bench
