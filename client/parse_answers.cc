// SPDX-License-Identifier: Apache-2.0

#include "client/parse_answers.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "client/cluster_info.h"
#include "common/json.h"

namespace silurus::client {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxListedCollections = 1024;  ///< replication::Catalogue has no more

tl::unexpected<Error> bad(const std::string& what) {
  return fail(ErrorCode::kProtocol, "the server sent a malformed answer: " + what);
}

/// 0 if there is none, and for what a double cannot hold.
double real(const Json& object, const char* name) {
  const Json& field = json_field(object, name);
  return field.is_number() ? field.get<double>() : 0;
}

/// Fails if one of them is no number.
Result<std::vector<std::uint64_t>> ids(const Json& object, const char* name) {
  const Json& list = json_field(object, name);
  if (!list.is_array()) return bad(std::string("a difference without \"") + name + "\"");
  std::vector<std::uint64_t> found;
  found.reserve(list.size());
  for (const Json& id : list) {
    if (!id.is_number_unsigned()) return bad(std::string("an id of \"") + name + "\" is none");
    found.push_back(id.get<std::uint64_t>());
  }
  return found;
}

/// Field of a member: a number or a text. Empty for all else.
std::string member_id(const Json& object, const char* name) {
  const Json& id = json_field(object, name);
  return id.is_number_unsigned() ? std::to_string(id.get<std::uint64_t>())
                                 : printable(json_string(object, name));
}

}  // namespace

Result<std::vector<KeptVersion>> parse_history(std::string text) {
  const Json json = parse_json(text);
  const Json& versions = json_field(json, "versions");
  if (!versions.is_array()) return bad("a history without \"versions\"");
  std::vector<KeptVersion> found;
  found.reserve(versions.size());
  for (const Json& kept : versions) {
    const Json& published = json_field(kept, "unix_ns");
    if (!json_field(kept, "version").is_number_unsigned() || !published.is_number_integer()) {
      return bad("a kept version without number or time");
    }
    found.push_back({.version = json_number(kept, "version"),
                     .unix_ns = published.get<std::int64_t>(),
                     .entries = json_number(kept, "entries")});
  }
  return found;
}

Result<Difference> parse_difference(std::string text) {
  const Json json = parse_json(text);
  auto inserted = ids(json, "inserted");
  if (!inserted) return fail(std::move(inserted.error()));
  auto erased = ids(json, "erased");
  if (!erased) return fail(std::move(erased.error()));
  auto moved = ids(json, "moved");
  if (!moved) return fail(std::move(moved.error()));
  return Difference{.from = json_number(json, "from"),
                    .to = json_number(json, "to"),
                    .inserted = std::move(*inserted),
                    .erased = std::move(*erased),
                    .moved = std::move(*moved)};
}

Result<BackupAnswer> parse_backup(std::string text) {
  const Json json = parse_json(text);
  if (!json_field(json, "path").is_string()) return bad("a backup without \"path\"");
  return BackupAnswer{.path = printable(json_string(json, "path")),
                      .version = json_number(json, "version"),
                      .entries = json_number(json, "entries")};
}

Result<std::vector<CollectionInfo>> parse_collections(std::string text) {
  const Json json = parse_json(text);
  const Json& listed = json_field(json, "collections");
  if (!listed.is_array() || listed.size() > kMaxListedCollections) {
    return bad("a list of collections without \"collections\"");
  }
  const auto is_set = [](const Json& one, const char* name) {
    const Json& field = json_field(one, name);
    return field.is_boolean() && field.get<bool>();
  };
  std::vector<CollectionInfo> collections;
  for (const Json& one : listed) {
    CollectionInfo info{.name = printable(json_string(one, "name")),
                        .dimensions = static_cast<std::uint32_t>(json_number(one, "dimensions")),
                        .options = {.keyed = is_set(one, "keyed"),
                                    .lonlat = is_set(one, "lonlat"),
                                    .records = is_set(one, "records")},
                        .entries = json_number(one, "entries"),
                        .version = json_number(one, "version"),
                        .note = printable(json_string(one, "note"))};
    collections.push_back(std::move(info));
  }
  return collections;
}

Result<GroupInfo> parse_group(std::string text) {
  const Json json = parse_json(text);
  const Json& members = json_field(json, "members");
  if (!members.is_array() || members.size() > kMaxClusterMembers) {
    return bad("a group without \"members\"");
  }
  GroupInfo group{.epoch = json_number(json, "epoch"),
                  .self = member_id(json, "self"),
                  .primary = member_id(json, "primary"),
                  .role = printable(json_string(json, "role")),
                  .members = {},
                  .json = {}};
  for (const Json& member : members) {
    const Json& in_view = json_field(member, "in_view");
    group.members.push_back({.id = member_id(member, "id"),
                             .url = printable(json_string(member, "url")),
                             .is_in_view = !in_view.is_boolean() || in_view.get<bool>()});
  }
  group.json = std::move(text);
  return group;
}

Result<ServerStatistics> parse_statistics(std::string text) {
  const Json json = parse_json(text);
  if (!json_field(json, "version").is_number_unsigned()) return bad("statistics without a version");
  std::uint64_t clients = 0;
  for (const Json& listener : json_array(json, "listeners")) {
    clients += json_number(listener, "clients");
  }
  ServerStatistics says{
      .version = json_number(json, "version"),
      .state = printable(json_string(json, "state", "serving")),
      .uptime_seconds = real(json, "uptime_seconds"),
      .dimensions = static_cast<std::uint32_t>(json_number(json, "dimensions")),
      .entries = json_number(json, "entries"),
      .nodes = json_number(json, "nodes"),
      .height = static_cast<std::uint32_t>(json_number(json, "height")),
      .bytes = json_number(json, "bytes"),
      .bytes_retired = json_number(json, "bytes_retired"),
      .memory_budget_bytes = json_number(json_field(json, "memory"), "budget_bytes"),
      .clients = clients,
      .write_operations = json_number(json, "write_operations"),
      .failed_operations = json_number(json, "failed_operations"),
      .cpu_seconds = real(json, "cpu_seconds"),
      .json = {}};
  says.json = std::move(text);
  return says;
}

}  // namespace silurus::client
