// SPDX-License-Identifier: Apache-2.0

#include "replication/group/side_messages.h"

#include <xxhash.h>

#include <cstring>

namespace silurus::replication::group {
namespace {

std::uint64_t checksum_of(std::span<const std::byte> message) {
  return XXH3_64bits(message.data() + sizeof(SideMessageHead::checksum),
                     message.size() - sizeof(SideMessageHead::checksum));
}

}  // namespace

bool send_side_message(transport::Connection& connection, std::uint32_t kind,
                       std::uint64_t argument, std::span<const std::byte> payload) {
  const auto room = connection.reserve(sizeof(SideMessageHead) + payload.size());
  if (room.empty()) return false;
  SideMessageHead head{.checksum = 0, .kind = kind, .reserved = 0, .argument = argument};
  std::memcpy(room.data(), &head, sizeof head);
  if (!payload.empty()) std::memcpy(room.data() + sizeof head, payload.data(), payload.size());
  head.checksum = checksum_of(room);
  std::memcpy(room.data(), &head.checksum, sizeof head.checksum);
  connection.commit(room.size());
  connection.flush();
  return true;
}

std::optional<SideMessage> decode_side_message(std::span<const std::byte> message) {
  if (message.size() < sizeof(SideMessageHead)) return std::nullopt;
  std::vector<std::byte> copy(message.begin(), message.end());
  SideMessage taken;
  std::memcpy(&taken.head, copy.data(), sizeof taken.head);
  if (taken.head.checksum != checksum_of(copy)) return std::nullopt;
  taken.payload.assign(copy.begin() + sizeof(SideMessageHead), copy.end());
  return taken;
}

}  // namespace silurus::replication::group
