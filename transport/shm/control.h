// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "common/result.h"
#include "transport/setup.h"
#include "transport/unique_fd.h"

// The control socket of a shm connection: Unix-domain, SOCK_SEQPACKET. Carries set-up, regions and
// doorbells; its end says that the peer is gone.

namespace silurus::transport::shm {

/// First byte of every packet after set-up.
enum class Packet : std::uint8_t {
  kBell = 1,    ///< wake up; alone
  kRegion = 2,  ///< RegionPacket, with the descriptor
  kWindow = 3,  ///< client to server: RegionPacket, with the descriptor
};

struct RegionPacket {
  std::uint64_t packet;  ///< Packet::kRegion or kWindow
  std::uint64_t index;
  std::uint64_t bytes;
};

struct Received {
  std::size_t bytes;
  UniqueFd fd;  ///< if one came along
};

/// kInvalidArgument if the path is too long for a socket.
Result<sockaddr_un> socket_address(const std::string& path);

/// Sends one packet, with a descriptor if fd >= 0. Does not wait. Any thread. False with errno.
bool send_packet(int socket, std::span<const std::byte> packet, int fd);
/// Receives one packet. Does not wait: nullopt with errno EAGAIN if there is none; 0 bytes: the
/// end.
std::optional<Received> receive_packet(int socket, std::span<std::byte> packet);

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <typename T>
std::span<std::byte> writable_bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace silurus::transport::shm
