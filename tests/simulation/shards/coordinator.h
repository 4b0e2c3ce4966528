// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "silurus/replacement.h"
#include "tests/simulation/shards/router_client.h"
#include "tests/simulation/shards/shard_servers.h"

namespace silurus::simulation {

/// What coordinators know of one another, as people who look at the same screen.
struct Replacements {
  ShardServers& servers;
  /// Shards, and by whom, as coordinators were told. Who could not learn at once what came of the
  /// last step may have been overtaken by one who did the same.
  std::map<std::uint32_t, std::vector<shards::Part>> replaced = {};
  /// Shards of which it is unknown whether they serve: what ended their replacement was ended
  /// itself.
  std::set<std::uint32_t> undone = {};
  std::uint64_t splits = 0;
  std::uint64_t moves = 0;
  std::uint64_t aborts = 0;
  std::uint64_t kills = 0;
  std::uint64_t pauses = 0;
  std::uint64_t taken_over = 0;
  std::uint64_t refused = 0;    ///< attempts that ended with an error
  Nanoseconds longest_gap = 0;  ///< in which writes were refused, of those that succeeded
};

/// Who splits, moves, takes over and undoes, with the code that ships, in a thread of a simulated
/// host, until it is told to finish: then it ends what was begun.
class Coordinator {
 public:
  struct Options {
    ClientOptions client;
    Nanoseconds freeze = 0;
    Nanoseconds longest_rest = 60 * kMillisecond;
    bool wants_more = true;  ///< more shards; or else it only looks after what others left
  };
  Coordinator(ShardWorld& shards, Replacements& replacements, sim::Host& host,
              const Options& options);

  /// Begins nothing more; who is the last one ends what others have left.
  void finish(bool is_last) {
    is_finishing_ = true;
    is_last_ = is_last;
  }
  bool is_finished() const { return is_finished_; }
  sim::Host& host() { return host_; }
  /// Ends the thread; for a host that has crashed.
  void end() { thread_->end(); }
  /// For people.
  std::string to_string() const { return host_.name() + " " + doing_; }

 private:
  void run(sim::Thread& self);
  void act(shards::MapStore& store, client::Environment& environment);
  void replace(shards::MapStore& store, client::Environment& environment,
               const shards::ShardMap& map, const shards::Shard& shard);
  /// What becomes of it before a step; false: it is killed.
  bool survives(shards::Step step, const std::string& what);
  bool choose_targets(shards::ReplaceOptions& options, const shards::ShardMap& map);
  void abort(shards::MapStore& store, client::Environment& environment, const shards::Shard& shard);
  /// Whether all is as it should be.
  bool tidy_up(shards::MapStore& store, client::Environment& environment);
  void note(const std::string& what) { shards_.everyone.note(host_.name() + " " + what); }

  ShardWorld& shards_;
  Replacements& replacements_;
  sim::Host& host_;
  const Options options_;
  Random random_;
  sim::Thread* self_ = nullptr;  ///< while it runs
  bool is_finishing_ = false;
  bool is_last_ = false;
  bool is_finished_ = false;
  std::string doing_ = "waits";
  std::uint64_t fate_ = 0;  ///< number of the replacement that it is about
  std::optional<shards::Step> fatal_;
  std::unique_ptr<sim::Thread> thread_;  ///< ends before all that it uses
};

}  // namespace silurus::simulation
