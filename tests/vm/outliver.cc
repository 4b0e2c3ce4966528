// SPDX-License-Identifier: Apache-2.0

// A client of the default mode that searches all the time, whatever becomes of its server:
//
//   vm_outliver URL ENTRIES SECONDS
//
// Inserts the given number of entries, prints "connected", and then "answers N" with each hundredth
// answer. At the end it prints "failed F, longest pause P ms, handed over H" and exits with status
// 0 if no search has failed and all have found all entries.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "common/clock.h"
#include "silurus/client.h"
#include "tests/support/patient_client.h"

namespace silurus {
namespace {

constexpr Box<2> kEverywhere{{-1, -1}, {1e6, 1e6}};
constexpr std::uint64_t kAnswersPerLine = 100;

int search_all_the_time(Client<2>& client, std::uint64_t entries, Nanoseconds time) {
  const SystemClock clock;
  std::uint64_t answers = 0;
  std::uint64_t failed = 0;
  std::uint64_t wrong = 0;
  Nanoseconds longest = 0;
  const Nanoseconds until = clock.now() + time;
  for (Nanoseconds last = clock.now(); last < until;) {
    const auto found = client.range(kEverywhere);
    const Nanoseconds now = clock.now();
    longest = std::max(longest, now - std::exchange(last, now));
    if (!found) {
      ++failed;
      std::printf("%s\n", found.error().message.c_str());
    } else {
      if (found->ids.size() != entries) ++wrong;
      if (++answers % kAnswersPerLine == 0) {
        std::printf("answers %llu\n", static_cast<unsigned long long>(answers));
      }
    }
    std::fflush(stdout);
  }
  std::printf("failed %llu, wrong %llu, longest pause %.1f ms, handed over %llu\n",
              static_cast<unsigned long long>(failed), static_cast<unsigned long long>(wrong),
              static_cast<double>(longest) / kMillisecond,
              static_cast<unsigned long long>(client.statistics().handed_over));
  return failed == 0 && wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace silurus

int main(int argc, char** argv) {
  using namespace silurus;
  if (argc != 4) return 2;
  auto client = Client<2>::connect(
      argv[1],
      testing_support::patient({.connect_timeout = 20 * kSecond, .reconnect_for = 30 * kSecond}));
  if (!client) {
    std::printf("%s\n", client.error().message.c_str());
    return 1;
  }
  const std::uint64_t entries = std::strtoull(argv[2], nullptr, 10);
  WriteBatch<2> batch;
  for (std::uint64_t id = 1; id <= entries; ++id) {
    const auto x = static_cast<double>(id);
    batch.insert(id, {{x, x}, {x, x}});
  }
  if (const auto written = client->write(batch); !written) {
    std::printf("%s\n", written.error().message.c_str());
    return 1;
  }
  std::printf("connected\n");
  std::fflush(stdout);
  return search_all_the_time(*client, entries, std::strtol(argv[3], nullptr, 10) * kSecond);
}
