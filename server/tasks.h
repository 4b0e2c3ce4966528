#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "common/result.h"
#include "protocol/decode.h"
#include "protocol/messages.h"
#include "replication/hybrid_clock.h"
#include "server/admission.h"
#include "server/export.h"
#include "server/history.h"
#include "server/job_list.h"

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
  std::shared_ptr<Exporting> exporting;  ///< of the connection
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
/// Of an admission order that was obeyed: {"state", "ticket", "version", "entries"}.
std::string order_json(const AdmissionControl& admission, rtree::Version version,
                       std::uint64_t entries);
/// Of a step of a compaction that made that version: {"next": the cursor, "done", "must_wait",
/// "share", "saved_nodes", "saved_bytes", "version", "nodes", "bytes", "bytes_retired",
/// "bytes_held"}.
template <int D>
std::string compaction_json(const rtree::CompactStep& step, rtree::Version version,
                            const rtree::TreeStats& stats);
/// Copies the current version into a new data directory, with a log of that size: {"path",
/// "version", "entries"}. `stamp`: of the version published last.
template <int D>
Result<std::string> backup_json(const rtree::Tree<D>& tree,
                                const std::function<replication::Stamp()>& stamp,
                                std::uint64_t log_bytes, const std::string& path,
                                const std::stop_token& cancel);

}  // namespace silurus::server
