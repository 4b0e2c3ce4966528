// SPDX-License-Identifier: Apache-2.0

#include <utility>

#include "common/log.h"
#include "server/limits.h"
#include "server/permissions.h"
#include "server/session.h"

// What a Session does with tasks and orders: what is answered with text.

namespace silurus::server {
namespace {

/// For the log.
std::string_view name_of(replication::AdmissionAction action) {
  switch (action) {
    case replication::AdmissionAction::kFill:
      return "takes the server to be filled by this connection alone";
    case replication::AdmissionAction::kFreeze:
      return "freezes writes";
    case replication::AdmissionAction::kRetire:
      return "retires the server";
    case replication::AdmissionAction::kServe:
      return "lets the server serve all clients";
    case replication::AdmissionAction::kLapse:
      break;
  }
  return "ends a freeze";
}

/// For the log.
std::string describe(const CollectionDemand& demand) {
  using replication::CollectionAction;
  const std::string name = "'" + printable(demand.name) + "'";
  const std::string text = "'" + printable(demand.text) + "'";
  switch (demand.action) {
    case CollectionAction::kCreate:
      return "create collection " + name;
    case CollectionAction::kDrop:
      return "drop collection " + name;
    case CollectionAction::kClear:
      return "clear collection " + name;
    case CollectionAction::kRename:
      return "rename collection " + name + " to " + text;
    case CollectionAction::kReplace:
      return "replace collection " + text + " by " + name;
    case CollectionAction::kNote:
      break;
  }
  return "note on collection " + name;
}

}  // namespace

template <int D>
void Session<D>::on_task(const protocol::Request& request) {
  const std::uint32_t id = request.header.request_id;
  auto task = protocol::decode_task(request);
  if (!task) return refuse(id, task.error());
  if (!authorize(id, check(demand_of(task->kind)))) return;
  if (task->kind == protocol::TaskKind::kCompact) return on_compact(*task);
  if (task->kind == protocol::TaskKind::kCollections) {
    return send_text(id, collections_json(*served_.collections, authorization_.rights()));
  }
  if (task->kind >= protocol::TaskKind::kCreate) return on_demand(*task);
  if (task->kind >= protocol::TaskKind::kFill) return on_order(*task);
  const bool asks_history = task->kind == protocol::TaskKind::kHistory;
  std::string text = asks_history ? history_json(collection_->history()) : std::string();
  const Status leased = served_.check_lease(request.takes_any_member());
  if (!leased) return refuse(id, leased.error());
  if (asks_history) return send_text(id, std::move(text));
  auto job = std::make_unique<TaskJob>();
  job->session = id_;
  job->request_id = id;
  if (const Status ok = prepare_task(*job, *task); !ok) return refuse(id, ok.error());
  if (task->kind == protocol::TaskKind::kBackup) {
    job->audit = audit_of("backup to " + printable(task->text));
  }
  job->task = std::move(*task);
  if (const Status ok = host_.submit(std::move(job)); !ok) refuse(id, ok.error());
}

/// An admission order is obeyed by the writer, in its turn.
template <int D>
void Session<D>::on_order(const protocol::TaskMessage& task) {
  const std::uint32_t id = task.header.request_id;
  const auto order = order_of(task, served_.remembers_retirement);
  if (!order) return refuse(id, order.error());
  if (const Status ok = served_.check_primary(); !ok) return refuse(id, ok.error());
  auto job = write_job(id);
  job->order = *order;
  job->audit = audit_of(name_of(order->action));
  submit(std::move(job));
}

/// An order to collections is obeyed by the writer, too.
template <int D>
void Session<D>::on_demand(const protocol::TaskMessage& task) {
  const std::uint32_t id = task.header.request_id;
  auto demand = demand_of_task(task);
  if (!demand) return refuse(id, demand.error());
  if (!authorize(id, check_demand(*demand))) return;
  if (served_.member_status != nullptr) {
    return refuse(id, {ErrorCode::kUnsupported,
                       "a group of replicas has the default collection alone: collections are "
                       "for servers of their own yet"});
  }
  if (served_.load_slot->taken()) return refuse(id, load_is_under_way());
  auto job = write_job(id);
  job->audit = audit_of(describe(*demand));
  job->demand = std::move(*demand);
  submit(std::move(job));
}

/// Renaming takes an operator of both names.
template <int D>
Status Session<D>::check_demand(const CollectionDemand& demand) {
  using replication::CollectionAction;
  constexpr std::string_view kToDo = "change collections";
  const Status ok = authorization_.check_in(demand.name, access::Role::kOperator, kToDo);
  const bool renames =
      demand.action == CollectionAction::kRename || demand.action == CollectionAction::kReplace;
  if (!ok || !renames) return ok;
  return authorization_.check_in(demand.text, access::Role::kOperator, kToDo);
}

/// A step of a compaction is a write that changes no entry.
template <int D>
void Session<D>::on_compact(const protocol::TaskMessage& task) {
  const std::uint32_t id = task.header.request_id;
  if (task.to > 10'000) {
    return refuse(
        id, {ErrorCode::kInvalidArgument, "nodes cannot be filled to more than all of their room"});
  }
  if (const Status ok = check_compaction(); !ok) return refuse(id, ok.error());
  auto job = write_job(id);
  job->compaction.emplace(
      replication::CompactPayload{.cursor = task.from, .fill_permyriad = task.to});
  submit(std::move(job));
}

template <int D>
Status Session<D>::check_compaction() const {
  if (served_.load_slot->taken()) return fail(load_is_under_way());
  return served_.check_primary();
}

template <int D>
Status Session<D>::prepare_task(TaskJob& job, const protocol::TaskMessage& task) {
  using protocol::TaskKind;
  if (task.kind == TaskKind::kExport) {
    exporting_.reset();  // the one before
    if (!served_.collections->begin_export()) {
      return fail(ErrorCode::kUnavailable, std::to_string(kMaxExports) +
                                               " exports are under way, and the server takes no "
                                               "more at once: wait for one to end");
    }
    auto made = std::make_shared<Export<D>>(*served_.collections, collection_);
    export_begun_ = sweep_.now;
    exported_version_ = made->version();
    exporting_ = std::move(made);
    if (collection_->goes()) return fail(gone_error(collection_->info.name));
  }
  if (task.kind == TaskKind::kExportChanges || task.kind == TaskKind::kExportPage) {
    if (exporting_ == nullptr) {
      return fail(ErrorCode::kConflict,
                  "this connection has begun no export, or the server has given it up");
    }
  }
  job.collection = collection_;
  job.exporting = exporting_;
  last_export_ = sweep_.now;
  return {};
}

template <int D>
void Session<D>::answer_order(const WriteJob<D>& job) {
  if (job.order->action == replication::AdmissionAction::kFill)
    fill_token_ = job.order->fencing_token;
  const rtree::Snapshot<D> now = collection_->tree().snapshot();
  send_text(job.request_id, order_json(*served_.admission, now.version(), now.size()));
}

template <int D>
void Session<D>::answer_compaction(const WriteJob<D>& job) {
  send_text(job.request_id,
            compaction_json<D>(job.compaction->step, job.version, collection_->tree().stats()));
}

template <int D>
void Session<D>::answer_task(const TaskJob& job) {
  if (closed_) return;
  if (job.exporting != nullptr) last_export_ = sweep_.now;
  if (!job.text) return send_error(job.request_id, job.text.error());
  send_text(job.request_id, *job.text);
}

template void Session<2>::on_task(const protocol::Request&);
template void Session<2>::on_order(const protocol::TaskMessage&);
template void Session<2>::on_demand(const protocol::TaskMessage&);
template Status Session<2>::check_demand(const CollectionDemand&);
template void Session<2>::on_compact(const protocol::TaskMessage&);
template Status Session<2>::check_compaction() const;
template Status Session<2>::prepare_task(TaskJob&, const protocol::TaskMessage&);
template void Session<2>::answer_order(const WriteJob<2>&);
template void Session<2>::answer_compaction(const WriteJob<2>&);
template void Session<2>::answer_task(const TaskJob&);
template void Session<3>::on_task(const protocol::Request&);
template void Session<3>::on_order(const protocol::TaskMessage&);
template void Session<3>::on_demand(const protocol::TaskMessage&);
template Status Session<3>::check_demand(const CollectionDemand&);
template void Session<3>::on_compact(const protocol::TaskMessage&);
template Status Session<3>::check_compaction() const;
template Status Session<3>::prepare_task(TaskJob&, const protocol::TaskMessage&);
template void Session<3>::answer_order(const WriteJob<3>&);
template void Session<3>::answer_compaction(const WriteJob<3>&);
template void Session<3>::answer_task(const TaskJob&);

}  // namespace silurus::server
