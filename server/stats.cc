// SPDX-License-Identifier: Apache-2.0

#include "server/stats.h"

#include <algorithm>
#include <array>
#include <memory>

#include "common/json.h"
#include "server/admission.h"

namespace silurus::server {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, kRequestTypes> kRequestNames = {
    "",           "range",      "nearest",      "write",
    "stats",      "load-begin", "load-entries", "load-commit",
    "load-abort", "at",         "task",         "hold",
    "cluster",    "join",       "get",          "segment"};
static_assert(kRequestNames.back() != nullptr, "a kind of request without a name");

/// Times of service are also told as counts of those below 2^kFirstPower ns (a microsecond), twice
/// that, and so on, up to 2^kLastPower ns (17 s): what a histogram of Prometheus is made of.
constexpr int kFirstPower = 10;
constexpr int kLastPower = 34;

double seconds(Nanoseconds time) { return static_cast<double>(time) / kSecond; }

Json latency(const std::vector<const WorkerCounters*>& workers,
             SharedHistogram WorkerCounters::*which) {
  const auto all = std::make_unique<SharedHistogram>();
  for (const WorkerCounters* worker : workers) all->merge(worker->*which);
  Json buckets = Json::array();
  for (int power = kFirstPower; power <= kLastPower; ++power) {
    buckets.push_back(all->count_below_power(power));
  }
  return {{"count", all->count()},
          {"sum_seconds", all->approximate_sum() / kSecond},
          {"buckets", buckets},
          {"p50_us", static_cast<double>(all->percentile(50)) / 1e3},
          {"p90_us", static_cast<double>(all->percentile(90)) / 1e3},
          {"p99_us", static_cast<double>(all->percentile(99)) / 1e3},
          {"p999_us", static_cast<double>(all->percentile(99.9)) / 1e3}};
}

std::uint64_t sum(const std::vector<const WorkerCounters*>& workers,
                  Counter WorkerCounters::*which) {
  std::uint64_t total = 0;
  for (const WorkerCounters* worker : workers) total += (worker->*which).get();
  return total;
}

Json requests(const std::vector<const WorkerCounters*>& workers) {
  Json json = Json::object();
  for (std::size_t type = 1; type < kRequestTypes; ++type) {
    std::uint64_t total = 0;
    for (const WorkerCounters* worker : workers) total += worker->requests[type].get();
    json[kRequestNames[type]] = total;
  }
  return json;
}

/// Clients turned away, and what was given up, by reason.
Json refused(const StatsInput& input) {
  Json json = Json::object();
  for (std::size_t reason = 0; reason < transport::kRefusalReasons; ++reason) {
    std::uint64_t total = 0;
    for (const auto& listener : input.listeners) total += listener.refusals[reason];
    json[std::string(transport::kRefusalNames[reason])] = total;
  }
  json["idle_timeout"] = sum(input.workers, &WorkerCounters::idle_clients);
  json["idle_loads"] = sum(input.workers, &WorkerCounters::idle_loads);
  return json;
}

Json keeper_of(const StatsInput& input) {
  if (!input.kept) return nullptr;
  return {{"life", input.kept->life},
          {"restarts", input.kept->life - 1},
          {"descriptors", input.kept->descriptors}};
}

Json durability(const std::optional<DurabilityStats>& stats) {
  if (!stats) return {{"mode", "none"}};
  Json json = {{"mode", stats->sync ? "sync" : "async"},
               {"path", stats->path},
               {"medium", stats->medium},
               {"log",
                {{"capacity_bytes", stats->log_capacity_bytes},
                 {"used_bytes", stats->log_used_bytes},
                 {"end_lsn", stats->log_end},
                 {"durable_lsn", stats->log_durable},
                 {"flushes", stats->flushes},
                 {"full_waits", stats->log_full_waits},
                 {"join_waits", stats->log_join_waits}}},
               {"checkpoints",
                {{"count", stats->checkpoints.checkpoints},
                 {"failed", stats->checkpoints.failed},
                 {"version", stats->checkpoints.version},
                 {"nodes", stats->checkpoints.nodes},
                 {"seconds", stats->checkpoints.seconds}}},
               {"recovery",
                {{"version", stats->recovery.version},
                 {"entries", stats->recovery.entries},
                 {"checkpoint_bytes", stats->recovery.checkpoint_bytes},
                 {"checkpoint_seconds", stats->recovery.checkpoint_seconds},
                 {"records", stats->recovery.records},
                 {"dropped_records", stats->recovery.dropped_records},
                 {"replay_seconds", stats->recovery.replay_seconds}}}};
  if (!stats->checkpoints.failing.empty()) {
    json["checkpoints"]["failing"] = stats->checkpoints.failing;
  }
  if (!stats->failure.empty()) json["failure"] = stats->failure;
  return json;
}

/// What an operator should know of how many copies the group has; empty: nothing.
std::string warning_of(const MemberStatus::Facts& facts) {
  if (facts.copies == 0) return "";  // there is no view yet
  if (facts.copies < facts.copies_needed) {
    return facts.refusal.empty() ? "the group has fewer copies than it needs: its primary takes no "
                                   "writes"
                                 : facts.refusal;
  }
  if (facts.copies == 1) {
    return "there is one copy: what is written now is lost with this member; start others, and the "
           "group with --min-members 2 to have writes wait for them";
  }
  return "";
}

/// A member that is not in the view yet, and how far it is.
Json joiner_of(const replication::group::Joiner& joiner, const MemberStatus::Facts& facts) {
  const bool takes_log = !joiner.copies && joiner.at != 0;
  Json json = {{"id", joiner.info.id},
               {"url", joiner.info.clients},
               {"state", joiner.copies ? "copies the tree"
                         : takes_log   ? "takes the log"
                                       : "asks"},
               {"log_is_kept", joiner.keeps_log}};
  if (joiner.copies) json["nodes_copied"] = joiner.nodes;
  if (takes_log) {
    json["log_bytes_left"] =
        facts.committed_lsn - std::min<std::uint64_t>(joiner.at, facts.committed_lsn);
  }
  return json;
}

Json cluster_of(const MemberStatus::Facts& facts) {
  Json members = Json::array();
  for (const auto& member : facts.members) {
    members.push_back(
        {{"id", member.info.id},
         {"url", member.info.clients},
         {"peers", member.info.peers},
         {"in_view", member.in_view},
         {"applied_lsn", member.applied_lsn ? Json(*member.applied_lsn) : Json(nullptr)}});
  }
  Json joining = Json::array();
  for (const auto& joiner : facts.joiners) joining.push_back(joiner_of(joiner, facts));
  const bool is_alone = facts.lease_left == INT64_MAX;
  Json json = {{"name", facts.cluster},
               {"shard", facts.shard},
               {"epoch", facts.epoch},
               {"self", facts.self},
               {"primary", facts.primary},
               {"role", facts.role},
               {"committed_lsn", facts.committed_lsn},
               {"applied_lsn", facts.applied_lsn},
               {"lease_ms_left", is_alone ? Json(nullptr) : Json(facts.lease_left / kMillisecond)},
               {"view_store", facts.store_is_away ? "away" : "reachable"},
               {"fail_over", facts.fails_over},
               {"needs_copy", facts.needs_copy},
               {"contradicts", facts.contradicts},
               {"copies", facts.copies},
               {"copies_needed", facts.copies_needed},
               {"min_members", facts.min_members == 0 ? Json("majority") : Json(facts.min_members)},
               {"copies_given",
                {{"begun", facts.copies_given.copies},
                 {"bulk_loads", facts.copies_given.loads},
                 {"messages", facts.copies_given.messages},
                 {"nodes_sent", facts.copies_given.nodes}}},
               {"replication",
                {{"bytes_sent", facts.replicated.bytes_sent},
                 {"bytes_read", facts.replicated.bytes_read},
                 {"datagrams", facts.replicated.datagrams},
                 {"datagrams_refused", facts.replicated.refused_datagrams},
                 {"messages_dropped", facts.replicated.dropped},
                 {"fetches_by_read", facts.replicated.reads},
                 {"fetches_by_message", facts.replicated.messages},
                 {"bytes_fetched", facts.replicated.fetched_bytes}}},
               {"views", facts.counters.views},
               {"elections", facts.counters.elections},
               {"voted_out", facts.counters.voted_out},
               {"members", members},
               {"joining", joining}};
  if (const std::string warning = warning_of(facts); !warning.empty()) json["warning"] = warning;
  if (!facts.copy_obstacle.empty()) json["copy_obstacle"] = facts.copy_obstacle;
  if (!facts.load.phase.empty()) {
    json["bulk_load"] = {{"phase", facts.load.phase},
                         {"entries", facts.load.entries},
                         {"nodes", facts.load.nodes},
                         {"copied", facts.load.copied}};
  }
  if (!facts.failure.empty()) json["failure"] = facts.failure;
  return json;
}

/// An admission state other than serving says more than too few members or a medium that is full:
/// nothing is written then either.
std::string state_of(const StatsInput& input) {
  const bool is_serving = input.state == to_string(replication::AdmissionState::kServing);
  if (is_serving && input.group && !input.group->refusal.empty()) {
    return "read-only: " + input.group->refusal;
  }
  if (!is_serving || !input.durability || input.durability->read_only.empty()) {
    return std::string(input.state);
  }
  return "read-only: " + input.durability->read_only;
}

}  // namespace

std::string render_stats(const StatsInput& input) {
  Json listeners = Json::array();
  std::uint64_t ring_bytes = 0;
  for (const auto& listener : input.listeners) {
    ring_bytes += listener.ring_bytes;
    listeners.push_back({{"address", listener.address},
                         {"clients", listener.clients},
                         {"ring_bytes", listener.ring_bytes}});
  }
  Json workers = Json::array();
  for (const WorkerCounters* worker : input.workers) {
    const Nanoseconds busy = worker->busy_ns.load(std::memory_order_relaxed);
    workers.push_back(
        {{"sessions", worker->sessions.load(std::memory_order_relaxed)},
         {"sweeps", worker->sweeps.get()},
         {"busy_seconds", seconds(busy)},
         {"busy_share", input.uptime > 0 ? seconds(busy) / seconds(input.uptime) : 0}});
  }
  const Json json = {
      {"version", input.tree.version},
      {"state", state_of(input)},
      {"uptime_seconds", seconds(input.uptime)},
      {"clock_lead_seconds", seconds(input.clock_lead)},
      {"dimensions", input.dimensions},
      {"entries", input.tree.entries},
      {"height", input.tree.height},
      {"nodes", input.tree.nodes},
      {"bytes", input.tree.bytes_used},
      {"bytes_retired", input.tree.bytes_retired},
      {"bytes_held_by_snapshots", input.tree.bytes_held},
      {"memory",
       {{"budget_bytes", input.memory_budget_bytes},
        {"used_bytes", input.tree.bytes_used + input.tree.bytes_retired + input.staged_bytes},
        {"tree_bytes", input.tree.bytes_used},
        {"retired_bytes", input.tree.bytes_retired},
        {"held_bytes", input.tree.bytes_held},
        {"reserved_bytes", input.tree.bytes_reserved},
        {"joined_nodes", input.tree.joined_nodes},
        {"slab_bytes", input.slab_bytes},
        {"staged_bytes", input.staged_bytes},
        {"huge_pages", input.huge_pages}}},
      {"ring_bytes", ring_bytes},
      {"listeners", listeners},
      {"requests", requests(input.workers)},
      {"errors", sum(input.workers, &WorkerCounters::errors)},
      {"streams", sum(input.workers, &WorkerCounters::streams)},
      {"refused", refused(input)},
      {"audited", sum(input.workers, &WorkerCounters::audited)},
      {"disconnects", sum(input.workers, &WorkerCounters::disconnects)},
      {"write_operations", sum(input.workers, &WorkerCounters::write_operations)},
      {"failed_operations", sum(input.workers, &WorkerCounters::failed_operations)},
      {"keeper", keeper_of(input)},
      {"writer", {{"batches", input.writer_batches}, {"delays", input.writer_delays}}},
      {"durability", durability(input.durability)},
      {"group", input.group ? cluster_of(*input.group) : Json(nullptr)},
      {"service_time",
       {{"search", latency(input.workers, &WorkerCounters::search_ns)},
        {"write", latency(input.workers, &WorkerCounters::write_ns)}}},
      {"cpu_seconds", input.cpu_seconds},
      {"workers", workers}};
  return json_text(json);
}

std::string render_cluster(const MemberStatus::Facts& facts) {
  return json_text(cluster_of(facts));
}

std::string render_cluster(const std::vector<std::string>& addresses, std::uint64_t lsn) {
  const Json member = {{"id", 0},
                       {"url", addresses.empty() ? "" : addresses.front()},
                       {"in_view", true},
                       {"applied_lsn", lsn}};
  const Json json = {{"name", ""},
                     {"shard", 0},
                     {"epoch", 0},
                     {"self", 0},
                     {"primary", 0},
                     {"role", "primary"},
                     {"committed_lsn", lsn},
                     {"applied_lsn", lsn},
                     {"lease_ms_left", nullptr},
                     {"view_store", nullptr},
                     {"members", Json::array({member})}};
  return json_text(json);
}

}  // namespace silurus::server
