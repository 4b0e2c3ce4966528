// SPDX-License-Identifier: Apache-2.0

#include "gate/inspect.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <tuple>

#include "common/json.h"
#include "common/result.h"
#include "gate/limits.h"

namespace silurus::gate {
namespace {

using ChangeJson = nlohmann::ordered_json;

constexpr std::array<std::string_view, 1> kOfVersions = {"f"};
constexpr std::array<std::string_view, 4> kOfWays = {"f", "bbox", "datetime", "version"};
constexpr std::array<std::string_view, 4> kOfChanges = {"f", "bbox", "from", "to"};

HttpAnswer refusal(const WrongParameter& wrong) {
  return problem(400, wrong.name + ": " + wrong.why, wrong.name);
}

/// A version that is not kept any more is gone; whatever else there is not is not found.
HttpAnswer problem_of_past(const Error& error, bool names_version) {
  return names_version && error.code == ErrorCode::kNotFound ? problem(410, error.message)
                                                             : problem(error);
}

HttpAnswer as_json(const ChangeJson& json) {
  HttpAnswer answer{.type = "application/json", .body = json_text(json) + "\n"};
  answer.headers.emplace_back("Cache-Control", "no-store");
  return answer;
}

/// "2026-12-02T10:00:00.123Z".
std::string time_text(std::int64_t unix_ns) {
  const std::time_t seconds = unix_ns / kSecond;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> day{};
  std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%s.%03dZ", day.data(),
                static_cast<int>(unix_ns % kSecond / kMillisecond));
  return text.data();
}

ChangeJson as_object(const Way& way) {
  if (!way.problem.empty()) return {{"name", way.name}, {"problem", way.problem}};
  return {{"name", way.name},
          {"took", way.took},
          {"count", way.count},
          {"version", way.version},
          {"microseconds", way.microseconds},
          {"again", way.again},
          {"round_trips", way.round_trips},
          {"bytes", way.bytes},
          {"nodes_read", way.nodes_read},
          {"cache_hits", way.cache_hits}};
}

/// The one box of a `bbox` that does not wrap.
Parsed<Area> window_of(const Target& target, int dimensions) {
  const auto wrong = [](WrongParameter why) { return tl::unexpected<WrongParameter>(why); };
  const auto text = target.find("bbox");
  if (!text) return wrong({"bbox", "it has to be given"});
  const auto bbox = parse_bbox(*text, dimensions);
  if (!bbox) return wrong(bbox.error());
  if (bbox->parts.size() != 1) return wrong({"bbox", "it may not wrap here"});
  return bbox->parts[0];
}

Parsed<Version> version_of(const Target& target, const char* name) {
  const std::string_view text = target.find(name).value_or("");
  Version version = 0;
  const char* const end = text.data() + text.size();
  const auto done = std::from_chars(text.data(), end, version);
  if (text.empty() || done.ec != std::errc() || done.ptr != end || version == 0 ||
      version >= kFirstStamp) {
    return tl::unexpected<WrongParameter>(
        WrongParameter{name, "it has to be the number of a version"});
  }
  return version;
}

auto order_of(const Entry<3>& entry) {
  const Area& box = entry.box;
  return std::tie(entry.id, box.min[0], box.min[1], box.min[2], box.max[0], box.max[1], box.max[2]);
}
bool is_before(const Entry<3>& a, const Entry<3>& b) { return order_of(a) < order_of(b); }

/// [id, west, south, east, north]; of three dimensions too, since it is for a map.
ChangeJson as_array(const Entry<3>& entry) {
  const Area& box = entry.box;
  return ChangeJson::array({entry.id, box.min[0], box.min[1], box.max[0], box.max[1]});
}

ChangeJson as_list(const std::vector<Entry<3>>& entries) {
  ChangeJson list = ChangeJson::array();
  for (const Entry<3>& entry : entries) list.push_back(as_array(entry));
  return list;
}

/// Changes of a window; nothing if it has too many entries to tell.
Result<std::optional<Changes>> find_changes(Source& source, const std::string& collection,
                                            const Area& window, Version from, Version to) {
  std::array<std::vector<Entry<3>>, 2> entries;
  for (std::size_t i = 0; i < 2; ++i) {
    auto found =
        source.range(collection, window, {.limit = kMostChanged + 1, .as_of = i == 0 ? from : to});
    if (!found) return fail(found.error());
    if (found->count > kMostChanged) return std::optional<Changes>();
    entries[i] = std::move(found->entries);
  }
  return std::optional(changes_of(std::move(entries[0]), std::move(entries[1])));
}

}  // namespace

Changes changes_of(std::vector<Entry<3>> before, std::vector<Entry<3>> after) {
  std::sort(before.begin(), before.end(), is_before);
  std::sort(after.begin(), after.end(), is_before);
  std::vector<Entry<3>> gone;
  std::vector<Entry<3>> come;
  std::set_difference(before.begin(), before.end(), after.begin(), after.end(),
                      std::back_inserter(gone), is_before);
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(come), is_before);
  Changes changes;
  auto old = gone.begin();
  for (const Entry<3>& entry : come) {
    for (; old != gone.end() && old->id < entry.id; ++old) changes.erased.push_back(*old);
    if (old != gone.end() && old->id == entry.id) {
      changes.moved.emplace_back(*old++, entry);
    } else {
      changes.inserted.push_back(entry);
    }
  }
  changes.erased.insert(changes.erased.end(), old, gone.end());
  return changes;
}

HttpAnswer answer_versions(const Target& target, const Collection& collection, Source& source) {
  if (const auto unknown = find_unknown(target, kOfVersions)) return refusal(*unknown);
  const auto kept = source.history(collection.name);
  if (!kept) return problem(kept.error());
  ChangeJson list = ChangeJson::array();
  // The newest is listed, and before it each one of `step`.
  const std::size_t step = kept->size() / kMostVersions + 1;
  for (std::size_t i = 0; i < kept->size(); ++i) {
    const KeptVersion& version = (*kept)[i];
    if ((kept->size() - 1 - i) % step != 0) continue;
    list.push_back({{"version", version.version},
                    {"time", time_text(version.unix_ns)},
                    {"entries", version.entries}});
  }
  return as_json({{"kept", kept->size()}, {"versions", list}});
}

HttpAnswer answer_ways(const Target& target, const Collection& collection, Source& source) {
  if (const auto unknown = find_unknown(target, kOfWays)) return refusal(*unknown);
  const auto moment = parse_moment_of(target);
  if (!moment) return refusal(moment.error());
  const auto window = window_of(target, collection.dimensions);
  if (!window) return refusal(window.error());
  const auto ways = source.compare(collection.name, *window, *moment);
  if (!ways) return problem_of_past(ways.error(), *moment != 0);
  ChangeJson list = ChangeJson::array();
  for (const Way& way : *ways) list.push_back(as_object(way));
  return as_json({{"limit", kMostCompared}, {"ways", list}});
}

HttpAnswer answer_changes(const Target& target, const Collection& collection, Source& source) {
  if (const auto unknown = find_unknown(target, kOfChanges)) return refusal(*unknown);
  const auto from = version_of(target, "from");
  if (!from) return refusal(from.error());
  const auto to = version_of(target, "to");
  if (!to) return refusal(to.error());
  const auto window = window_of(target, collection.dimensions);
  if (!window) return refusal(window.error());
  const auto difference = source.difference(collection.name, *from, *to);
  if (!difference) return problem_of_past(difference.error(), true);
  const auto changes = find_changes(source, collection.name, *window, *from, *to);
  if (!changes) return problem_of_past(changes.error(), true);
  ChangeJson json = {{"from", difference->from},
                     {"to", difference->to},
                     {"count",
                      {{"inserted", difference->inserted.size()},
                       {"erased", difference->erased.size()},
                       {"moved", difference->moved.size()}}},
                     {"complete", changes->has_value()}};
  if (*changes) {
    ChangeJson moved = ChangeJson::array();
    for (const auto& [old, now] : (*changes)->moved) {
      moved.push_back(ChangeJson::array({as_array(old), as_array(now)}));
    }
    json["inserted"] = as_list((*changes)->inserted);
    json["erased"] = as_list((*changes)->erased);
    json["moved"] = std::move(moved);
  }
  return as_json(json);
}

HttpAnswer answer_cluster(const Target& target, Source& source) {
  if (const auto unknown = find_unknown(target, kOfVersions)) return refusal(*unknown);
  const auto group = source.cluster();
  if (!group) return problem(group.error());
  const auto all = parse_json<ChangeJson>(group->json);
  const std::uint64_t committed = json_number(all, "committed_lsn");
  const auto& said = json_array(all, "members");  // in the order of group->members
  ChangeJson members = ChangeJson::array();
  for (std::size_t i = 0; i < group->members.size(); ++i) {
    const GroupMember& member = group->members[i];
    ChangeJson lag;  // null: it is not known
    if (i < said.size() && json_field(said[i], "applied_lsn").is_number_unsigned()) {
      lag = committed - std::min(committed, json_number(said[i], "applied_lsn"));
    }
    members.push_back({{"id", member.id},
                       {"url", member.url},
                       {"in_view", member.is_in_view},
                       {"lag_bytes", lag}});
  }
  return as_json({{"epoch", group->epoch},
                  {"self", group->self},
                  {"primary", group->primary},
                  {"role", group->role},
                  {"members", members}});
}

}  // namespace silurus::gate
