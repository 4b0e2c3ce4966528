// SPDX-License-Identifier: Apache-2.0

// What a client sees of a fail-over: writes a box and searches it, over and over, for some
// seconds, while an operator kills the primary (scripts/cluster-demo does), and then looks for all
// that was acknowledged.
//
//   silurus-failover tcp://127.0.0.1:7001,tcp://127.0.0.1:7002,tcp://127.0.0.1:7003 10

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <vector>

#include "silurus/client.h"

namespace {

using silurus::Box;
using silurus::Client;
using silurus::ErrorCode;
using Clock = std::chrono::steady_clock;

/// Apart from what else the tree may hold: ids and places of their own.
constexpr std::uint64_t kFirstId = std::uint64_t{1} << 40;
constexpr double kFarAway = 1000;
constexpr std::uint64_t kRow = 1000;

Box<2> box_of(std::uint64_t number) {
  const double x = kFarAway + static_cast<double>(number % kRow);
  const double y = kFarAway + static_cast<double>(number / kRow);
  return {{x, y}, {x + 0.5, y + 0.5}};
}

struct Seen {
  std::vector<std::uint64_t> acknowledged;
  std::uint64_t in_doubt = 0;
  std::uint64_t failed = 0;
  std::uint64_t searches = 0;
  std::uint64_t stale = 0;  ///< searches that missed what had been acknowledged
  Clock::duration longest{};
};

long milliseconds(Clock::duration time) {
  return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

void write_and_search(Client<2>& client, std::uint64_t number, Seen& seen) {
  const auto before = Clock::now();
  const auto written = client.insert(kFirstId + number, box_of(number));
  if (written) {
    seen.acknowledged.push_back(kFirstId + number);
    const auto found = client.range(box_of(number));
    if (!found) {
      ++seen.failed;
      std::printf("a search failed: %s\n", found.error().message.c_str());
    } else {
      ++seen.searches;
      seen.stale += found->count == 1 ? 0 : 1;
    }
  } else if (written.error().code == ErrorCode::kInDoubt) {
    ++seen.in_doubt;
  } else {
    ++seen.failed;
    std::printf("a write failed: %s\n", written.error().message.c_str());
  }
  seen.longest = std::max(seen.longest, Clock::now() - before);
}

/// Whether all that was acknowledged is there, once.
bool is_all_there(Client<2>& client, const Seen& seen) {
  const auto found = client.range({{kFarAway, kFarAway}, {1e9, 1e9}});
  if (!found) {
    std::printf("cannot look for what was written: %s\n", found.error().message.c_str());
    return false;
  }
  std::unordered_map<std::uint64_t, int> times;
  for (const std::uint64_t id : found->ids) ++times[id];
  std::size_t again = 0;
  std::size_t doubled = 0;
  for (const std::uint64_t id : seen.acknowledged) again += times.contains(id) ? 1 : 0;
  for (const auto& [id, count] : times) doubled += count > 1 ? 1 : 0;
  std::printf("writes acknowledged: %zu, found again: %zu, there twice: %zu\n",
              seen.acknowledged.size(), again, doubled);
  return again == seen.acknowledged.size() && doubled == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s URL[,URL...] SECONDS\n", argv[0]);
    return 2;
  }
  auto client = Client<2>::connect(argv[1], {.deadline = 20 * silurus::kSecond,
                                             .connect_timeout = 20 * silurus::kSecond,
                                             .reconnect_for = 20 * silurus::kSecond});
  if (!client) {
    std::fprintf(stderr, "%s\n", client.error().message.c_str());
    return 1;
  }
  std::string asked = client->peer();
  std::printf("asking %s\n", asked.c_str());
  std::fflush(stdout);
  const auto end = Clock::now() + std::chrono::milliseconds(std::atol(argv[2]) * 1000);
  Seen seen;
  for (std::uint64_t number = 0; Clock::now() < end; ++number) {
    const auto before = Clock::now();
    write_and_search(*client, number, seen);
    if (client->peer() == asked) continue;
    asked = client->peer();
    std::printf("now asking %s, after a pause of %ld ms\n", asked.c_str(),
                milliseconds(Clock::now() - before));
    std::fflush(stdout);
  }
  const bool all_there = is_all_there(*client, seen);
  std::printf("in doubt: %lu, failed: %lu, searches: %lu, of which missed a write: %lu\n",
              seen.in_doubt, seen.failed, seen.searches, seen.stale);
  std::printf("longest pause: %ld ms\n", milliseconds(seen.longest));
  const bool is_well =
      all_there && !seen.acknowledged.empty() && seen.failed == 0 && seen.stale == 0;
  return is_well ? 0 : 1;
}
