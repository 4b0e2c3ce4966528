// SPDX-License-Identifier: Apache-2.0

#include "silurus/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <csignal>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "common/random.h"
#include "tests/integration/shards/cluster.h"
#include "tests/support/in_child.h"
#include "tests/support/seed.h"

// The router over real servers and a real etcd, against brute force.

namespace silurus {
namespace {

using testing_support::Cluster;

/// Mostly small boxes in the unit cube; some too large for their shard, some outside of the frame.
template <int D>
Box<D> random_box(Random& random) {
  const std::uint64_t kind = random.below(20);
  const double edge = kind == 0 ? 0.6 : 0.01;
  Box<D> box;
  for (int d = 0; d < D; ++d) {
    box.min[d] = random.uniform() + (kind == 1 ? 1.5 : 0);
    box.max[d] = box.min[d] + edge * random.uniform();
  }
  return box;
}

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> ids) {
  std::ranges::sort(ids);
  return ids;
}

template <int D>
class Oracle {
 public:
  std::map<std::uint64_t, Box<D>> entries;

  std::vector<std::uint64_t> range(const rtree::RangeQuery<D>& query) const {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, box] : entries) {
      if (rtree::matches(query, box)) ids.push_back(id);
    }
    return ids;
  }
  rtree::NearestResult nearest(const Point<D>& point, std::uint32_t k) const {
    rtree::NearestResult all;
    for (const auto& [id, box] : entries) {
      all.push_back({id, rtree::distance(point, box)});
    }
    std::ranges::sort(all, [](const auto& a, const auto& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
    });
    all.resize(std::min<std::size_t>(k, all.size()));
    return all;
  }
};

template <int D>
void write_at_random(Router<D>& router, Oracle<D>& oracle, Random& random, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    auto it = oracle.entries.lower_bound(random.below(4000));
    if (it == oracle.entries.end()) it = oracle.entries.begin();
    const Box<D> box = random_box<D>(random);
    switch (random.below(3)) {
      case 0: {
        const std::uint64_t id = 10'000 + random() % 1'000'000'000;
        if (oracle.entries.contains(id)) break;
        ASSERT_TRUE(router.insert(id, box));
        oracle.entries[id] = box;
        break;
      }
      case 1:
        ASSERT_TRUE(router.erase(it->first, it->second));
        EXPECT_EQ(router.erase(it->first, it->second).error().code, ErrorCode::kNotFound);
        EXPECT_EQ(router.update(it->first, it->second, box).error().code, ErrorCode::kNotFound);
        oracle.entries.erase(it);
        break;
      default: {
        const auto updated = router.update(it->first, it->second, box);
        ASSERT_TRUE(updated) << updated.error().message;
        it->second = box;
      }
    }
  }
}

template <int D>
void compare(Router<D>& router, const Oracle<D>& oracle, Random& random, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    rtree::RangeQuery<D> query;
    query.window = random_box<D>(random);
    for (int d = 0; d < D; ++d) query.window.max[d] += 0.2 * random.uniform();
    query.predicate = static_cast<Predicate>(random.below(3));
    const auto expected = oracle.range(query);
    const auto found = router.range(query.window, {.predicate = query.predicate});
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(sorted(found->ids), expected);
    EXPECT_EQ(router.count(query.window, query.predicate).value(), expected.size());
    const std::uint64_t limit = random.below(20);
    const auto limited = router.range(
        query.window,
        {.predicate = query.predicate, .shape = ResultShape::kEntries, .limit = limit});
    ASSERT_TRUE(limited);
    EXPECT_EQ(limited->count, std::min<std::uint64_t>(limit, expected.size()));
    ASSERT_EQ(limited->ids.size(), limited->count);
    for (std::size_t e = 0; e < limited->ids.size(); ++e) {
      EXPECT_EQ(limited->boxes[e], oracle.entries.at(limited->ids[e]));
    }
    Point<D> point;
    for (int d = 0; d < D; ++d) point.at[d] = 1.4 * random.uniform() - 0.2;
    const auto k = static_cast<std::uint32_t>(1 + random.below(40));
    const auto near = router.nearest(point, k);
    ASSERT_TRUE(near) << near.error().message;
    EXPECT_EQ(near->neighbors, oracle.nearest(point, k));
  }
}

template <int D>
void answer_as_brute_force_does() {
  if (!Cluster<D>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<D> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(4);
  Random random(testing_support::seed(11 + D));
  Oracle<D> oracle;
  std::vector<Entry<D>> entries;
  for (std::uint64_t id = 0; id < 4000; ++id) {
    entries.push_back({id, random_box<D>(random)});
    oracle.entries[id] = entries.back().box;
  }
  auto router = cluster.router();
  ASSERT_TRUE(router.load_begin());
  ASSERT_TRUE(router.load_add(entries));
  ASSERT_EQ(router.load_commit().value().entries, entries.size());
  EXPECT_EQ(router.load_begin().error().code, ErrorCode::kConflict);
  compare(router, oracle, random, 60);
  write_at_random(router, oracle, random, 400);
  compare(router, oracle, random, 60);
  // A batch over all shards, with operations that fail, and entries that change shards.
  WriteBatch<D> batch;
  std::vector<std::size_t> failing;
  for (auto& [id, box] : oracle.entries) {
    if (batch.size() >= 300) break;
    const Box<D> to = random_box<D>(random);
    if (random.below(10) == 0) {
      failing.push_back(batch.size());
      batch.erase(id, to);  // not there
      continue;
    }
    batch.update(id, box, to);
    box = to;
  }
  const auto written = router.write(batch);
  ASSERT_TRUE(written) << written.error().message;
  std::vector<std::size_t> failed;
  for (const auto& one : written->failed) failed.push_back(one.index);
  EXPECT_EQ(failed, failing);
  compare(router, oracle, random, 40);
}

TEST(RouterTest, AnswersAsBruteForceDoesInTwoDimensions) { answer_as_brute_force_does<2>(); }
TEST(RouterTest, AnswersAsBruteForceDoesInThreeDimensions) { answer_as_brute_force_does<3>(); }

TEST(RouterTest, ASmallSearchVisitsFewShards) {
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(4, 0.001);
  auto router = cluster.router();
  Random random(testing_support::seed(3));
  for (std::uint64_t id = 0; id < 200; ++id) {
    const double x = random.uniform();
    const double y = random.uniform();
    ASSERT_TRUE(router.insert(id, {{x, y}, {x, y}}));
  }
  const std::uint64_t before = router.visits();
  constexpr int kSearches = 200;
  for (int i = 0; i < kSearches; ++i) {
    const double x = 0.99 * random.uniform();
    const double y = 0.99 * random.uniform();
    ASSERT_TRUE(router.count({{x, y}, {x + 0.001, y + 0.001}}));
  }
  // The shard of key 0, and nearly always one more at most.
  EXPECT_LT(static_cast<double>(router.visits() - before), 2.1 * kSearches);
}

TEST(RouterTest, NearestAsksShardsThatBeginAsFarAwayAsTheLastOneFound) {
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(2, 0);
  auto router = cluster.router();
  // Both lie 0.25 away, each on the border of a half of the frame that may be the other shard's.
  const Box<2> right{{0.5, 0.25}, {0.5, 0.25}};
  const Box<2> above{{0.25, 0.5}, {0.25, 0.5}};
  for (const auto& [first, second] : {std::pair(right, above), std::pair(above, right)}) {
    ASSERT_TRUE(router.insert(1, first));
    ASSERT_TRUE(router.insert(2, second));
    const auto found = router.nearest({{0.25, 0.25}}, 1);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->neighbors, (rtree::NearestResult{{1, 0.25}}));
    ASSERT_TRUE(router.erase(1, first));
    ASSERT_TRUE(router.erase(2, second));
  }
}

TEST(RouterTest, AnEntryThatTwoMoveToOtherShardsIsAtOnePlace) {
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(4);
  // In quarters of the frame, each of which is a shard's.
  const Box<2> places[] = {
      {{0.2, 0.2}, {0.2, 0.2}}, {{0.8, 0.2}, {0.8, 0.2}}, {{0.2, 0.8}, {0.2, 0.8}}};
  auto router = cluster.router();
  auto rival = cluster.router();
  ASSERT_TRUE(router.insert(1, places[0]));
  std::size_t at = 0;
  for (int round = 0; round < 30; ++round) {
    const std::size_t to[] = {(at + 1) % 3, (at + 2) % 3};
    std::barrier both(2);
    const auto move_to = [&](Router<2>& by, std::size_t where) {
      both.arrive_and_wait();
      const auto moved = by.update(1, places[at], places[where]);
      return moved ? ErrorCode{} : moved.error().code;
    };
    ErrorCode codes[2] = {};
    {
      const std::jthread thread([&] { codes[1] = move_to(rival, to[1]); });
      codes[0] = move_to(router, to[0]);
    }
    const int who = codes[0] == ErrorCode{} ? 0 : 1;
    ASSERT_EQ(codes[who], ErrorCode{}) << "one of them was the first";
    ASSERT_EQ(codes[1 - who], ErrorCode::kNotFound) << "and the other found it gone";
    at = to[who];
    const auto found = router.range({{0, 0}, {1, 1}}, {.shape = ResultShape::kEntries});
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->ids, std::vector<std::uint64_t>{1}) << "in round " << round;
    ASSERT_EQ(found->boxes[0], places[at]);
  }
}

TEST(RouterTest, AnEntryThatOneMovesToAnotherShardAndAnotherErasesIsMovedOrGone) {
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(4);
  const Box<2> from{{0.2, 0.2}, {0.2, 0.2}};
  const Box<2> to{{0.8, 0.8}, {0.8, 0.8}};
  auto mover = cluster.router();
  auto eraser = cluster.router();
  for (std::uint64_t id = 1; id <= 60; ++id) {
    ASSERT_TRUE(mover.insert(id, from));
    std::barrier both(2);
    const auto code_of = [](const Result<Version>& done) {
      return done ? ErrorCode{} : done.error().code;
    };
    ErrorCode erased{};
    ErrorCode moved{};
    {
      const std::jthread thread([&] {
        both.arrive_and_wait();
        erased = code_of(eraser.erase(id, from));
      });
      both.arrive_and_wait();
      moved = code_of(mover.update(id, from, to));
    }
    const bool is_moved = moved == ErrorCode{};
    ASSERT_EQ(is_moved ? erased : moved, ErrorCode::kNotFound) << "the second found it gone";
    ASSERT_EQ(is_moved ? moved : erased, ErrorCode{}) << "one of them was the first";
    const auto found = mover.range({{0, 0}, {1, 1}}, {.shape = ResultShape::kEntries});
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->ids.size(), is_moved ? 1u : 0u) << "in round " << id;
    if (is_moved) {
      ASSERT_EQ(found->boxes[0], to);
      ASSERT_TRUE(eraser.erase(id, to));
    }
  }
}

/// The shard's server does not answer, and does what it was sent when it goes on.
TEST(RouterTest, AWriteInDoubtIsNotSentToTheServerOfANewerMap) {
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(1);
  const std::string other = cluster.start_server();
  const Box<2> box{{0.1, 0.1}, {0.2, 0.2}};
  const Box<2> everywhere{{0, 0}, {1, 1}};
  auto router = cluster.router({.deadline = kSecond / 2});
  EXPECT_EQ(router.count(everywhere).value(), 0u);
  auto store = cluster.store();
  const auto base = store->load();
  ASSERT_TRUE(base);
  shards::ShardMap next = base->map;
  const std::string old = next.shards[0].url();
  next.shards[0].servers = {other};
  ASSERT_TRUE(store->replace(*base, next));
  cluster.server(0).freeze();
  const auto inserted = router.insert(1, box);
  cluster.server(0).signal(SIGCONT);
  ASSERT_FALSE(inserted);
  EXPECT_EQ(inserted.error().code, ErrorCode::kInDoubt) << inserted.error().message;
  const auto held_by = [&](const std::string& url) {
    return Client<2>::connect(url, testing_support::patient())->count(everywhere).value();
  };
  EXPECT_LE(held_by(old), 1u);
  EXPECT_EQ(held_by(other), 0u);
}

TEST(RouterTest, IsTheParentsAfterAForkAndUnharmedByTheChild) {
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  cluster.make_map(2, 0.5);
  std::optional<Router<2>> router = cluster.router();
  const Box<2> everywhere{{-1, -1}, {2, 2}};
  const Box<2> box{{0.1, 0.1}, {0.2, 0.2}};
  ASSERT_TRUE(router->insert(1, box));
  EXPECT_EQ(testing_support::in_child([&] {
              int wrong = 0;
              const auto expect = [&](const auto& result) {
                wrong += testing_support::is_refused_after_fork(result) ? 0 : 1;
              };
              expect(router->count(everywhere));
              expect(router->nearest({{0, 0}}, 1));
              expect(router->insert(2, box));
              expect(router->load_begin());
              expect(router->load_add({}));
              expect(router->load_commit());
              expect(router->load_abort());
              expect(router->server_statistics());
              router.reset();
              return wrong;
            }),
            0);
  EXPECT_EQ(router->count(everywhere).value(), 1u);
  EXPECT_TRUE(router->erase(1, box));
  EXPECT_TRUE(router->server_statistics());
}

TEST(RouterTest, SaysWhatIsMissing) {
  if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
  Cluster<2> cluster;
  ASSERT_TRUE(cluster.ready());
  EXPECT_EQ(Router<2>::connect(cluster.url()).error().code, ErrorCode::kNotFound);
  cluster.make_map(1);
  EXPECT_EQ(Router<3>::connect(cluster.url()).error().code, ErrorCode::kUnsupported);
  auto router = cluster.router();
  EXPECT_EQ(router.nearest({{0, 0}}, 0).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(router.insert(1, {{1, 1}, {0, 0}}).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace silurus
