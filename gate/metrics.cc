// SPDX-License-Identifier: Apache-2.0

#include "gate/metrics.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "common/json.h"
#include "common/units.h"

namespace silurus::gate {
namespace {

using nlohmann::json;

/// First of the powers of two (of ns) that bound the buckets of the server's times of service.
constexpr int kFirstPower = 10;

/// Builds the text: metrics one after the other, each with its help and type.
class Text {
 public:
  void metric(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    out_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " ";
    out_ += std::string(type) + "\n";
  }
  /// A value of the metric. `labels`: `a="b",c="d"`.
  void value(double number, const std::string& labels = "", std::string_view suffix = "") {
    out_ += name_ + std::string(suffix);
    if (!labels.empty()) out_ += "{" + labels + "}";
    out_ += " " + text_of(number) + "\n";
  }
  void gauge(std::string_view name, std::string_view help, double number,
             const std::string& labels = "") {
    metric(name, "gauge", help);
    value(number, labels);
  }
  void counter(std::string_view name, std::string_view help, double number,
               const std::string& labels = "") {
    metric(name, "counter", help);
    value(number, labels);
  }
  const std::string& text() const { return out_; }

 private:
  /// Whole numbers as such, so that a count is exact to the last place.
  static std::string text_of(double number) {
    const bool is_whole = std::floor(number) == number && std::abs(number) < 9e15;
    return is_whole ? std::to_string(static_cast<std::int64_t>(number)) : format_number(number);
  }

  std::string name_;
  std::string out_;
};

std::string label(const char* name, std::string_view value) {
  std::string text = std::string(name) + "=\"";
  for (const char letter : value) {
    if (letter == '\n') {
      text += "\\n";
      continue;
    }
    if (letter == '"' || letter == '\\') text += '\\';
    text += letter;
  }
  return text + "\"";
}

double number_at(const json& from, const char* name) {
  const json& field = json_field(from, name);
  if (field.is_boolean()) return field.get<bool>() ? 1 : 0;
  return field.is_number() ? field.get<double>() : 0;
}

/// A field of the server's statistics that is a metric by itself.
struct Field {
  const char* section;  ///< object that it is in; empty: the outermost
  const char* name;
  const char* metric;
  const char* type;
  const char* help;
};

constexpr std::array kOfTree = {
    Field{"", "version", "silurus_version", "gauge", "Number of the newest published version."},
    Field{"", "entries", "silurus_entries", "gauge", "Entries in the newest version."},
    Field{"", "nodes", "silurus_nodes", "gauge", "Nodes of the newest version."},
    Field{"", "height", "silurus_tree_height", "gauge", "Levels of the tree."},
    Field{"", "bytes", "silurus_tree_bytes", "gauge", "Memory of the newest version's nodes."},
    Field{"", "bytes_retired", "silurus_retired_bytes", "gauge",
          "Memory that older versions take besides."},
    Field{"", "bytes_held_by_snapshots", "silurus_held_bytes", "gauge",
          "Part of the retired memory that is held for readers and for --retain."}};

constexpr std::array kOfServer = {
    Field{"", "uptime_seconds", "silurus_uptime_seconds", "gauge", "Since the server's start."},
    Field{"", "clock_lead_seconds", "silurus_clock_lead_seconds", "gauge",
          "By how much stamps of new versions are ahead of the time of day."},
    Field{"", "cpu_seconds", "silurus_cpu_seconds_total", "counter", "CPU time of the server."},
    Field{"", "ring_bytes", "silurus_ring_bytes", "gauge", "Memory of all clients' rings."},
    Field{"", "errors", "silurus_request_errors_total", "counter",
          "Requests answered with an error."},
    Field{"", "streams", "silurus_streamed_searches_total", "counter",
          "Searches whose answer was sent slice by slice."},
    Field{"", "disconnects", "silurus_disconnects_total", "counter",
          "Clients that the server disconnected."},
    Field{"", "audited", "silurus_audited_total", "counter",
          "Backups, bulk loads and orders, each of which has a line in the log."},
    Field{"", "write_operations", "silurus_write_operations_total", "counter",
          "Inserts, erasures and updates that were applied."},
    Field{"", "failed_operations", "silurus_failed_operations_total", "counter",
          "Write operations that had no effect."},
    Field{"memory", "budget_bytes", "silurus_memory_budget_bytes", "gauge",
          "Memory that the server may take for trees."},
    Field{"memory", "used_bytes", "silurus_memory_used_bytes", "gauge",
          "Tree, older versions and a bulk load that is being made."},
    Field{"memory", "slab_bytes", "silurus_memory_slab_bytes", "gauge", "Taken from the system."},
    Field{"memory", "staged_bytes", "silurus_memory_staged_bytes", "gauge",
          "Entries of a bulk load that is being made."},
    Field{"writer", "batches", "silurus_write_batches_total", "counter",
          "Batches that were published, each as one version."},
    Field{"writer", "delays", "silurus_write_delays_total", "counter",
          "Times that a batch was put off."},
    Field{"keeper", "restarts", "silurus_keeper_restarts_total", "counter",
          "Lives of the server before this one, under a keeper."}};

constexpr std::array kOfLog = {
    Field{"log", "capacity_bytes", "silurus_log_capacity_bytes", "gauge", "Size of the log."},
    Field{"log", "used_bytes", "silurus_log_used_bytes", "gauge",
          "Part of the log that no checkpoint has freed yet."},
    Field{"log", "flushes", "silurus_log_flushes_total", "counter", "Flushes of the log."},
    Field{"log", "full_waits", "silurus_log_full_waits_total", "counter",
          "Batches that waited for room in the log."},
    Field{"checkpoints", "count", "silurus_checkpoints_total", "counter", "Checkpoints taken."},
    Field{"checkpoints", "failed", "silurus_checkpoints_failed_total", "counter",
          "Checkpoints that failed."},
    Field{"checkpoints", "seconds", "silurus_checkpoint_last_seconds", "gauge",
          "Time that the last checkpoint took."}};

constexpr std::array kOfGroup = {
    Field{"", "epoch", "silurus_group_epoch", "gauge", "Number of the view."},
    Field{"", "copies", "silurus_group_copies", "gauge",
          "Members that have all that is committed."},
    Field{"", "copies_needed", "silurus_group_copies_needed", "gauge",
          "Copies that a write needs to be acknowledged."},
    Field{"", "committed_lsn", "silurus_group_committed_bytes", "gauge",
          "Position up to which the log is committed."},
    Field{"", "applied_lsn", "silurus_group_applied_bytes", "gauge",
          "Position up to which the log is applied here."},
    Field{"", "views", "silurus_group_views_total", "counter", "Views that this member has seen."},
    Field{"", "elections", "silurus_group_elections_total", "counter",
          "Times that this member became the primary."},
    Field{"", "voted_out", "silurus_group_voted_out_total", "counter",
          "Members that this member voted out."}};

void put_fields(Text& text, std::span<const Field> fields, const json& from,
                const std::string& labels = "") {
  for (const Field& field : fields) {
    const json& section = field.section[0] == 0 ? from : json_field(from, field.section);
    if (!section.is_object()) continue;
    text.metric(field.metric, field.type, field.help);
    text.value(number_at(section, field.name), labels);
  }
}

/// A metric with a value for each field of an object.
void put_each(Text& text, const json& object, const char* metric, const char* name,
              const char* help) {
  text.metric(metric, "counter", help);
  for (const auto& [key, value] : object.items()) {
    if (value.is_number()) text.value(value.get<double>(), label(name, key));
  }
}

void put_service_times(Text& text, const json& times) {
  text.metric("silurus_request_seconds", "histogram",
              "Time that the server took for a search, or a batch of writes from its arrival.");
  for (const auto& [kind, time] : times.items()) {
    const std::string labels = label("kind", kind);
    int power = kFirstPower;
    for (const json& below : json_array(time, "buckets")) {
      if (!below.is_number()) continue;
      const std::string bound = format_number(std::ldexp(1e-9, power++));
      text.value(below.get<double>(), labels + "," + label("le", bound), "_bucket");
    }
    text.value(number_at(time, "count"), labels + "," + label("le", "+Inf"), "_bucket");
    text.value(number_at(time, "sum_seconds"), labels, "_sum");
    text.value(number_at(time, "count"), labels, "_count");
  }
}

void put_listeners(Text& text, const json& stats) {
  text.metric("silurus_clients", "gauge", "Clients that are connected, by address.");
  for (const json& listener : json_array(stats, "listeners")) {
    text.value(number_at(listener, "clients"), label("address", json_string(listener, "address")));
  }
  const json& workers = json_array(stats, "workers");
  text.metric("silurus_worker_busy_seconds_total", "counter",
              "Time in which a thread that serves clients did not wait.");
  for (std::size_t i = 0; i < workers.size(); ++i) {
    text.value(number_at(workers[i], "busy_seconds"), label("worker", std::to_string(i)));
  }
  text.metric("silurus_worker_sessions", "gauge", "Clients of a thread that serves them.");
  for (std::size_t i = 0; i < workers.size(); ++i) {
    text.value(number_at(workers[i], "sessions"), label("worker", std::to_string(i)));
  }
}

void put_group(Text& text, const json& group) {
  if (!group.is_object()) return;
  put_fields(text, kOfGroup, group);
  text.gauge("silurus_group_is_primary", "Whether this member is the primary.",
             json_string(group, "role") == "primary" ? 1 : 0);
  text.metric("silurus_group_lag_bytes", "gauge",
              "Committed part of the log that a member has not applied; only the primary knows.");
  const double committed = number_at(group, "committed_lsn");
  for (const json& member : json_array(group, "members")) {
    const json& applied = json_field(member, "applied_lsn");
    if (!applied.is_number()) continue;
    const json& id = json_field(member, "id");
    text.value(std::max(committed - applied.get<double>(), 0.0),
               label("member", id.is_string() ? id.get<std::string>() : json_text(id)));
  }
}

void put_server(Text& text, const ServerStatistics& server, const std::string& collection) {
  const json stats = parse_json(server.json);
  text.gauge("silurus_serving", "Whether the server takes reads and writes.",
             server.state == "serving" ? 1 : 0);
  put_fields(text, kOfTree, stats, label("collection", collection));
  put_fields(text, kOfServer, stats);
  put_each(text, json_field(stats, "requests"), "silurus_requests_total", "kind",
           "Requests that came as messages, by kind.");
  put_each(text, json_field(stats, "refused"), "silurus_refusals_total", "reason",
           "Clients turned away, and what was given up, by reason.");
  put_listeners(text, stats);
  put_service_times(text, json_field(stats, "service_time"));
  const json& durability = json_field(stats, "durability");
  put_fields(text, kOfLog, durability);
  text.gauge("silurus_durability_failed", "Whether writes are refused since storage failed.",
             json_field(durability, "failure").is_string() ? 1 : 0);
  put_group(text, json_field(stats, "group"));
}

void put_answers(Text& text, const GateCounters& gate) {
  const auto answers = gate.answers();
  text.metric("silurus_gate_answers_total", "counter", "HTTP answers, by what they are of.");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    for (const auto& [status, count] : answers[i].by_status) {
      text.value(static_cast<double>(count),
                 label("route", kRouteNames[i]) + "," + label("status", std::to_string(status)));
    }
  }
  text.metric("silurus_gate_answer_seconds", "histogram",
              "Time that the first piece of an HTTP answer took.");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto& times = answers[i].times;
    const std::string labels = label("route", kRouteNames[i]);
    std::uint64_t below = 0;
    for (std::size_t k = 0; k < times.buckets.size(); ++k) {
      below += times.buckets[k];
      const std::string bound =
          k < GateCounters::kBounds.size() ? format_number(GateCounters::kBounds[k]) : "+Inf";
      text.value(static_cast<double>(below), labels + "," + label("le", bound), "_bucket");
    }
    text.value(times.sum, labels, "_sum");
    text.value(static_cast<double>(below), labels, "_count");
  }
}

void put_gate(Text& text, const HttpCounters& http, const GateCounters& gate) {
  const auto of = [](const std::atomic<std::uint64_t>& count) {
    return static_cast<double>(count.load(std::memory_order_relaxed));  // a figure for people
  };
  text.gauge("silurus_gate_connections", "HTTP connections now.", of(http.open));
  text.counter("silurus_gate_connections_total", "HTTP connections accepted.", of(http.accepted));
  text.metric("silurus_gate_refusals_total", "counter",
              "HTTP connections and requests refused, by reason.");
  text.value(of(http.turned_away), label("reason", "max_connections"));
  text.value(of(http.cut_off), label("reason", "too_slow"));
  text.value(of(http.malformed), label("reason", "malformed"));
  const auto searches = gate.searches();
  text.metric("silurus_gate_searches_total", "counter", "Searches of the gate, by way.");
  text.value(static_cast<double>(searches.messaging), label("way", "message"));
  text.value(static_cast<double>(searches.offload), label("way", "offload"));
  const auto count = [&](const char* name, const char* help, std::uint64_t number) {
    text.counter(name, help, static_cast<double>(number));
  };
  count("silurus_gate_search_failures_total", "Searches of the gate that failed.", searches.failed);
  count("silurus_gate_search_bytes_total", "Bytes of searches, messages and reads.",
        searches.bytes);
  count("silurus_gate_search_round_trips_total", "Round trips of searches.", searches.round_trips);
  count("silurus_gate_cache_hits_total", "Inner nodes found in the gate's caches.",
        searches.cache_hits);
  count("silurus_gate_cache_misses_total", "Inner nodes that had to be read.",
        searches.cache_misses);
  count("silurus_gate_reconnects_total", "Connections made anew.", searches.reconnects);
  put_answers(text, gate);
}

}  // namespace

void GateCounters::add(Route route, int status, Nanoseconds took) {
  const double seconds = static_cast<double>(took) / kSecond;
  const std::lock_guard lock(mutex_);
  Answers& answers = answers_[static_cast<std::size_t>(route)];
  ++answers.by_status[status];
  const auto* const bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++answers.times.buckets[static_cast<std::size_t>(bound - kBounds.begin())];
  answers.times.sum += seconds;
}

void GateCounters::put(const void* source, const ClientStatistics& statistics) {
  const auto& message = statistics.messaging;
  const auto& offload = statistics.offload;
  const Searches searches{.messaging = message.completed,
                          .offload = offload.completed,
                          .failed = message.failed + offload.failed,
                          .bytes = message.bytes + offload.bytes,
                          .round_trips = message.round_trips + offload.round_trips,
                          .cache_hits = offload.cache_hits,
                          .cache_misses = offload.cache_misses,
                          .reconnects = statistics.reconnects};
  const std::lock_guard lock(mutex_);
  searches_[source] = searches;
}

GateCounters::Searches GateCounters::searches() const {
  const std::lock_guard lock(mutex_);
  Searches all;
  for (const auto& [source, searches] : searches_) {
    all.messaging += searches.messaging;
    all.offload += searches.offload;
    all.failed += searches.failed;
    all.bytes += searches.bytes;
    all.round_trips += searches.round_trips;
    all.cache_hits += searches.cache_hits;
    all.cache_misses += searches.cache_misses;
    all.reconnects += searches.reconnects;
  }
  return all;
}

std::array<GateCounters::Answers, kRouteNames.size()> GateCounters::answers() const {
  const std::lock_guard lock(mutex_);
  return answers_;
}

std::string render_metrics(const Result<ServerStatistics>& server, const std::string& collection,
                           const HttpCounters& http, const GateCounters& gate) {
  Text text;
  text.gauge("silurus_up", "Whether the gate could ask the server.", server ? 1 : 0);
  if (server) put_server(text, *server, collection);
  put_gate(text, http, gate);
  return text.text();
}

std::string not_ready_since(const Result<ServerStatistics>& server) {
  if (!server) return server.error().message;
  if (server->state.starts_with("serving") || server->state.starts_with("read-only")) return "";
  return "the server is " + server->state;
}

}  // namespace silurus::gate
