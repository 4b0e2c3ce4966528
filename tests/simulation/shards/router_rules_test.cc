// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/internal.h"
#include "client/shards/internal.h"
#include "common/check.h"
#include "common/log.h"
#include "common/random.h"
#include "server/limits.h"
#include "silurus/replacement.h"
#include "silurus/router.h"
#include "tests/simulation/service/sim_server.h"
#include "tests/simulation/shards/sim_environment.h"
#include "tests/support/seed.h"

// What a router promises where several shards are concerned at once, and where others write to
// them, or replace them, meanwhile.

namespace silurus::simulation {
namespace {

using shards::Step;

constexpr std::size_t kQuarters = 4;
const rtree::Box<2> kFrame{{0, 0}, {1, 1}};

rtree::Box<2> point_at(double x, double y) { return {{x, y}, {x, y}}; }

/// Four servers alone, each of which has a quarter of the frame, and some that are spare.
class RouterRules : public testing::Test {
 protected:
  using Body = std::function<void(sim::Thread& self, SimEnvironment& environment)>;

  RouterRules() {
    log::set_level(log::Level::kError);
    shards::ShardMap map;
    map.frame_min = {0, 0};
    map.frame_max = {1, 1};
    map.limit = {0, 0};
    map.epoch = map.written_by = 1;
    for (std::uint64_t quarter = 0; quarter < kQuarters; ++quarter) {
      shards::Shard& shard = map.shards.emplace_back();
      shard.id = map.next_id++;
      shard.first = quarter << 62;
      shard.servers = {start()};
    }
    etcd_.replace("silurus/maps/map", 0, encode(map));
  }
  ~RouterRules() override {
    for (auto& thread : threads_) thread->end();
    threads_.clear();
  }

  /// A server that is empty; its address.
  std::string start() {
    sim::Host& host = world_.add_host("server" + std::to_string(servers_.size() + 1));
    servers_.push_back(std::make_unique<SimServer>(
        host, SimServer::Options{.fabric = fabric_, .instance = servers_.size() * 2 + 1}));
    return SimServer::url(host);
  }
  /// Begins that on a host of its own.
  const sim::Thread& begin(Body body) {
    const std::uint64_t number = ++clients_;
    const std::string name = "client" + std::to_string(number);
    threads_.push_back(std::make_unique<sim::Thread>(
        world_.add_host(name), name, [this, number, body = std::move(body)](sim::Thread& self) {
          SimEnvironment environment(self, etcd_, fabric_, number);
          body(self, environment);
        }));
    return *threads_.back();
  }
  void run_to_end() {
    const auto is_done = [](const auto& thread) { return thread->is_done(); };
    ASSERT_TRUE(world_.run_until([&] { return std::ranges::all_of(threads_, is_done); },
                                 world_.now() + 100 * kSecond));
    threads_.clear();
  }
  Router<2> connect(SimEnvironment& environment) {
    auto router = client::Internal::connect_router<2>(etcd_.url(), {}, environment);
    SILURUS_CHECK(router.has_value());
    return std::move(*router);
  }
  /// All that the shards hold, by id.
  static std::vector<rtree::Entry<2>> everything(Router<2>& router) {
    const auto found = router.range(kFrame, {.shape = ResultShape::kEntries});
    EXPECT_TRUE(found) << found.error().message;
    std::vector<rtree::Entry<2>> entries;
    for (std::size_t i = 0; found && i < found->ids.size(); ++i) {
      entries.push_back({found->ids[i], found->boxes[i]});
    }
    std::ranges::sort(entries, {}, &rtree::Entry<2>::id);
    return entries;
  }

  sim::World world_{29};
  EtcdOfShards etcd_{world_.add_host("etcd"), "maps"};
  sim::FabricOptions fabric_{.give_up = 30 * kMillisecond};
  std::deque<std::unique_ptr<SimServer>> servers_;
  std::vector<std::unique_ptr<sim::Thread>> threads_;
  std::uint64_t clients_ = 0;
};

// --- nearest

/// Entries on a lattice, three at each of its points: most distances are those of many entries, of
/// all shards. Which are answered is well defined all the same: by distance, then by id.
TEST_F(RouterRules, NearestAnswersByIdWhereDistancesInSeveralShardsAreEqual) {
  constexpr int kSide = 8;
  Random random(testing_support::seed(37));
  std::vector<rtree::Entry<2>> entries;
  for (int x = 0; x < kSide; ++x) {
    for (int y = 0; y < kSide; ++y) {
      for (int i = 0; i < 3; ++i) {
        entries.push_back(
            {0, point_at(static_cast<double>(x) / kSide, static_cast<double>(y) / kSide)});
      }
    }
  }
  for (std::size_t i = entries.size(); i > 1; --i) {
    std::swap(entries[i - 1], entries[random.below(i)]);
  }
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i].id = i + 1;
  begin([&](sim::Thread&, SimEnvironment& environment) {
    Router<2> router = connect(environment);
    WriteBatch<2> batch;
    for (const auto& entry : entries) batch.insert(entry.id, entry.box);
    ASSERT_TRUE(router.write(batch));
    for (int round = 0; round < 200; ++round) {
      const rtree::Point<2> from{{static_cast<double>(random.below(2 * kSide + 1)) / (2 * kSide),
                                  static_cast<double>(random.below(2 * kSide + 1)) / (2 * kSide)}};
      const auto k = static_cast<std::uint32_t>(1 + random.below(entries.size() + 5));
      rtree::NearestResult expected;
      for (const auto& entry : entries) {
        expected.push_back({entry.id, rtree::distance(from, entry.box)});
      }
      std::ranges::sort(expected, [](const rtree::Neighbor& a, const rtree::Neighbor& b) {
        return std::pair(a.distance, a.id) < std::pair(b.distance, b.id);
      });
      expected.resize(std::min<std::size_t>(k, expected.size()));
      const auto found = router.nearest(from, k);
      ASSERT_TRUE(found) << found.error().message;
      ASSERT_EQ(found->neighbors, expected)
          << k << " nearest of (" << from.at[0] << ", " << from.at[1] << ")";
    }
  });
  run_to_end();
}

// --- batches

/// A batch that takes several messages to each shard, one of which begins to be moved before the
/// batch, or at one of its own steps. Each operation is done once, and told as what it came to.
class LargeBatch : public RouterRules, public testing::WithParamInterface<Step> {};

TEST_P(LargeBatch, IsDoneOnceWhileAShardIsMoved) {
  constexpr std::size_t kSize = kQuarters * (2 * server::kMaxBatchOperations + 100);
  constexpr std::uint64_t kMissing = 100;  ///< each entry that is a multiple of it is not there
  bool may_write = false;
  bool may_go_on = false;
  bool is_moved = false;
  const std::string target = start();
  begin([&](sim::Thread& self, SimEnvironment& environment) {
    auto store = shards::open_map_store(etcd_.url(), environment);
    ASSERT_TRUE(store);
    const auto before = [&](Step step) {
      if (step == GetParam()) may_write = true;
      // Until the batch is under way.
      while (may_write && !may_go_on && !self.is_over()) self.sleep(10 * kMicrosecond);
      return true;
    };
    const auto moved = shards::replace_shard<2>(
        **store, {.shard = 1, .targets = {target}, .before = before}, environment);
    ASSERT_TRUE(moved) << moved.error().message;
    is_moved = true;
  });
  begin([&](sim::Thread& self, SimEnvironment& environment) {
    Router<2> router = connect(environment);
    ASSERT_TRUE(router.insert(1, point_at(0, 0)));
    const std::uint64_t epoch = router.map().epoch;
    while (!may_write && !self.is_over()) self.sleep(10 * kMicrosecond);
    WriteBatch<2> batch;
    Random random(testing_support::seed(41));
    std::vector<rtree::Entry<2>> inserted;
    for (std::uint64_t id = 2; id < kSize; ++id) {
      if (id % kMissing == 0) {
        batch.erase(id, point_at(0, 0));  // not there
        continue;
      }
      inserted.push_back({id, point_at(random.uniform(), random.uniform())});
      batch.insert(id, inserted.back().box);
    }
    // Those that would not be there yet if operations changed their order.
    const auto is_erased = [](const rtree::Entry<2>& entry) { return entry.id % 3 == 0; };
    for (const auto& entry : inserted) {
      if (is_erased(entry)) batch.erase(entry.id, entry.box);
    }
    std::erase_if(inserted, is_erased);
    may_go_on = true;
    const auto written = router.write(batch);
    ASSERT_TRUE(written) << written.error().message;
    for (const auto& failed : written->failed) {
      ASSERT_EQ(failed.code, ErrorCode::kNotFound);
      ASSERT_EQ(batch.operations()[failed.index].id % kMissing, 0u);
    }
    EXPECT_EQ(written->failed.size(), (kSize - 1) / kMissing);
    if (GetParam() >= Step::kFreeze) {
      EXPECT_GT(router.map().epoch, epoch) << "the batch went on by the next map";
    }
    while (!is_moved && !self.is_over()) self.sleep(kMillisecond);
    inserted.insert(inserted.begin(), {1, point_at(0, 0)});
    EXPECT_TRUE(everything(router) == inserted) << "each of them once, and where it was put";
  });
  run_to_end();
}

INSTANTIATE_TEST_SUITE_P(From, LargeBatch,
                         testing::Values(Step::kIntent, Step::kFill, Step::kCopy, Step::kCatchUp,
                                         Step::kFreeze, Step::kRetire, Step::kServe,
                                         Step::kReplace),
                         [](const auto& step) {
                           std::string name(shards::to_string(step.param));
                           std::erase_if(name, [](char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

// --- updates across shards

/// An entry moves from one shard to another while another client erases it at one of its places.
class CrossingEntry : public RouterRules {
 protected:
  const rtree::Box<2> from_ = point_at(0.2, 0.2);
  const rtree::Box<2> to_ = point_at(0.8, 0.2);
  struct Outcome {
    ErrorCode updated{};
    ErrorCode erased{};
    std::vector<rtree::Entry<2>> held;
  };
  static ErrorCode code_of(const Result<Version>& answer) {
    return answer ? ErrorCode{} : answer.error().code;
  }
  /// The client that erases begins this time after the one that updates.
  Outcome race(const rtree::Box<2>& at, Nanoseconds delay) {
    Outcome outcome;
    bool is_there = false;
    bool is_updated = false;
    begin([&](sim::Thread& self, SimEnvironment& environment) {
      Router<2> router = connect(environment);
      ASSERT_TRUE(router.insert(1, from_));
      ASSERT_EQ(everything(router).size(), 1u);  // connects to all shards
      is_there = true;
      self.sleep(kMillisecond);
      outcome.updated = code_of(router.update(1, from_, to_));
      is_updated = true;
    });
    begin([&](sim::Thread& self, SimEnvironment& environment) {
      Router<2> router = connect(environment);
      EXPECT_LE(everything(router).size(), 1u);
      while (!is_there && !self.is_over()) self.sleep(10 * kMicrosecond);
      self.sleep(kMillisecond + delay);
      outcome.erased = code_of(router.erase(1, at));
      while (!is_updated && !self.is_over()) self.sleep(10 * kMicrosecond);
      outcome.held = everything(router);
      for (const auto& entry : outcome.held) ASSERT_TRUE(router.erase(entry.id, entry.box));
    });
    run_to_end();
    return outcome;
  }
  /// Delays from long before the update to long after it.
  static constexpr Nanoseconds kFirst = -200 * kMicrosecond;
  static constexpr Nanoseconds kLast = 400 * kMicrosecond;
  static constexpr Nanoseconds kStep = 20 * kMicrosecond;
};

TEST_F(CrossingEntry, IsErasedWhereItWasOrHasMoved) {
  int erased = 0;
  int moved = 0;
  for (Nanoseconds delay = kFirst; delay < kLast; delay += kStep) {
    const Outcome outcome = race(from_, delay);
    if (outcome.erased == ErrorCode{}) {
      ++erased;
      ASSERT_EQ(outcome.updated, ErrorCode::kNotFound) << "after " << delay;
      ASSERT_TRUE(outcome.held.empty()) << "it was erased, and is there: after " << delay;
    } else {
      ++moved;
      ASSERT_EQ(outcome.erased, ErrorCode::kNotFound) << "after " << delay;
      ASSERT_EQ(outcome.updated, ErrorCode{}) << "after " << delay;
      ASSERT_EQ(outcome.held, (std::vector<rtree::Entry<2>>{{1, to_}})) << "after " << delay;
    }
  }
  EXPECT_GT(erased, 0);
  EXPECT_GT(moved, 0);
}

TEST_F(CrossingEntry, IsErasedWhereItGoesOnceItIsThere) {
  int erased = 0;
  int too_early = 0;
  for (Nanoseconds delay = kFirst; delay < kLast; delay += kStep) {
    const Outcome outcome = race(to_, delay);
    ASSERT_EQ(outcome.updated, ErrorCode{}) << "after " << delay;
    if (outcome.erased == ErrorCode{}) {
      ++erased;
      ASSERT_TRUE(outcome.held.empty()) << "it was erased, and is there: after " << delay;
    } else {
      ++too_early;
      ASSERT_EQ(outcome.erased, ErrorCode::kNotFound) << "after " << delay;
      ASSERT_EQ(outcome.held, (std::vector<rtree::Entry<2>>{{1, to_}})) << "after " << delay;
    }
  }
  EXPECT_GT(erased, 0);
  EXPECT_GT(too_early, 0);
}

}  // namespace
}  // namespace silurus::simulation
