// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_grid_world.h"

#include <algorithm>
#include <queue>

#include "rtree/node.h"
#include "rtree/root_block.h"

namespace silurus::bench {
namespace {

constexpr Nanoseconds kHeartbeat = 10 * kMillisecond;

// Bytes on the wire, packets' headers included.
/// A request and an answer, as the simulation of the code that ships counts them (plan/0.00001/
/// search/messaging: network-in and network-out over ops/s); an id more or less is 8 bytes.
constexpr double kRequestBytes = 94;
constexpr double kAnswerBytes = 62;
constexpr double kResultBytes = 8;

/// Reads of leaves in part. Those of groups are what ships (docs/decisions/0015); the figures are
/// what prototypes measured that simulated them on real trees of 48-entry leaves (issue 16 and the
/// prototypes' table "Offloading: bytes on the wire of a search": groups of 4, and a box an entry,
/// 8 bits a side). Root word and 60 bytes an answer are contained.
struct PartOfLeaves {
  double small_bytes;  ///< bytes for a window with about one result
  double large_bytes;  ///< bytes for a window with about 200
  double small_reads;  ///< reads beside that of the root word: 48 % and 98.8 % need no other
  double large_reads;  ///< not measured: one for each leaf and one for each second gap in it
};
constexpr PartOfLeaves kGroupsOf4 = {187, 11'442, 0.52, 16};
constexpr PartOfLeaves kBoxesOfEntries = {69, 11'301, 0.012, 23};
constexpr double kLargeResults = 200;

/// What inserts by others, a tenth of all operations, add to an offloaded search: the path to each
/// new entry has new names, and the root block is read whole. Measured by `silurus-bench plan
/// --ways offload,offload-cached --clients 64`, with --inserts 0.1 less without (network-out and
/// card over the searches in ops/s). The trip is an assumption: 1.2 to 2.1 of them in all by issue
/// 16.
struct Repair {
  double bytes, reads;
  unsigned trips;
};
constexpr Repair kRepairWithoutCache = {3'400, 0.4, 0};
constexpr Repair kRepairOfCache = {5'000, 1.9, 1};

/// Between a small window's and a large one's, by the number of results.
double between(double small, double large, double results) {
  const double share = std::max(0.0, (results - 1) / (kLargeResults - 1));
  return small + share * (large - small);
}

/// A device that does one thing after the other, in the order in which they come.
class Station {
 public:
  /// When it is through with something that comes now and takes that long.
  double claim(double now, double duration) {
    free_at_ = std::max(free_at_, now) + duration;
    return free_at_;
  }
  bool is_free(double now) const { return free_at_ <= now; }

 private:
  double free_at_ = 0;
};

enum class Stage : std::uint8_t { kBegin, kAtServer, kServed, kAtCard, kRead, kDone };

struct Event {
  double time;
  std::uint32_t client;
  Stage stage;
  bool operator>(const Event& other) const {
    return time != other.time ? time > other.time : client > other.client;
  }
};

struct Asker {
  std::unique_ptr<AccessPolicy> policy;
  std::uint32_t search = 0;
  unsigned trips_left = 0;
  bool is_insert = false;
  Access access = Access::kMessaging;
  double begun = 0;
  std::uint64_t heartbeats_seen = 0;
};

class GridWorld {
 public:
  GridWorld(const GridRun& run, const GridPolicy& policy);
  GridFigures run(const GridTime& time);

 private:
  struct Meter {
    std::uint64_t operations = 0;
    std::uint64_t searches = 0;
    std::uint64_t offloaded = 0;
    double latency = 0;
    double busy = 0;
    double bytes = 0;
  };

  void run_until(std::uint64_t operations, double time);
  void step(const Event& event);
  void begin(std::uint32_t client, double now);
  void serve(std::uint32_t client, double now);
  void answer(std::uint32_t client, double now);
  void read(std::uint32_t client, double now);
  void done(std::uint32_t client, double now);
  void beat(double now);
  void at(double time, std::uint32_t client, Stage stage) { events_.push({time, client, stage}); }
  const GridCost& cost_of(const Asker& asker) const { return costs_[asker.search]; }

  const GridRun& run_;
  Random random_;
  std::vector<GridCost> costs_;  ///< one for each search of the workload
  std::vector<Asker> askers_;
  std::vector<Station> cores_;
  Station writer_, port_, reads_, messages_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  double now_ = 0;
  double one_way_, byte_ns_, read_ns_, message_ns_;
  double next_beat_ = static_cast<double>(kHeartbeat);
  double busy_before_ = 0;
  double load_ = 0;
  std::uint64_t heartbeats_ = 0;
  Meter meter_;
};

GridWorld::GridWorld(const GridRun& run, const GridPolicy& policy)
    : run_(run),
      random_(run.seed),
      cores_(static_cast<std::size_t>(run.model.host.server_cores)),
      one_way_(run.model.network.one_way_us * 1e3),
      byte_ns_(1e9 / run.model.network.bytes_per_second),
      read_ns_(1e9 / run.model.card.reads_per_second),
      message_ns_(1e9 / run.model.card.messages_per_second) {
  for (const GridSearch& search : run.searches) costs_.push_back(grid_cost(run, search));
  askers_.resize(run.clients);
  for (std::uint32_t i = 0; i < run.clients; ++i) {
    askers_[i].policy = policy(i);
    at(random_.uniform() * 1e3, i, Stage::kBegin);
  }
}

void GridWorld::beat(double now) {
  const double most = static_cast<double>(kHeartbeat) * static_cast<double>(cores_.size());
  load_ = std::min(1.0, (meter_.busy - busy_before_) / most);
  busy_before_ = meter_.busy;
  ++heartbeats_;
  next_beat_ = now + static_cast<double>(kHeartbeat);
}

void GridWorld::begin(std::uint32_t index, double now) {
  Asker& asker = askers_[index];
  if (asker.heartbeats_seen != heartbeats_) {
    asker.heartbeats_seen = heartbeats_;
    asker.policy->on_heartbeat({.cpu_busy = load_});
  }
  asker.begun = now;
  asker.search = static_cast<std::uint32_t>(random_.below(costs_.size()));
  asker.is_insert = run_.insert_share > 0 && random_.uniform() < run_.insert_share;
  asker.access = asker.is_insert ? Access::kMessaging
                                 : asker.policy->choose(run_.searches[asker.search].search_class);
  const GridCost& cost = cost_of(asker);
  if (asker.access == Access::kOffload) {
    asker.trips_left = cost.trips;
    at(now + cost.offload_before + one_way_, index, Stage::kAtCard);
  } else {
    at(now + cost.client_before + one_way_, index, Stage::kAtServer);
  }
}

void GridWorld::serve(std::uint32_t index, double now) {
  Asker& asker = askers_[index];
  Station& core = cores_[index % cores_.size()];
  const double speed = run_.model.host.core_speed;
  const bool is_idle = core.is_free(now);
  const double taken = messages_.claim(now, message_ns_);
  double work = is_idle ? cost_of(asker).server : cost_of(asker).server_queued;
  double until = 0;
  if (asker.is_insert) {
    const PlanCosts& costs = run_.costs;
    // A version is published for each batch, which is of one operation if no other waits.
    const double publish = costs.writer.publish_ns / (writer_.is_free(now) ? 1 : 4);
    const double apply = (costs.writer.operation_ns + publish) / speed;
    work = (costs.server.write_ns + run_.model.cpu.send_ns + run_.model.cpu.receive_ns) / speed +
           run_.wake_ns + apply;
    until = writer_.claim(taken, apply);
  }
  meter_.busy += work;
  at(std::max(core.claim(taken, work), until), index, Stage::kServed);
}

void GridWorld::answer(std::uint32_t index, double now) {
  const Asker& asker = askers_[index];
  const double bytes = asker.is_insert ? kAnswerBytes : cost_of(asker).answer_bytes;
  meter_.bytes += bytes;
  const double out =
      std::max(port_.claim(now, bytes * byte_ns_), messages_.claim(now, message_ns_));
  at(out + one_way_ + cost_of(asker).client_after, index, Stage::kDone);
}

/// The card has fetched what one trip asks for.
void GridWorld::read(std::uint32_t index, double now) {
  Asker& asker = askers_[index];
  const GridCost& cost = cost_of(asker);
  meter_.bytes += cost.read_bytes;
  const double here = port_.claim(now, cost.read_bytes * byte_ns_) + one_way_;
  const bool is_last = --asker.trips_left == 0;
  const double taken_in = here + cost.offload_after / cost.trips;
  at(is_last ? taken_in : taken_in + one_way_, index, is_last ? Stage::kDone : Stage::kAtCard);
}

void GridWorld::done(std::uint32_t index, double now) {
  Asker& asker = askers_[index];
  ++meter_.operations;
  if (!asker.is_insert) {
    ++meter_.searches;
    meter_.latency += now - asker.begun;
    if (asker.access == Access::kOffload) ++meter_.offloaded;
    asker.policy->on_search({.search_class = run_.searches[asker.search].search_class,
                             .access = asker.access,
                             .latency = static_cast<Nanoseconds>(now - asker.begun),
                             .completed_at = static_cast<Nanoseconds>(now) + 1});
  }
  begin(index, now);
}

void GridWorld::step(const Event& event) {
  now_ = event.time;
  if (now_ >= next_beat_) beat(now_);
  switch (event.stage) {
    case Stage::kBegin:
      return begin(event.client, now_);
    case Stage::kAtServer:
      return serve(event.client, now_);
    case Stage::kServed:
      return answer(event.client, now_);
    case Stage::kAtCard: {
      const double reads = cost_of(askers_[event.client]).reads;
      const double fetched = reads_.claim(now_, reads * read_ns_) + run_.model.card.read_us * 1e3;
      return at(fetched, event.client, Stage::kRead);
    }
    case Stage::kRead:
      return read(event.client, now_);
    case Stage::kDone:
      return done(event.client, now_);
  }
}

void GridWorld::run_until(std::uint64_t operations, double time) {
  const double end = now_ + time;
  while (meter_.operations < operations || now_ < end) {
    const Event event = events_.top();
    events_.pop();
    step(event);
  }
}

GridFigures GridWorld::run(const GridTime& time) {
  run_until(time.warm_up_operations * run_.clients, static_cast<double>(time.warm_up));
  const double began = now_;
  // What the last heartbeat counted remains its own.
  busy_before_ -= meter_.busy;
  meter_ = {};
  run_until(time.operations, static_cast<double>(time.duration));
  const double ns = now_ - began;
  const auto searches = static_cast<double>(std::max<std::uint64_t>(1, meter_.searches));
  return {.ops_per_second = static_cast<double>(meter_.operations) / ns * 1e9,
          .server_cpu = meter_.busy / ns / static_cast<double>(cores_.size()),
          .network_out = meter_.bytes * byte_ns_ / ns,
          .offload_share = static_cast<double>(meter_.offloaded) / searches,
          .mean_us = meter_.latency / searches / 1e3};
}

}  // namespace

const char* grid_client_name(GridClient client) {
  constexpr const char* kNames[kGridClients] = {"no-cache", "cache", "groups", "entry-boxes"};
  return kNames[static_cast<std::size_t>(client)];
}

GridCost grid_cost(const GridRun& run, const GridSearch& search) {
  const PlanCosts& costs = run.costs;
  const PlanModel::Cpu& cpu = run.model.cpu;
  const double speed = run.model.host.core_speed;
  const double header = run.model.network.packet_overhead_bytes;
  GridCost cost;
  // Each client has a connection, hence a doorbell, of its own.
  const double message = cpu.receive_ns + cpu.send_ns + cpu.doorbell_ns + costs.server.request_ns +
                         costs.server.result_ns * search.results;
  const auto tree = [&](const PlanCosts::Search& of) {
    return of.search_ns + of.leaf_ns * search.leaves + of.result_ns * search.results;
  };
  cost.server = run.wake_ns + (message + costs.server.sweep_ns + tree(costs.search)) / speed;
  cost.server_queued = run.wake_ns + (message + tree(costs.interleaved)) / speed;
  cost.answer_bytes = kAnswerBytes + kResultBytes * search.results;
  cost.client_before = (costs.client.request_ns + cpu.send_ns + cpu.doorbell_ns) / speed;
  cost.client_after = (cpu.receive_ns + costs.client.result_ns * search.results) / speed;

  double reads = 1 + search.leaves;
  double bytes = static_cast<double>(rtree::kRootWordBytes) + header +
                 search.leaves * (static_cast<double>(rtree::node_bytes<2>(0)) + header);
  if (run.client == GridClient::kNoCache) {
    reads += search.inner;
    // Without the directories that tell groups: a client that keeps no node has no use for them.
    bytes += search.inner * (static_cast<double>(rtree::node_bytes<2>(2)) + header);
    cost.trips = std::max(1u, run.levels - 1);
  }
  if (run.client == GridClient::kGroups || run.client == GridClient::kEntryBoxes) {
    const PartOfLeaves& part = run.client == GridClient::kGroups ? kGroupsOf4 : kBoxesOfEntries;
    reads = 1 + between(part.small_reads, part.large_reads, search.results);
    bytes = between(part.small_bytes, part.large_bytes, search.results);
  }
  if (run.insert_share > 0) {
    const Repair& repair =
        run.client == GridClient::kNoCache ? kRepairWithoutCache : kRepairOfCache;
    bytes += repair.bytes;
    reads += repair.reads;
    cost.trips += repair.trips;
  }
  cost.reads = reads / cost.trips;
  cost.read_bytes = bytes / cost.trips;
  cost.offload_before =
      (costs.offload.search_ns + cpu.doorbell_ns * cost.trips + cpu.post_read_ns * reads) / speed;
  cost.offload_after = ((cpu.complete_read_ns + costs.offload.leaf_ns) * reads +
                        costs.offload.result_ns * search.results) /
                       speed;
  return cost;
}

GridFigures run_grid(const GridRun& run, const GridPolicy& policy, const GridTime& time) {
  return GridWorld(run, policy).run(time);
}

}  // namespace silurus::bench
