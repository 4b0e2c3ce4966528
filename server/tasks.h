// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>

#include "access/rules.h"
#include "common/result.h"
#include "protocol/decode.h"
#include "protocol/messages.h"
#include "replication/hybrid_clock.h"
#include "server/admission.h"
#include "server/export.h"
#include "server/history.h"
#include "server/job_list.h"
#include "server/served_collections.h"

namespace silurus::server {

/// A task on its way through the executor and back to its worker.
struct TaskJob {
  TaskJob* next = nullptr;
  JobOwner<TaskJob>* owner = nullptr;  ///< the worker, to which it is given back
  std::uint64_t session = 0;
  std::uint32_t request_id = 0;
  /// Who asked for what, for the log, which also tells the outcome; empty: the log does not tell.
  std::string audit = {};
  protocol::TaskMessage task;
  std::shared_ptr<void> collection;      ///< the Collection that it is about
  std::shared_ptr<Exporting> exporting;  ///< the connection's export or difference
  Result<std::string> text;              ///< the outcome: JSON
};

/// The admission order that a command comes to. kUnsupported: none, or the server could not
/// remember that it was retired.
Result<replication::AdmissionOrder> order_of(const protocol::TaskMessage& task,
                                             bool remembers_retirement);

// What tasks answer, as JSON. Any thread.

/// {"versions": [{"version", "time", "unix_ns", "entries"}, ...]}, oldest first.
template <int D>
std::string history_json(const History<D>& history);
/// {"from", "to", "inserted": [ids], "erased": [ids], "moved": [ids], "nodes_visited"}.
template <int D>
Result<std::string> diff_json(const History<D>& history, Moment from, Moment to);
/// The answer to an admission order that was obeyed: {"state", "ticket", "version", "entries"}.
std::string order_json(const AdmissionControl& admission, rtree::Version version,
                       std::uint64_t entries);
/// The answer to a step of a compaction that made that version: {"next": the cursor, "done",
/// "must_wait", "share", "saved_nodes", "saved_bytes", "version", "nodes", "bytes",
/// "bytes_retired", "bytes_held"}.
template <int D>
std::string compaction_json(const rtree::CompactStep& step, rtree::Version version,
                            const rtree::TreeStats& stats);
/// {"collections": [{"name", "dimensions", "keyed", "lonlat", "records", "entries", "version",
/// "note"}, ...]}, in the order of their names: of those that these rights let read.
template <int D>
std::string collections_json(const ServedCollections<D>& collections, const access::Rights& rights);
/// The order to collections that a task comes to. kInvalidArgument: its text or numbers make none.
Result<CollectionDemand> demand_of_task(const protocol::TaskMessage& task);
/// Copies a version of all collections into a new data directory, with a log of that size: {"path",
/// "version", "entries"}. `tree`: one of the forest. `stamp`: of the version published last, or of
/// a later one.
template <int D>
Result<std::string> backup_json(const rtree::Tree<D>& tree,
                                const typename replication::Collections<D>::Held& held,
                                replication::Stamp stamp, std::uint64_t log_bytes,
                                const std::string& path, const std::stop_token& cancel);

}  // namespace silurus::server
