#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/answers.h"
#include "client/call.h"
#include "client/offload.h"
#include "client/options.h"
#include "client/policy.h"
#include "client/statistics.h"
#include "client/write_window.h"
#include "common/clock.h"
#include "common/inline_function.h"
#include "common/result.h"
#include "protocol/decode.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"
#include "transport/fabric.h"

namespace silurus::client {

/// What the connections of one client have in common.
template <int D>
struct Family {
  WriteWindow writes;
  rtree::Version newest = 0;    ///< that an answer was of
  Keeper<D>* keeper = nullptr;  ///< of what a connection can't end; nobody: it fails
};

/// What the heartbeats of one server say, on our own clock.
struct Standing {
  Nanoseconds since = 0;       ///< the last one was sent at this time or later; 0: none yet
  rtree::Version version = 0;  ///< published then
  std::uint64_t staleness = protocol::kNoEnd;  ///< of it, then
  Nanoseconds lease_until = 0;                 ///< until then what it publishes is the newest
  Nanoseconds seen = 0;                        ///< when the last one was found
  double cpu_busy = 0;                         ///< 0 to 1
  std::uint32_t queued = 0;

  /// For how long at most its newest version may have been superseded now; kNoEnd: not known.
  std::uint64_t staleness_at(Nanoseconds now) const {
    if (since == 0 || staleness == protocol::kNoEnd) return protocol::kNoEnd;
    if (now < lease_until) return 0;
    return staleness + static_cast<std::uint64_t>(now - since);
  }
};

/// A client as a state machine over one connection: no thread, no sleep, no clock or dice but those
/// given, so the same code runs on real fabrics and in simulation. All on the poller's thread.
/// Operations of any kind may be in flight together, up to kMaxInFlight; they end in any order.
/// In steady state nothing is allocated: operations and their results keep their memory.
///
/// An operation that can't begin (bad argument, too large, too many in flight, connection lost) is
/// refused by the call; else its callback is called exactly once, in flush() or settle() or the
/// poller's progress(), or from the destructor (kConnectionLost). With a Keeper, what a lost
/// connection or a server that isn't the primary left undone goes to that instead: searches, writes
/// that weren't sent or whose outcome the group remembers, requests for text.
///
///   core->range(query, [&](Result<RangeAnswer<2>*> found) { ... });
///   while (core->in_flight() > 0) {
///     core->flush();
///     poller.progress();
///     core->settle();
///   }
template <int D>
class ClientCore final : public transport::ConnectionHandler {
 public:
  static constexpr std::uint32_t kMaxInFlight = 4096;

  /// Connects and checks what the server says of itself. All but the options must outlive it.
  static Result<std::unique_ptr<ClientCore>> connect(
      transport::Fabric& fabric, transport::Poller& poller, const transport::Address& address,
      const Clock& clock, const ClientOptions& options, Family<D>* family = nullptr);
  ~ClientCore() override;

  // --- operations
  /// `as_of`: asks an older version; 0: the current one. To be read one-sidedly it is first held by
  /// the server, which takes a message unless it holds it already. `any`: this server may answer
  /// though others may have a newer version; an answer that isn't fresh enough goes to the Keeper.
  Status range(const rtree::RangeQuery<D>& query, Callback<RangeAnswer<D>> callback,
               protocol::Moment as_of = 0, const Freshness* any = nullptr);
  Status nearest(const rtree::NearestQuery<D>& query, Callback<NearestAnswer> callback,
                 protocol::Moment as_of = 0, const Freshness* any = nullptr);
  /// At most max_batch() operations, which become visible in one version.
  Status write(std::span<const protocol::Operation<D>> operations, Callback<WriteAnswer> callback);
  Status stats(Callback<StatsAnswer> callback);
  /// Who is in the server's group, as JSON (protocol::MessageType::kCluster). `harmless`: another
  /// member may be asked instead.
  Status cluster(Callback<StatsAnswer> callback, bool harmless = false);
  /// Answered with JSON too.
  Status task(protocol::TaskKind kind, protocol::Moment from, protocol::Moment to,
              std::string_view text, Callback<StatsAnswer> callback);
  /// Bulk load into an empty tree: begin, any number of batches of at most max_load_batch() entries
  /// (each answered), then commit with the number of entries sent, or abort.
  Status load_begin(Callback<LoadAnswer> callback);
  Status load_entries(std::span<const rtree::Entry<D>> entries, Callback<LoadAnswer> callback);
  Status load_commit(double fill, std::uint64_t entries, Callback<LoadAnswer> callback);
  Status load_abort(Callback<LoadAnswer> callback);

  /// Begins a kept operation again, with the deadline that it has. False (and it is left alone) if
  /// there is no connection, or no room.
  bool adopt(Call<D>& call);

  // --- driving it
  /// Sends and posts what was begun. Before waiting for anything.
  void flush();
  /// After progress(): delivers offloaded searches that have ended, and (now and then, or if told
  /// to look) ends what is past its deadline. Returns how many it had to do with: if none, and
  /// there is nothing to progress either, it's time to sleep.
  std::size_t settle(bool look_at_deadlines = false);

  /// Longest time to sleep before the next flush() and settle(true), if nothing happens.
  Nanoseconds max_wait() const {
    return offloader_ != nullptr && offloader_->waiting_for_region() ? kMillisecond
                                                                     : 100 * kMillisecond;
  }

  // --- looking at it
  std::size_t in_flight() const { return in_flight_; }
  /// What of a write makes no sense, or is too much for one message.
  static Status check_write(std::span<const protocol::Operation<D>> operations,
                            std::size_t max_batch);
  std::size_t max_batch() const;
  std::size_t max_load_batch() const;
  const protocol::ServerHello& server() const { return server_; }
  const transport::Connection& connection() const { return *connection_; }
  bool can_offload() const { return offloader_ != nullptr; }
  bool connected() const { return !lost_.has_value(); }
  /// Why it is connected no longer.
  const std::optional<Error>& lost() const { return lost_; }
  /// Looks at the heartbeat if it may have changed.
  const Standing& standing(Nanoseconds now) {
    look_at_heartbeat(now);
    return standing_;
  }
  /// The same, as of the last look.
  const Standing& known() const { return standing_; }
  /// Searches and writes that were sent and have no answer yet.
  std::size_t unanswered_calls() const;
  /// Given up: as if the connection had been lost.
  void give_up(std::string why);
  /// Any time; a copy.
  ClientStatistics statistics() const;
  void reset_statistics() {
    statistics_ = {};
    counters_at_reset_ = connection_->counters();
  }

  // --- transport::ConnectionHandler
  void on_message(transport::Connection& connection, std::span<const std::byte> message) override;
  void on_read(transport::Connection& connection, std::uint64_t cookie, bool ok) override;
  void on_writable(transport::Connection& connection) override;
  void on_closed(transport::Connection& connection, const Error& reason) override;

 private:
  static constexpr std::uint32_t kIndexBits = 12;
  static_assert(kMaxInFlight == 1u << kIndexBits);

  ClientCore(transport::Poller& poller, const Clock& clock, const ClientOptions& options,
             Family<D>* family);
  Status attach(std::unique_ptr<transport::Connection> connection);

  Status check_ready() const;
  std::uint32_t acquire(CallKind kind, Nanoseconds deadline, Nanoseconds patience = 0);
  void release(std::uint32_t index);
  std::uint32_t request_id(std::uint32_t index) const {
    return (operations_[index].generation << kIndexBits) | index;
  }
  void begin_search(std::uint32_t index);
  void begin_search_of_old_version(std::uint32_t index);
  void start_offload(std::uint32_t index, const std::optional<HeldRoot>& held);
  void send_by_message_instead(std::uint32_t index);
  void on_held(std::uint32_t index, const protocol::Answer& answer);
  void look_at_heartbeat(Nanoseconds now);
  void take_standing(const protocol::Heartbeat& heartbeat, Nanoseconds now);
  /// Whether a one-sided read counts only while the server has the newest version for sure.
  bool needs_lease(const Call<D>& operation) const {
    return is_group_ && !operation.any && operation.as_of == 0;
  }
  bool lease_lasts();
  template <typename Encode>
  void send(std::uint32_t index, std::size_t bytes, Encode&& encode);
  bool may_send() const { return unanswered_ < protocol::kMaxRequestsInFlight; }
  /// Just before a message goes.
  void sending(Call<D>& operation);
  void send_search(std::uint32_t index);
  void send_again(std::uint32_t index);
  void send_waiting();
  template <typename Encode>
  Status text_request(std::size_t bytes, Nanoseconds patience, bool harmless,
                      Callback<StatsAnswer> callback, Encode&& encode);
  template <typename Encode>
  Status load_step(std::size_t bytes, Nanoseconds patience, bool harmless,
                   Callback<LoadAnswer> callback, Encode&& encode);
  Status take_answer(Call<D>& operation, const protocol::Answer& answer);
  void on_error(std::uint32_t index, const protocol::Answer& answer);
  std::size_t deliver_offloaded();
  void end(std::uint32_t index, const Error* error);
  void record(const Call<D>& operation, bool failed);
  /// Of the tree, that its answer is of; 0: it says nothing of that.
  static rtree::Version version_of(const Call<D>& operation) {
    switch (operation.kind) {
      case CallKind::kRange:
        return operation.range.version;
      case CallKind::kNearest:
        return operation.nearest.version;
      case CallKind::kWrite:
        return operation.write.version;
      default:
        return 0;
    }
  }
  bool is_fresh(const Call<D>& operation) const {
    return family_->keeper == nullptr || (version_of(operation) >= operation.freshness.at_least &&
                                          clock_.now() <= operation.freshness.until);
  }
  std::size_t end_overdue();
  bool shows_life(Nanoseconds now);
  Error overdue_error(const Call<D>& operation) const;
  void break_off(Error error);
  void end_all();
  bool may_keep(const Call<D>& operation) const;
  void hand_over(std::uint32_t index, ErrorCode why);
  AccessStatistics& statistics_of(const Call<D>& operation);

  transport::Poller& poller_;
  const Clock& clock_;
  ClientOptions options_;
  std::unique_ptr<Family<D>> own_family_;  ///< of a client of one connection
  Family<D>* family_;
  protocol::ServerHello server_;
  /// Of a group: it leases reads, and remembers writes.
  bool is_group_ = false;
  std::shared_ptr<AccessPolicy> policy_;
  std::unique_ptr<transport::Connection> connection_;
  std::unique_ptr<Offloader<D>> offloader_;
  HeldVersions held_;
  std::optional<Error> lost_;

  std::deque<Call<D>> operations_;  ///< grows to what was needed at once; never moves
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> waiting_;  ///< request ids, to be sent in this order
  std::size_t waiting_first_ = 0;       ///< of those not yet sent
  std::size_t in_flight_ = 0;           ///< of the caller's view: forgotten ones don't count
  std::uint32_t unanswered_ = 0;        ///< messages
  std::uint32_t settles_ = 0;
  Nanoseconds next_deadline_ = INT64_MAX;  ///< or the next look for signs of life
  std::uint64_t messages_seen_ = 0;        ///< that had come at the last look for signs of life
  std::uint64_t heartbeats_seen_ = 0;      ///< the number of the one that was there then

  Nanoseconds heartbeat_looked_ = 0;
  std::uint64_t heartbeat_sequence_ = 0;
  Standing standing_;
  std::uint64_t sent_ = 0;      ///< messages
  std::uint64_t probe_ = 0;     ///< number of the message that a heartbeat shall know of; 0: none
  Nanoseconds probe_sent_ = 0;  ///< at this time or later

  ClientStatistics statistics_;
  transport::ConnectionCounters counters_at_reset_;
};

/// Sends a message of known size, or keeps it until there is room: messages never overtake.
template <int D>
template <typename Encode>
void ClientCore<D>::send(std::uint32_t index, std::size_t bytes, Encode&& encode) {
  Call<D>& operation = operations_[index];
  operation.bytes = bytes;
  if (waiting_first_ == waiting_.size() && may_send()) {
    if (auto room = connection_->reserve(bytes); !room.empty()) {
      if (operation.kind == CallKind::kWrite ? is_group_ : operation.harmless) {
        // Perhaps it must be sent again, to the next primary.
        operation.message.resize(bytes);
        encode(std::span(operation.message));
        std::memcpy(room.data(), operation.message.data(), bytes);
      } else {
        encode(room.first(bytes));
      }
      sending(operation);
      connection_->commit(bytes);
      return;
    }
  }
  operation.message.resize(bytes);
  encode(std::span(operation.message));
  operation.state = CallState::kWaiting;
  waiting_.push_back(request_id(index));
}

}  // namespace silurus::client
