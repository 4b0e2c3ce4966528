// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "access/authorization.h"
#include "common/clock.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "rtree/tree.h"
#include "server/admission.h"
#include "server/counters.h"
#include "server/history.h"
#include "server/load.h"
#include "server/long_request.h"
#include "server/member_status.h"
#include "server/served_collections.h"
#include "server/tasks.h"
#include "server/write_queue.h"
#include "transport/fabric.h"

namespace silurus::server {

template <int D>
class Session;

/// What a server's sessions serve, and to whom. Set up before they run; its parts may be read by
/// any thread.
template <int D>
struct Served {
  const ServedCollections<D>* collections = nullptr;
  const AdmissionControl* admission = nullptr;
  LoadSlot* load_slot = nullptr;
  SegmentedBytes* segmented_bytes = nullptr;
  const Clock* clock = nullptr;
  /// Its status as a member of a group; nullptr: it is no member.
  const MemberStatus* member_status = nullptr;
  /// Who may do what; nullptr: every client everything.
  const access::RuleBook* rules = nullptr;
  /// Bytes of entries' records that one write may have.
  std::uint64_t most_record_bytes = protocol::kMaxRequestBytes;
  /// Whether it can remember that it is retired, so that it may be.
  bool remembers_retirement = true;

  /// Why it takes no writes, if another member of its group does.
  Status check_primary() const {
    return member_status == nullptr || member_status->is_primary()
               ? Status()
               : fail(member_status->not_primary());
  }
  /// Why a snapshot taken before this call may not be answered with; it may if it is what the group
  /// has now, or if any member's will do.
  Status check_lease(bool any_member) const {
    const bool may =
        any_member || member_status == nullptr || member_status->may_read(clock->now());
    return may ? Status() : fail(member_status->not_primary());
  }
};

/// The sweep under way of a thread that runs sessions.
struct Sweep {
  Nanoseconds now = 0;                                 ///< when it began
  std::uint64_t number = 0;                            ///< counts sweeps
  std::size_t share = protocol::kMaxRequestsInFlight;  ///< searches of each session in it
};

/// The thread that runs sessions, as they see it: takes what they cannot do by themselves, and
/// looks after them when they ask for it. A session calls it on that thread only.
template <int D>
class SessionHost {
 public:
  /// What a session needs to be looked after for.
  enum class Need : std::uint8_t {
    kFlush,       ///< something was sent
    kRun,         ///< Session::work() has something to do
    kHeartbeats,  ///< its client was heard of
    kEnd,         ///< the connection is gone
  };
  /// Runs a search in this sweep, and answers the session.
  virtual void search(Session<D>& session, std::uint32_t request_id, bool any_member,
                      const rtree::RangeQuery<D>& query) = 0;
  virtual void search(Session<D>& session, std::uint32_t request_id, bool any_member,
                      const rtree::NearestQuery<D>& query) = 0;
  virtual std::unique_ptr<WriteJob<D>> new_job() = 0;
  /// Takes the job, and gives it to Session::answer_write(), answer_task() or answer_load() when it
  /// is done, if there still is a session of that id. kUnavailable if too many wait.
  virtual Status submit(std::unique_ptr<WriteJob<D>> job) = 0;
  virtual Status submit(std::unique_ptr<TaskJob> job) = 0;
  virtual void submit(std::unique_ptr<LoadJob<D>> job) = 0;
  virtual void look_after(Session<D>& session, Need need) = 0;
  /// The text that kStats or kCluster is answered with.
  virtual std::string text(protocol::MessageType type) = 0;
  /// Logs a line about a client, of those that one peer may fill the log with.
  virtual void warn_of(const transport::Connection& connection, std::string_view message) = 0;

  const Served<D>& served() const { return served_; }
  const Sweep& current_sweep() const { return sweep_; }
  WorkerCounters& counters() const { return counters_; }

 protected:
  /// All must outlive it.
  SessionHost(const Served<D>& served, const Sweep& sweep, WorkerCounters& counters)
      : served_(served), sweep_(sweep), counters_(counters) {}
  ~SessionHost() = default;

 private:
  const Served<D>& served_;
  const Sweep& sweep_;
  WorkerCounters& counters_;
};

}  // namespace silurus::server
