// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/heartbeats.h"
#include "client/offload.h"
#include "client/pending_calls.h"
#include "client/policy.h"
#include "client/silence.h"
#include "client/version_leases.h"
#include "common/clock.h"
#include "common/result.h"
#include "protocol/decode.h"
#include "silurus/options.h"
#include "transport/fabric.h"

namespace silurus::client {

/// One connection of a client to a server: carries calls there, as messages or by one-sided reads,
/// and their answers back to PendingCalls, which ends them. No thread, no sleep, no clock or dice
/// but those given, so the same code runs on real fabrics and in simulation. All on the poller's
/// thread. In steady state nothing is allocated.
///
/// When the connection is lost, or at the end of the link, PendingCalls::lose() takes all calls
/// that it carries.
template <int D>
class Link final : public transport::ConnectionHandler {
 public:
  /// Connects, within options.connect_timeout, and checks what the server says of itself.
  /// `needs_key`: see ConnectOptions. All but the options must outlive the link.
  static Result<std::unique_ptr<Link>> connect(transport::Fabric& fabric, transport::Poller& poller,
                                               const transport::Address& address,
                                               const Clock& clock, const ClientOptions& options,
                                               PendingCalls<D>& calls, bool needs_key = false);
  ~Link() override;

  /// Begins a call that was opened: what `request` asks.
  void begin(std::uint32_t index, const Request<D>& request);
  /// Begins a call that was queued: from what it holds itself.
  void resume(std::uint32_t index);
  /// The call is past its deadline: ends it. An answer that comes later is taken and dropped.
  void end_overdue(std::uint32_t index);
  /// Sends and posts what was begun. Before waiting for anything.
  void flush();
  /// After the poller's progress(): ends offloaded searches that are done. Returns how many.
  std::size_t settle();
  /// Longest time to sleep before the next flush() and settle(), if nothing happens.
  Nanoseconds max_wait() const {
    if (offloader_ != nullptr && offloader_->waiting_for_region()) return kMillisecond;
    return unanswered_ > 0 ? std::min(silence_.look_every(), kLongestWait) : kLongestWait;
  }
  /// Looks whether the server is silent. If so, searches that it was asked by message are handed
  /// over to the offloader, as far as what it reads counts: how many. New ones go there at once,
  /// and messages wait for a sign of life: what was not sent can be repeated elsewhere.
  std::size_t look_for_silence(Nanoseconds now);

  // --- looking at it
  bool connected() const { return !lost_.has_value(); }
  /// Why it is connected no longer.
  const std::optional<Error>& lost() const { return lost_; }
  /// As if the connection had been lost.
  void give_up(std::string why);
  /// The server has refused a call of its primary, since it is not that; or any call, since the
  /// collection is gone that the connection was made for.
  bool turns_away() const { return turns_away_; }
  const protocol::ServerHello& server() const { return server_; }
  const transport::Connection& connection() const { return *connection_; }
  bool can_offload() const { return offloader_ != nullptr; }
  bool is_of_group() const { return server_.epoch != 0; }
  /// Whether the collection is of degrees.
  bool is_lonlat() const { return (server_.collection_flags & protocol::kLonLat) != 0; }
  bool is_keyed() const { return (server_.collection_flags & protocol::kKeyed) != 0; }
  request::Limits limits() const;
  /// Reads the heartbeat if it may have changed.
  const HeartbeatState& look_at_heartbeat(Nanoseconds now);
  /// The same, as of the last look.
  const HeartbeatState& heartbeat() const { return heartbeats_.state(); }
  bool is_silent() const { return silence_.is_silent(); }
  /// Looks whether the server has sent anything, message or heartbeat, since the last such look.
  bool look_for_life(Nanoseconds now);
  std::size_t in_flight() const { return in_flight_; }
  /// Searches and writes that were sent and have no answer yet.
  std::size_t unanswered_calls() const;
  /// Adds what is counted of the connection itself, since the last reset.
  void add_counters(ClientStatistics& statistics) const;
  void reset_counters() { counters_at_reset_ = connection_->counters(); }

  // --- transport::ConnectionHandler
  void on_message(transport::Connection& connection, std::span<const std::byte> message) override;
  void on_read(transport::Connection& connection, std::uint64_t cookie, bool ok) override;
  void on_writable(transport::Connection& connection) override;
  void on_closed(transport::Connection& connection, const Error& reason) override;

 private:
  static constexpr Nanoseconds kLongestWait = 100 * kMillisecond;

  Link(transport::Poller& poller, const Clock& clock, const ClientOptions& options,
       PendingCalls<D>& calls);
  Status attach(std::unique_ptr<transport::Connection> connection);

  // Calls out (link.cc).
  void begin_search(std::uint32_t index);
  void begin_search_of_old_version(std::uint32_t index);
  void start_offload(std::uint32_t index, const std::optional<LeasedRoot>& held);
  /// Whether it can be read one-sidedly: a request for entries, in a keyed collection alone,
  /// without their records, and of its current version, since a server tells the root of an old one
  /// and not that of its index.
  bool may_offload(const Call<D>& call) const {
    if (!call.is_get()) return offloader_ != nullptr;
    return offloader_ != nullptr && is_keyed() && call.as_of() == 0 && !call.wants_records();
  }
  void send_search(std::uint32_t index);
  void end_too_large(std::uint32_t index, std::size_t bytes);
  void send_by_message_instead(std::uint32_t index);
  std::size_t hand_over_searches(Nanoseconds now);
  bool may_be_handed_over(const Call<D>& call, Nanoseconds now) const;
  template <typename AnyRequest>
  void send(std::uint32_t index, const AnyRequest& request);
  template <typename Encode>
  void send_bytes(std::uint32_t index, std::size_t bytes, Encode&& encode);
  void send_waiting();
  bool send_kept(Call<D>& call, std::uint32_t index);
  /// Whether the message of a call is kept, so that it can be sent to another member.
  bool keeps_message(const Call<D>& call) const {
    return call.is_repeatable || (is_of_group() && !call.is_own && call.kind() != CallKind::kLoad);
  }
  bool may_send() const {
    return unanswered_ < protocol::kMaxRequestsInFlight && !silence_.is_silent();
  }
  void count_sent(Call<D>& call);

  // Answers in (link_answers.cc).
  Status take_answer(Call<D>& call, const protocol::Answer& answer);
  Status take_range(Call<D>& call, const protocol::Answer& answer);
  Status take_records(Call<D>& call, const protocol::Answer& answer);
  void on_error(std::uint32_t index, const protocol::Answer& answer);
  void on_held(std::uint32_t index, const protocol::Answer& answer);
  void read_heartbeat(Nanoseconds now);
  /// Whether a one-sided read counts only while the server has the newest version for sure.
  bool needs_lease(const Call<D>& call) const {
    return is_of_group() && !call.any && call.as_of() == 0;
  }
  bool has_lease(Nanoseconds now) const { return now < heartbeat().lease_until; }
  void renew_lease(Nanoseconds now);

  // Ends of calls.
  void finish(std::uint32_t index, const Error* error);
  void leave(std::uint32_t index);
  void inform_policy(const Call<D>& call, bool has_failed, Nanoseconds now);
  void break_off(const Error& error);
  void lose_all();

  transport::Poller& poller_;
  const Clock& clock_;
  const ClientOptions options_;
  PendingCalls<D>& calls_;
  protocol::ServerHello server_;
  std::shared_ptr<AccessPolicy> policy_;
  std::unique_ptr<transport::Connection> connection_;
  std::unique_ptr<Offloader<D>> offloader_;
  VersionLeases held_;
  std::optional<Error> lost_;
  bool turns_away_ = false;

  std::vector<std::uint32_t> waiting_;  ///< names of calls, to be sent in this order
  std::size_t waiting_first_ = 0;       ///< the first that is not sent yet
  std::size_t segments_sent_ = 0;       ///< bytes of its message that were sent in segments
  std::size_t in_flight_ = 0;           ///< calls that it carries, but for forgotten ones
  std::uint32_t unanswered_ = 0;        ///< messages

  Heartbeats heartbeats_;
  Silence silence_;
  Nanoseconds heartbeat_looked_ = 0;
  std::uint64_t messages_seen_ = 0;    ///< that had come at the last look for signs of life
  std::uint64_t heartbeats_seen_ = 0;  ///< the number of the one that was there then
  transport::ConnectionCounters counters_at_reset_;
};

}  // namespace silurus::client
