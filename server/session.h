// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "protocol/decode.h"
#include "protocol/encode.h"
#include "server/export.h"
#include "server/permissions.h"
#include "server/session_host.h"
#include "server/stream.h"
#include "transport/fabric.h"

namespace silurus::server {

/// One connection of a client: takes its requests apart, and gives it its answers as fast as it
/// takes them. Belongs to a host (a worker) and its thread.
///
/// What a client can make it hold is bounded: once kMaxQueuedAnswers find no room, further requests
/// are left in its ring; at most kMaxRequestsInFlight requests otherwise (a client that has more
/// unanswered is disconnected), of searches nothing but the question until they can be answered,
/// one answer of at most kInlineResults half sent, one Stream, protocol::kMaxVersionLeases, and one
/// Export with a list of at most kMaxExportedChanges.
template <int D>
class Session final : public transport::ConnectionHandler {
 public:
  Session(SessionHost<D>& host, std::uint64_t id, std::size_t listener,
          std::unique_ptr<transport::Connection> connection);
  ~Session() override;

  std::uint64_t id() const { return id_; }
  /// Which of the server's listeners it came by.
  std::size_t listener() const { return listener_; }
  bool closed() const { return closed_; }
  /// What its requests are for; for its host, while it is not gone.
  const Collection<D>& collection() const { return *collection_; }

  // --- from the connection
  void on_message(transport::Connection& connection, std::span<const std::byte> message) override;
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override;
  void on_closed(transport::Connection&, const Error& reason) override;

  // --- from the host
  /// The results of a search. Takes them if it can't send them.
  void answer_range(std::uint32_t request_id, bool any_member, const rtree::RangeQuery<D>& query,
                    rtree::RangeResult<D>& result, rtree::Version version);
  void answer_nearest(std::uint32_t request_id, bool any_member,
                      const rtree::NearestQuery<D>& query, rtree::NearestResult& result,
                      rtree::Version version);
  /// A search that there was no time for, in this sweep.
  template <typename Query>
  void take_back(std::uint32_t request_id, bool any_member, const Query& query) {
    if (closed_) return;
    waiting_.push_front({request_id, query, any_member, {}});
    ask_to_run();
  }
  /// A search that is the primary's to answer.
  void refuse_read(std::uint32_t request_id);
  /// A search of a collection that is gone.
  void refuse_gone(std::uint32_t request_id);
  /// A search that needs a Stream.
  void stream(Search<D> search) {
    if (closed_) return;
    big_.push_back(std::move(search));
    ask_to_run();
  }
  /// Whether a search that a sweep has stopped can go on at once as a stream. Else it is begun
  /// again when its turn comes, so that a session holds one half-done search at most.
  bool may_begin_stream() const { return !streaming() && !blocked_ && queued_answers_.empty(); }
  /// A search that a sweep has stopped on that snapshot.
  void go_on(Search<D> search, Begun<D> begun, typename Stream<D>::Pinned snapshot);
  void answer_write(WriteJob<D>& job);
  void answer_load(LoadJob<D>& job);
  void answer_task(const TaskJob& job);
  /// Goes on with queued answers, as far as the connection takes them, and with a slice of a stream
  /// if there is time for that.
  void work(bool may_stream);
  /// Whether work() has something to do now.
  bool runnable() const {
    return !closed_ && !blocked_ && (!queued_answers_.empty() || !waiting_.empty() || streaming());
  }
  /// Whether it has a stream to go on with, or to begin.
  bool streaming() const { return stream_ != nullptr || !big_.empty(); }
  /// Every heartbeat while active: gives up what has lasted too long. Returns whether the session
  /// is still active.
  bool tick(Nanoseconds now);
  /// Ends the connection if nothing has come for that time and the session is not active. To be
  /// called several times in that time.
  void end_if_idle(Nanoseconds now, Nanoseconds timeout);
  /// Ends the connection if its principal has no role any more.
  void end_if_not_authorized();
  /// Lets its collection go if that is gone, with what is under way: between two sweeps.
  void leave_if_gone();
  void flush() { connection_->flush(); }
  void write_heartbeat(protocol::Heartbeat heartbeat);

  // Marks of the host's lists, which it clears.
  bool in_touched = false;
  bool in_runnable = false;
  bool in_active = false;
  bool is_given_back = false;

 private:
  /// An answer that didn't go out at once, with what it refers to.
  struct QueuedAnswer {
    protocol::AnswerEncoder encoder;
    std::string text;
    Error error{};
    protocol::VersionLease held{};
    std::vector<protocol::FailedOperation> failed;
    rtree::RangeResult<D> range;
    rtree::NearestResult nearest;
    std::vector<KeyedEntry<D>> entries;
  };

  /// An old version that the client reads one-sidedly.
  struct Held {
    rtree::Snapshot<D> snapshot;
    Moment asked;  ///< what the client calls it: the number of its version, or of a later one
    Nanoseconds until;
  };

  void on_segment(const protocol::Request& segment);
  void on_request(const protocol::Request& request);
  void on_range(const protocol::Request& request);
  void on_nearest(const protocol::Request& request);
  void on_write(const protocol::Request& request);
  void on_bare(const protocol::Request& request);
  void on_load_entries(const protocol::Request& request);
  void on_load_commit(const protocol::Request& request);
  void on_at(const protocol::Request& request);
  void on_hold(const protocol::Request& request);
  void on_join(const protocol::Request& request);
  void on_get(const protocol::Request& request);
  void get(const protocol::GetMessage& asked, bool any_member,
           const Result<rtree::Snapshot<D>>& snapshot);
  static std::string with_records(const protocol::GetMessage& asked,
                                  const rtree::Snapshot<D>& snapshot);
  void on_task(const protocol::Request& request);
  std::unique_ptr<WriteJob<D>> write_job(std::uint32_t request_id);
  void submit(std::unique_ptr<WriteJob<D>> job);
  Status begin_load();
  /// Why a compaction cannot change the tree now.
  Status check_compaction() const;
  /// What a task needs of this connection.
  Status prepare_task(TaskJob& job, const protocol::TaskMessage& task);
  void on_order(const protocol::TaskMessage& task);
  void on_demand(const protocol::TaskMessage& task);
  Status check_demand(const CollectionDemand& demand);
  void on_compact(const protocol::TaskMessage& task);
  void answer_order(const WriteJob<D>& job);
  bool refuse_if_gone(std::uint32_t request_id, protocol::MessageType type);
  rtree::Version version() const { return collection_->tree().snapshot().version(); }
  void answer_compaction(const WriteJob<D>& job);
  void send_text(std::uint32_t request_id, std::string text);

  /// A request that cannot be done: answered, or the end of the connection if the peer does not
  /// keep to the protocol.
  bool authorize(std::uint32_t request_id, const Status& ok);
  /// Whether the principal has the role, for what the demand is about.
  Status check(const Demand& demand);
  /// Who asks for what, for the log.
  std::string audit_of(std::string_view what) const;
  void refuse(std::uint32_t request_id, const Error& error);
  void send_error(std::uint32_t request_id, const Error& error);
  void send_count(std::uint32_t request_id, std::uint64_t count, rtree::Version version);
  void disconnect(const Error& reason);
  /// Sends what the connection takes now; false if that isn't all.
  bool send(protocol::AnswerEncoder& encoder);
  /// The next free room for a message, or nothing: then the session is blocked.
  std::span<std::byte> reserve(std::size_t bytes);
  void sent_last();
  void send_or_queue(std::unique_ptr<QueuedAnswer> queued);
  void queue(std::unique_ptr<QueuedAnswer> queued);
  /// Stops reading requests while the client does not take the answers that are queued for it.
  void update_pause();
  /// Runs a search in this sweep, or in a later one if this session has had its share or cannot
  /// send.
  template <typename Query>
  void search(std::uint32_t request_id, bool any_member, const Query& query) {
    if (blocked_ || !waiting_.empty() || !take_share()) return later(request_id, any_member, query);
    host_.search(*this, request_id, any_member, query);
  }
  /// To be run when there is room, and when it is this session's turn.
  template <typename Query>
  void later(std::uint32_t request_id, bool any_member, const Query& query) {
    waiting_.push_back({request_id, query, any_member, {}});
    update_pause();
    if (runnable()) ask_to_run();
  }
  /// Whether one more search may be run in this sweep: then it counts.
  bool take_share();
  /// Holds a version for this client until then. kUnavailable: it has too many held.
  Status hold_version(Held fresh, Nanoseconds now);
  Result<std::unique_ptr<Stream<D>>> join_stream(const Search<D>& search, const JoinWith& join);
  /// What this connection has of the server's is given back.
  void let_go();
  void ask_to_run() { ask(in_runnable, SessionHost<D>::Need::kRun); }
  void ask(bool& mark, typename SessionHost<D>::Need need) {
    if (!std::exchange(mark, true)) host_.look_after(*this, need);
  }
  void begin_stream(std::unique_ptr<Stream<D>> stream);
  void work_on_stream();
  void end_stream(Error reason);
  bool is_short_of_memory_of(rtree::Version version) const;
  bool is_export_over(Nanoseconds now);

  SessionHost<D>& host_;
  const Served<D>& served_;
  const Sweep& sweep_;
  WorkerCounters& counters_;
  const std::uint64_t id_;
  const std::size_t listener_;
  std::unique_ptr<transport::Connection> connection_;
  access::Authorization authorization_;
  CollectionPtr<D> collection_;  ///< or the default one, if is_gone_
  std::string gone_name_;        ///< what the collection that is gone was called
  bool is_gone_ = false;
  std::uint64_t client_ = 0;     ///< who it says it is; 0: nothing
  std::size_t message_bytes_;    ///< length of the longest message to send
  std::uint32_t in_flight_ = 0;  ///< requests not fully answered
  bool blocked_ = false;         ///< the connection had no room
  bool paused_ = false;          ///< the connection holds back requests
  bool closed_ = false;
  bool got_message_ = false;            ///< since the last tick
  std::uint64_t received_ = 0;          ///< messages
  Nanoseconds last_message_ = 0;        ///< as of ticks
  std::uint64_t received_at_look_ = 0;  ///< messages, when end_if_idle() last found new ones
  Nanoseconds busy_at_look_ = 0;        ///< and when that was; 0: not looked at yet
  Nanoseconds last_progress_ = 0;       ///< time at which the stream last made progress
  Nanoseconds stream_started_ = 0;
  Nanoseconds last_load_message_ = 0;
  std::deque<std::unique_ptr<QueuedAnswer>> queued_answers_;
  std::deque<Search<D>> waiting_;  ///< to be run when there is room, and time
  std::uint64_t share_of_ = 0;     ///< the sweep to which share_taken_ belongs
  std::size_t share_taken_ = 0;    ///< searches of the share that were run
  std::deque<Search<D>> big_;      ///< to be streamed, one after the other
  std::unique_ptr<Stream<D>> stream_;
  std::unique_ptr<Load<D>> load_;
  LongRequest long_request_;
  std::uint64_t fill_token_ = 0;  ///< this connection fills the server, or once did
  std::shared_ptr<Exporting> exporting_;
  Nanoseconds last_export_ = 0;  ///< request, or answer
  Nanoseconds export_begun_ = 0;
  rtree::Version exported_version_ = 0;  ///< version of what was pinned first

  std::vector<Held> held_;
};

}  // namespace silurus::server
