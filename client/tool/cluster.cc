// SPDX-License-Identifier: Apache-2.0

#include "client/tool/cluster.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "common/json.h"
#include "common/units.h"
#include "silurus/map_store.h"
#include "silurus/replacement.h"
#include "silurus/router.h"

namespace silurus::tool {
namespace {

using Json = nlohmann::ordered_json;
using shards::MapStore;
using shards::ShardMap;

/// Half of the frame's extent divided by this is the limit, if none is given.
constexpr double kLimitShare = 1000;

/// What a change of the map comes to, for people.
std::string changed(const ShardMap& map, const std::string& what, Format format) {
  if (format == Format::kJson) return Json{{"epoch", map.epoch}}.dump() + "\n";
  if (format == Format::kCsv) return "epoch\n" + std::to_string(map.epoch) + "\n";
  return what + ", epoch " + std::to_string(map.epoch) + "\n";
}

/// The server is there, empty, and has that number of dimensions. Which group of replicas it is, if
/// any.
Result<std::string> check_empty(const std::string& url, int dimensions, const Settings& settings) {
  const auto server = probe(url, settings.client.connect_timeout);
  if (!server) return fail(server.error());
  if (static_cast<int>(server->dimensions) != dimensions) {
    return fail(ErrorCode::kConflict, url + " has " + std::to_string(server->dimensions) +
                                          " dimensions, the cluster " + std::to_string(dimensions));
  }
  const auto ask = [&]<int D>() -> Result<ServerStatistics> {
    auto client = Client<D>::connect(url, settings.client);
    if (!client) return fail(client.error());
    return client->server_statistics();
  };
  const auto says = dimensions == 3 ? ask.template operator()<3>() : ask.template operator()<2>();
  if (!says) return fail(says.error());
  const Json json = parse_json<Json>(says->json);
  if (says->entries == 0 && says->state == "serving") {
    const Json& group = json_field(json, "group");
    if (!group.is_object()) return std::string();
    return json_string(group, "name") + "/" + std::to_string(json_number(group, "shard"));
  }
  return fail(ErrorCode::kConflict, url + " is not empty and serving: it is " + says->state +
                                        " and holds " + std::to_string(says->entries) + " entries");
}

Result<std::string> init(MapStore& store, const ClusterCommand& command, const Settings& settings,
                         Progress& progress) {
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
    progress.say("asking " + command.urls[i] + " whether it is empty");
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

Result<std::string> add_shard(MapStore& store, const shards::StoredMap& stored,
                              const ClusterCommand& command, const Settings& settings,
                              Progress& progress) {
  ShardMap next = stored.map;
  for (const std::string& url : command.urls) {
    progress.say("asking " + url + " whether it is empty");
    if (auto ok = check_empty(url, next.dimensions, settings); !ok) return fail(ok.error());
    next.spares.push_back(url);
  }
  const auto replaced = store.replace(stored, std::move(next));
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
  std::size_t members = 0;  ///< members of a group's view; 0: it is no group
  std::uint64_t nodes = 0;  ///< that its primary's tree has
  Json group = nullptr;     ///< what its primary says of it
};

/// A line for each member that joins a group: which one, and how far it is.
std::vector<std::string> joining(const Condition& condition) {
  const std::uint64_t nodes = std::max<std::uint64_t>(condition.nodes, 1);
  std::vector<std::string> lines;
  for (const Json& joiner : json_array(condition.group, "joining")) {
    std::string line = "member " + std::to_string(json_number(joiner, "id")) + " at " +
                       json_string(joiner, "url") + " joins: it " + json_string(joiner, "state");
    if (const std::uint64_t copied = json_number(joiner, "nodes_copied"); copied != 0) {
      line += ", " + std::to_string(100 * std::min(copied, nodes) / nodes) + " % of it";
    }
    if (const std::uint64_t left = json_number(joiner, "log_bytes_left"); left != 0) {
      line += ", of which it lacks " + format_size(left);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

template <int D>
Result<std::vector<Condition>> conditions(const Settings& settings) {
  auto router = Router<D>::connect(settings.url, settings.client);
  if (!router) return fail(router.error());
  const auto all = router->server_statistics();
  if (!all) return fail(all.error());
  std::vector<Condition> found;
  for (const ShardStatistics& one : *all) {
    if (!one.statistics) {
      found.push_back({"unreachable: " + one.statistics.error().message});
      continue;
    }
    const Json json = parse_json<Json>(one.statistics->json);
    const Json& group = json_field(json, "group");
    found.push_back({one.statistics->state, one.statistics->entries,
                     json_array(group, "members").size(), one.statistics->nodes, group});
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
    if (found[i].members == 0) continue;
    json["shards"][i]["members"] = found[i].members;
    for (const char* field : {"copies", "copies_needed", "joining", "warning"}) {
      const Json& value = json_field(found[i].group, field);
      if (!value.is_null()) json["shards"][i][field] = value;
    }
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
    if (csv) continue;
    if (const auto warning = json_string(condition.group, "warning"); !warning.empty()) {
      text += "  warning: " + warning + "\n";
    }
    for (const std::string& line : joining(condition)) text += "  " + line + "\n";
    for (const shards::Part& part : shard.successors) {
      text += "  being replaced by " + std::to_string(part.id) + " from " +
              shards::key_text(part.first) + " at " + joined(part.servers) + "\n";
    }
  }
  if (!csv && !map.spares.empty()) text += "spare: " + joined(map.spares) + "\n";
  if (!csv) text += "epoch " + std::to_string(map.epoch) + "\n";
  return text;
}

Result<std::string> status(const shards::StoredMap& stored, const Settings& settings) {
  const auto found = stored.map.dimensions == 3 ? conditions<3>(settings) : conditions<2>(settings);
  if (!found) return fail(found.error());
  if (settings.format == Format::kJson) return status_json(stored.map, *found);
  return status_lines(stored.map, *found, settings.format == Format::kCsv);
}

// --- split and move

/// What a step is, for those who wait for it.
const char* doing(shards::Step step) {
  switch (step) {
    case shards::Step::kIntent:
      return "looking at the shard and its successors";
    case shards::Step::kFill:
      return "emptying the successors";
    case shards::Step::kCopy:
      return "copying the shard";
    case shards::Step::kCatchUp:
      return "copying what has changed meanwhile";
    case shards::Step::kFreeze:
    case shards::Step::kRetire:
    case shards::Step::kServe:
      return "handing over to the successors";
    case shards::Step::kReplace:
      return "changing the shard map";
  }
  return "replacing the shard";
}

template <int D>
Result<std::string> replace(MapStore& store, const ClusterCommand& command,
                            const Settings& settings, Progress& progress) {
  if (command.abort) {
    progress.say("giving the shard its range back");
    const auto aborted = shards::abort_replacement<D>(store, command.shard, settings.client);
    if (!aborted) return fail(aborted.error());
    return changed(aborted->map, "shard " + std::to_string(command.shard) + " stays as it was",
                   settings.format);
  }
  const bool split = command.action == ClusterAction::kSplit;
  bool has_begun = false;
  const auto report =
      shards::replace_shard<D>(store, {.shard = command.shard,
                                       .parts = split ? std::size_t{2} : std::size_t{1},
                                       .targets = command.urls,
                                       .at = command.at,
                                       .client = settings.client,
                                       .before = [&](shards::Step step) {
                                         progress.say(doing(step));
                                         has_begun |= step == shards::Step::kFill;
                                         return true;
                                       }});
  if (!report) {
    const std::string what = (split ? "split " : "move ") + std::to_string(command.shard);
    return fail(report.error().code,
                report.error().message +
                    (has_begun ? "; run silurus cluster " + what +
                                     " again to go on with it, or with --abort to end it"
                               : ""));
  }
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
           format_number(ms(report->refused_writes)) + "," +
           format_number(ms(report->refused_all)) + "," + std::to_string(report->epoch) + "\n";
  }
  return text + ", " + grouped(report->entries) + " entries; writes were refused for " +
         format_number(std::round(ms(report->refused_writes))) + " ms, searches for " +
         format_number(std::round(ms(report->refused_all))) + " ms of that; epoch " +
         std::to_string(report->epoch) + "\n";
}

// --- the command line

/// Reads the words of one form of the command after the other.
class ArgumentReader {
 public:
  ArgumentReader(const CommandTable& command, std::span<const std::string> words)
      : command_(command), words_(words) {}

  tl::unexpected<Error> usage(const std::string& message) const {
    return fail(ErrorCode::kInvalidArgument, message + "\n" + usage_of(command_));
  }

  Result<ClusterCommand> read() {
    const std::string action = words_.empty() ? "" : words_[0];
    if (!words_.empty()) words_ = words_.subspan(1);
    Result<ClusterCommand> read = action == "status"      ? status()
                                  : action == "init"      ? init()
                                  : action == "add-shard" ? add_shard()
                                  : action == "split"     ? replace(ClusterAction::kSplit)
                                  : action == "move"      ? replace(ClusterAction::kMove)
                                                          : unknown(action);
    if (!read) return read;
    read->urls.assign(words_.begin(), words_.end());
    for (const std::string& url : read->urls) {
      if (auto ok = check_server(url); !ok) return usage(ok.error().message);
    }
    return read;
  }

 private:
  Result<ClusterCommand> unknown(const std::string& action) const {
    if (action.empty()) return usage("what of the cluster?");
    const std::vector<std::string> names{"status", "init", "add-shard", "split", "move"};
    const auto plain = [](std::string_view name) { return std::string(name); };
    return usage("'" + action + "' is nothing to be done with a cluster" +
                 flags::suggestion(action, names, plain));
  }
  Result<ClusterCommand> status() const {
    if (!words_.empty()) return usage("status takes no arguments");
    return ClusterCommand{.action = ClusterAction::kStatus};
  }
  Result<ClusterCommand> init() {
    ClusterCommand command{.action = ClusterAction::kInit};
    for (; !words_.empty() && flags::as_number(words_[0]); words_ = words_.subspan(1)) {
      command.numbers.push_back(*flags::as_number(words_[0]));
    }
    const std::size_t half = command.numbers.size() / 2;
    if (command.numbers.size() != 4 && command.numbers.size() != 6) {
      return usage("the frame needs 4 numbers (6 in three dimensions), there are " +
                   std::to_string(command.numbers.size()));
    }
    for (std::size_t d = 0; d < half; ++d) {
      const double low = command.numbers[d];
      const double high = command.numbers[d + half];
      if (std::isfinite(low) && std::isfinite(high) && low < high) continue;
      return usage("the frame has no extent from " + format_number(low) + " to " +
                   format_number(high) + ": all its minima come first, then its maxima");
    }
    if (words_.empty()) return usage("the cluster needs a server");
    return command;
  }
  Result<ClusterCommand> add_shard() const {
    if (words_.empty()) return usage("add-shard needs a server");
    return ClusterCommand{.action = ClusterAction::kAddShard};
  }
  Result<ClusterCommand> replace(ClusterAction action) {
    const bool splits = action == ClusterAction::kSplit;
    const std::string name = splits ? "split" : "move";
    if (words_.empty()) return usage(name + " needs the number of a shard");
    const auto shard = flags::parse_whole(words_[0], 0, UINT32_MAX);
    if (!shard) {
      return usage("'" + words_[0] +
                   "' is no number of a shard: silurus cluster status lists them");
    }
    words_ = words_.subspan(1);
    if (!words_.empty() && words_.size() != (splits ? 2u : 1u)) {
      return usage(splits ? "split takes 2 servers, or none: then spares are used"
                          : "move takes 1 server, or none: then a spare is used");
    }
    return ClusterCommand{.action = action, .shard = static_cast<std::uint32_t>(*shard)};
  }

  const CommandTable& command_;
  std::span<const std::string> words_;
};

}  // namespace

std::string cluster_statistics(const ShardMap& map, std::span<const ShardStatistics> all) {
  Json list = Json::array();
  std::uint64_t entries = 0;
  for (const ShardStatistics& one : all) {
    Json shard = {{"id", one.shard.id},
                  {"first", shards::key_text(one.shard.first)},
                  {"servers", one.shard.url()}};
    if (one.statistics) {
      entries += one.statistics->entries;
      shard["statistics"] = parse_json<Json>(one.statistics->json);
    } else {
      shard["error"] = one.statistics.error().message;
    }
    list.push_back(std::move(shard));
  }
  return json_text(Json{{"epoch", map.epoch}, {"entries", entries}, {"shards", std::move(list)}});
}

Result<Command> parse_cluster(const CommandTable& command, std::span<const std::string> words,
                              const flags::Values& values) {
  ArgumentReader reader(command, words);
  auto parsed = reader.read();
  if (!parsed) return fail(parsed.error());
  const ClusterAction action = parsed->action;
  const bool replaces = action == ClusterAction::kSplit || action == ClusterAction::kMove;
  if ((values.has("abort") && !replaces) || (values.has("at") && action != ClusterAction::kSplit) ||
      (values.has("edge") && action != ClusterAction::kInit)) {
    return reader.usage("--at is of split, --abort of split and move, --edge of init");
  }
  flags::Reader options(values);
  options.toggle("abort", parsed->abort);
  options.read("at", shards::parse_key, parsed->at);
  if (values.has("edge")) {
    double edge = -1;
    options.real("edge", edge);
    if (!(edge >= 0) || !std::isfinite(edge)) {
      options.refuse("edge", "'" + values.text("edge") + "' is not a number, 0 or more");
    }
    parsed->edge = edge;
  }
  if (!options.status()) return fail(options.status().error());
  return std::move(*parsed);
}

Result<std::string> run_cluster(const ClusterCommand& command, const Settings& settings) {
  Progress progress("asking etcd for the shard map");
  auto store = shards::open_map_store(settings.url, settings.client.connect_timeout);
  if (!store) return fail(store.error());
  const auto stored = (*store)->load();
  if (command.action == ClusterAction::kInit) {
    if (stored) {
      return fail(ErrorCode::kConflict,
                  "there is a shard map of that name already: silurus "
                  "cluster status shows it, add-shard, split and move "
                  "change it");
    }
    if (stored.error().code != ErrorCode::kNotFound) return fail(stored.error());
    return init(**store, command, settings, progress);
  }
  if (!stored) return fail(stored.error());
  switch (command.action) {
    case ClusterAction::kAddShard:
      return add_shard(**store, *stored, command, settings, progress);
    case ClusterAction::kStatus:
      progress.say("asking the shards for their statistics");
      return status(*stored, settings);
    default:
      return stored->map.dimensions == 3 ? replace<3>(**store, command, settings, progress)
                                         : replace<2>(**store, command, settings, progress);
  }
}

}  // namespace silurus::tool
