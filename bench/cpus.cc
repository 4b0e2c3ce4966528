// SPDX-License-Identifier: Apache-2.0

#include "bench/cpus.h"

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <thread>

#include "bench/report.h"
#include "common/clock.h"

namespace silurus::bench {
namespace {

constexpr int kRounds = 200;
constexpr int kTripsPerRound = 1000;

struct alignas(64) Line {
  std::atomic<std::uint64_t> sequence{0};
};

}  // namespace

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

double thread_cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

Result<double> bare_round_trip_ns(int cpu, int other_cpu) {
  if (cpu == other_cpu) {
    return fail(ErrorCode::kUnsupported, "a bare round trip needs two processors");
  }
  Line ping, pong;
  constexpr std::uint64_t kTrips = std::uint64_t{kRounds} * kTripsPerRound;
  std::thread echo([&] {
    pin_this_thread(other_cpu);
    for (std::uint64_t i = 1; i <= kTrips; ++i) {
      // acquire pairs with the release below it: the line of the other side
      while (ping.sequence.load(std::memory_order_acquire) != i) {
      }
      pong.sequence.store(i, std::memory_order_release);
    }
  });
  std::vector<double> rounds;
  std::thread ask([&] {
    pin_this_thread(cpu);
    const SystemClock clock;
    std::uint64_t i = 0;
    for (int round = 0; round < kRounds; ++round) {
      const Nanoseconds start = clock.now();
      for (int trip = 0; trip < kTripsPerRound; ++trip) {
        ping.sequence.store(++i, std::memory_order_release);
        while (pong.sequence.load(std::memory_order_acquire) != i) {
        }
      }
      rounds.push_back(static_cast<double>(clock.now() - start) / kTripsPerRound);
    }
  });
  ask.join();
  echo.join();
  return median(rounds);
}

}  // namespace silurus::bench
