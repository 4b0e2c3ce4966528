// SPDX-License-Identifier: Apache-2.0

#include "bench/tree_keyed.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "bench/cpus.h"
#include "bench/figures.h"
#include "common/clock.h"
#include "common/random.h"
#include "rtree/tree.h"

namespace silurus::bench {
namespace {

constexpr std::size_t kKeyedInserts = 20'000;
constexpr std::size_t kKeyedBatch = 256;  ///< operations for which one snapshot is taken

/// A tree in a memory of its own; a keyed one is the second of its forest.
struct BenchedTree {
  rtree::AnonymousSlabs slabs;
  SystemClock clock;
  std::unique_ptr<rtree::Tree<2>> first;
  std::unique_ptr<rtree::Tree<2>> keyed;

  static Result<std::unique_ptr<BenchedTree>> open(bool is_keyed) {
    auto made = std::make_unique<BenchedTree>();
    auto created = rtree::Tree<2>::create({}, made->slabs, made->clock);
    if (!created) return fail(created.error());
    made->first = std::move(*created);
    if (!is_keyed) return made;
    auto added = made->first->add_tree(1, {.is_keyed = true});
    if (!added) return fail(added.error());
    made->keyed = std::move(*added);
    made->first->publish();
    return made;
  }
  rtree::Tree<2>& tree() const { return keyed != nullptr ? *keyed : *first; }
  double bytes_per_entry() const {
    const double entries = static_cast<double>(tree().snapshot().size());
    return static_cast<double>(first->stats().bytes_used) / entries;
  }
};

double cpu_time_of(const std::function<void()>& work) {
  const double start = thread_cpu_seconds();
  work();
  return thread_cpu_seconds() - start;
}

/// What both trees take for the same, in the runs.
struct KeyedTimes {
  std::vector<double> keyed;
  std::vector<double> bag;
};

class KeyedPart {
 public:
  KeyedPart(const TreeBenchOptions& options, const TreeWorkload& workload, Report& report)
      : options_(options), workload_(workload), report_(report), entries_(workload.entries) {
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i].id = i;
  }

  Status run() {
    if (Status loaded = load(); !loaded) return loaded;
    if (Status measured = measure_points(); !measured) return measured;
    measure_gets();
    return measure_inserts();
  }

 private:
  std::string name(const char* what) const { return "tree/" + workload_.name + "/" + what; }

  void add_rates(const char* what, const KeyedTimes& times, double operations, double bar,
                 const char* unit, const char* baseline) {
    Row row{.name = name(what), .unit = unit, .baseline = baseline, .bar = bar};
    for (const double seconds : times.keyed) row.spread.push_back(operations / seconds);
    std::sort(row.spread.begin(), row.spread.end());
    row.value = median(row.spread);
    row.ratio = median(times.bag) / median(times.keyed);
    report_.add(std::move(row));
  }

  /// Bytes an entry that a keyed tree takes more.
  void add_bytes(const char* what, const BenchedTree& keyed, const BenchedTree& bag,
                 std::optional<double> bar) {
    const double more = keyed.bytes_per_entry() - bag.bytes_per_entry();
    report_.add({.name = name(what),
                 .value = more,
                 .unit = "bytes",
                 .spread = {more},
                 .bar = bar,
                 .bar_is_upper = true});
  }

  Status load_one(bool is_keyed, std::vector<Entry2> entries, std::unique_ptr<BenchedTree>& into,
                  std::vector<double>& times) {
    auto opened = BenchedTree::open(is_keyed);
    if (!opened) return fail(opened.error());
    into = std::move(*opened);
    Status failed;
    times.push_back(cpu_time_of([&] {
      const auto done = into->tree().bulk_load(std::move(entries), {.threads = 1});
      if (!done) failed = fail(done.error());
    }));
    return failed;
  }

  Status load() {
    KeyedTimes times;
    for (std::uint32_t run = 0; run < std::min(options_.runs, 3u); ++run) {
      if (Status ok = load_one(true, entries_, keyed_, times.keyed); !ok) return ok;
      if (Status ok = load_one(false, entries_, bag_, times.bag); !ok) return ok;
    }
    add_rates("keyed-load", times, static_cast<double>(entries_.size()), 0.7, "entries/s", "bag");
    add_bytes("keyed-bytes", *keyed_, *bag_, std::nullopt);
    return {};
  }

  /// The same places as points, which most keyed data is.
  Status measure_points() {
    std::vector<Entry2> points = entries_;
    for (Entry2& entry : points) entry.box.max = entry.box.min;
    std::unique_ptr<BenchedTree> keyed;
    std::unique_ptr<BenchedTree> bag;
    std::vector<double> ignored;
    if (Status ok = load_one(true, points, keyed, ignored); !ok) return ok;
    if (Status ok = load_one(false, points, bag, ignored); !ok) return ok;
    add_bytes("keyed-bytes-points", *keyed, *bag, 21.0);
    return {};
  }

  void measure_gets() {
    Random random(options_.seed);
    std::vector<std::uint64_t> ids(workload_.small.size());
    for (std::uint64_t& id : ids) id = random.below(entries_.size());
    KeyedTimes times;
    rtree::RangeResult<2> result;
    for (std::uint32_t run = 0; run < options_.runs; ++run) {
      times.keyed.push_back(cpu_time_of([&] {
        for (std::size_t first = 0; first < ids.size(); first += kKeyedBatch) {
          const auto snapshot = keyed_->tree().snapshot();
          for (std::size_t i = first; i < std::min(first + kKeyedBatch, ids.size()); ++i) {
            sink_ += snapshot.find_id(ids[i])->version;
          }
        }
      }));
      times.bag.push_back(cpu_time_of([&] {
        for (std::size_t first = 0; first < ids.size(); first += kKeyedBatch) {
          const auto snapshot = bag_->tree().snapshot();
          for (std::size_t i = first; i < std::min(first + kKeyedBatch, ids.size()); ++i) {
            (void)snapshot.range({.window = workload_.small[i]}, result);
            sink_ += result.count;
          }
        }
      }));
    }
    add_rates("keyed-get", times, static_cast<double>(ids.size()), 0.8, "ops/s", "small windows");
  }

  /// One at a time, each a version; new ids follow the loaded ones.
  Status measure_inserts() {
    KeyedTimes times;
    std::uint64_t next = entries_.size();
    Status failed;
    const auto insert_into = [&](rtree::Tree<2>& tree, std::uint64_t first) {
      for (std::size_t i = 0; i < kKeyedInserts; ++i) {
        const Box2& box = workload_.arrivals[(first + i) % workload_.arrivals.size()].box;
        if (Status done = tree.insert({first + i, box}); !done) failed = done;
        tree.publish();
      }
    };
    for (std::uint32_t run = 0; run < options_.runs && failed; ++run, next += kKeyedInserts) {
      times.keyed.push_back(cpu_time_of([&] { insert_into(keyed_->tree(), next); }));
      times.bag.push_back(cpu_time_of([&] { insert_into(bag_->tree(), next); }));
    }
    if (!failed) return failed;
    add_rates("keyed-insert", times, static_cast<double>(kKeyedInserts), 0.5, "ops/s", "bag");
    return {};
  }

  const TreeBenchOptions& options_;
  const TreeWorkload& workload_;
  Report& report_;
  std::vector<Entry2> entries_;  ///< with ids that follow each other
  std::unique_ptr<BenchedTree> keyed_;
  std::unique_ptr<BenchedTree> bag_;
  std::uint64_t sink_ = 0;  ///< keeps answers from being optimised away
};

}  // namespace

Status run_keyed(const TreeBenchOptions& options, const TreeWorkload& workload, Report& report) {
  return KeyedPart(options, workload, report).run();
}

}  // namespace silurus::bench
