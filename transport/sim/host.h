// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "transport/fabric.h"
#include "transport/sim/options.h"
#include "transport/sim/timetable.h"

namespace silurus::transport::sim {

class Host;
class Thread;
class World;

/// A card that carries out one-sided reads without its host's CPU.
struct NicModel {
  double reads_per_second = 20e6;    ///< reads of one card queue for this
  Nanoseconds read_latency = 800;    ///< longest time until a read takes place,
  double bytes_per_second = 12.5e9;  ///< besides that of its bytes
  /// Most pieces that a read is carried out in, at different instants and in any order; only
  /// aligned 8-byte words are whole. 1: atomic, which no card promises.
  unsigned max_read_pieces = 4;

  // For capacity planning: what all connections of the host share. 0: there is no such limit, and
  // each link queues by itself.
  double link_bytes_per_second = 0;  ///< rate of the card's port, each way
  double messages_per_second = 0;    ///< sent and received, and one-sided reads begun here
  /// Bytes of a packet, into which messages are cut; 0: one packet.
  std::size_t packet_bytes = 0;
  /// What each of them has on top of kPacketOverheadBytes, or less than them.
  double extra_packet_bytes = 0;
};

/// What the fabric costs its host's CPU, charged to the process that is at work. Nothing by
/// default: tests charge turns as a whole.
struct CpuModel {
  Nanoseconds send = 0;           ///< handing a message to the card
  Nanoseconds receive = 0;        ///< taking one from it
  double message_byte = 0;        ///< cost of sending or receiving, per byte
  Nanoseconds doorbell = 0;       ///< ringing for what was handed over
  Nanoseconds post_read = 0;      ///< describing one read to the card
  Nanoseconds complete_read = 0;  ///< taking note that it ended
};

/// What a host's card has done so far, where it is limited (NicModel::link_bytes_per_second).
struct CardUse {
  std::uint64_t bytes_out = 0;  ///< packets' overhead included
  std::uint64_t bytes_in = 0;
  std::uint64_t messages = 0;  ///< sent, received, and one-sided reads begun
  std::uint64_t reads = 0;     ///< one-sided, answered
};

struct HostOptions {
  /// What the host's clock shows at time 0: only differences mean anything, so it is not 0.
  Nanoseconds clock_offset = 1'000'000'000;
  /// How fast its clock runs: 1.0001 gains 100 us each second.
  double clock_rate = 1;
  /// From something happening to the step of a process that slept.
  Nanoseconds wake_latency = 0;
  NicModel nic = {};
  CpuModel cpu = {};
};

/// Code that runs on a host: a function that is called when there is something to do, as a thread's
/// loop body is. Each is as a thread on a core of its own: while CPU time that it charged passes,
/// it is not called again. Destroying it (not from within its own step) ends it.
class Process {
 public:
  using Step = std::function<void(Process&)>;
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Has the step run as soon as it can.
  void wake();
  /// Has the step run when the host's clock shows that time; the last call counts.
  void wake_at(Nanoseconds host_time);
  /// Has the step run whenever something has happened on this poller (of a SimFabric of this host,
  /// and of one process at a time). What the step leaves undone does not call it again.
  void watch(Poller& poller);
  Host& host() const;

 private:
  friend class Host;
  struct State;
  explicit Process(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

/// A machine: a clock, a card, and processes. Made by World::add_host and owned by the world.
class Host {
 public:
  Host(World& world, std::uint32_t index, std::string name, const HostOptions& options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  World& world() const { return world_; }
  std::uint32_t index() const { return index_; }
  const std::string& name() const { return name_; }
  const HostOptions& options() const { return options_; }
  /// What this host's code is given for a clock. Moves on with charge().
  const Clock& clock() const { return clock_; }
  Nanoseconds to_host_time(Nanoseconds world_time) const;
  Nanoseconds to_world_time(Nanoseconds host_time) const;

  /// The first step runs at once (as soon as the world does).
  std::unique_ptr<Process> spawn(std::string name, Process::Step step);
  /// Within a step: the time that the work took so far. What is sent afterwards leaves later.
  void charge(Nanoseconds cpu_time);
  /// Charged by all processes so far, of which a heartbeat's utilisation can be made.
  Nanoseconds cpu_time() const { return cpu_time_; }
  /// Within a step, as charge(); outside of one (set-up) nothing.
  void charge_within_step(Nanoseconds cpu_time) {
    if (steps_ > 0) charge(cpu_time);
  }
  /// What it costs to do what a message asks for, charged as it is handed over.
  using Work = std::function<Nanoseconds(std::span<const std::byte> message)>;
  void set_work(Work work) { work_ = std::move(work); }

  /// Stops all processes, as SIGSTOP does; the card goes on: reads are answered and messages
  /// received by it.
  void pause();
  /// The machine sleeps: processes stand still and so does the card, whose connections outlast that
  /// and count none of the time. The clock goes on, as CLOCK_BOOTTIME does.
  void suspend();
  /// Ends both. `lost`: the part of the time that the host stood still which its clock never shows,
  /// as the clock of a virtual machine that was paused, or CLOCK_MONOTONIC of one that slept.
  void resume(Nanoseconds lost = 0);
  bool paused() const { return paused_; }
  bool suspended() const { return suspended_; }
  /// The power fails: processes never run again, connections and regions are gone, peers find out
  /// when their retries time out. Objects of the host's code are left to their owner to destroy.
  void crash();
  /// All processes are killed, but the machine goes on: as crash(), but what they had exposed stays
  /// readable where FabricOptions::memory_outlives_process says so, after restart() too.
  void kill();
  /// What is held of processes that have been killed (FabricOptions::is_kept) is let go:
  /// `end_life` is given the first region of each of their listeners, to write there, and then
  /// their connections end.
  using EndLife = std::function<void(std::span<std::byte> region)>;
  void let_go(const EndLife& end_life);
  /// Can be connected to again; new processes, fabrics and listeners must be made.
  void restart();
  /// Whether its processes run.
  bool alive() const { return alive_; }
  /// Whether its card works though its processes may have been killed.
  bool has_power() const { return has_power_; }
  /// Counts restarts.
  std::uint32_t incarnation() const { return incarnation_; }
  /// Counts failures of the power.
  std::uint32_t power_failures() const { return power_failures_; }

  // --- for code that blocks
  /// The thread that is at work here now; null: one that does not block.
  Thread* thread() const { return thread_; }
  /// Returns the thread that was at work before.
  Thread* enter(Thread* thread) { return std::exchange(thread_, thread); }

  // --- for the fabric
  /// True time without that in which it was suspended.
  Nanoseconds awake_time() const;
  /// What becomes of datagrams for this host, and of those that it sends.
  struct Multicast {
    bool holds_back = false;       ///< those that arrive wait, until this is false again
    bool refuses_sends = false;    ///< PostStatus::kWouldBlock
    bool refuses_to_join = false;  ///< kUnavailable
    /// Datagrams that a group of this host has room for until the next progress() of its poller.
    std::size_t slots = kMulticastBurstBytes / kMaxDatagramBytes;
  };
  void set_multicast(const Multicast& multicast);
  const Multicast& multicast() const { return multicast_; }
  /// Something to be done when held datagrams are let go, all at once and in any order.
  void hold(std::function<void()> delivery) { held_.push_back(std::move(delivery)); }
  /// CPU time charged within the step that is running.
  Nanoseconds ahead() const { return ahead_; }
  /// The card's next free slot for a read that arrives now.
  Nanoseconds take_read_slot();
  /// When the card is through with a packet of that many bytes, given to it then. Only with
  /// NicModel::link_bytes_per_second.
  Nanoseconds pass_out(Nanoseconds at, std::size_t bytes, std::size_t operations) {
    return pass(outward_, card_use_.bytes_out, at, bytes, operations);
  }
  Nanoseconds pass_in(Nanoseconds at, std::size_t bytes, std::size_t operations) {
    return pass(inward_, card_use_.bytes_in, at, bytes, operations);
  }
  const CardUse& card_use() const { return card_use_; }
  /// Charges what a message costs that is handed over to the host's code.
  void charge_message(std::span<const std::byte> message);
  /// Called by crash() and kill(), in order of registration.
  std::uint64_t on_crash(std::function<void()> action);
  void forget_crash_action(std::uint64_t id) { crash_actions_.erase(id); }
  /// Whether the processes of that incarnation have been killed, and are not let go.
  bool keeps(std::uint32_t incarnation) const { return kept_.contains(incarnation); }
  /// Called by let_go(): those that look for the region first.
  void on_life_end(std::function<void(const EndLife&)> action) {
    life_ends_.push_back(std::move(action));
  }
  void on_let_go(std::function<void()> action) { let_go_actions_.push_back(std::move(action)); }

 private:
  friend class Process;
  class HostClock final : public Clock {
   public:
    explicit HostClock(const Host& host) : host_(host) {}
    Nanoseconds now() const override;

   private:
    const Host& host_;
  };
  static void schedule(const std::shared_ptr<Process::State>& state, Nanoseconds time);
  static void run(const std::shared_ptr<Process::State>& state);
  void end_processes();
  void end_pause();

  World& world_;
  const std::uint32_t index_;
  const std::string name_;
  const HostOptions options_;
  HostClock clock_{*this};
  bool alive_ = true;
  bool has_power_ = true;
  bool paused_ = false;
  bool suspended_ = false;
  Nanoseconds paused_since_ = 0;
  Nanoseconds suspended_since_ = 0;
  Nanoseconds slept_ = 0;  ///< suspended, in all
  Nanoseconds lost_ = 0;   ///< that the clock has not shown, in all
  Multicast multicast_;
  std::vector<std::function<void()>> held_;
  std::uint32_t incarnation_ = 0;
  std::uint32_t power_failures_ = 0;
  Nanoseconds ahead_ = 0;
  Nanoseconds cpu_time_ = 0;
  Nanoseconds pass(Timetable& way, std::uint64_t& total, Nanoseconds at, std::size_t bytes,
                   std::size_t operations);

  Thread* thread_ = nullptr;
  unsigned steps_ = 0;  ///< that are running, one within the other
  Work work_;
  double nic_free_at_ = 0;  ///< world time; some cards do a read in a few nanoseconds
  Timetable outward_;
  Timetable inward_;
  Timetable operations_;
  CardUse card_use_;
  std::vector<std::function<void()>> upon_resume_;
  std::map<std::uint64_t, std::function<void()>> crash_actions_;
  std::set<std::uint32_t> kept_;  ///< incarnations
  std::vector<std::function<void(const EndLife&)>> life_ends_;
  std::vector<std::function<void()>> let_go_actions_;
};

}  // namespace silurus::transport::sim
