// SPDX-License-Identifier: Apache-2.0

#include "bench/modes_keyed.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "silurus/client.h"

namespace silurus::bench {
namespace {

constexpr const char* kCollection = "bench-keyed";
constexpr std::uint64_t kEntries = 500'000;
constexpr double kEdge = 0.00001;

/// Operations a second, and round trips of one, in each run.
struct KeyedRuns {
  std::vector<double> rates;
  std::vector<double> trips;
};

class KeyedModes {
 public:
  KeyedModes(Client<2>& client, const ModesBenchOptions& options)
      : client_(client), options_(options), random_(options.seed) {}

  Status load() {
    std::vector<Entry<2>> entries;
    entries.reserve(kEntries);
    for (std::uint64_t id = 0; id < kEntries; ++id) {
      const double x = random_.uniform();
      const double y = random_.uniform();
      entries.push_back({id, {{x, y}, {x, y}}});
    }
    const auto loaded = client_.load(entries);
    return loaded ? Status() : fail(loaded.error());
  }

  Status get_one() {
    const std::array<std::uint64_t, 1> id{random_.below(kEntries)};
    const auto found = client_.get(id);
    return found ? Status() : fail(found.error());
  }
  Status search_one() {
    const double x = random_.uniform();
    const double y = random_.uniform();
    const auto found = client_.range(Box<2>{{x, y}, {x + kEdge, y + kEdge}});
    return found ? Status() : fail(found.error());
  }

  template <typename Operation>
  Status run(KeyedRuns& runs, Operation&& operation) {
    client_.reset_statistics();
    const auto length = static_cast<Nanoseconds>(options_.seconds * static_cast<double>(kSecond));
    const Nanoseconds start = clock_.now();
    Nanoseconds now = start;
    std::uint64_t done = 0;
    for (; now - start < length; now = clock_.now(), ++done) {
      if (Status ok = operation(); !ok) return ok;
    }
    const auto seconds = static_cast<double>(now - start) / static_cast<double>(kSecond);
    const AccessStatistics offload = client_.statistics().offload;
    runs.rates.push_back(static_cast<double>(done) / seconds);
    runs.trips.push_back(static_cast<double>(offload.round_trips) /
                         static_cast<double>(std::max<std::uint64_t>(offload.completed, 1)));
    return {};
  }

  Status measure(Report& report) {
    KeyedRuns ignored;
    KeyedRuns gets;
    KeyedRuns windows;
    const auto get = [&] { return get_one(); };
    const auto search = [&] { return search_one(); };
    // Once for the cache.
    if (Status ok = run(ignored, get); !ok) return ok;
    if (Status ok = run(ignored, search); !ok) return ok;
    for (std::uint32_t i = 0; i < std::max(options_.runs, 1u); ++i) {
      if (Status ok = run(gets, get); !ok) return ok;
      if (Status ok = run(windows, search); !ok) return ok;
    }
    std::ranges::sort(gets.rates);
    std::ranges::sort(gets.trips);
    report.add({.name = "modes/keyed/get/offload/clients=1",
                .value = median(gets.rates),
                .unit = "ops/s",
                .baseline = "windows of 0.00001",
                .ratio = median(gets.rates) / median(windows.rates),
                .spread = gets.rates,
                .bar = 0.8});
    report.add({.name = "modes/keyed/get/offload/clients=1/round-trips-per-get",
                .value = median(gets.trips),
                .unit = "per get",
                .spread = gets.trips,
                .bar = 1.005,
                .bar_is_upper = true});
    return {};
  }

 private:
  Client<2>& client_;
  const ModesBenchOptions& options_;
  Random random_;
  SystemClock clock_;
};

}  // namespace

Status measure_keyed_modes(const std::string& url, const ModesBenchOptions& options,
                           Report& report) {
  auto operating = Client<2>::connect(url, {.mode = Mode::kMessaging});
  if (!operating) return fail(operating.error());
  if (Status ok = operating->create_collection(kCollection, {.keyed = true}); !ok) return ok;
  ClientOptions of_keyed;
  of_keyed.collection = kCollection;
  of_keyed.mode = Mode::kOffload;
  auto client = Client<2>::connect(url, of_keyed);
  if (!client) return fail(client.error());
  KeyedModes modes(*client, options);
  Status done = modes.load();
  if (done) done = modes.measure(report);
  const Status dropped = operating->drop_collection(kCollection);
  return done ? dropped : done;
}

}  // namespace silurus::bench
