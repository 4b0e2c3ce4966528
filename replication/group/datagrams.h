// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "access/seal.h"
#include "replication/group/wire.h"

namespace silurus::replication::group {

/// What a group's datagrams carry behind the message if the group has a key: a tag that only its
/// holders can compute, of the group and of the message's epoch. One thread.
class DatagramSeal {
 public:
  static constexpr std::size_t kBytes = sizeof(access::Tag);

  DatagramSeal(const access::Key& key, GroupId group) : key_(key), group_(group) {}

  /// The message with its tag behind; valid until the next call.
  std::span<const std::byte> close(std::span<const std::byte> message);
  /// The message of a datagram; nothing if no holder of the key has written it.
  std::optional<std::span<const std::byte>> open(std::span<const std::byte> datagram);

 private:
  const access::Seal& seal_of(std::span<const std::byte> message);

  const access::Key key_;
  const GroupId group_;
  Epoch epoch_ = 0;
  std::optional<access::Seal> seal_;  ///< seal of epoch_
  std::vector<std::byte> closed_;
};

}  // namespace silurus::replication::group
