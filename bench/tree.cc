// SPDX-License-Identifier: Apache-2.0

#include "bench/tree.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <functional>
#include <optional>
#include <thread>

#include "bench/boost_tree.h"
#include "bench/cpus.h"
#include "bench/figures.h"
#include "bench/tree_keyed.h"
#include "bench/tree_workload.h"
#include "common/clock.h"
#include "rtree/tree.h"

namespace silurus::bench {
namespace {

using rtree::BulkLoadOptions;
using rtree::NearestResult;
using rtree::RangeQuery;
using rtree::RangeResult;

/// Queries for which one snapshot is taken. Given to range_batch at once, it has 16 of them in
/// flight; eight are in flight if it is given eight.
constexpr std::size_t kSearchBatch = 256;
constexpr std::size_t kSmallBatch = 8;
/// Coordinates far from zero: times in milliseconds since 1970, along the first axis.
constexpr double kFarOffset = 1.7e12;
constexpr double kFarExtent = 0x1p24;  ///< along both: four and a half hours
constexpr double kMostLossFarFromZero = 1.3;
constexpr std::size_t kInsertsPerRun = 20'000;
constexpr std::size_t kMixedPerRun = 40'000;

double seconds_of(const std::function<void()>& work) {
  const SystemClock clock;
  const Nanoseconds start = clock.now();
  work();
  return static_cast<double>(clock.now() - start) * 1e-9;
}

double cpu_seconds_of(const std::function<void()>& work) {
  const double start = thread_cpu_seconds();
  work();
  return thread_cpu_seconds() - start;
}

/// A tree with what it needs.
struct OurTree {
  rtree::AnonymousSlabs slabs;
  SystemClock clock;
  std::unique_ptr<rtree::Tree<2>> tree;

  Status open() {
    auto created = rtree::Tree<2>::create({}, slabs, clock);
    if (!created) return fail(created.error());
    tree = std::move(*created);
    return {};
  }

  std::uint64_t intersects(const std::vector<Box2>& windows) const {
    RangeResult<2> result;
    std::uint64_t results = 0;
    for (std::size_t first = 0; first < windows.size(); first += kSearchBatch) {
      const auto snapshot = tree->snapshot();
      for (std::size_t i = first; i < std::min(first + kSearchBatch, windows.size()); ++i) {
        (void)snapshot.range({.window = windows[i]}, result);
        results += result.count;
      }
    }
    return results;
  }

  std::uint64_t intersects_in_batches(const std::vector<RangeQuery<2>>& queries,
                                      std::size_t batch_size) const {
    std::vector<RangeResult<2>> answers(batch_size);
    std::uint64_t results = 0;
    for (std::size_t i = 0; i < queries.size(); i += batch_size) {
      const auto batch = std::span(queries).subspan(i, std::min(batch_size, queries.size() - i));
      (void)tree->snapshot().range_batch(batch, answers);
      for (std::size_t j = 0; j < batch.size(); ++j) results += answers[j].count;
    }
    return results;
  }

  std::uint64_t nearest(const std::vector<rtree::Point<2>>& points) const {
    NearestResult result;
    std::uint64_t results = 0;
    for (std::size_t first = 0; first < points.size(); first += kSearchBatch) {
      const auto snapshot = tree->snapshot();
      for (std::size_t i = first; i < std::min(first + kSearchBatch, points.size()); ++i) {
        (void)snapshot.nearest({points[i], kNeighbors}, result);
        results += result.size();
      }
    }
    return results;
  }
};

/// One part of the benchmark: a workload, a tree and Boost's, and the report.
class TreePart {
 public:
  TreePart(const TreeBenchOptions& options, TreeWorkload workload, Report& report)
      : options_(options), workload_(std::move(workload)), report_(report) {}

  Status run() {
    if (Status loaded = load(); !loaded) return loaded;
    if (Status equal = compare_answers(); !equal) return equal;
    measure_searches();
    if (workload_.name == "uniform") {
      if (Status far = measure_far_from_zero(); !far) return far;
    }
    if (options_.fill_by_inserts) {
      if (Status filled = measure_filled_by_inserts(); !filled) return filled;
    }
    measure_writes();
    if (Status equal = compare_answers(); !equal) return equal;
    if (Status beside = measure_readers_beside_a_writer(); !beside) return beside;
    return run_keyed(options_, workload_, report_);
  }

 private:
  struct Times {
    std::vector<double> ours;
    std::vector<double> theirs;
  };

  std::string name(const char* what) const { return "tree/" + workload_.name + "/" + what; }

  /// Runs both by turns, on this thread, by its own CPU time: others on the machine then disturb
  /// caches and memory, but don't count. On an idle machine it is the time on the wall.
  Times by_turns(const std::function<void()>& ours, const std::function<void()>& theirs) {
    Times times;
    for (std::uint32_t run = 0; run < options_.runs; ++run) {
      times.ours.push_back(cpu_seconds_of(ours));
      times.theirs.push_back(cpu_seconds_of(theirs));
    }
    return times;
  }

  /// A row of operations per second, against Boost.
  void add_rates(const char* what, const Times& times, double operations, std::optional<double> bar,
                 std::string unit = "ops/s", std::string baseline = "boost-rstar16-packed") {
    Row row{.name = name(what), .unit = std::move(unit), .baseline = std::move(baseline)};
    for (const double seconds : times.ours) row.spread.push_back(operations / seconds);
    std::sort(row.spread.begin(), row.spread.end());
    row.value = median(row.spread);
    row.ratio = median(times.theirs) / median(times.ours);
    row.bar = bar;
    if (row.unit == "ops/s") row.client_cpu = 1e6 / row.value;  // these are rates by CPU time
    report_.add(std::move(row));
  }

  std::optional<double> bar(double value) const {
    // The bars are stated for the uniform data set.
    return workload_.name == "uniform" ? std::optional(value) : std::nullopt;
  }

  Status load() {
    Times times;
    Times alone;
    for (std::uint32_t run = 0; run < std::min(options_.runs, 3u); ++run) {
      for (const unsigned threads : {1u, 0u}) {
        OurTree fresh;
        if (Status opened = fresh.open(); !opened) return opened;
        std::vector<Entry2> copy = workload_.entries;
        Status failed;
        const double seconds = seconds_of([&] {
          auto done = fresh.tree->bulk_load(std::move(copy), BulkLoadOptions{.threads = threads});
          if (!done) failed = fail(done.error());
        });
        if (!failed) return failed;
        (threads == 1 ? alone : times).ours.push_back(seconds);
      }
      boost_.reset();
      const double seconds =
          seconds_of([&] { boost_.emplace(BoostTree::packed(workload_.entries)); });
      times.theirs.push_back(seconds);
      alone.theirs.push_back(seconds);
    }
    const auto count = static_cast<double>(workload_.entries.size());
    add_rates("bulk-load", times, count, bar(1.0), "entries/s");
    add_rates("bulk-load-one-thread", alone, count, std::nullopt, "entries/s");
    if (Status opened = ours_.open(); !opened) return opened;
    auto loaded = ours_.tree->bulk_load(workload_.entries, {});
    if (!loaded) return fail(loaded.error());
    const auto stats = ours_.tree->stats();
    const double bytes = static_cast<double>(stats.bytes_used) / static_cast<double>(stats.entries);
    report_.add({.name = name("bytes-per-entry"),
                 .value = bytes,
                 .unit = "bytes",
                 .spread = {bytes},
                 .bar = 60.0,
                 .bar_is_upper = true});
    return {};
  }

  /// Whether both trees answer the same: ids of windows, distances of neighbours.
  Status compare_answers() const {
    RangeResult<2> found;
    std::vector<std::uint64_t> ids;
    const auto snapshot = ours_.tree->snapshot();
    for (const auto* windows : {&workload_.small, &workload_.large}) {
      for (std::size_t i = 0; i < windows->size(); i += 7) {
        boost_->intersects((*windows)[i], ids);
        (void)snapshot.range({.window = (*windows)[i]}, found);
        std::sort(ids.begin(), ids.end());
        std::sort(found.ids.begin(), found.ids.end());
        if (ids != found.ids) {
          return fail(ErrorCode::kConflict,
                      name("window ") + std::to_string(i) + ": the answer is not Boost's");
        }
      }
    }
    std::vector<Entry2> theirs;
    NearestResult neighbors;
    for (std::size_t i = 0; i < workload_.points.size(); i += 7) {
      boost_->nearest(workload_.points[i], kNeighbors, theirs);
      (void)snapshot.nearest({workload_.points[i], kNeighbors}, neighbors);
      std::vector<double> distances;
      for (const Entry2& entry : theirs) {
        distances.push_back(rtree::distance(workload_.points[i], entry.box));
      }
      std::sort(distances.begin(), distances.end());
      const bool equal = std::equal(
          distances.begin(), distances.end(), neighbors.begin(), neighbors.end(),
          [](double distance, const rtree::Neighbor& one) { return distance == one.distance; });
      if (!equal) {
        return fail(ErrorCode::kConflict,
                    name("point ") + std::to_string(i) + ": the neighbours are not Boost's");
      }
    }
    return {};
  }

  void measure_searches() {
    const auto small = static_cast<double>(workload_.small.size());
    const auto large = static_cast<double>(workload_.large.size());
    const auto points = static_cast<double>(workload_.points.size());
    add_rates("small",
              by_turns([&] { sink_ += ours_.intersects(workload_.small); },
                       [&] { sink_ += boost_->intersects(workload_.small); }),
              small, bar(2.5));
    std::vector<RangeQuery<2>> queries;
    for (const Box2& window : workload_.small) queries.push_back({.window = window});
    add_rates("small-x8",
              by_turns([&] { sink_ += ours_.intersects_in_batches(queries, kSmallBatch); },
                       [&] { sink_ += boost_->intersects(workload_.small); }),
              small, bar(3.5));
    add_rates("small-x16",
              by_turns([&] { sink_ += ours_.intersects_in_batches(queries, kSearchBatch); },
                       [&] { sink_ += boost_->intersects(workload_.small); }),
              small, std::nullopt);
    add_rates("large",
              by_turns([&] { sink_ += ours_.intersects(workload_.large); },
                       [&] { sink_ += boost_->intersects(workload_.large); }),
              large, bar(2.0));
    add_rates("knn10",
              by_turns([&] { sink_ += ours_.nearest(workload_.points); },
                       [&] { sink_ += boost_->nearest(workload_.points, kNeighbors); }),
              points, bar(1.6));
  }

  /// The same data and windows, larger and far from zero, against those as they are.
  Status measure_far_from_zero() {
    const auto move = [](Box2 box) {
      for (int d = 0; d < 2; ++d) {
        const double offset = d == 0 ? kFarOffset : 0;
        box.min[d] = offset + box.min[d] * kFarExtent;
        box.max[d] = offset + box.max[d] * kFarExtent;
      }
      return box;
    };
    std::vector<Entry2> entries = workload_.entries;
    for (Entry2& entry : entries) entry.box = move(entry.box);
    std::vector<Box2> windows = workload_.small;
    for (Box2& window : windows) window = move(window);
    OurTree far;
    if (Status opened = far.open(); !opened) return opened;
    auto loaded = far.tree->bulk_load(std::move(entries), {});
    if (!loaded) return fail(loaded.error());
    const Times times = by_turns([&] { sink_ += far.intersects(windows); },
                                 [&] { sink_ += ours_.intersects(workload_.small); });
    Row row{.name = "tree/offset/small", .unit = "ops/s", .baseline = "tree/uniform/small"};
    for (const double seconds : times.ours) {
      row.spread.push_back(static_cast<double>(windows.size()) / seconds);
    }
    std::sort(row.spread.begin(), row.spread.end());
    row.value = median(row.spread);
    row.ratio = median(times.theirs) / median(times.ours);
    row.bar = 1 / kMostLossFarFromZero;
    report_.add(std::move(row));
    return {};
  }

  Status measure_filled_by_inserts() {
    OurTree filled;
    if (Status opened = filled.open(); !opened) return opened;
    Status failed;
    const double ours = cpu_seconds_of([&] {
      for (const Entry2& entry : workload_.entries) {
        if (Status inserted = filled.tree->insert(entry); !inserted) failed = inserted;
        filled.tree->publish();
      }
    });
    if (!failed) return failed;
    BoostTree boost;
    const double theirs = cpu_seconds_of([&] {
      for (const Entry2& entry : workload_.entries) boost.insert(entry);
    });
    add_rates("fill-by-inserts", {{ours}, {theirs}}, static_cast<double>(workload_.entries.size()),
              std::nullopt, "ops/s", "boost-rstar16");
    const auto small = static_cast<double>(workload_.small.size());
    add_rates("filled-by-inserts-small",
              by_turns([&] { sink_ += filled.intersects(workload_.small); },
                       [&] { sink_ += ours_.intersects(workload_.small); }),
              small, bar(0.6), "ops/s", "bulk-loaded");
    add_rates("boost-filled-by-inserts-small",
              by_turns([&] { sink_ += boost.intersects(workload_.small); },
                       [&] { sink_ += boost_->intersects(workload_.small); }),
              small, std::nullopt, "ops/s", "boost-rstar16-packed");
    const auto stats = filled.tree->stats();
    const double bytes = static_cast<double>(stats.bytes_used) / static_cast<double>(stats.entries);
    report_.add({.name = name("filled-by-inserts-bytes-per-entry"),
                 .value = bytes,
                 .unit = "bytes",
                 .spread = {bytes}});
    return {};
  }

  void insert_next(std::size_t& next) {
    (void)ours_.tree->insert(workload_.arrivals[next++]);
    ours_.tree->publish();
  }

  void measure_writes() {
    std::size_t ours = 0;
    std::size_t theirs = 0;
    add_rates("insert",
              by_turns(
                  [&] {
                    for (std::size_t i = 0; i < kInsertsPerRun; ++i) insert_next(ours);
                  },
                  [&] {
                    for (std::size_t i = 0; i < kInsertsPerRun; ++i) {
                      boost_->insert(workload_.arrivals[theirs++]);
                    }
                  }),
              static_cast<double>(kInsertsPerRun), bar(3.0));
    measure_mixed("mixed90-small", workload_.small, kMixedPerRun, bar(2.0), ours, theirs);
    measure_mixed("mixed90-large", workload_.large, kMixedPerRun / 4, std::nullopt, ours, theirs);
  }

  /// Nine windows, then an insert that is published by itself, and so on.
  void measure_mixed(const char* what, const std::vector<Box2>& windows, std::size_t operations,
                     std::optional<double> wanted, std::size_t& ours, std::size_t& theirs) {
    RangeResult<2> result;
    std::vector<std::uint64_t> ids;
    const auto by_us = [&] {
      for (std::size_t i = 0; i < operations; ++i) {
        if (i % 10 == 9) {
          insert_next(ours);
        } else {
          (void)ours_.tree->snapshot().range({.window = windows[i % windows.size()]}, result);
          sink_ += result.count;
        }
      }
    };
    const auto by_boost = [&] {
      for (std::size_t i = 0; i < operations; ++i) {
        if (i % 10 == 9) {
          boost_->insert(workload_.arrivals[theirs++]);
        } else {
          boost_->intersects(windows[i % windows.size()], ids);
          sink_ += ids.size();
        }
      }
    };
    add_rates(what, by_turns(by_us, by_boost), static_cast<double>(operations), wanted);
  }

  /// Small windows that two threads answer per second of their own CPU time, for a while.
  double reader_rate(bool beside_a_writer) {
    constexpr Nanoseconds kDuration = 300 * kMillisecond;
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> searches{0};
    std::atomic<double> cpu_seconds{0};
    std::vector<std::jthread> readers;
    for (std::size_t reader = 0; reader < 2; ++reader) {
      readers.emplace_back([&, reader] {
        RangeResult<2> result;
        std::uint64_t done = 0;
        const double start = thread_cpu_seconds();
        for (std::size_t i = reader * 1000; !stop.load(std::memory_order_relaxed); ++i, ++done) {
          const Box2& window = workload_.small[i % workload_.small.size()];
          (void)ours_.tree->snapshot().range({.window = window}, result);
        }
        cpu_seconds.fetch_add(thread_cpu_seconds() - start);
        searches.fetch_add(done);
      });
    }
    const SystemClock clock;
    const Nanoseconds end = clock.now() + kDuration;
    while (clock.now() < end) {
      if (!beside_a_writer) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        continue;
      }
      // The same entries in and out again: the tree keeps its size.
      for (int i = 0; i < 100; ++i) {
        const Entry2& entry = workload_.entries[written_++ % workload_.entries.size()];
        (void)ours_.tree->erase(entry);
        ours_.tree->publish();
        (void)ours_.tree->insert(entry);
        ours_.tree->publish();
      }
    }
    stop.store(true, std::memory_order_relaxed);
    readers.clear();
    return static_cast<double>(searches.load()) / cpu_seconds.load();
  }

  Status measure_readers_beside_a_writer() {
    std::vector<double> with;
    std::vector<double> without;
    for (std::uint32_t run = 0; run < options_.runs; ++run) {
      without.push_back(reader_rate(false));
      with.push_back(reader_rate(true));
    }
    std::sort(with.begin(), with.end());
    report_.add({.name = name("two-readers-one-writer"),
                 .value = median(with),
                 .unit = "ops/cpu-s",
                 .baseline = "two-readers",
                 .ratio = median(with) / median(without),
                 .spread = with,
                 .bar = bar(0.9)});
    return ours_.tree->snapshot().validate();
  }

  const TreeBenchOptions options_;
  const TreeWorkload workload_;
  Report& report_;
  OurTree ours_;
  std::optional<BoostTree> boost_;
  std::uint64_t sink_ = 0;  ///< keeps answers from being optimised away
  std::size_t written_ = 0;
};

}  // namespace

Status run_tree(const TreeBenchOptions& options, Report& report) {
  using MakeWorkload = Result<TreeWorkload> (*)(const TreeBenchOptions&);
  std::vector<MakeWorkload> parts;
  if (options.uniform) parts.push_back(uniform_workload);
  if (options.roads) parts.push_back(roads_workload);
  for (const MakeWorkload make : parts) {
    auto workload = make(options);
    if (!workload) return fail(workload.error());
    TreePart part(options, std::move(*workload), report);
    if (Status done = part.run(); !done) return done;
  }
  return {};
}

}  // namespace silurus::bench
