// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/shards/coordinator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "client/shards/internal.h"

namespace silurus::simulation {
namespace {

using shards::ShardMap;
using shards::Step;

constexpr Nanoseconds kTryAgainAfter = 5 * kMillisecond;
constexpr std::uint64_t kSteps = 8;
/// No more shards than that many at a time.
constexpr std::size_t kEnoughShards = 4;

}  // namespace

Coordinator::Coordinator(ShardWorld& shards, Replacements& replacements, sim::Host& host,
                         const Options& options)
    : shards_(shards),
      replacements_(replacements),
      host_(host),
      options_(options),
      random_(options.client.seed) {
  thread_ =
      std::make_unique<sim::Thread>(host, "coordinator", [this](sim::Thread& self) { run(self); });
}

void Coordinator::run(sim::Thread& self) {
  self_ = &self;
  SimEnvironment environment(self, shards_.etcd, shards_.fabric, random_());
  auto store = shards::open_map_store(shards_.etcd.url(), environment);
  while (!self.is_over() && !is_finished_ && store) {
    if (is_finishing_) {
      doing_ = "tidies up";
      is_finished_ = !is_last_ || (tidy_up(**store, environment) && !self.is_over());
      if (!is_finished_) self.sleep(kTryAgainAfter);
    } else {
      self.sleep(static_cast<Nanoseconds>(random_.below(options_.longest_rest)));
      if (!self.is_over() && !is_finishing_) act(**store, environment);
    }
    doing_ = "waits";
  }
  self_ = nullptr;
}

void Coordinator::act(shards::MapStore& store, client::Environment& environment) {
  const auto stored = store.load();
  if (!stored || self_->is_over()) return;
  const ShardMap& map = stored->map;
  const auto is_begun = [](const shards::Shard& shard) { return !shard.successors.empty(); };
  const auto begun = std::ranges::find_if(map.shards, is_begun);
  const bool any_begun = begun != map.shards.end();
  if (any_begun && (!options_.wants_more || random_.below(4) != 0)) {
    return random_.below(3) == 0 ? abort(store, environment, *begun)
                                 : replace(store, environment, map, *begun);
  }
  if (options_.wants_more) {
    replace(store, environment, map, map.shards[random_.below(map.shards.size())]);
  }
}

/// A fault kills it there, or its host's power fails, or it is kept waiting, perhaps until a
/// freeze is over.
bool Coordinator::survives(Step step, const std::string& what) {
  doing_ = "is about to " + what;
  note(doing_);
  if (step != fatal_ || fate_ >= 75 || self_->is_over()) return true;
  if (fate_ < 50) ++replacements_.kills;
  if (fate_ < 30) {
    note("is killed");
    return false;
  }
  if (fate_ < 50) {
    note("crashes");
    host_.crash();
    return true;
  }
  note("is kept waiting");
  ++replacements_.pauses;
  self_->sleep(static_cast<Nanoseconds>(random_.below(3 * options_.freeze)));
  return true;
}

/// Empty ones that are there, or else that are started now.
bool Coordinator::choose_targets(shards::ReplaceOptions& options, const ShardMap& map) {
  if (map.spares.size() >= options.parts && random_.below(2) == 0) return true;
  while (options.targets.size() < options.parts) {
    std::string next = replacements_.servers.start_next();
    if (next.empty()) break;
    options.targets.push_back(std::move(next));
  }
  if (options.targets.size() == options.parts) return true;
  options.targets.clear();
  return map.spares.size() >= options.parts;
}

void Coordinator::replace(shards::MapStore& store, client::Environment& environment,
                          const ShardMap& map, const shards::Shard& shard) {
  shards::ReplaceOptions options{
      .shard = shard.id,
      .parts = map.shards.size() < kEnoughShards ? 1 + random_.below(2) : std::size_t{1},
      .client = options_.client,
      .freeze = options_.freeze};
  const bool takes_over = !shard.successors.empty();
  if (!takes_over && !choose_targets(options, map)) return;
  fatal_.reset();
  if (!is_finishing_) fatal_ = static_cast<Step>(random_.below(kSteps));
  fate_ = random_.below(100);
  options.before = [this, id = shard.id](Step step) {
    return survives(step, std::string(shards::to_string(step)) + " shard " + std::to_string(id));
  };
  note(std::string(takes_over           ? "takes over"
                   : options.parts == 2 ? "splits"
                                        : "moves") +
       " shard " + std::to_string(shard.id));
  const std::uint32_t id = shard.id;
  const auto report = shards::replace_shard<2>(store, options, environment);
  if (self_->is_over()) return;
  note("has done with shard " + std::to_string(id) + ": " +
       (report ? "replaced" : report.error().message));
  if (!report) {
    ++replacements_.refused;
    if (report.error().code == ErrorCode::kProtocol) {
      shards_.everyone.complain("shard " + std::to_string(id) + ": " + report.error().message);
    }
    return;
  }
  const auto [before, is_first] = replacements_.replaced.emplace(id, report->parts);
  if (!is_first && before->second != report->parts) {
    shards_.everyone.complain("two coordinators have replaced shard " + std::to_string(id));
  }
  ++(report->parts.size() == 2 ? replacements_.splits : replacements_.moves);
  if (takes_over) ++replacements_.taken_over;
  replacements_.longest_gap = std::max(replacements_.longest_gap, report->refused_writes);
}

void Coordinator::abort(shards::MapStore& store, client::Environment& environment,
                        const shards::Shard& shard) {
  const std::uint32_t id = shard.id;
  doing_ = "aborts the replacement of shard " + std::to_string(id);
  note(doing_);
  replacements_.undone.insert(id);
  const auto aborted = shards::abort_replacement<2>(store, id, options_.client, environment);
  if (self_->is_over()) return;
  note("has aborted that of shard " + std::to_string(id) + ": " +
       (aborted ? "it serves on" : aborted.error().message));
  if (!aborted) return;
  ++replacements_.aborts;
  replacements_.undone.erase(id);
}

bool Coordinator::tidy_up(shards::MapStore& store, client::Environment& environment) {
  const auto stored = store.load();
  if (!stored) return false;
  for (const shards::Shard& shard : stored->map.shards) {
    if (!shard.successors.empty()) {
      replace(store, environment, stored->map, shard);
      return false;
    }
    if (replacements_.undone.contains(shard.id)) {
      abort(store, environment, shard);
      return false;
    }
  }
  return true;
}

}  // namespace silurus::simulation
