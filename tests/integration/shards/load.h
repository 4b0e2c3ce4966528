// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "silurus/replacement.h"
#include "tests/integration/shards/cluster.h"

// Clients that read and write while shards are split, moved and killed, and know at each moment
// what must be found.

namespace silurus::testing_support {

inline Box<2> random_box(Random& random) {
  const double edge = random.below(30) == 0 ? 0.3 : 0.01;
  const double x = random.uniform();
  const double y = random.uniform();
  return {{x, y}, {x + edge * random.uniform(), y + edge * random.uniform()}};
}

using Model = std::map<std::uint64_t, Box<2>>;

inline constexpr Box<2> kEverything = {{-10, -10}, {10, 10}};

/// That a replacement is never too slow for: as long as a server allows.
inline constexpr Nanoseconds kLongFreeze = 60 * kSecond;

/// Holds exactly the model, each entry once.
inline void expect_holds(Router<2>& router, const Model& model) {
  const auto all = router.range(kEverything, {.shape = ResultShape::kEntries});
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->count, model.size());
  Model found;
  for (std::size_t i = 0; i < all->ids.size(); ++i) {
    EXPECT_TRUE(found.emplace(all->ids[i], all->boxes[i]).second) << all->ids[i] << " twice";
  }
  EXPECT_TRUE(found == model);
}

/// A client with entries of its own, of which it knows at each moment what must be found.
class LoadClient {
 public:
  LoadClient(const Cluster<2>& cluster, std::uint64_t number, std::uint64_t seed)
      : cluster_(cluster), number_(number), random_(seed ^ number << 32) {}

  void run(const std::stop_token& over) {
    ClientOptions options;
    options.mode = number_ % 2 == 0 ? Mode::kOffload : Mode::kMessaging;
    options.deadline = 60 * kSecond;
    options.reconnect_for = 60 * kSecond;  // a fail-over
    auto router = cluster_.router(options);
    const SystemClock clock;
    while (!over.stop_requested() && failure.empty()) {
      const Nanoseconds begun = clock.now();
      write(router);
      longest_wait = std::max(longest_wait, clock.now() - begun);
      ++operations;
      if (random_.below(3) == 0) search(router);
    }
  }

  Model model;
  std::atomic<std::uint64_t> operations = 0;
  Nanoseconds longest_wait = 0;  ///< longest wait of a write
  std::string failure;

 private:
  bool is_mine(std::uint64_t id) const { return id >> 40 == number_; }
  void failed(const std::string& what) {
    if (failure.empty()) failure = "client " + std::to_string(number_) + ": " + what;
  }

  void write(Router<2>& router) {
    const Box<2> box = random_box(random_);
    auto it = model.lower_bound(number_ << 40 | random_.below(next_ + 1));
    const std::uint64_t kind = it == model.end() ? 0 : random_.below(4);
    if (kind <= 1) {
      const std::uint64_t id = number_ << 40 | next_++;
      if (const auto ok = router.insert(id, box); !ok) return failed(ok.error().message);
      model[id] = box;
    } else if (kind == 2) {
      if (const auto ok = router.erase(it->first, it->second); !ok) {
        return failed("erase: " + ok.error().message);
      }
      model.erase(it);
    } else {
      if (const auto ok = router.update(it->first, it->second, box); !ok) {
        return failed("update: " + ok.error().message);
      }
      it->second = box;
    }
  }

  void search(Router<2>& router) {
    rtree::RangeQuery<2> query{.window = random_box(random_)};
    const auto found = router.range(query.window, {.shape = ResultShape::kEntries});
    if (!found) return failed("search: " + found.error().message);
    Model mine;
    for (std::size_t i = 0; i < found->ids.size(); ++i) {
      if (!is_mine(found->ids[i])) continue;
      if (!mine.emplace(found->ids[i], found->boxes[i]).second) return failed("an entry twice");
    }
    Model expected;
    for (const auto& entry : model) {
      if (rtree::matches(query, entry.second)) expected.insert(entry);
    }
    if (mine != expected) {
      failed("found " + std::to_string(mine.size()) + " entries of " +
             std::to_string(expected.size()));
    }
  }

  const Cluster<2>& cluster_;
  const std::uint64_t number_;
  Random random_;
  std::uint64_t next_ = 0;
};

/// How long writes and searches had to wait, for people.
inline void print_gap(const shards::ReplaceReport& report) {
  std::printf("%llu entries, %llu caught up: writes refused for %.1f ms, searches for %.1f ms\n",
              static_cast<unsigned long long>(report.entries),
              static_cast<unsigned long long>(report.caught_up),
              static_cast<double>(report.refused_writes) / kMillisecond,
              static_cast<double>(report.refused_all) / kMillisecond);
}

/// Some of them, each on a thread of its own, from when it is made to stop().
class Load {
 public:
  Load(const Cluster<2>& cluster, std::uint64_t clients, std::uint64_t seed) {
    for (std::uint64_t i = 1; i <= clients; ++i) {
      clients_.push_back(std::make_unique<LoadClient>(cluster, i, seed));
      threads_.emplace_back(
          [client = clients_.back().get()](const std::stop_token& over) { client->run(over); });
    }
  }

  /// Until each client has written that much more.
  bool wait_for_writes(std::uint64_t more = 50) const {
    std::vector<std::uint64_t> until;
    for (const auto& client : clients_) until.push_back(client->operations + more);
    return wait_until([&] {
      for (std::size_t i = 0; i < until.size(); ++i) {
        if (clients_[i]->operations < until[i]) return false;
      }
      return true;
    });
  }

  /// Expects that nothing went wrong; what must be there now.
  Model stop() {
    threads_.clear();
    Model all;
    std::uint64_t operations = 0;
    Nanoseconds longest = 0;
    for (const auto& client : clients_) {
      EXPECT_EQ(client->failure, "");
      all.insert(client->model.begin(), client->model.end());
      operations += client->operations;
      longest = std::max(longest, client->longest_wait);
    }
    std::printf("%llu writes, %zu entries left, the longest write took %.1f ms\n",
                static_cast<unsigned long long>(operations), all.size(),
                static_cast<double>(longest) / kMillisecond);
    return all;
  }

 private:
  std::vector<std::unique_ptr<LoadClient>> clients_;
  std::vector<std::jthread> threads_;
};

}  // namespace silurus::testing_support
