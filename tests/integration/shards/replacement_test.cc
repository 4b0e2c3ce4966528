// SPDX-License-Identifier: Apache-2.0

#include "silurus/replacement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "client/internal.h"
#include "client/shards/internal.h"
#include "common/random.h"
#include "protocol/messages.h"
#include "tests/integration/shards/cluster.h"
#include "tests/integration/shards/load.h"
#include "tests/support/seed.h"

// Shards are split and moved while clients read and write; the coordinator is killed at each step.

namespace silurus {
namespace {

using shards::replace_shard;
using shards::ReplaceOptions;
using shards::Step;
using testing_support::Cluster;
using testing_support::expect_holds;
using testing_support::kEverything;
using testing_support::kLongFreeze;
using testing_support::Load;
using testing_support::Model;
using testing_support::patient;
using testing_support::random_box;

constexpr Step kSteps[] = {Step::kIntent, Step::kFill,   Step::kCopy,  Step::kCatchUp,
                           Step::kFreeze, Step::kRetire, Step::kServe, Step::kReplace};

#define NEEDS_ETCD() \
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server"

TEST(ReplacementTest, NothingIsLostOrDoubledWhileShardsAreSplitAndMovedUnderLoad) {
  NEEDS_ETCD();
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(2);
  const std::uint64_t seed = testing_support::seed(1);
  Random random(seed);
  Load load(cluster, 4, seed);
  auto store = cluster.store();
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(load.wait_for_writes());
    const auto map = cluster.map();
    const auto& shard = map.shards[random.below(map.shards.size())];
    ReplaceOptions options{.shard = shard.id,
                           .parts = round % 2 == 0 ? std::size_t{2} : std::size_t{1},
                           .client = patient(),
                           .freeze = kLongFreeze};
    for (std::size_t i = 0; i < options.parts; ++i) {
      options.targets.push_back(cluster.start_server());
    }
    const auto replaced = replace_shard<2>(*store, options);
    ASSERT_TRUE(replaced) << replaced.error().message;
    EXPECT_EQ(replaced->parts.size(), options.parts);
    testing_support::print_gap(*replaced);
  }
  ASSERT_TRUE(load.wait_for_writes());
  const Model all = load.stop();
  auto router = cluster.router();
  expect_holds(router, all);
}

/// A cluster of one shard with some entries.
class OneShard : public testing::Test {
 protected:
  void SetUp() override {
    NEEDS_ETCD();
    ASSERT_TRUE(cluster_.ready());
    cluster_.make_map(1);
    router_.emplace(cluster_.router());
    for (std::uint64_t id = 0; id < 3000; ++id) model_[id] = random_box(random_);
    std::vector<Entry<2>> entries;
    for (const auto& [id, box] : model_) entries.push_back({id, box});
    ASSERT_TRUE(router_->load_begin());
    ASSERT_TRUE(router_->load_add(entries));
    ASSERT_TRUE(router_->load_commit());
    store_ = cluster_.store();
  }
  ReplaceOptions split() {
    return {.shard = 0,
            .parts = 2,
            .targets = {cluster_.start_server(), cluster_.start_server()},
            .client = patient(),
            .freeze = kLongFreeze};
  }
  void write_some() {
    for (int i = 0; i < 20; ++i) {
      const Box<2> box = random_box(random_);
      const auto inserted = router_->insert(next_, box);
      ASSERT_TRUE(inserted) << inserted.error().message;
      model_[next_++] = box;
      const auto it = model_.lower_bound(random_.below(3000));
      ASSERT_TRUE(router_->erase(it->first, it->second));
      model_.erase(it);
    }
  }

  Cluster<2> cluster_;
  std::optional<Router<2>> router_;
  std::unique_ptr<shards::MapStore> store_;
  Random random_{testing_support::seed(5)};
  Model model_;
  std::uint64_t next_ = 100'000;
};

TEST_F(OneShard, SplitsAtTheMedianAndAtAKey) {
  const auto halves = replace_shard<2>(*store_, split());
  ASSERT_TRUE(halves) << halves.error().message;
  EXPECT_EQ(halves->entries, model_.size());
  expect_holds(*router_, model_);
  const auto map = cluster_.map();
  ASSERT_EQ(map.shards.size(), 2u);
  std::vector<std::uint64_t> held;
  for (const auto& shard : map.shards) {
    held.push_back(Client<2>::connect(shard.url(), patient())->count(kEverything).value());
  }
  // Those that no cell holds have key 0, so that the halves differ by a few.
  EXPECT_NEAR(static_cast<double>(held[0]), static_cast<double>(held[1]), 0.1 * 3000);
  ReplaceOptions at = split();
  at.shard = map.shards[1].id;
  at.at = map.shards[1].first + (UINT64_MAX - map.shards[1].first) / 2;
  ASSERT_TRUE(replace_shard<2>(*store_, at));
  EXPECT_EQ(cluster_.map().shards[2].first, *at.at);
  expect_holds(*router_, model_);
  at.shard = cluster_.map().shards[2].id;
  at.at = UINT64_MAX;
  at.targets = {cluster_.start_server(), cluster_.start_server()};
  ASSERT_TRUE(replace_shard<2>(*store_, at)) << "one that has next to nothing";
  expect_holds(*router_, model_);
  at.shard = cluster_.map().shards[0].id;
  at.targets = {cluster_.start_server(), cluster_.start_server()};
  EXPECT_EQ(replace_shard<2>(*store_, at).error().code, ErrorCode::kInvalidArgument)
      << "the key isn't its own";
}

TEST_F(OneShard, WhoIsKilledAtAnyStepIsTakenOver) {
  for (const Step step : kSteps) {
    ReplaceOptions options = split();
    options.shard = cluster_.map().shards.back().id;  // the one that has most
    options.before = [&](Step next) { return next != step; };
    const auto killed = replace_shard<2>(*store_, options);
    ASSERT_FALSE(killed) << to_string(step);
    if (step < Step::kFreeze) write_some();
    options.before = nullptr;
    const auto resumed = replace_shard<2>(*store_, options);
    ASSERT_TRUE(resumed) << to_string(step) << ": " << resumed.error().message;
    write_some();
    expect_holds(*router_, model_);
  }
}

TEST_F(OneShard, WhoIsKilledAtAnyStepCanBeUndone) {
  for (const Step step : kSteps) {
    ReplaceOptions options = split();
    options.before = [&](Step next) { return next != step; };
    ASSERT_FALSE(replace_shard<2>(*store_, options)) << to_string(step);
    const auto aborted = shards::abort_replacement<2>(*store_, 0, patient());
    ASSERT_TRUE(aborted) << to_string(step) << ": " << aborted.error().message;
    EXPECT_TRUE(aborted->map.shards[0].successors.empty());
    write_some();
    expect_holds(*router_, model_);
    // The servers are empty again, and spare.
    if (step == Step::kIntent) continue;
    EXPECT_EQ(aborted->map.spares.size(), 2u);
    options.before = nullptr;
    for (const auto& spare : aborted->map.spares) {
      EXPECT_EQ(Client<2>::connect(spare, patient())->count(kEverything).value(), 0u);
    }
    shards::ShardMap without = aborted->map;
    without.spares.clear();
    ASSERT_TRUE(store_->replace(*aborted, without));
  }
}

TEST_F(OneShard, WhoWasOvertakenChangesNothing) {
  for (const Step step : kSteps) {
    ReplaceOptions options = split();
    options.shard = cluster_.map().shards.back().id;  // the one that has most
    const ReplaceOptions rival = options;
    auto rival_store = cluster_.store();
    options.before = [&](Step next) {
      if (next == step) {
        // Frees the place of its bulk load, which the paused one would hold for a minute.
        const auto done = replace_shard<2>(*rival_store, rival);
        EXPECT_TRUE(done) << to_string(step) << ": " << done.error().message;
        write_some();
      }
      return true;
    };
    const auto late = replace_shard<2>(*store_, options);
    ASSERT_FALSE(late) << to_string(step);
    EXPECT_TRUE(late.error().code == ErrorCode::kConflict ||
                late.error().code == ErrorCode::kNotFound)
        << to_string(step) << ": " << late.error().message;
    write_some();
    expect_holds(*router_, model_);
  }
}

TEST_F(OneShard, WhoWasAbortedAtTheLastStepPutsNothingIntoTheMap) {
  ReplaceOptions options = split();
  auto rival_store = cluster_.store();
  options.before = [&](Step next) {
    if (next == Step::kReplace) {
      const auto aborted = shards::abort_replacement<2>(*rival_store, 0, patient());
      EXPECT_TRUE(aborted) << aborted.error().message;
    }
    return true;
  };
  const auto late = replace_shard<2>(*store_, options);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kConflict) << late.error().message;
  EXPECT_EQ(cluster_.map().shards.size(), 1u);
  write_some();
  expect_holds(*router_, model_);
}

/// A store that answers no more from some moment on, though it does what it is asked.
class SilentStore final : public shards::MapStore {
 public:
  explicit SilentStore(shards::MapStore& store) : store_(store) {}
  Result<shards::StoredMap> load() override {
    if (is_silent) return fail(ErrorCode::kUnavailable, "it cannot be asked");
    return store_.load();
  }
  Result<shards::StoredMap> replace(const shards::StoredMap& base, shards::ShardMap next) override {
    auto replaced = store_.replace(base, std::move(next));
    if (is_silent) return fail(ErrorCode::kInDoubt, "the answer was lost");
    return replaced;
  }
  bool is_silent = false;

 private:
  shards::MapStore& store_;
};

TEST_F(OneShard, AShardWhoseSuccessorsMayBeInTheMapDoesNotServeAgain) {
  const std::string old = cluster_.map().shards[0].url();
  SilentStore silent(*store_);
  ReplaceOptions options = split();
  options.before = [&](Step next) {
    if (next != Step::kReplace) return true;
    silent.is_silent = true;
    options.client.patience = kSecond;  // limit of asking the store again
    return true;
  };
  const auto replaced = replace_shard<2>(silent, options);
  ASSERT_FALSE(replaced);
  EXPECT_EQ(replaced.error().code, ErrorCode::kInDoubt) << replaced.error().message;
  auto client = Client<2>::connect(old, patient());
  ASSERT_TRUE(client);
  EXPECT_EQ(client->count(kEverything).error().code, ErrorCode::kMoved);
  EXPECT_EQ(client->insert(1, {{0, 0}, {1, 1}}).error().code, ErrorCode::kMoved);
  EXPECT_EQ(cluster_.map().shards.size(), 2u);
  write_some();
  expect_holds(*router_, model_);
}

TEST_F(OneShard, EachPageOfALargeCopyIsSentOnce) {
  constexpr std::uint64_t kMore = 27'000;
  for (std::uint64_t done = 0; done < kMore;) {
    WriteBatch<2> batch;
    for (; batch.size() < 3000; ++done) {
      const Box<2> box = random_box(random_);
      batch.insert(next_, box);
      model_[next_++] = box;
    }
    const auto written = router_->write(batch);
    ASSERT_TRUE(written) << written.error().message;
    ASSERT_TRUE(written->failed.empty());
  }
  const auto halves = replace_shard<2>(*store_, split());
  ASSERT_TRUE(halves) << halves.error().message;
  EXPECT_EQ(halves->entries, model_.size());
  expect_holds(*router_, model_);
}

/// Each batch is several at the server, which refuses some of them, and takes the next ones.
TEST_F(OneShard, OperationsKeepTheirOrderWhenTheServerIsFrozenNowAndThen) {
  auto router = cluster_.router({.deadline = 60 * kSecond});
  const std::string url = cluster_.map().shards[0].url();
  std::uint64_t frozen = 0;
  std::jthread freezing([&](const std::stop_token& over) {
    auto client = Client<2>::connect(url, patient());
    constexpr std::uint64_t kFreezeNs = kLongFreeze;
    for (; !over.stop_requested(); ++frozen) {
      const std::uint64_t fencing_token = 1000 + frozen;
      EXPECT_TRUE(client::Internal::run_task(
          *client, {.kind = protocol::TaskKind::kFreeze, .from = fencing_token, .to = kFreezeNs}));
      EXPECT_TRUE(client::Internal::run_task(
          *client, {.kind = protocol::TaskKind::kServe, .from = fencing_token, .to = 0}));
    }
  });
  constexpr std::uint64_t kPairs = 2000;
  for (int round = 0; round < 10; ++round) {
    WriteBatch<2> batch;
    std::vector<Box<2>> boxes;
    for (std::uint64_t i = 0; i < kPairs; ++i) {
      boxes.push_back(random_box(random_));
      batch.insert(next_ + i, boxes.back());
    }
    for (std::uint64_t i = 0; i + 1 < kPairs; ++i) batch.erase(next_ + i, boxes[i]);
    model_[next_ + kPairs - 1] = boxes.back();
    next_ += kPairs;
    const auto written = router.write(batch);
    ASSERT_TRUE(written) << written.error().message;
    ASSERT_TRUE(written->failed.empty()) << written->failed.size() << " in round " << round;
  }
  freezing.request_stop();
  freezing.join();
  EXPECT_GT(frozen, 10u);
  expect_holds(*router_, model_);
}

TEST_F(OneShard, AChangeOfSomethingElseInTheMapStopsNothing) {
  auto other = cluster_.store();
  ReplaceOptions options = split();
  int changes = 0;
  options.before = [&](Step) {
    // The first one comes before the map is read at all; the last when the shard is retired.
    const auto base = other->load();
    if (!base) return false;
    shards::ShardMap next = base->map;
    next.spares = {"tcp://127.0.0.1:" + std::to_string(++changes)};
    return other->replace(*base, next).has_value();
  };
  const auto replaced = replace_shard<2>(*store_, options);
  ASSERT_TRUE(replaced) << replaced.error().message;
  EXPECT_EQ(changes, 8);
  const auto map = cluster_.map();
  EXPECT_EQ(map.shards.size(), 2u);
  EXPECT_EQ(map.spares, std::vector<std::string>{"tcp://127.0.0.1:8"}) << "theirs is kept";
  write_some();
  expect_holds(*router_, model_);
}

TEST_F(OneShard, WhetherTheMapWasChangedIsInDoubtIfAnAnswerMayBeLost) {
  const auto base = store_->load();
  ASSERT_TRUE(base);
  auto now = base;
  for (int i = 0; i < 2; ++i) {
    now = store_->replace(*now, now->map);
    ASSERT_TRUE(now) << now.error().message;
  }
  EXPECT_EQ(store_->replace(*base, base->map).error().code, ErrorCode::kConflict);
  // With two endpoints it is unknown what the first one did before it was gone.
  std::string url = cluster_.url();
  url.insert(url.find("//") + 2, "127.0.0.1:1,");
  auto both = shards::open_map_store(url);
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_EQ((*both)->replace(*base, base->map).error().code, ErrorCode::kInDoubt);
  EXPECT_TRUE((*both)->replace(*now, now->map));
  EXPECT_EQ((*both)->replace(*now, now->map).error().code, ErrorCode::kConflict)
      << "there is a map of the very epoch that this one would have had";
}

TEST_F(OneShard, AFreezeThatIsOverReplacesNothing) {
  ReplaceOptions options = split();
  options.freeze = 300 * kMillisecond;
  options.before = [&](Step next) {
    if (next == Step::kRetire) write_some();  // waits until the freeze is over
    return true;
  };
  EXPECT_EQ(replace_shard<2>(*store_, options).error().code, ErrorCode::kConflict);
  write_some();
  expect_holds(*router_, model_);
}

TEST_F(OneShard, OneSidedReadersAreTurnedAwayAtOnce) {
  const std::string old = cluster_.map().shards[0].url();
  auto offloading = Client<2>::connect(old, patient({.mode = Mode::kOffload}));
  ASSERT_TRUE(offloading);
  ASSERT_TRUE(offloading->count(kEverything));
  EXPECT_EQ(offloading->statistics().offload.completed, 1u);
  ASSERT_TRUE(replace_shard<2>(*store_, split()));
  EXPECT_EQ(offloading->count(kEverything).error().code, ErrorCode::kMoved);
  EXPECT_EQ(offloading->insert(1, {{0, 0}, {1, 1}}).error().code, ErrorCode::kMoved);
  expect_holds(*router_, model_);
}

TEST_F(OneShard, ServersThatAreNotEmptyAreRefused) {
  ReplaceOptions options = split();
  ASSERT_TRUE(Client<2>::connect(options.targets[1], patient())->insert(1, {{0, 0}, {1, 1}}));
  EXPECT_EQ(replace_shard<2>(*store_, options).error().code, ErrorCode::kConflict);
  EXPECT_TRUE(cluster_.map().shards[0].successors.empty());
  options.targets[1] = cluster_.map().shards[0].servers[0];
  EXPECT_FALSE(replace_shard<2>(*store_, options));
  options.targets = {};
  EXPECT_EQ(replace_shard<2>(*store_, options).error().code, ErrorCode::kInvalidArgument);
  write_some();
  expect_holds(*router_, model_);
}

TEST(RetiredServer, IsStillRetiredAfterARestart) {
  NEEDS_ETCD();
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(1);
  auto store = cluster.store();
  const std::string first = cluster.start_server({"--data", cluster.data("a")});
  ASSERT_TRUE(replace_shard<2>(
      *store, {.shard = 0, .targets = {first}, .client = patient(), .freeze = kLongFreeze}));
  auto router = cluster.router();
  ASSERT_TRUE(router.insert(7, {{0.5, 0.5}, {0.5, 0.5}}));
  const std::string second = cluster.start_server({"--data", cluster.data("b")});
  ASSERT_TRUE(replace_shard<2>(*store, {.shard = cluster.map().shards[0].id,
                                        .targets = {second},
                                        .client = patient(),
                                        .freeze = kLongFreeze}));
  cluster.forget_server(1);  // killed
  testing_support::ServerProcess again(
      {"--listen", first, "--log-level", "error", "--memory", "256M", "--data", cluster.data("a")});
  ASSERT_FALSE(again.addresses().empty()) << again.errors();
  auto client = Client<2>::connect(first, patient());
  ASSERT_TRUE(client);
  EXPECT_EQ(client->insert(1, {{0, 0}, {1, 1}}).error().code, ErrorCode::kMoved);
  EXPECT_EQ(client->count(kEverything).error().code, ErrorCode::kMoved);
  EXPECT_EQ(router.count(kEverything).value(), 1u);
}

}  // namespace
}  // namespace silurus
