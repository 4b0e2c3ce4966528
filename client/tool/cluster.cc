#include "client/tool/cluster.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "client/shards/map_store.h"
#include "client/shards/replacement.h"
#include "client/shards/router.h"
#include "client/tool/output.h"
#include "common/flags.h"
#include "common/json.h"

namespace silurus::tool {
namespace {

using Json = nlohmann::ordered_json;
using shards::MapStore;
using shards::ShardMap;

/// Half of the frame's extent divided by this is the limit, if none is given.
constexpr double kLimitShare = 1000;

constexpr const char* kUsage =
    "usage: silurus cluster init XMIN YMIN XMAX YMAX URL... [--edge LIMIT]\n"
    "       silurus cluster status | add-shard URL...\n"
    "       silurus cluster split SHARD [URL URL] [--at KEY] | split SHARD --abort\n"
    "       silurus cluster move SHARD [URL] | move SHARD --abort";

tl::unexpected<Error> usage(const std::string& message) {
  return fail(ErrorCode::kInvalidArgument, message + "\n" + kUsage);
}

Result<std::uint32_t> shard_number(const std::string& text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) {
    return usage("'" + text + "' is no number of a shard: silurus cluster status lists them");
  }
  return id;
}

/// What a change of the map comes to, for people.
std::string changed(const ShardMap& map, const std::string& what, Format format) {
  if (format == Format::kJson) return Json{{"epoch", map.epoch}}.dump() + "\n";
  if (format == Format::kCsv) return "epoch\n" + std::to_string(map.epoch) + "\n";
  return what + ", epoch " + std::to_string(map.epoch) + "\n";
}

/// The server is there, empty, and has so many dimensions. Which group of replicas it is, if any.
Result<std::string> check_empty(const std::string& url, int dimensions, const Settings& settings) {
  const auto server = probe(url, settings.client.connect_timeout);
  if (!server) return fail(server.error());
  if (static_cast<int>(server->dimensions) != dimensions) {
    return fail(ErrorCode::kConflict, url + " has " + std::to_string(server->dimensions) +
                                          " dimensions, the cluster " + std::to_string(dimensions));
  }
  Result<std::string> text;
  if (dimensions == 3) {
    auto client = Client<3>::connect(url, settings.client);
    text = client ? client->server_statistics() : fail(client.error());
  } else {
    auto client = Client<2>::connect(url, settings.client);
    text = client ? client->server_statistics() : fail(client.error());
  }
  if (!text) return fail(text.error());
  const Json json = parse_json<Json>(*text);
  if (!json.is_object()) return fail(ErrorCode::kProtocol, url + " answers nonsense");
  const auto entries = json_number(json, "entries");
  const auto state = json_string(json, "state", "serving");
  if (entries == 0 && state == "serving") {
    const Json& group = json_field(json, "group");
    if (!group.is_object()) return std::string();
    return json_string(group, "name") + "/" + std::to_string(json_number(group, "shard"));
  }
  return fail(ErrorCode::kConflict, url + " is not empty and serving: it is " + state +
                                        " and holds " + std::to_string(entries) + " entries");
}

Result<std::string> init(MapStore& store, const ClusterCommand& command, const Settings& settings) {
  ShardMap map;
  map.dimensions = static_cast<int>(command.numbers.size() / 2);
  const auto middle = command.numbers.begin() + map.dimensions;
  map.frame_min.assign(command.numbers.begin(), middle);
  map.frame_max.assign(middle, command.numbers.end());
  for (std::size_t d = 0; d < map.frame_min.size(); ++d) {
    const double share = (map.frame_max[d] - map.frame_min[d]) / (2 * kLimitShare);
    map.limit.push_back(command.edge ? *command.edge / 2 : share);
  }
  const std::size_t count = command.urls.size();
  std::set<std::string> groups;
  for (std::size_t i = 0; i < count; ++i) {
    const auto group = check_empty(command.urls[i], map.dimensions, settings);
    if (!group) return fail(group.error());
    if (!group->empty() && !groups.insert(*group).second) {
      return fail(ErrorCode::kInvalidArgument,
                  command.urls[i] + " and one before it are the same group, " + *group +
                      ": members of one are named together, parted by commas");
    }
    shards::Shard& shard = map.shards.emplace_back();
    shard.id = map.next_id++;
    shard.first = UINT64_MAX / count * i;
    shard.servers = shards::servers_of(command.urls[i]);
  }
  const auto made = store.replace({}, std::move(map));
  if (!made) {
    if (made.error().code != ErrorCode::kConflict) return fail(made.error());
    return fail(ErrorCode::kConflict,
                "there is a shard map of that name already: silurus cluster status shows it");
  }
  return changed(made->map, "the cluster has " + std::to_string(count) + " shards",
                 settings.format);
}

Result<std::string> add_shard(MapStore& store, const ClusterCommand& command,
                              const Settings& settings) {
  auto stored = store.load();
  if (!stored) return fail(stored.error());
  ShardMap next = stored->map;
  for (const std::string& url : command.urls) {
    if (auto ok = check_empty(url, next.dimensions, settings); !ok) return fail(ok.error());
    next.spares.push_back(url);
  }
  const auto replaced = store.replace(*stored, std::move(next));
  if (!replaced) return fail(replaced.error());
  return changed(replaced->map,
                 std::to_string(replaced->map.spares.size()) +
                     " servers are spare (silurus cluster split and move use them)",
                 settings.format);
}

// --- status

/// Entries and state of a shard by the statistics of its server, or why there are none.
struct Condition {
  std::string state;
  std::uint64_t entries = 0;
  std::size_t members = 0;  ///< of a group's view; 0: it is none
};

template <int D>
Result<std::vector<Condition>> conditions(const Settings& settings) {
  auto router = Router<D>::connect(settings.url, settings.client);
  if (!router) return fail(router.error());
  const auto text = router->server_statistics();
  if (!text) return fail(text.error());
  const Json json = parse_json<Json>(*text);
  std::vector<Condition> found;
  for (const Json& shard : json_array(json, "shards")) {
    if (!json_field(shard, "error").is_null()) {
      found.push_back({"unreachable: " + json_string(shard, "error")});
      continue;
    }
    const Json& statistics = json_field(shard, "statistics");
    found.push_back({json_string(statistics, "state", "serving"),
                     json_number(statistics, "entries"),
                     json_array(json_field(statistics, "group"), "members").size()});
  }
  return found;
}

std::string joined(const std::vector<std::string>& urls) {
  std::string all;
  for (const std::string& url : urls) all += (all.empty() ? "" : " ") + url;
  return all;
}

std::string status_json(const ShardMap& map, const std::vector<Condition>& found) {
  Json json = parse_json<Json>(shards::encode(map));
  for (std::size_t i = 0; i < map.shards.size() && i < found.size(); ++i) {
    json["shards"][i]["last"] = shards::key_text(map.last_key(i));
    json["shards"][i]["state"] = found[i].state;
    json["shards"][i]["entries"] = found[i].entries;
    if (found[i].members > 0) json["shards"][i]["members"] = found[i].members;
  }
  return json_text(json) + "\n";
}

std::string status_lines(const ShardMap& map, const std::vector<Condition>& found, bool csv) {
  const std::string between = csv ? "," : "  ";
  std::string text = "shard" + between + "first key" + std::string(csv ? "" : "       ") + between +
                     "entries" + between + "state" + between + "servers\n";
  for (std::size_t i = 0; i < map.shards.size(); ++i) {
    const shards::Shard& shard = map.shards[i];
    Condition condition = i < found.size() ? found[i] : Condition{"unknown"};
    if (condition.members > 0 && !csv) {
      condition.state += ", " + std::to_string(condition.members) +
                         (condition.members == 1 ? " member" : " members");
    }
    std::string number = std::to_string(shard.id);
    if (!csv) number.resize(std::max<std::size_t>(number.size(), 5), ' ');
    text += number + between + shards::key_text(shard.first) + between +
            std::to_string(condition.entries) + between + condition.state + between +
            joined(shard.servers) + "\n";
    for (const shards::Part& part : shard.successors) {
      if (csv) continue;
      text += "  being replaced by " + std::to_string(part.id) + " from " +
              shards::key_text(part.first) + " at " + joined(part.servers) + "\n";
    }
  }
  if (!csv && !map.spares.empty()) text += "spare: " + joined(map.spares) + "\n";
  if (!csv) text += "epoch " + std::to_string(map.epoch) + "\n";
  return text;
}

Result<std::string> status(MapStore& store, const Settings& settings) {
  const auto stored = store.load();
  if (!stored) return fail(stored.error());
  const auto found =
      stored->map.dimensions == 3 ? conditions<3>(settings) : conditions<2>(settings);
  if (!found) return fail(found.error());
  if (settings.format == Format::kJson) return status_json(stored->map, *found);
  return status_lines(stored->map, *found, settings.format == Format::kCsv);
}

// --- split and move

template <int D>
Result<std::string> replace(MapStore& store, const ClusterCommand& command,
                            const Settings& settings) {
  if (command.abort) {
    const auto aborted = shards::abort_replacement<D>(store, command.shard, settings.client);
    if (!aborted) return fail(aborted.error());
    return changed(aborted->map, "shard " + std::to_string(command.shard) + " stays as it was",
                   settings.format);
  }
  const bool split = command.action == ClusterAction::kSplit;
  const auto report =
      shards::replace_shard<D>(store, {.shard = command.shard,
                                       .parts = split ? std::size_t{2} : std::size_t{1},
                                       .targets = command.urls,
                                       .at = command.at,
                                       .client = settings.client});
  if (!report) return fail(report.error());
  Json parts = Json::array();
  std::string text = "shard " + std::to_string(report->shard) + " is replaced by";
  for (const shards::Part& part : report->parts) {
    parts.push_back(
        {{"id", part.id}, {"first", shards::key_text(part.first)}, {"servers", part.servers}});
    text += " " + std::to_string(part.id) + " (from " + shards::key_text(part.first) + ", " +
            joined(part.servers) + ")";
  }
  const auto ms = [](Nanoseconds time) { return static_cast<double>(time) / kMillisecond; };
  if (settings.format == Format::kJson) {
    return Json{{"shard", report->shard},
                {"parts", parts},
                {"entries", report->entries},
                {"caught_up", report->caught_up},
                {"refused_writes_ms", ms(report->refused_writes)},
                {"refused_all_ms", ms(report->refused_all)},
                {"epoch", report->epoch}}
               .dump() +
           "\n";
  }
  if (settings.format == Format::kCsv) {
    return "shard,entries,refused_writes_ms,refused_all_ms,epoch\n" +
           std::to_string(report->shard) + "," + std::to_string(report->entries) + "," +
           number(ms(report->refused_writes)) + "," + number(ms(report->refused_all)) + "," +
           std::to_string(report->epoch) + "\n";
  }
  return text + ", " + grouped(report->entries) + " entries; writes were refused for " +
         number(std::round(ms(report->refused_writes))) + " ms, searches for " +
         number(std::round(ms(report->refused_all))) + " ms of that; epoch " +
         std::to_string(report->epoch) + "\n";
}

}  // namespace

Result<ClusterCommand> parse_cluster(std::span<const std::string> words) {
  if (words.empty()) return usage("what of the cluster?");
  ClusterCommand command;
  const std::string& action = words[0];
  words = words.subspan(1);
  if (action == "split" || action == "move") {
    command.action = action == "split" ? ClusterAction::kSplit : ClusterAction::kMove;
    if (words.empty()) return usage(action + " needs the number of a shard");
    const auto shard = shard_number(words[0]);
    if (!shard) return fail(shard.error());
    command.shard = *shard;
    words = words.subspan(1);
    const std::size_t needed = command.action == ClusterAction::kSplit ? 2 : 1;
    if (!words.empty() && words.size() != needed) {
      return usage(action + " takes " + std::to_string(needed) + " servers, or spares");
    }
  } else if (action == "init") {
    command.action = ClusterAction::kInit;
    while (!words.empty() && flags::as_number(words[0])) {
      command.numbers.push_back(*flags::as_number(words[0]));
      words = words.subspan(1);
    }
    if (command.numbers.size() != 4 && command.numbers.size() != 6) {
      return usage("the frame needs 4 numbers (6 in three dimensions)");
    }
    if (words.empty()) return usage("the cluster needs a server");
  } else if (action == "add-shard") {
    command.action = ClusterAction::kAddShard;
    if (words.empty()) return usage("add-shard needs a server");
  } else if (action == "status") {
    command.action = ClusterAction::kStatus;
    if (!words.empty()) return usage("status takes no arguments");
  } else {
    return usage("'" + action + "' is nothing to be done with a cluster");
  }
  command.urls.assign(words.begin(), words.end());
  for (const std::string& url : command.urls) {
    if (url.find("://") == std::string::npos) return usage("'" + url + "' is not a server");
  }
  return command;
}

Result<std::string> run_cluster(const ClusterCommand& command, const Settings& settings) {
  auto store = shards::open_map_store(settings.url);
  if (!store) return fail(store.error());
  switch (command.action) {
    case ClusterAction::kInit:
      return init(**store, command, settings);
    case ClusterAction::kAddShard:
      return add_shard(**store, command, settings);
    case ClusterAction::kStatus:
      return status(**store, settings);
    case ClusterAction::kSplit:
    case ClusterAction::kMove:
      break;
  }
  const auto stored = (*store)->load();
  if (!stored) return fail(stored.error());
  return stored->map.dimensions == 3 ? replace<3>(**store, command, settings)
                                     : replace<2>(**store, command, settings);
}

}  // namespace silurus::tool
