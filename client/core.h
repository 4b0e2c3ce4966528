#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/answers.h"
#include "client/offload.h"
#include "client/options.h"
#include "client/policy.h"
#include "client/statistics.h"
#include "common/clock.h"
#include "common/inline_function.h"
#include "common/result.h"
#include "protocol/decode.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"
#include "transport/fabric.h"

namespace silurus::client {

/// Is told how an operation ended; never from within the call that started it. The answer belongs
/// to the operation: swap out what shall outlive the callback. May start other operations.
template <typename Answer>
using Callback = InlineFunction<void(Result<Answer*>)>;

/// A client as a state machine over one connection: no thread, no sleep, no clock or dice but those
/// given, so the same code runs on real fabrics and in simulation. All on the poller's thread.
/// Operations of any kind may be in flight together, up to kMaxInFlight; they end in any order.
/// In steady state nothing is allocated: operations and their results keep their memory.
///
/// An operation that can't begin (bad argument, too large, too many in flight, connection lost) is
/// refused by the call; else its callback is called exactly once, in flush() or settle() or the
/// poller's progress(), or from the destructor (kConnectionLost).
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
  static Result<std::unique_ptr<ClientCore>> connect(transport::Fabric& fabric,
                                                     transport::Poller& poller,
                                                     const transport::Address& address,
                                                     const Clock& clock,
                                                     const ClientOptions& options);
  ~ClientCore() override;

  // --- operations
  /// `as_of`: asks an older version; 0: the current one. To be read one-sidedly it is first held by
  /// the server, which takes a message unless it holds it already.
  Status range(const rtree::RangeQuery<D>& query, Callback<RangeAnswer<D>> callback,
               protocol::Moment as_of = 0);
  Status nearest(const rtree::NearestQuery<D>& query, Callback<NearestAnswer> callback,
                 protocol::Moment as_of = 0);
  /// At most max_batch() operations, which become visible in one version.
  Status write(std::span<const protocol::Operation<D>> operations, Callback<WriteAnswer> callback);
  Status stats(Callback<StatsAnswer> callback);
  /// Answered with JSON too.
  Status task(protocol::TaskKind kind, protocol::Moment from, protocol::Moment to,
              std::string_view text, Callback<StatsAnswer> callback);
  /// Bulk load into an empty tree: begin, any number of batches of at most max_load_batch() entries
  /// (each answered), then commit with the number of entries sent, or abort.
  Status load_begin(Callback<LoadAnswer> callback);
  Status load_entries(std::span<const rtree::Entry<D>> entries, Callback<LoadAnswer> callback);
  Status load_commit(double fill, std::uint64_t entries, Callback<LoadAnswer> callback);
  Status load_abort(Callback<LoadAnswer> callback);

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
  std::size_t max_batch() const;
  std::size_t max_load_batch() const;
  const protocol::ServerHello& server() const { return server_; }
  const transport::Connection& connection() const { return *connection_; }
  bool can_offload() const { return offloader_ != nullptr; }
  bool connected() const { return !lost_.has_value(); }
  /// Why it is connected no longer.
  const std::optional<Error>& lost() const { return lost_; }
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
  enum class Kind : std::uint8_t { kRange, kNearest, kWrite, kStats, kLoad };
  enum class State : std::uint8_t {
    kFree,
    kWaiting,  ///< for room in the ring
    kSent,     ///< as a message
    kOffloading,
    kForgotten,   ///< past its deadline; the answer is yet to come, the slot can't be used again
    kDelivering,  ///< its callback is running
  };

  /// One operation, pooled: all kinds in one type, so that its memory is used again.
  struct Operation {
    Kind kind = Kind::kRange;
    State state = State::kFree;
    Access chosen = Access::kMessaging;  ///< by the policy or the mode
    bool chosen_by_policy = false;
    bool holding = false;  ///< the message asks the server to hold the version of as_of
    std::uint8_t search_class = 0;
    std::uint32_t generation = 0;
    Nanoseconds started = 0;
    Nanoseconds deadline = 0;
    std::uint64_t bytes = 0;  ///< of messages, both ways
    SearchCost cost;
    rtree::RangeQuery<D> range_query;
    rtree::NearestQuery<D> nearest_query;
    protocol::Moment as_of = 0;
    std::vector<std::byte> message;  ///< to be sent, if it had to wait
    std::string error_text;

    RangeAnswer<D> range;
    NearestAnswer nearest;
    WriteAnswer write;
    StatsAnswer stats;
    LoadAnswer load;
    Callback<RangeAnswer<D>> on_range;
    Callback<NearestAnswer> on_nearest;
    Callback<WriteAnswer> on_write;
    Callback<StatsAnswer> on_stats;
    Callback<LoadAnswer> on_load;
  };

  static constexpr std::uint32_t kIndexBits = 12;
  static_assert(kMaxInFlight == 1u << kIndexBits);

  ClientCore(transport::Poller& poller, const Clock& clock, const ClientOptions& options);
  Status attach(std::unique_ptr<transport::Connection> connection);

  Status check_ready() const;
  std::uint32_t acquire(Kind kind, Nanoseconds deadline);
  void release(std::uint32_t index);
  std::uint32_t request_id(std::uint32_t index) const;
  void begin_search(std::uint32_t index);
  void begin_search_of_old_version(std::uint32_t index);
  void start_offload(std::uint32_t index, const std::optional<HeldRoot>& held);
  void send_by_message_instead(std::uint32_t index);
  void on_held(std::uint32_t index, const protocol::Answer& answer);
  void look_at_heartbeat(Nanoseconds now);
  template <typename Encode>
  void send(std::uint32_t index, std::size_t bytes, Encode&& encode);
  bool may_send() const;
  void send_search(std::uint32_t index);
  void send_waiting();
  template <typename Encode>
  Status load_step(std::size_t bytes, Nanoseconds deadline, Callback<LoadAnswer> callback,
                   Encode&& encode);
  Status take_answer(Operation& operation, const protocol::Answer& answer);
  std::size_t deliver_offloaded();
  void end(std::uint32_t index, const Error* error);
  void record(const Operation& operation, bool failed);
  std::size_t end_overdue();
  Error overdue_error(const Operation& operation) const;
  Error lost_error(const Operation& operation) const;
  void break_off(Error error);
  void end_all();
  AccessStatistics& statistics_of(const Operation& operation);

  transport::Poller& poller_;
  const Clock& clock_;
  ClientOptions options_;
  protocol::ServerHello server_;
  std::shared_ptr<AccessPolicy> policy_;
  std::unique_ptr<transport::Connection> connection_;
  std::unique_ptr<Offloader<D>> offloader_;
  HeldVersions held_;
  std::optional<Error> lost_;

  std::deque<Operation> operations_;  ///< grows to what was needed at once; never moves
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> waiting_;  ///< request ids, to be sent in this order
  std::size_t waiting_first_ = 0;       ///< of those not yet sent
  std::size_t in_flight_ = 0;           ///< of the caller's view: forgotten ones don't count
  std::uint32_t unanswered_ = 0;        ///< messages
  std::uint64_t write_sequence_ = 0;
  std::uint32_t settles_ = 0;
  Nanoseconds next_deadline_ = INT64_MAX;
  Nanoseconds heartbeat_looked_ = 0;
  std::uint64_t heartbeat_sequence_ = 0;
  ClientStatistics statistics_;
  transport::ConnectionCounters counters_at_reset_;
};

}  // namespace silurus::client
