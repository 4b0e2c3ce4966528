// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/random.h"

// A world in virtual time: hosts, links between them, and everything that can go wrong with both,
// all in one thread and all from one seed. Code that ships runs in it unchanged (fabric.h); the
// same seed gives the same run, event by event.

namespace silurus::transport::sim {

class Host;
struct HostOptions;
struct ListenerState;
struct GroupMember;

/// One direction between two hosts.
struct LinkModel {
  Nanoseconds latency = 1500;        ///< propagation, switches and cards together, one way
  Nanoseconds jitter = 500;          ///< added to it, uniform in [0, jitter]
  double bytes_per_second = 12.5e9;  ///< 100 Gbit/s; packets queue for it
  double loss = 0;       ///< probability that a packet is lost; reliable messages are sent again
  double duplicate = 0;  ///< probability that a datagram arrives twice
};

/// What happened, for trace().
enum class Trace : std::uint8_t {
  kStep = 1,
  kSend = 2,
  kLost = 3,
  kDeliver = 4,
  kReadPiece = 5,
  kReadDone = 6,
  kConnect = 7,
  kBroken = 8,
  kPause = 9,
  kResume = 10,
  kCrash = 11,
  kRestart = 12,
  kCut = 13,
  kHeal = 14,
  kDatagram = 15,
  kUser = 16,
};

/// The virtual clock and its queue of events, the hosts and the links. Owned by a test; outlives
/// all that lives in it. One thread.
///
///   World world(seed);
///   Host& server = world.add_host("server");
///   SimFabric fabric(world, server);
///   auto process = server.spawn("worker", [&](Process&) { worker.sweep(); });
///   world.after(3 * kMillisecond, [&] { world.cut(server, client); });
///   world.run_for(kSecond);
class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::uint64_t seed() const { return seed_; }
  /// True time, which no host knows (Host::clock).
  Nanoseconds now() const { return now_; }
  /// The one source of chance of everything in this world.
  Random& random() { return random_; }

  // --- time
  using Action = std::function<void()>;
  /// Runs the action at that time, or now if it is past; actions of one time in order of calls.
  void at(Nanoseconds time, Action action);
  void after(Nanoseconds delay, Action action) { at(now_ + delay, std::move(action)); }
  /// Runs the next event; false if there is none. May be called from within an event.
  bool step();
  /// Runs what happens up to and including that time, which then is now.
  void run_until(Nanoseconds time);
  void run_for(Nanoseconds time) { run_until(now_ + time); }
  /// Runs until `done` says so (looked at after each event): true; or until that time has come, or
  /// nothing can happen any more: what `done` says then.
  bool run_until(const std::function<bool()>& done, Nanoseconds deadline);

  // --- hosts and links
  Host& add_host(std::string name, const HostOptions& options);
  Host& add_host(std::string name);
  /// Null if there is none of that name.
  Host* find_host(std::string_view name);
  /// Sets the model of all links that have none of their own.
  void set_default_link(const LinkModel& model) { default_link_ = model; }
  void set_link(const Host& from, const Host& to, const LinkModel& model);
  /// From now on nothing gets from one to the other; the other direction is another link.
  void cut(const Host& from, const Host& to);
  void heal(const Host& from, const Host& to);
  /// Cuts all links, both ways, between hosts of one side and of the other.
  void partition(std::span<Host* const> side, std::span<Host* const> other);
  void heal_all();

  /// Sends a packet from one host to another now (or, within a process's step, when the CPU time
  /// charged so far has passed): when it arrives, or nothing if it doesn't. For fabrics. What it
  /// is to the cards of both sides counts where they are limited (NicModel::messages_per_second).
  struct CardWork {
    std::size_t sender = 1;
    std::size_t receiver = 1;
    bool is_of_card = false;  ///< not of a process: goes on when that has been killed
  };
  std::optional<Nanoseconds> transmit(Host& from, Host& to, std::size_t bytes, CardWork work);
  std::optional<Nanoseconds> transmit(Host& from, Host& to, std::size_t bytes) {
    return transmit(from, to, bytes, CardWork{});
  }
  const LinkModel& link(const Host& from, const Host& to) const;

  // --- trace
  /// Folds an event into the hash. Tests may add their own (kUser).
  void trace(Trace kind, std::uint64_t a = 0, std::uint64_t b = 0);
  /// Hash of everything that has happened and when: equal for equal runs.
  std::uint64_t trace_hash() const { return trace_hash_; }
  /// Also told of every event: to see what happens in a run that fails.
  using TraceSink = std::function<void(Nanoseconds, Trace, std::uint64_t, std::uint64_t)>;
  void set_trace_sink(TraceSink sink) { trace_sink_ = std::move(sink); }
  std::uint64_t events() const { return events_; }

  // --- for the fabric
  std::uint64_t next_id() { return ++last_id_; }
  /// Listeners, by "host:port".
  std::map<std::string, std::weak_ptr<ListenerState>>& listeners() { return listeners_; }
  /// Members of multicast groups, by "address:port".
  std::map<std::string, std::vector<std::weak_ptr<GroupMember>>>& groups() { return groups_; }

 private:
  struct Event {
    Nanoseconds time;
    std::uint64_t order;
    Action action;
  };
  struct Link {
    std::optional<LinkModel> model;
    bool is_cut = false;
    Nanoseconds free_at = 0;  // when the last packet has left
  };
  static bool later(const Event& a, const Event& b) {
    return a.time != b.time ? a.time > b.time : a.order > b.order;
  }
  using LinkName = std::pair<std::uint32_t, std::uint32_t>;
  static LinkName name(const Host& from, const Host& to);

  const std::uint64_t seed_;
  Random random_;
  Nanoseconds now_ = 0;
  std::vector<Event> queue_;  // a heap by later()
  std::uint64_t last_order_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t last_id_ = 0;
  std::vector<std::unique_ptr<Host>> hosts_;
  LinkModel default_link_;
  LinkModel loopback_;
  std::map<LinkName, Link> links_;
  std::uint64_t trace_hash_;
  TraceSink trace_sink_;
  std::map<std::string, std::weak_ptr<ListenerState>> listeners_;
  std::map<std::string, std::vector<std::weak_ptr<GroupMember>>> groups_;
};

}  // namespace silurus::transport::sim
