// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/clock.h"
#include "replication/group/protocol.h"
#include "replication/group/view.h"
#include "transport/waiter.h"

namespace silurus::server {

/// On loopback. The first member of a static group listens where `cluster` says instead.
constexpr const char* kAnyGroupAddress = "tcp://127.0.0.1:0";

/// The group that a server is a member of, and how.
struct GroupOptions {
  std::string cluster;     ///< "etcd://127.0.0.1:2379/name", "static://127.0.0.1:7400/name"
  bool lead = false;       ///< whether it is the first member of a static group
  bool take_over = false;  ///< in place of the first member, which is permanently lost
  std::uint32_t shard = 0;
  std::string listen = kAnyGroupAddress;  ///< for other members
  /// The file of the key that all members hold; empty: there is none, and members are processes of
  /// our own user on this machine.
  std::string cluster_key = {};
  std::string multicast;  ///< "rdma://239.1.2.3:7472"; empty: none
  /// How the log gets to the others; the same at all members.
  replication::group::ReplicationProtocol protocol =
      replication::group::ReplicationProtocol::kMulticast;
  /// What a write needs to be acknowledged, where this member founds the group.
  replication::group::Ack ack = replication::group::Ack::kAll;
  /// Members without which no write is acknowledged, as long as this one leads; 0: a majority of
  /// the most that were in a view at once; nothing: as the group was told before, or 0.
  std::optional<std::uint32_t> min_members = {};
  std::string advertise;            ///< what clients are told; empty: where it listens
  Nanoseconds lease = 2 * kSecond;  ///< the same at all members
  transport::WaitPolicy wait = transport::WaitPolicy::kAdaptive;
  /// Told, by the group's thread, that a copy of the group's tree waits in the data directory: the
  /// server is to be started again, and does nothing for the group until then.
  std::function<void()> renew;
};

}  // namespace silurus::server
