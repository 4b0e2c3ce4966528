// SPDX-License-Identifier: Apache-2.0

#include "server/tasks.h"

#include <algorithm>
#include <ctime>

#include "common/json.h"
#include "replication/backup.h"
#include "rtree/diff.h"

namespace silurus::server {

using replication::AdmissionAction;
using replication::AdmissionOrder;
namespace {

using Json = nlohmann::ordered_json;

// What travels is what lies in the log.
static_assert(protocol::kKeyed == std::uint32_t{replication::kKeyed} &&
              protocol::kLonLat == std::uint32_t{replication::kLonLat} &&
              protocol::kWithRecords == std::uint32_t{replication::kWithRecords});

/// "2026-11-21T01:18:57.123456Z".
std::string utc(std::int64_t unix_ns) {
  const std::time_t seconds = unix_ns / kSecond;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%06dZ",
                static_cast<int>(unix_ns % kSecond / kMicrosecond));
  return text;
}

}  // namespace

Result<AdmissionOrder> order_of(const protocol::TaskMessage& task, bool remembers_retirement) {
  switch (task.kind) {
    case protocol::TaskKind::kFill:
      return AdmissionOrder{AdmissionAction::kFill, task.from, 0};
    case protocol::TaskKind::kFreeze:
      if (!remembers_retirement) {
        return fail(ErrorCode::kUnsupported,
                    "a server whose data lie on a device cannot be replaced: it could not remember "
                    "that it was");
      }
      if (task.to == 0 || task.to > static_cast<std::uint64_t>(kMaxFreeze)) {
        return fail(ErrorCode::kInvalidArgument,
                    "a server is frozen for at most " + format_duration(kMaxFreeze));
      }
      return AdmissionOrder{AdmissionAction::kFreeze, task.from, task.to};
    case protocol::TaskKind::kRetire:
      return AdmissionOrder{AdmissionAction::kRetire, task.from, 0};
    case protocol::TaskKind::kServe:
      return AdmissionOrder{AdmissionAction::kServe, task.from, 0};
    default:
      return fail(ErrorCode::kUnsupported, "that is no admission order");
  }
}

template <int D>
std::string history_json(const History<D>& history) {
  Json versions = Json::array();
  for (const auto& kept : history.list()) {
    versions.push_back({{"version", kept.version},
                        {"time", utc(kept.unix_ns)},
                        {"unix_ns", kept.unix_ns},
                        {"entries", kept.entries}});
  }
  return Json{{"versions", versions}}.dump();
}

std::string order_json(const AdmissionControl& admission, rtree::Version version,
                       std::uint64_t entries) {
  return Json{{"state", to_string(admission.state())},
              {"ticket", admission.fencing_token()},
              {"version", version},
              {"entries", entries}}
      .dump();
}

template <int D>
std::string compaction_json(const rtree::CompactStep& step, rtree::Version version,
                            const rtree::TreeStats& stats) {
  return Json{{"next", step.next},
              {"done", step.next == rtree::kCompacted},
              {"must_wait", step.is_short},
              {"share", step.share},
              {"saved_nodes", step.saved_nodes},
              {"saved_bytes", step.saved_bytes},
              {"version", version},
              {"nodes", stats.nodes},
              {"bytes", stats.bytes_used},
              {"bytes_retired", stats.bytes_retired},
              {"bytes_held", stats.bytes_held}}
      .dump();
}

template <int D>
Result<std::string> diff_json(const History<D>& history, Moment from, Moment to) {
  const auto before = history.at(from);
  if (!before) return fail(before.error());
  const auto after = history.at(to);
  if (!after) return fail(after.error());
  const auto found = rtree::difference(*before, *after, kMaxDiffEntries);
  if (!found) return fail(found.error());
  Json json = {{"from", before->version()}, {"to", after->version()},
               {"inserted", Json::array()}, {"erased", Json::array()},
               {"moved", Json::array()},    {"nodes_visited", found->nodes_visited}};
  for (const auto& entry : found->inserted) json["inserted"].push_back(entry.id);
  for (const auto& entry : found->erased) json["erased"].push_back(entry.id);
  for (const auto& move : found->moved) json["moved"].push_back(move.id);
  return json.dump();
}

template <int D>
std::string collections_json(const ServedCollections<D>& collections,
                             const access::Rights& rights) {
  Json all = Json::array();
  for (const auto& [collection, note] : collections.list()) {
    const replication::CollectionInfo& info = collection->info;
    if (rights.in(info.name) < access::Role::kReader) continue;
    const rtree::Snapshot<D> now = collection->tree().snapshot();
    all.push_back({{"name", info.name},
                   {"dimensions", info.dimensions},
                   {"keyed", (info.flags & replication::kKeyed) != 0},
                   {"lonlat", (info.flags & replication::kLonLat) != 0},
                   {"records", (info.flags & replication::kWithRecords) != 0},
                   {"entries", now.size()},
                   {"version", now.version()},
                   {"note", note}});
  }
  return Json{{"collections", all}}.dump();
}

Result<CollectionDemand> demand_of_task(const protocol::TaskMessage& task) {
  using protocol::TaskKind;
  using replication::CollectionAction;
  const std::size_t end = std::min(task.text.find('\n'), task.text.size());
  CollectionDemand demand{.action = CollectionAction::kCreate,
                          .name = task.text.substr(0, end),
                          .text = task.text.substr(std::min(end + 1, task.text.size())),
                          .dimensions = 0,
                          .flags = 0};
  switch (task.kind) {
    case TaskKind::kCreate:
      if (task.from > UINT32_MAX || task.to > replication::kAllCollectionFlags) {
        return fail(ErrorCode::kInvalidArgument, "there is no collection of that kind");
      }
      demand.dimensions = static_cast<std::uint32_t>(task.from);
      demand.flags = static_cast<std::uint32_t>(task.to);
      return demand;
    case TaskKind::kDrop:
      demand.action = CollectionAction::kDrop;
      return demand;
    case TaskKind::kClear:
      demand.action = CollectionAction::kClear;
      return demand;
    case TaskKind::kRename:
      demand.action = CollectionAction::kRename;
      return demand;
    case TaskKind::kReplace:
      demand.action = CollectionAction::kReplace;
      return demand;
    case TaskKind::kNote:
      demand.action = CollectionAction::kNote;
      return demand;
    default:
      return fail(ErrorCode::kUnsupported, "that is no order to a collection");
  }
}

template <int D>
Result<std::string> backup_json(const rtree::Tree<D>& tree,
                                const typename replication::Collections<D>::Held& held,
                                replication::Stamp stamp, std::uint64_t log_bytes,
                                const std::string& path, const std::stop_token& cancel) {
  const Status written = replication::write_backup<D>(
      path, tree, held, stamp, {.log_bytes = log_bytes, .tree_bytes = tree.stats().bytes_budget},
      cancel);
  if (!written) return fail(written.error());
  const rtree::ForestRoots& roots = held.forest.roots;
  return json_text(Json{{"path", path}, {"version", roots.version}, {"entries", roots.entries}});
}

template std::string compaction_json<2>(const rtree::CompactStep&, rtree::Version,
                                        const rtree::TreeStats&);
template std::string compaction_json<3>(const rtree::CompactStep&, rtree::Version,
                                        const rtree::TreeStats&);
template std::string history_json(const History<2>&);
template std::string history_json(const History<3>&);
template Result<std::string> diff_json(const History<2>&, Moment, Moment);
template Result<std::string> diff_json(const History<3>&, Moment, Moment);
template std::string collections_json(const ServedCollections<2>&, const access::Rights&);
template std::string collections_json(const ServedCollections<3>&, const access::Rights&);
template Result<std::string> backup_json(const rtree::Tree<2>&,
                                         const replication::Collections<2>::Held&,
                                         replication::Stamp, std::uint64_t, const std::string&,
                                         const std::stop_token&);
template Result<std::string> backup_json(const rtree::Tree<3>&,
                                         const replication::Collections<3>::Held&,
                                         replication::Stamp, std::uint64_t, const std::string&,
                                         const std::stop_token&);

}  // namespace silurus::server
