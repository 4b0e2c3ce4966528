// SPDX-License-Identifier: Apache-2.0

// A client that writes and searches, and checks every answer against brute force:
//
//   vm_exerciser URL NUMBER SECONDS [CLIENTS [STEPS]]
//
// After STEPS (5) steps, each a write and ten searches, a client connects anew, in another mode.
// Each client (a thread) keeps to a strip of the plane of its own, x from 1000 * its number to 100
// more, so that it knows exactly what is there while others write elsewhere. Prints "answers N" and
// exits 0, or says what was wrong. "lost" and exit status 3 when the server has gone.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "rtree/geometry.h"
#include "silurus/client.h"
#include "tests/support/patient_client.h"

namespace silurus {
namespace {

constexpr double kStrip = 1000;
constexpr double kWidth = 100;

enum class Outcome { kFine, kWrong, kLost };

struct Tally {
  Outcome outcome = Outcome::kFine;
  std::uint64_t answers = 0;
  std::uint64_t reads = 0;
};

class Exerciser {
 public:
  Exerciser(std::string url, std::uint64_t number, std::uint64_t steps)
      : url_(std::move(url)), number_(number), steps_(steps), random_(number) {}

  Tally run(Nanoseconds until) {
    const Mode modes[] = {Mode::kMessaging, Mode::kOffload, Mode::kAdaptive};
    // However slow the machine is, each has read one-sidedly.
    for (std::size_t round = 0; round < 2 || SystemClock().now() < until; ++round) {
      ClientOptions options = testing_support::patient({.deadline = 30 * kSecond,
                                                        .connect_timeout = 20 * kSecond,
                                                        .reconnect_for = 0});  // we report that
      options.mode = modes[round % 3];
      auto client = Client<2>::connect(url_, options);
      if (!client) return fail_with("connect", client.error());
      mode_ = round % 3;
      for (std::uint64_t i = 0; i < steps_ && tally_.outcome == Outcome::kFine; ++i) step(*client);
      tally_.reads += client->statistics().offload.nodes_read;
      if (tally_.outcome != Outcome::kFine) break;
    }
    return tally_;
  }

 private:
  Box<2> random_box(double edge) {
    const double x = kStrip * static_cast<double>(number_) + random_.uniform(0, kWidth - edge);
    const double y = random_.uniform(0, kWidth - edge);
    return {{x, y}, {x + edge, y + edge}};
  }

  void step(Client<2>& client) {
    WriteBatch<2> batch;
    for (int i = 0; i < 20; ++i) {
      const Entry<2> entry{(number_ << 32) | next_++, random_box(1)};
      batch.insert(entry.id, entry.box);
      entries_.push_back(entry);
    }
    if (auto written = client.write(batch); !written) {
      fail_with("write", written.error());
      return;
    }
    for (int i = 0; i < 5 && tally_.outcome == Outcome::kFine; ++i) {
      check_range(client, random_box(i == 0 ? kWidth : 10));
      check_nearest(client);
    }
  }

  void check_range(Client<2>& client, const Box<2>& window) {
    auto found = client.range(window);
    if (!found) {
      fail_with("range", found.error());
      return;
    }
    std::vector<std::uint64_t> expected;
    for (const auto& entry : entries_) {
      if (rtree::intersects(entry.box, window)) expected.push_back(entry.id);
    }
    std::vector<std::uint64_t> ids(found->ids.begin(), found->ids.end());
    std::sort(ids.begin(), ids.end());
    if (ids != expected) {
      wrong("range", ids.size(), expected.size());
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
      const auto ours = std::count_if(ids.begin(), ids.end(),
                                      [&](std::uint64_t id) { return id >> 32 == number_; });
      const auto& statistics = client.statistics();
      std::printf(
          "  %zu of them different, %zd ours; in version %llu; offload: %llu, %llu "
          "restarts, %llu given back; messaging: %llu\n",
          ids.size(), ours, static_cast<unsigned long long>(found->version),
          static_cast<unsigned long long>(statistics.offload.completed),
          static_cast<unsigned long long>(statistics.offload.restarts),
          static_cast<unsigned long long>(statistics.offload.given_back),
          static_cast<unsigned long long>(statistics.messaging.completed));
    }
    ++tally_.answers;
  }

  void check_nearest(Client<2>& client) {
    const Point<2> at{random_box(0).min};
    const std::uint32_t k = 5;
    auto found = client.nearest(at, k);
    if (!found) {
      fail_with("nearest", found.error());
      return;
    }
    std::vector<double> expected;
    for (const auto& entry : entries_) expected.push_back(rtree::distance(at, entry.box));
    std::sort(expected.begin(), expected.end());
    bool same = found->neighbors.size() == k;
    for (std::size_t i = 0; same && i < k; ++i) {
      same = std::abs(found->neighbors[i].distance - expected[i]) < 1e-9;
    }
    if (!same) wrong("nearest", found->neighbors.size(), k);
    ++tally_.answers;
  }

  void wrong(const char* what, std::size_t found, std::size_t expected) {
    constexpr const char* kNames[] = {"messaging", "offload", "adaptive"};
    std::printf("WRONG: client %llu, %s, %s: %zu found, %zu expected\n",
                static_cast<unsigned long long>(number_), kNames[mode_], what, found, expected);
    tally_.outcome = Outcome::kWrong;
  }
  Tally fail_with(const char* what, const Error& error) {
    const bool lost = error.code == ErrorCode::kConnectionLost ||
                      error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kInDoubt;
    std::printf("%s: client %llu, %s: %s\n", lost ? "lost" : "FAILED",
                static_cast<unsigned long long>(number_), what, error.message.c_str());
    tally_.outcome = lost ? Outcome::kLost : Outcome::kWrong;
    return tally_;
  }

  std::string url_;
  std::uint64_t number_;
  std::uint64_t steps_;
  Random random_;
  std::uint64_t next_ = 1;
  std::size_t mode_ = 0;
  std::vector<Entry<2>> entries_;
  Tally tally_;
};

int run(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string url = argv[1];
  const std::uint64_t number = std::strtoull(argv[2], nullptr, 10);
  const Nanoseconds until = SystemClock().now() + std::strtoll(argv[3], nullptr, 10) * kSecond;
  const std::size_t clients = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 1;
  const std::uint64_t steps = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 5;
  std::vector<Tally> tallies(clients);
  std::printf("started\n");
  std::fflush(stdout);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < clients; ++i) {
      threads.emplace_back([&, i] { tallies[i] = Exerciser(url, number + i, steps).run(until); });
    }
  }
  std::uint64_t answers = 0, reads = 0;
  Outcome worst = Outcome::kFine;
  for (const Tally& tally : tallies) {
    answers += tally.answers;
    reads += tally.reads;
    if (tally.outcome == Outcome::kWrong || worst == Outcome::kFine) worst = tally.outcome;
  }
  std::printf("answers %llu, nodes read one-sidedly %llu\n",
              static_cast<unsigned long long>(answers), static_cast<unsigned long long>(reads));
  return worst == Outcome::kFine ? 0 : worst == Outcome::kLost ? 3 : 1;
}

}  // namespace
}  // namespace silurus

int main(int argc, char** argv) { return silurus::run(argc, argv); }
