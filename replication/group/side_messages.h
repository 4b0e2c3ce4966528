// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/fabric.h"

// How those talk with a member who connect to its listener for something else than the log
// (Links::admit): copiers of the tree, members that ask the keeper of the views.

namespace silurus::replication::group {

/// Begins each message of theirs, either way.
struct SideMessageHead {
  std::uint64_t checksum;  ///< XXH3-64 of all that follows
  std::uint32_t kind;
  std::uint32_t reserved;
  std::uint64_t argument;  ///< what it is, the kind says
};
static_assert(sizeof(SideMessageHead) == 24 &&
              std::has_unique_object_representations_v<SideMessageHead>);

/// False if there is no room just now. Never longer than the connection takes.
bool send_side_message(transport::Connection& connection, std::uint32_t kind,
                       std::uint64_t argument, std::span<const std::byte> payload);

/// A message that is whole, as a copy that the peer cannot change.
struct SideMessage {
  SideMessageHead head;
  std::vector<std::byte> payload;
};
std::optional<SideMessage> decode_side_message(std::span<const std::byte> message);

}  // namespace silurus::replication::group
