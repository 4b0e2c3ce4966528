#include "server/tasks.h"

#include <ctime>

#include "common/json.h"
#include "replication/backup.h"
#include "rtree/diff.h"

namespace silurus::server {

using replication::AdmissionAction;
using replication::AdmissionOrder;
namespace {

using Json = nlohmann::ordered_json;

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
              {"ticket", admission.ticket()},
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
Result<std::string> backup_json(const rtree::Tree<D>& tree,
                                const std::function<replication::Stamp()>& stamp,
                                std::uint64_t log_bytes, const std::string& path,
                                const std::stop_token& cancel) {
  const rtree::Snapshot<D> snapshot = tree.snapshot();
  // Asked after the snapshot was taken: what is written to the copy later is stamped later.
  const Status written = replication::write_backup<D>(
      path, tree, snapshot, stamp(),
      {.log_bytes = log_bytes, .tree_bytes = tree.stats().bytes_budget}, cancel);
  if (!written) return fail(written.error());
  return json_text(
      Json{{"path", path}, {"version", snapshot.version()}, {"entries", snapshot.size()}});
}

template std::string compaction_json<2>(const rtree::CompactStep&, rtree::Version,
                                        const rtree::TreeStats&);
template std::string compaction_json<3>(const rtree::CompactStep&, rtree::Version,
                                        const rtree::TreeStats&);
template std::string history_json(const History<2>&);
template std::string history_json(const History<3>&);
template Result<std::string> diff_json(const History<2>&, Moment, Moment);
template Result<std::string> diff_json(const History<3>&, Moment, Moment);
template Result<std::string> backup_json(const rtree::Tree<2>&,
                                         const std::function<replication::Stamp()>&, std::uint64_t,
                                         const std::string&, const std::stop_token&);
template Result<std::string> backup_json(const rtree::Tree<3>&,
                                         const std::function<replication::Stamp()>&, std::uint64_t,
                                         const std::string&, const std::stop_token&);

}  // namespace silurus::server
