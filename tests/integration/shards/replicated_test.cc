// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <utility>

#include "client/shards/internal.h"
#include "silurus/replacement.h"
#include "tests/integration/shards/cluster.h"
#include "tests/integration/shards/load.h"
#include "tests/support/seed.h"

// Shards that are groups of replicas: real servers, a real etcd, and primaries that are killed
// under load, while shards are split and moved too.

namespace silurus {
namespace {

using shards::replace_shard;
using shards::ReplaceOptions;
using shards::Step;
using testing_support::Cluster;
using testing_support::expect_holds;
using testing_support::kLongFreeze;
using testing_support::Load;
using testing_support::MemberProcess;
using testing_support::Model;
using testing_support::patient;
using testing_support::random_box;

constexpr Step kStepsOfGroups[] = {Step::kFill,   Step::kCopy,  Step::kCatchUp, Step::kFreeze,
                                   Step::kRetire, Step::kServe, Step::kReplace};

class ReplicatedShards : public testing::Test {
 protected:
  void SetUp() override {
    if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
    ASSERT_TRUE(cluster_.ready());
  }
  /// Brings back who was killed, and waits until it counts again.
  void bring_back(const std::string& group, MemberProcess& member) {
    ASSERT_TRUE(member.start()) << member.process().errors();
    ASSERT_TRUE(wait_for_view(cluster_.group(group), cluster_.group(group).size()));
  }

  /// Lets it write some more, and stops it.
  void expect_nothing_lost(Load& load) const {
    EXPECT_TRUE(load.wait_for_writes());
    const Model all = load.stop();
    auto router = cluster_.router();
    expect_holds(router, all);
  }

  /// Moves the only shard.
  ReplaceOptions move_to(const std::string& group) const {
    ReplaceOptions options;
    options.shard = cluster_.map().shards[0].id;
    options.targets = {group};
    options.client = patient({.connect_timeout = 30 * kSecond});
    options.freeze = kLongFreeze;
    return options;
  }

  Cluster<2> cluster_;
};

TEST_F(ReplicatedShards, GoOnThroughTheDeathsOfTheirPrimariesAndLoseNothing) {
  const std::vector<std::string> groups{cluster_.start_group(3), cluster_.start_group(2)};
  cluster_.make_map(groups);
  Load load(cluster_, 4, testing_support::seed(1));
  for (const std::string& group : groups) {
    ASSERT_TRUE(load.wait_for_writes());
    MemberProcess& killed = cluster_.kill_primary_of(group);
    ASSERT_TRUE(load.wait_for_writes()) << "at its successor";
    bring_back(group, killed);
  }
  ASSERT_TRUE(load.wait_for_writes());
  const Model all = load.stop();
  auto router = cluster_.router();
  expect_holds(router, all);
  const auto near = router.nearest({{0.5, 0.5}}, 10);
  ASSERT_TRUE(near) << near.error().message;
  EXPECT_EQ(near->size(), 10u);
}

TEST_F(ReplicatedShards, AreSplitAndMovedUnderLoad) {
  cluster_.make_map({cluster_.start_group(2)});
  const std::vector<std::string> halves{cluster_.start_group(2), cluster_.start_group(2)};
  const std::string next = cluster_.start_group(2);
  Load load(cluster_, 4, testing_support::seed(2));
  ASSERT_TRUE(load.wait_for_writes());
  auto store = cluster_.store();
  const auto split = replace_shard<2>(
      *store,
      {.shard = 0, .parts = 2, .targets = halves, .client = patient(), .freeze = kLongFreeze});
  ASSERT_TRUE(split) << split.error().message;
  testing_support::print_gap(*split);
  ASSERT_TRUE(load.wait_for_writes());
  const auto moved = replace_shard<2>(
      *store, {.shard = 1, .targets = {next}, .client = patient(), .freeze = kLongFreeze});
  ASSERT_TRUE(moved) << moved.error().message;
  testing_support::print_gap(*moved);
  // Who leads a group that was replaced knows it, too.
  MemberProcess& killed = cluster_.kill_primary_of(halves[0]);
  auto late = Client<2>::connect(halves[0], patient({.connect_timeout = 30 * kSecond}));
  ASSERT_TRUE(late) << late.error().message;
  EXPECT_EQ(late->insert(1, {{0, 0}, {1, 1}}).error().code, ErrorCode::kMoved);
  EXPECT_EQ(late->count(testing_support::kEverything).error().code, ErrorCode::kMoved);
  bring_back(halves[0], killed);
  expect_nothing_lost(load);
}

TEST_F(ReplicatedShards, AreLoadedInBulkAllAtOnce) {
  cluster_.make_map({cluster_.start_group(2), cluster_.start_group(2)});
  auto router = cluster_.router();
  Random random(testing_support::seed(5));
  Model all;
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 20'000; ++id) {
    entries.push_back({id, testing_support::random_box(random)});
    all[id] = entries.back().box;
  }
  ASSERT_TRUE(router.load_begin());
  ASSERT_TRUE(router.load_add(entries));
  const auto loaded = router.load_commit();
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->entries, all.size());
  expect_holds(router, all);
  ASSERT_TRUE(router.insert(77'777, entries[0].box)) << "writes go on";
}

/// Moves the shard from group to group, whose primaries are killed while they are moved: before
/// each step once that of the one which has it, and once that of the one which gets it.
TEST_F(ReplicatedShards, AreMovedThoughPrimariesAreKilledBeforeAnyStep) {
  std::string source = cluster_.start_group(2);
  cluster_.make_map({source});
  std::string older;
  auto store = cluster_.store();
  Load load(cluster_, 3, testing_support::seed(3));
  for (const Step step : kStepsOfGroups) {
    for (const bool kills_source : {true, false}) {
      const std::string target = cluster_.start_group(2);
      const std::string victims = kills_source ? source : target;
      MemberProcess* killed = nullptr;
      ReplaceOptions options = move_to(target);
      options.before = [&](Step next) {
        if (next == step && killed == nullptr) killed = &cluster_.kill_primary_of(victims);
        return true;
      };
      const auto moved = replace_shard<2>(*store, options);
      ASSERT_TRUE(moved) << to_string(step) << (kills_source ? ", source: " : ", target: ")
                         << moved.error().message;
      ASSERT_NE(killed, nullptr);
      bring_back(victims, *killed);
      // Not the group that has just been replaced, nor an older one before each client has begun
      // and ended another write: one that wrote there may still have to learn what came of it.
      ASSERT_TRUE(load.wait_for_writes(2)) << to_string(step);
      if (!older.empty()) cluster_.forget_group(older);
      older = std::exchange(source, target);
    }
  }
  expect_nothing_lost(load);
}

/// The coordinator is killed, and so is a primary: another one ends what was begun, one way or the
/// other.
TEST_F(ReplicatedShards, AReplacementThatWasLeftCanBeEndedByAnyone) {
  std::string source = cluster_.start_group(2);
  cluster_.make_map({source});
  auto store = cluster_.store();
  Load load(cluster_, 3, testing_support::seed(4));
  for (const Step step : {Step::kCatchUp, Step::kRetire, Step::kServe}) {
    const std::string target = cluster_.start_group(2);
    ReplaceOptions options = move_to(target);
    options.before = [&](Step next) { return next != step; };
    ASSERT_FALSE(replace_shard<2>(*store, options));
    MemberProcess& killed = cluster_.kill_primary_of(source);
    const auto aborted = shards::abort_replacement<2>(*store, options.shard, options.client);
    ASSERT_TRUE(aborted) << to_string(step) << ": " << aborted.error().message;
    EXPECT_EQ(aborted->map.spares, std::vector<std::string>{target});
    bring_back(source, killed);
    options.targets.clear();  // it is spare
    ASSERT_FALSE(replace_shard<2>(*store, options));
    const std::string victims = step == Step::kServe ? source : target;
    MemberProcess& another = cluster_.kill_primary_of(victims);
    options.before = nullptr;
    const auto moved = replace_shard<2>(*store, options);
    ASSERT_TRUE(moved) << to_string(step) << ": " << moved.error().message;
    bring_back(victims, another);
    source = target;
  }
  expect_nothing_lost(load);
}

}  // namespace
}  // namespace silurus
