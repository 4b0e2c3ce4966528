#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/backoff.h"
#include "client/cluster_info.h"
#include "client/core.h"
#include "client/network.h"
#include "client/options.h"
#include "common/clock.h"
#include "common/random.h"
#include "common/result.h"

namespace silurus::client {

/// The members of one shard as one server: sends writes, and reads unless the options say
/// otherwise, to the primary, finds it, and finds the next one when it is lost. What was under way
/// goes there too: searches are asked again, writes are sent again in their order under the numbers
/// that they have, which the group remembers, so that each happens once. A server alone is a group
/// of one that remembers nothing: a write that it left without an answer is in doubt at once.
///
/// Every operation ends: with its answer, or by its deadline, or when no server was found for
/// ClientOptions::reconnect_for; kInDoubt only if it is a write that was sent and may have
/// happened.
///
/// Same manners as ClientCore: one thread, callbacks only from flush(), settle(), the poller's
/// progress() and the destructor. While all is well an operation costs one branch more than there
/// and nothing is allocated. settle() blocks while it connects: for kMaxConnect at most, or
/// ClientOptions::connect_timeout with a server that is alone; and while it asks the directory.
template <int D>
class Group final : private Keeper<D> {
 public:
  static constexpr Nanoseconds kMaxConnect = 250 * kMillisecond;

  /// Connects to nobody yet: to be driven until ready(), or failure(). `urls`: at least one, unless
  /// there is a directory. What is given by reference must outlive it.
  static Result<std::unique_ptr<Group>> create(std::vector<std::string> urls,
                                               std::unique_ptr<Directory> directory,
                                               Network& network, const Clock& clock,
                                               const ClientOptions& options);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // --- operations: see ClientCore (callbacks by reference: a move less on the way there)
  Status range(const rtree::RangeQuery<D>& query, Callback<RangeAnswer<D>>&& callback,
               protocol::Moment as_of = 0) {
    const Freshness* any = nullptr;
    ClientCore<D>* const core = reader(as_of, any);
    if (core != nullptr) return core->range(query, std::move(callback), as_of, any);
    return keep_range(query, std::move(callback), as_of);
  }
  Status nearest(const rtree::NearestQuery<D>& query, Callback<NearestAnswer>&& callback,
                 protocol::Moment as_of = 0) {
    const Freshness* any = nullptr;
    ClientCore<D>* const core = reader(as_of, any);
    if (core != nullptr) return core->nearest(query, std::move(callback), as_of, any);
    return keep_nearest(query, std::move(callback), as_of);
  }
  Status write(std::span<const protocol::Operation<D>> operations,
               Callback<WriteAnswer>&& callback) {
    if (ClientCore<D>* const core = connected()) {
      return core->write(operations, std::move(callback));
    }
    return keep_write(operations, std::move(callback));
  }
  Status stats(Callback<StatsAnswer> callback);
  Status cluster(Callback<StatsAnswer> callback);
  Status task(protocol::TaskKind kind, protocol::Moment from, protocol::Moment to,
              std::string_view text, Callback<StatsAnswer> callback);
  Status load_begin(Callback<LoadAnswer> callback);
  /// These belong to the connection that began the load: kConnectionLost if it is gone.
  Status load_entries(std::span<const rtree::Entry<D>> entries, Callback<LoadAnswer> callback);
  Status load_commit(double fill, std::uint64_t entries, Callback<LoadAnswer> callback);
  Status load_abort(Callback<LoadAnswer> callback);

  // --- driving it: see ClientCore
  void flush();
  std::size_t settle(bool look = false);
  Nanoseconds max_wait() const;

  // --- looking at it
  /// Whether there is a primary to ask now.
  bool ready() const { return connected() != nullptr; }
  /// Whether a member other than a primary may answer searches now: with ReadFrom::kAny, while
  /// there is no primary.
  bool has_readers();
  /// Whether it is known of each member that may answer searches how fresh it is.
  bool knows_readers() const;
  /// Why none is being looked for any more.
  const std::optional<Error>& failure() const { return failure_; }
  std::size_t in_flight() const {
    if (members_.size() == 1 && kept_.empty() && members_[0]->core != nullptr) {
      return members_[0]->core->in_flight() - own_calls_;
    }
    return count_in_flight();
  }
  std::size_t max_batch() const { return max_batch_; }
  std::size_t max_load_batch() const { return max_load_batch_; }
  bool can_offload() const { return ready() && primary_->core->can_offload(); }
  std::string peer() const { return peer_; }
  /// Members that there is a connection to.
  std::size_t connections() const;
  ClientStatistics statistics() const;
  void reset_statistics();

 private:
  struct Member {
    Member(std::string address, std::uint64_t seed) : url(std::move(address)), backoff(seed) {}
    std::string url;
    std::unique_ptr<ClientCore<D>> core;
    Backoff backoff;
    Nanoseconds next_try = 0;  ///< not before this, if there are others
    Nanoseconds probed = 0;    ///< as a reader, to keep its heartbeats coming
    bool in_view = false;      ///< by what the primary says, or itself while there is none
  };

  Group(std::unique_ptr<Directory> directory, Network& network, const Clock& clock,
        const ClientOptions& options);

  std::size_t count_in_flight() const;
  ClientCore<D>* connected() const {
    return primary_ != nullptr && primary_->core->connected() ? primary_->core.get() : nullptr;
  }
  ClientCore<D>* reader(protocol::Moment as_of, const Freshness*& any) {
    ClientCore<D>* const core = connected();
    if (options_.read.from == ReadFrom::kPrimary || as_of != 0) return core;
    return choose_reader(core, any);
  }
  ClientCore<D>* choose_reader(ClientCore<D>* primary, const Freshness*& any);

  void keep(Call<D>&& call, ErrorCode why) override;
  Result<Call<D>*> new_call(CallKind kind, Nanoseconds patience = 0);
  Status keep_range(const rtree::RangeQuery<D>& query, Callback<RangeAnswer<D>> callback,
                    protocol::Moment as_of);
  Status keep_nearest(const rtree::NearestQuery<D>& query, Callback<NearestAnswer> callback,
                      protocol::Moment as_of);
  Status keep_write(std::span<const protocol::Operation<D>> operations,
                    Callback<WriteAnswer> callback);
  template <typename Encode>
  Status keep_text(std::size_t bytes, bool harmless, Nanoseconds patience,
                   Callback<StatsAnswer> callback, Encode&& encode);
  Error no_server() const;

  std::size_t upkeep(bool look);
  void look_after_primary(bool look, Nanoseconds now);
  void lose_primary(Nanoseconds now);
  void drop(Member& member);
  void seek(Nanoseconds now);
  Member* next_candidate(Nanoseconds now);
  void ask(Member& member, Nanoseconds now);
  void heard(Member& member, const Result<StatsAnswer*>& answer);
  Status dial(Member& member, Nanoseconds now);
  void lead_with(Member& member);
  void learn(const std::string& url);
  std::string one_of(std::string_view urls) const;
  Member* find(std::string_view url);
  Member& candidate(std::size_t i) { return *members_[(first_ + i) % members_.size()]; }
  void stop_seeking(Error why);
  void begin_again();
  std::size_t end_overdue(Nanoseconds now);
  void finish(std::deque<Call<D>>& calls, const Error& why);
  void look_after_readers(Nanoseconds now);
  void leave_others();
  bool is_alone() const { return members_.size() == 1 && directory_ == nullptr; }

  Network& network_;
  const Clock& clock_;
  ClientOptions options_;
  std::unique_ptr<Directory> directory_;
  Random random_;
  Family<D> family_;

  std::vector<std::unique_ptr<Member>> members_;
  Member* primary_ = nullptr;
  Member* asked_ = nullptr;  ///< who the primary is
  Nanoseconds asked_until_ = 0;
  std::string hint_;          ///< where the primary is said to be
  std::size_t first_ = 0;     ///< of the members, in a round of trying all
  std::size_t cursor_ = 0;    ///< how many have been tried in this round
  bool not_primary_ = false;  ///< the one that we took for it says so
  bool was_lost_ = false;     ///< there has been a primary before
  Nanoseconds seek_until_ = 0;
  Nanoseconds next_attempt_ = 0;
  Backoff backoff_;
  Error last_error_;
  std::optional<Error> failure_;

  std::size_t own_calls_ = 0;  ///< requests kCluster of the group itself
  std::deque<Call<D>> kept_;
  Nanoseconds kept_deadline_ = INT64_MAX;  ///< the earliest
  std::uint32_t settles_ = 0;
  /// What every connection takes, until there has been one.
  std::size_t max_batch_ = (protocol::kMinMessageBytes - sizeof(protocol::WriteRequest)) /
                           sizeof(protocol::Operation<D>);
  std::size_t max_load_batch_ = 0;
  std::string peer_;
  std::uint64_t load_connection_ = 0;  ///< which of them began the load
  std::uint64_t connection_ = 0;       ///< counts primaries

  // Of the primary, when it was looked at last.
  std::uint64_t heard_messages_ = 0;
  Nanoseconds heard_heartbeat_ = 0;
  Nanoseconds heard_at_ = 0;
  Nanoseconds looked_at_ = 0;
  Nanoseconds led_since_ = 0;

  Freshness freshness_;  ///< of the search that is being begun
  Nanoseconds pessimistic_until_ = 0;
  ClientStatistics before_;  ///< of connections that are gone
};

}  // namespace silurus::client
