// SPDX-License-Identifier: Apache-2.0

#include <hwy/targets.h>

#include <cstdio>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "rtree/tree.h"

// Searches of a tree in memory, and inserts that are published one by one, for
// tests/instructions/count, which counts the instructions of the functions named counted_... by
// callgrind. Prints how many searches, or inserts, each of them makes.

namespace {

using namespace silurus;
using rtree::Snapshot;

constexpr std::size_t kEntries = 300'000;
constexpr std::size_t kSearches = 5'000;
constexpr std::size_t kBatch = 250;
constexpr double kEdge = 0.0001;
constexpr double kSmallEdge = 0.00001;
constexpr double kLargeEdge = 0.01;
constexpr std::uint32_t kNeighbors = 10;

struct Queries {
  std::vector<rtree::RangeQuery<2>> small;
  std::vector<rtree::RangeQuery<2>> large;
  std::vector<rtree::NearestQuery<2>> nearest;
};

}  // namespace

// Not in line, and with names as in C: callgrind is told to collect in these functions alone.
extern "C" {

__attribute__((noinline)) std::uint64_t counted_small(const Snapshot<2>& tree, const Queries& all,
                                                      rtree::RangeResult<2>& result) {
  std::uint64_t found = 0;
  for (const auto& query : all.small) {
    (void)tree.range(query, result);
    found += result.count;
  }
  return found;
}

__attribute__((noinline)) std::uint64_t counted_batch(const Snapshot<2>& tree, const Queries& all,
                                                      std::vector<rtree::RangeResult<2>>& results) {
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < all.small.size(); i += kBatch) {
    (void)tree.range_batch(std::span(all.small).subspan(i, kBatch), results);
    for (const auto& result : results) found += result.count;
  }
  return found;
}

__attribute__((noinline)) std::uint64_t counted_large(const Snapshot<2>& tree, const Queries& all,
                                                      rtree::RangeResult<2>& result) {
  std::uint64_t found = 0;
  for (const auto& query : all.large) {
    (void)tree.range(query, result);
    found += result.count;
  }
  return found;
}

__attribute__((noinline)) std::uint64_t counted_nearest(const Snapshot<2>& tree, const Queries& all,
                                                        rtree::NearestResult& result) {
  std::uint64_t found = 0;
  for (const auto& query : all.nearest) {
    (void)tree.nearest(query, result);
    found += result.size();
  }
  return found;
}

__attribute__((noinline)) void counted_insert(rtree::Tree<2>& tree,
                                              const std::vector<rtree::Entry<2>>& entries) {
  for (const auto& entry : entries) {
    (void)tree.insert(entry);
    (void)tree.publish();
  }
}

}  // extern "C"

int main() {
  // The bounds are those of one instruction set, which valgrind knows, too.
  hwy::DisableTargets(HWY_AVX2 - 1);
  if ((hwy::SupportedTargets() & HWY_AVX2) == 0) {
    std::puts("no AVX2");
    return 77;
  }
  Random random(1);
  std::vector<rtree::Entry<2>> entries(kEntries);
  for (std::size_t i = 0; i < kEntries; ++i) {
    entries[i].id = i;
    for (int d = 0; d < 2; ++d) {
      entries[i].box.min[d] = random.uniform();
      entries[i].box.max[d] = entries[i].box.min[d] + kEdge * random.uniform();
    }
  }
  Queries queries;
  const auto add = [&](std::vector<rtree::RangeQuery<2>>& to, double edge) {
    rtree::RangeQuery<2> query;
    for (int d = 0; d < 2; ++d) {
      query.window.min[d] = random.uniform();
      query.window.max[d] = query.window.min[d] + edge;
    }
    to.push_back(query);
  };
  for (std::size_t i = 0; i < kSearches; ++i) {
    add(queries.small, kSmallEdge);
    add(queries.large, kLargeEdge);
    queries.nearest.push_back({{{random.uniform(), random.uniform()}}, kNeighbors});
  }
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto tree = rtree::Tree<2>::create({}, slabs, clock);
  if (!tree || !(*tree)->bulk_load(std::move(entries), {.threads = 1})) return 1;
  std::vector<rtree::Entry<2>> inserted(kSearches);
  for (std::size_t i = 0; i < kSearches; ++i) {
    inserted[i].id = kEntries + i;
    for (int d = 0; d < 2; ++d) {
      inserted[i].box.min[d] = random.uniform();
      inserted[i].box.max[d] = inserted[i].box.min[d] + kEdge * random.uniform();
    }
  }
  rtree::RangeResult<2> result;
  std::vector<rtree::RangeResult<2>> results(kBatch);
  rtree::NearestResult neighbors;
  std::uint64_t found = 0;
  {
    const auto snapshot = (*tree)->snapshot();
    found = counted_small(snapshot, queries, result) + counted_batch(snapshot, queries, results) +
            counted_large(snapshot, queries, result) +
            counted_nearest(snapshot, queries, neighbors);
  }
  counted_insert(**tree, inserted);
  std::printf("%zu searches each, %llu found\n", kSearches, static_cast<unsigned long long>(found));
  return 0;
}
