// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/link.h"
#include "client/network.h"
#include "client/pending_calls.h"
#include "client/primary_finder.h"
#include "client/request.h"
#include "common/clock.h"
#include "common/random.h"
#include "common/result.h"
#include "silurus/options.h"
#include "silurus/statistics.h"

namespace silurus::client {

/// A client as a state machine over the members of one shard: sends writes, and reads unless the
/// options say otherwise, to the primary, which its PrimaryFinder finds, and finds again when it is
/// lost. What was under way goes to the next one, too (PendingCalls): searches are asked again,
/// writes are sent again in their order under the numbers that they have, which the group
/// remembers, so that each happens once. A server alone is a group of one that remembers nothing: a
/// write that it left without an answer is in doubt at once.
///
/// A request that can't begin (bad argument, too large, too many in flight, no server) is refused
/// by submit(); else its callback is called exactly once: with its answer, or by its deadline, or
/// when no server was found for ClientOptions::reconnect_for, or from the destructor; kInDoubt only
/// if it is a write that was sent and may have happened. Requests of any kind may be in flight
/// together, up to PendingCalls::kMaxInFlight; they end in any order.
///
/// No thread, no sleep, no clock or dice but those given, so the same code runs on real fabrics and
/// in simulation. One thread; callbacks only from flush(), settle(), the poller's progress() and
/// the destructor. In steady state nothing is allocated. settle() blocks while it connects: for
/// kMaxConnect at most, or ClientOptions::connect_timeout with a server that is alone; and while it
/// asks the directory.
///
///   core->submit(request::Range<2>{query}, [&](Result<RangeAnswer<2>*> found) { ... });
///   while (core->in_flight() > 0) {
///     core->flush();
///     poller.progress();
///     core->settle();
///   }
template <int D>
class ClientCore {
 public:
  static constexpr Nanoseconds kMaxConnect = 250 * kMillisecond;

  /// Not connected yet: to be driven until ready(), or failure(). `urls`: at least one, unless
  /// there is a directory. What is given by reference must outlive it.
  static Result<std::unique_ptr<ClientCore>> create(std::vector<std::string> urls,
                                                    std::unique_ptr<Directory> directory,
                                                    Network& network, const Clock& clock,
                                                    const ClientOptions& options);
  /// A client of one server, whatever its role, by one connection that is never made again.
  static Result<std::unique_ptr<ClientCore>> connect(const std::string& url, Network& network,
                                                     const Clock& clock, ClientOptions options);
  ~ClientCore();
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  /// Begins an operation: any alternative of Request<D>, with a callback for its answer. The
  /// current version may be searched at any member that is as fresh as ClientOptions::read says.
  /// An older version, to be read one-sidedly, is first held by the server, which takes a message
  /// unless it holds it already.
  template <typename Kind>
  Status submit(const Kind& request, Callback<typename Kind::Answer> callback) {
    return submit_any(Request<D>(request), AnyCallback<D>(std::move(callback)));
  }
  /// The same; the callback is that of the request's kind.
  Status submit_any(const Request<D>& request, AnyCallback<D>&& callback);

  // --- driving it
  /// Sends and posts what was begun. Before waiting for anything.
  void flush() {
    for (auto& peer : peers_) peer.link->flush();
  }
  /// After progress(): delivers offloaded searches that have ended, and (now and then, or if told
  /// to look) ends what is past its deadline and looks after the connections. Returns how many
  /// things it had to do with: if none, and there is nothing to progress either, it's time to
  /// sleep.
  std::size_t settle(bool look = false);
  /// Longest time to sleep before the next flush() and settle(true), if nothing happens.
  Nanoseconds max_wait() const;

  // --- looking at it
  /// Whether there is a primary to ask now.
  bool ready() const { return primary() != nullptr; }
  /// Whether a member other than a primary may answer searches now: with ReadFrom::kAny, while
  /// there is no primary.
  bool has_readers();
  /// Whether it is known of each member that may answer searches how fresh it is.
  bool knows_readers() const;
  /// Why no primary is being looked for any more.
  const std::optional<Error>& failure() const { return finder_.failure(); }
  std::size_t in_flight() const { return calls_.in_flight(); }
  /// Limits of the connection to the primary; before there is one, what every connection takes.
  const request::Limits& limits() const { return limits_; }
  bool can_offload() const { return ready() && primary_->can_offload(); }
  /// The connection to the primary; null: there is none.
  Link<D>* primary() const {
    return primary_ != nullptr && primary_->connected() ? primary_ : nullptr;
  }
  std::string peer() const { return peer_name_; }
  /// Members that there is a connection to.
  std::size_t connections() const;
  /// A copy.
  ClientStatistics statistics() const;
  void reset_statistics();

 private:
  using Member = PrimaryFinder::Member;
  using Step = PrimaryFinder::Step;
  /// A member that there is a link to.
  struct Peer {
    Member* member;
    std::unique_ptr<Link<D>> link;
    Nanoseconds probed = 0;  ///< as a reader, to keep its heartbeats coming
  };

  ClientCore(std::unique_ptr<Directory> directory, Network& network, const Clock& clock,
             const ClientOptions& options);

  Status await_server(const Treatment& how);
  /// For a search of the current version: the link to a member that may answer it, and is least
  /// busy; null: none.
  struct Choice {
    Link<D>* link = nullptr;
    bool any = false;  ///< it is not the primary's
    Freshness freshness = {};
  };
  Choice choose_reader(Nanoseconds now);
  std::optional<Freshness> freshness_of(Link<D>& link, const HeartbeatState& newest,
                                        Nanoseconds now);

  std::size_t upkeep(bool look);
  void look_after_primary(bool look, Nanoseconds now);
  void lose_primary(Nanoseconds now);
  void seek(Nanoseconds now);
  Error out_of_time();
  Result<Link<D>*> dial(Member& member, Nanoseconds longest);
  Nanoseconds dial_time(Nanoseconds now) const;
  void ask(Member& member);
  void lead_with(Member& member);
  void begin_queued();
  void look_after_readers(Nanoseconds now);
  void leave_others();
  void drop(const Member& member);
  Link<D>* link_of(const Member& member) const;

  Network& network_;
  const Clock& clock_;
  const ClientOptions options_;
  std::unique_ptr<Directory> directory_;
  Random random_;
  PendingCalls<D> calls_;
  PrimaryFinder finder_;
  std::vector<Peer> peers_;
  Link<D>* primary_ = nullptr;

  std::uint32_t settles_ = 0;
  request::Limits limits_;
  std::string peer_name_;
  std::set<std::string> proved_;  ///< URLs of servers that have proved to hold a key
  std::string key_;  ///< key file that the URLs name: other members are asked with it, too
  std::uint64_t primaries_ = 0;     ///< that there have been
  std::uint64_t load_primary_ = 0;  ///< the number of the one on which the load was begun

  // The state of the primary when it was looked at last.
  std::uint64_t heard_messages_ = 0;
  Nanoseconds heard_heartbeat_ = 0;
  Nanoseconds heard_at_ = 0;
  Nanoseconds looked_at_ = 0;
  /// After which it is given up. One that leads although it was given up is slow, or the way to it
  /// is: it gets twice the time.
  Nanoseconds silence_ = 0;
  std::string silent_;  ///< the url of the one that was given up last, until there is a primary
};

}  // namespace silurus::client
