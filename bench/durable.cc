// SPDX-License-Identifier: Apache-2.0

#include "bench/durable.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "bench/command_line.h"
#include "bench/durable_parts.h"
#include "bench/random_box.h"
#include "common/random.h"
#include "datasets/open.h"
#include "replication/data_directory.h"
#include "replication/store.h"
#include "silurus/client.h"

namespace silurus::bench {
namespace {

namespace fs = std::filesystem;

// --- inserts

Status measure_inserts(const DurableBenchOptions& options, const std::string& where,
                       const std::string& label, bool has_bars, Report& report) {
  const Folder folder(where);
  auto durable =
      Service::start(folder / "durable.sock", {"--data", folder / "data", "--log-size", "1G"});
  if (!durable) return fail(durable.error());
  auto none = Service::start(folder / "none.sock", {});
  if (!none) return fail(none.error());
  for (const std::size_t in_flight : {std::size_t{1}, std::size_t{64}}) {
    Paired paired;
    for (unsigned run = 0; run < options.runs; ++run) {
      const std::uint64_t seed = options.seed + run;
      auto ours = insert_rate(durable->client, in_flight, options.seconds, seed);
      if (!ours) return fail(ours.error());
      auto theirs = insert_rate(none->client, in_flight, options.seconds, seed);
      if (!theirs) return fail(theirs.error());
      paired.add(*ours, theirs->per_second);
    }
    const std::optional<double> bar =
        has_bars ? std::optional<double>(in_flight == 1 ? 0.5 : 0.8) : std::nullopt;
    report.add(row_of("durable/insert/" + label + "/in-flight=" + std::to_string(in_flight), paired,
                      "ops/s", "--durability none", bar));
  }
  if (!has_bars) return {};
  const auto before = nlohmann::json::parse(durable->client.server_statistics().value().json);
  constexpr int kCounted = 10'000;
  Random random(options.seed);
  for (int i = 0; i < kCounted; ++i) {
    auto ok = durable->client.insert(random(), random_box(random));
    if (!ok) return fail(ok.error());
  }
  const auto after = nlohmann::json::parse(durable->client.server_statistics().value().json);
  const auto lsn = [](const nlohmann::json& stats) {
    return stats["durability"]["log"]["end_lsn"].get<double>();
  };
  report.add({.name = "durable/log-bytes-per-insert",
              .value = (lsn(after) - lsn(before)) / kCounted,
              .unit = "bytes",
              .bar = 96,
              .bar_is_upper = true});
  return {};
}

// --- restart

/// Seconds that it takes; the checksum is folded into `sum`, so that no compiler leaves it out.
double read_and_checksum(const std::vector<std::string>& files, std::uint64_t& sum) {
  const SystemClock clock;
  const Nanoseconds start = clock.now();
  std::vector<char> buffer(std::size_t{1} << 20);
  for (const std::string& file : files) {
    const int fd = ::open(file.c_str(), O_RDONLY);
    // Only what was written: holes take no time to read.
    for (off_t at = ::lseek(fd, 0, SEEK_DATA); at >= 0;) {
      const off_t hole = ::lseek(fd, at, SEEK_HOLE);
      while (at < hole) {
        const auto want = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(hole - at));
        const ssize_t got = ::pread(fd, buffer.data(), want, at);
        if (got <= 0) break;
        sum ^= XXH3_64bits(buffer.data(), static_cast<std::size_t>(got));
        at += got;
      }
      at = ::lseek(fd, hole, SEEK_DATA);
    }
    ::close(fd);
  }
  return seconds_between(start, clock.now());
}

/// Loads the data set, restarts, inserts, kills, restarts: all on the same directory.
Status measure_restart(const DurableBenchOptions& options, Report& report) {
  const Folder folder(options.memory_directory);
  const SystemClock clock;
  auto source = datasets::open_dataset<2>(options.data);
  if (!source) return fail(source.error());
  auto entries = datasets::read_all(**source);
  if (!entries) return fail(entries.error());
  const replication::DirectoryOptions directory_options{.log_bytes = std::uint64_t{1} << 30,
                                                        .tree_bytes = std::uint64_t{4} << 30};
  const rtree::TreeOptions tree_options{.memory_budget_bytes = std::uint64_t{4} << 30};

  struct Open {
    replication::OpenDirectory directory;
    std::unique_ptr<rtree::AnonymousSlabs> slabs;
    replication::Store<2>::Opened opened;
  };
  const auto open = [&]() -> Result<Open> {
    auto directory = replication::open_directory<2>(folder / "data", directory_options);
    if (!directory) return fail(directory.error());
    auto slabs = std::make_unique<rtree::AnonymousSlabs>();
    auto opened = replication::Store<2>::open(std::move(directory->volume),
                                              {tree_options, *slabs, clock}, {}, 1, options.seed);
    if (!opened) return fail(opened.error());
    return Open{std::move(*directory), std::move(slabs), std::move(*opened)};
  };

  {
    auto store = open();
    if (!store) return fail(store.error());
    auto& tree = *store->opened.tree;
    if (auto ok = tree.bulk_load_batch(*entries, {}); !ok) return ok;
    const auto root = tree.seal();
    auto made = store->opened.store->checkpoint(tree, replication::only_tree(tree, root.ref),
                                                store->opened.store->log().end(), 1);
    if (!made) return made;
    tree.publish();
  }
  std::uint64_t sum = 0;
  Paired against_reading;
  Paired against_loading;
  for (unsigned run = 0; run < options.runs; ++run) {
    const double reading =
        read_and_checksum({folder / "data/nodes.0", folder / "data/nodes.1"}, sum);
    const Nanoseconds start = clock.now();
    auto store = open();
    if (!store) return fail(store.error());
    const double restart = seconds_between(start, clock.now());
    rtree::AnonymousSlabs slabs;
    auto fresh = rtree::Tree<2>::create(tree_options, slabs, clock);
    if (!fresh) return fail(fresh.error());
    const Nanoseconds load_start = clock.now();
    if (auto ok = (*fresh)->bulk_load(*entries, {}); !ok) return fail(ok.error());
    const double load = seconds_between(load_start, clock.now());
    against_reading.ours.push_back(restart);
    against_reading.baseline.push_back(reading);
    against_loading.ours.push_back(restart);
    against_loading.baseline.push_back(load);
  }
  const auto time_row = [&](const std::string& name, const Paired& paired,
                            const std::string& baseline, double bar) {
    Row row = row_of(name, paired, "s", baseline, 1 / bar);
    row.ratio = 1 / *row.ratio;  // above 1 is better
    report.add(row);
  };
  std::printf("(checksum of all reads: %016llx)\n", static_cast<unsigned long long>(sum));
  time_row("durable/restart", against_reading, "reading and checksumming its bytes", 2.0);
  time_row("durable/restart-or-load", against_loading, "loading it anew", 0.3);

  // Replay, against inserting the same in batches.
  constexpr std::uint64_t kOperations = 500'000;
  constexpr std::uint64_t kBatch = 128;
  Paired replayed;
  for (unsigned run = 0; run < std::min(options.runs, 3u); ++run) {
    double insert_seconds = 0;
    {
      auto store = open();
      if (!store) return fail(store.error());
      auto& tree = *store->opened.tree;
      auto& log = store->opened.store->log();
      Random random(options.seed + run);
      for (std::uint64_t done = 0; done < kOperations; done += kBatch) {
        std::vector<replication::EntryPayload<2>> batch;
        for (std::uint64_t i = 0; i < kBatch; ++i) batch.push_back({random(), random_box(random)});
        const Nanoseconds start = clock.now();
        for (const auto& payload : batch) {
          if (auto ok = tree.insert({payload.id, payload.box}); !ok) return ok;
        }
        tree.publish();
        insert_seconds += seconds_between(start, clock.now());
        for (const auto& payload : batch) {
          if (!log.append({.checksum = 0,
                           .lsn = 0,
                           .stamp = 1,
                           .epoch = 1,
                           .length = 0,
                           .type = replication::RecordType::kInsert,
                           .flags = 0},
                          std::as_bytes(std::span(&payload, 1)))) {
            return fail(ErrorCode::kTooLarge, "the log of the bench is full");
          }
        }
        log.end_batch();
        if (auto ok = log.commit(); !ok) return ok;
      }
    }
    auto store = open();
    if (!store) return fail(store.error());
    replayed.ours.push_back(kOperations / store->opened.report.replay_seconds);
    replayed.baseline.push_back(kOperations / insert_seconds);
    const auto snapshot = store->opened.tree->snapshot();
    auto made = store->opened.store->checkpoint(
        *store->opened.tree, replication::only_tree(*store->opened.tree, snapshot.root().ref),
        store->opened.store->log().end(), 1);
    if (!made) return made;
  }
  report.add(row_of("durable/replay", replayed, "ops/s", "inserts in batches of 128", 0.5));
  return {};
}

// --- searches while checkpoints are taken

/// Searches of small windows by one client, one in flight.
Result<Rate> measure_searches(Client<2>& client, double seconds, std::uint64_t seed) {
  return rate_of(client, seconds, [&client, random = Random(seed)]() mutable -> Status {
    const double x = random.uniform();
    const double y = random.uniform();
    auto found = client.range({{x, y}, {x + 1e-3, y + 1e-3}});
    return found ? Status() : fail(found.error());
  });
}

Status measure_checkpoints(const DurableBenchOptions& options, Report& report) {
  const Folder folder(options.memory_directory);
  // The same load of searches and inserts; one server's log is small, so that checkpoint follows
  // checkpoint, the other's takes all, so that there is none.
  auto busy = Service::start(folder / "busy.sock", {"--data", folder / "busy", "--log-size", "4M",
                                                    "--load", options.data});
  if (!busy) return fail(busy.error());
  auto calm = Service::start(
      folder / "calm.sock", {"--data", folder / "calm", "--log-size", "4G", "--checkpoint-interval",
                             "3600s", "--load", options.data});
  if (!calm) return fail(calm.error());
  const auto search_rate = [&](Service& service, std::uint64_t seed) -> Result<Rate> {
    std::atomic<bool> stop{false};
    std::jthread writer([&] {
      auto client = Client<2>::connect(service.server.address("shm://"));
      Random random(seed + 1000);
      const SystemClock clock;
      // A steady 20,000 inserts a second, the same for both.
      const Nanoseconds start = clock.now();
      for (std::uint64_t done = 0; client && !stop.load(); ++done) {
        WriteBatch<2> batch;
        for (int i = 0; i < 20; ++i) batch.insert(random(), random_box(random));
        if (!client->write(batch)) return;
        const Nanoseconds due = start + static_cast<Nanoseconds>(done) * kMillisecond;
        if (const Nanoseconds left = due - clock.now(); left > 0) {
          std::this_thread::sleep_for(std::chrono::nanoseconds(left));
        }
      }
    });
    auto rate = measure_searches(service.client, options.seconds, seed);
    stop.store(true);
    return rate;
  };
  Paired paired;
  for (unsigned run = 0; run < options.runs; ++run) {
    auto ours = search_rate(*busy, options.seed + run);
    if (!ours) return fail(ours.error());
    auto theirs = search_rate(*calm, options.seed + run);
    if (!theirs) return fail(theirs.error());
    paired.add(*ours, theirs->per_second);
  }
  report.add(row_of("durable/search-during-checkpoints", paired, "ops/s", "no checkpoints", 0.9));
  const auto stats = nlohmann::json::parse(busy->client.server_statistics().value().json);
  report.add({.name = "durable/checkpoints-taken-meanwhile",
              .value = stats["durability"]["checkpoints"]["count"].get<double>(),
              .unit = "checkpoints"});
  return {};
}

}  // namespace

Status run_durable(const DurableBenchOptions& options, Report& report) {
  if (options.only_peers) return measure_peers(options, report);
  if (auto ok = measure_inserts(options, options.memory_directory, "memory", true, report); !ok) {
    return ok;
  }
  if (auto ok = measure_inserts(options, options.disk_directory, "disk", false, report); !ok) {
    return ok;
  }
  if (auto ok = measure_checkpoints(options, report); !ok) return ok;
  if (auto ok = measure_restart(options, report); !ok) return ok;
  return options.peers ? measure_peers(options, report) : Status{};
}

int durable_command(int argc, char** argv, const std::string& command_line) {
  DurableBenchOptions chosen;
  CommandLine line("silurus-bench durable", "What it costs that nothing is lost");
  line.option("memory", "a directory in memory (tmpfs), a stand-in for persistent memory",
              chosen.memory_directory, "DIR");
  line.option("disk", "a directory on an ordinary disk", chosen.disk_directory, "DIR");
  line.option("data", "what is restarted from and searched: a data set", chosen.data, "DATA");
  line.option("runs", "of each measurement", chosen.runs);
  line.option("seconds", "that one run takes", chosen.seconds);
  line.option("seed", "of boxes and queries", chosen.seed);
  line.option("peers", "compare with SQLite and PostGIS too (scripts/setup --peers)", chosen.peers);
  line.option("only-peers", "and with nothing else", chosen.only_peers);
  return line.measure(argc, argv, command_line,
                      {.sensible = [&] { return chosen.runs > 0 && chosen.seconds > 0; },
                       .rule = "--runs is at least 1, --seconds above 0",
                       .run = [&](Report& report) { return run_durable(chosen, report); }});
}

}  // namespace silurus::bench
