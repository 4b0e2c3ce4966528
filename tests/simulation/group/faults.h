// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <vector>

#include "common/random.h"
#include "tests/simulation/group/sim_driver.h"

namespace silurus::simulation {

/// What goes wrong with a group, its etcd and its clients, drawn from a seed: crashes of one member
/// or all, pauses, hosts that sleep, alone or together, partitions both ways and one way, members
/// far away or slow, multicast that holds datagrams back or refuses them, etcd out of reach.
class Faults {
 public:
  /// What only the run itself can do; by the place of a member.
  class Victims {
   public:
    virtual bool is_up(std::size_t member) const = 0;
    virtual void crash(std::size_t member) = 0;
    virtual void start(std::size_t member) = 0;  ///< its host has been restarted
    /// CPU time of each of its turns.
    virtual void set_turn(std::size_t member, Nanoseconds turn) = 0;
    /// It crashes in the midst of what it writes next.
    virtual void crash_while_writing(std::size_t) {}

   protected:
    ~Victims() = default;
  };
  struct Hosts {
    std::vector<sim::Host*> members;
    /// That are cut off and stand still too; then members crash in the midst of writing as well.
    std::vector<sim::Host*> clients = {};
  };

  Faults(GroupWorld& group, Random& random, Hosts hosts, Victims& victims);

  /// Loss, duplication and delays of all links, from now on.
  void draw_links();
  void schedule(Nanoseconds from, Nanoseconds until);
  /// Something goes wrong with a copy of a member's tree that has just begun, or nothing.
  void disturb(const sim::Host& copier, const sim::Host& source);
  /// Ends all faults, and starts hosts that are down. A caller that lets hosts crash in the midst
  /// of writing has made sure that none will any more.
  void heal();

 private:
  static constexpr Nanoseconds kLongest = 120 * kMillisecond;
  static constexpr Nanoseconds kSlowTurn = 300 * kMicrosecond;
  static constexpr Nanoseconds kQuickTurn = kMicrosecond;

  void inject(unsigned kind, Nanoseconds lasts);
  void inject_at_clients(unsigned kind, std::size_t member, Nanoseconds lasts);
  void inject_at_copy(std::size_t copier, std::size_t source, Nanoseconds lasts);
  void crash(std::size_t member, Nanoseconds lasts);
  void crash_while_writing(std::size_t member, Nanoseconds lasts);
  void leave_etcd();
  void stand_still(sim::Host& host, Nanoseconds lasts);
  void sleep(sim::Host& host, Nanoseconds lasts);
  void hold_multicast_back(sim::Host& host, Nanoseconds lasts);
  void refuse_multicast(sim::Host& host, Nanoseconds lasts);
  /// The primary, if it is known; else that member.
  sim::Host& primary_or(std::size_t member);
  void cut_off(sim::Host& host);
  void restart(std::size_t member);

  GroupWorld& group_;
  sim::World& world_;
  Random& random_;
  const Hosts hosts_;
  Victims& victims_;
  sim::LinkModel link_;
};

}  // namespace silurus::simulation
