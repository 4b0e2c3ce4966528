// SPDX-License-Identifier: Apache-2.0

#include "client/tool/doctor_server.h"

#include <algorithm>

#include "client/cluster_info.h"
#include "common/json.h"
#include "common/units.h"
#include "silurus/client.h"

namespace silurus::tool::doctor {
namespace {

using Json = nlohmann::json;

constexpr std::uint32_t kSearches = 50;
constexpr Nanoseconds kMeasureFor = kSecond / 2;
/// Share of its memory budget from which a server is nearly full: it will soon refuse writes.
constexpr double kNearlyFull = 0.9;
/// Bytes of the log that a member may be behind while nothing is wrong.
constexpr std::uint64_t kUsualLag = std::uint64_t{1} << 20;

std::string percent(double part, double whole) {
  return whole <= 0 ? "0 %" : std::to_string(static_cast<int>(100 * part / whole)) + " %";
}

/// Searches for what is nowhere: each is one round trip at least, and no answer is long.
template <int D>
Way measure(const std::string& url, ClientOptions options, Mode mode) {
  const SystemClock clock;
  Way way{.offered = true};
  options.mode = mode;
  auto client = Client<D>::connect(url, options);
  if (!client) {
    way.error = client.error();
    return way;
  }
  rtree::Box<D> nowhere;
  nowhere.min.fill(1e300);
  nowhere.max.fill(1e300);
  std::vector<Nanoseconds> times;
  const Nanoseconds end = clock.now() + kMeasureFor;
  do {
    const Nanoseconds begun = clock.now();
    const auto count = client->count(nowhere);
    if (!count) {
      way.error = count.error();
      return way;
    }
    times.push_back(clock.now() - begun);
  } while (times.size() < kSearches && clock.now() < end);
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  way.median = times[times.size() / 2];
  way.searches = static_cast<std::uint32_t>(times.size());
  return way;
}

template <int D>
void ask(const ServerInfo& info, const ClientOptions& options, ServerFacts& facts) {
  ClientOptions by_message = options;
  by_message.mode = Mode::kMessaging;
  by_message.follow_primary = false;
  auto client = Client<D>::connect(facts.url, by_message);
  if (!client) {
    facts.unreachable = client.error();
    return;
  }
  auto statistics = client->server_statistics();
  if (!statistics) {
    facts.unreachable = statistics.error();
    return;
  }
  facts.statistics = std::move(statistics->json);
  facts.message = measure<D>(facts.url, options, Mode::kMessaging);
  if (info.one_sided) {
    facts.one_sided = measure<D>(facts.url, options, Mode::kOffload);
  }
}

/// Whether the other members of the group answer clients, too.
std::vector<MemberFacts> ask_members(const Json& group, Nanoseconds timeout) {
  std::vector<MemberFacts> members;
  for (const Json& member : json_array(group, "members")) {
    if (json_number(member, "id") == json_number(group, "self")) continue;
    const auto urls = client::split_urls(json_string(member, "url"));
    if (urls.empty() || members.size() >= client::kMaxClusterMembers) continue;
    MemberFacts facts{.url = urls.front(), .error = std::nullopt};
    for (const std::string& url : urls) {
      const auto info = probe(url, timeout);
      facts.error = info ? std::nullopt : std::optional(info.error());
      if (info) break;
    }
    members.push_back(std::move(facts));
  }
  return members;
}

/// Makes findings about one server, whose names end alike.
class Advisor {
 public:
  Advisor(const ServerFacts& server, std::string suffix)
      : server_(server), suffix_(std::move(suffix)), stats_(parse_json(server.statistics)) {}

  Findings run() {
    if (server_.unreachable) {
      unreachable();
      return std::move(findings_);
    }
    state();
    memory();
    durability();
    way("server-messages", server_.message, "");
    way("server-one-sided", server_.one_sided,
        "not over this address: rdma:// allows it, and shm:// on the server's own machine");
    group();
    return std::move(findings_);
  }

 private:
  Finding& add(const char* name, Verdict verdict, std::string found, std::string advice = "") {
    findings_.push_back({name + suffix_, verdict, std::move(found), std::move(advice)});
    return findings_.back();
  }

  void unreachable() {
    const Error& error = *server_.unreachable;
    const bool nothing_there =
        error.code == ErrorCode::kNotFound || error.code == ErrorCode::kUnavailable;
    if (!server_.was_named && nothing_there) {
      add("server", Verdict::kNotApplicable,
          "none at " + server_.url + "; silurus-server starts one there");
      return;
    }
    add("server", server_.was_named ? Verdict::kError : Verdict::kWarning,
        server_.url + ": " + error.message,
        nothing_there ? "start it: silurus-server --listen " + server_.url +
                            "; or name another "
                            "one with --server"
                      : "see its log, and --log-level debug");
  }

  void state() {
    const std::string at = json_string(stats_, "state", "unknown");
    Finding& finding = add("server", Verdict::kOk,
                           server_.url + ", " + at + ", version " +
                               std::to_string(json_number(stats_, "version")) + ", " +
                               std::to_string(json_number(stats_, "entries")) + " entries, " +
                               std::to_string(server_.dimensions) + " dimensions");
    if (at == "serving") return;
    if (at.starts_with("read-only")) {
      finding.verdict = Verdict::kError;
      finding.advice = "it refuses writes, and answers searches: do what its state says";
      if (json_string(json_field(stats_, "group"), "warning").empty()) {
        finding.advice += " (df " + json_string(json_field(stats_, "durability"), "path") + ")";
      }
      return;
    }
    finding.verdict = Verdict::kWarning;
    finding.advice =
        "its shard is being replaced: silurus cluster status, then split or move again";
  }

  void memory() {
    const Json& memory = json_field(stats_, "memory");
    const std::uint64_t used = json_number(memory, "used_bytes");
    const std::uint64_t budget = json_number(memory, "budget_bytes");
    Finding& finding =
        add("server-memory", Verdict::kOk,
            format_size(used) + " of " + format_size(budget) + " used (" +
                percent(static_cast<double>(used), static_cast<double>(budget)) + ")" +
                (json_field(memory, "huge_pages") == true ? ", in huge pages" : ""));
    if (static_cast<double>(used) < kNearlyFull * static_cast<double>(budget)) return;
    finding.verdict = Verdict::kWarning;
    finding.advice = "writes will soon be refused: start it with --memory " +
                     std::to_string(std::max<std::uint64_t>(budget >> 19, 1)) + "M";
  }

  void durability() {
    const Json& durability = json_field(stats_, "durability");
    const std::string mode = json_string(durability, "mode", "none");
    if (mode == "none") {
      add("server-durability", Verdict::kNotApplicable,
          "none: the tree goes with the server; silurus-server --data DIR keeps it");
      return;
    }
    const Json& log = json_field(durability, "log");
    const Json& checkpoints = json_field(durability, "checkpoints");
    const std::string medium = json_string(durability, "medium");
    const std::uint64_t capacity = json_number(log, "capacity_bytes");
    const std::uint64_t failed = json_number(checkpoints, "failed");
    Finding& finding =
        add("server-durability", Verdict::kOk,
            mode + " to " + json_string(durability, "path") + " (" + medium + "), log " +
                percent(static_cast<double>(json_number(log, "used_bytes")),
                        static_cast<double>(capacity)) +
                " of " + format_size(capacity) + ", " +
                std::to_string(json_number(checkpoints, "count")) +
                " checkpoints, the last of version " +
                std::to_string(json_number(checkpoints, "version")));
    if (const std::string failure = json_string(durability, "failure"); !failure.empty()) {
      finding.verdict = Verdict::kError;
      finding.advice = failure + ": see its log, mend the disk, and start it again";
    } else if (const std::string failing = json_string(checkpoints, "failing"); !failing.empty()) {
      finding.verdict = Verdict::kWarning;
      finding.advice =
          std::to_string(failed) +
          " checkpoints failed, and writes will be refused when the log is full: " + failing;
    } else if (medium == "memory") {
      finding.verdict = Verdict::kWarning;
      finding.advice = "a power cut takes it: --data on a disk or persistent memory";
    }
  }

  void way(const char* name, const Way& way, const char* otherwise) {
    if (!way.offered) {
      add(name, Verdict::kNotApplicable, otherwise);
    } else if (way.error) {
      add(name, Verdict::kError, way.error->message, "silurus --server " + server_.url + " stats");
    } else {
      add(name, Verdict::kOk,
          format_duration(way.median) + " a round trip (median of " + std::to_string(way.searches) +
              ")");
    }
  }

  void group() {
    const Json& group = json_field(stats_, "group");
    if (!group.is_object()) {
      add("server-group", Verdict::kNotApplicable, "it has no replicas");
      return;
    }
    Finding& finding =
        add("server-group", Verdict::kOk,
            json_string(group, "name") + ", shard " + std::to_string(json_number(group, "shard")) +
                ", " + json_string(group, "role") + ", epoch " +
                std::to_string(json_number(group, "epoch")));
    if (const std::string failure = json_string(group, "failure"); !failure.empty()) {
      finding.verdict = Verdict::kError;
      finding.advice = failure + ": see its log";
    } else if (const auto why = json_string(group, "copy_obstacle"); !why.empty()) {
      finding.verdict = Verdict::kError;
      finding.advice = why;
    } else if (json_number(group, "primary") == 0) {
      finding.verdict = Verdict::kError;
      finding.advice = "there is no primary: start the members of the last view";
    } else if (json_string(group, "view_store") == "away") {
      finding.verdict = Verdict::kWarning;
      finding.advice = "nothing can take the primary's place meanwhile: etcdctl endpoint health";
    } else if (const auto warning = json_string(group, "warning"); !warning.empty()) {
      finding.verdict = Verdict::kWarning;
      finding.advice = warning;
    } else if (json_field(group, "fail_over") == false) {
      finding.found += ", no fail-over (a static group)";
    } else if (json_field(group, "needs_copy") == true) {
      finding.verdict = Verdict::kWarning;
      finding.advice = "it copies the tree of another member by itself: wait, or see its log";
    }
    members(group);
  }

  /// How far each member of the group is behind what is committed.
  void members(const Json& group) {
    const std::uint64_t committed = json_number(group, "committed_lsn");
    for (const Json& member : json_array(group, "members")) {
      const bool is_known = !json_field(member, "applied_lsn").is_null();
      const std::uint64_t applied = json_number(member, "applied_lsn");
      const std::uint64_t lag = is_known && committed > applied ? committed - applied : 0;
      const std::string url = json_string(member, "url");
      const bool in_view = json_field(member, "in_view") == true;
      Finding& finding = add("member", Verdict::kOk,
                             std::to_string(json_number(member, "id")) + " at " + url +
                                 (in_view ? ", in the view, " : ", not in the view, ") +
                                 (is_known ? format_size(lag) + " of the log behind"
                                           : "how far it is only the primary knows"));
      finding.name = "member " + std::to_string(json_number(member, "id")) + suffix_;
      const auto asked = std::ranges::find_if(server_.members, [&](const MemberFacts& one) {
        return !one.url.empty() && url.starts_with(one.url);
      });
      if (asked != server_.members.end() && asked->error) {
        finding.verdict = Verdict::kWarning;
        finding.advice = "it does not answer (" + asked->error->message + "): start it again";
      } else if (!in_view || lag > kUsualLag) {
        finding.verdict = Verdict::kWarning;
        finding.advice = "it catches up by itself; if it does not: see its log";
      }
    }
  }

  const ServerFacts& server_;
  const std::string suffix_;
  const Json stats_;
  Findings findings_;
};

}  // namespace

ServerFacts ask_server(const std::string& url, bool was_named, const ClientOptions& options) {
  ServerFacts facts{.url = url, .was_named = was_named};
  const auto info = probe(url, options.connect_timeout);
  if (!info) {
    facts.unreachable = info.error();
    return facts;
  }
  facts.dimensions = info->dimensions;
  if (info->dimensions == 3) {
    ask<3>(*info, options, facts);
  } else {
    ask<2>(*info, options, facts);
  }
  if (facts.unreachable) return facts;
  const Json stats = parse_json(facts.statistics);
  facts.members = ask_members(json_field(stats, "group"), options.connect_timeout);
  return facts;
}

Findings advise_server(const ServerFacts& server, const std::string& suffix) {
  return Advisor(server, suffix).run();
}

}  // namespace silurus::tool::doctor
