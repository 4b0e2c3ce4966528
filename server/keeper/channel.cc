// SPDX-License-Identifier: Apache-2.0

#include "server/keeper/channel.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "transport/shm/control.h"

namespace silurus::server::keeper {
namespace {

bool wait_for(int socket, short event, Nanoseconds patience) {
  pollfd fd{socket, event, 0};
  return poll(&fd, 1, static_cast<int>(patience / kMillisecond)) > 0;
}

}  // namespace

bool send(int socket, Kind kind, std::uint64_t ticket, std::string_view text, int fd,
          Nanoseconds patience) {
  Packet packet{};
  packet.kind = static_cast<std::uint32_t>(kind);
  packet.ticket = ticket;
  packet.text_bytes = static_cast<std::uint32_t>(std::min(text.size(), kMostText));
  std::ranges::copy(text.substr(0, packet.text_bytes), packet.text.begin());
  const auto bytes = transport::shm::bytes_of(packet).first(kPacketHead + packet.text_bytes);
  if (transport::shm::send_packet(socket, bytes, fd)) return true;
  if (errno != EAGAIN || patience <= 0 || !wait_for(socket, POLLOUT, patience)) return false;
  return transport::shm::send_packet(socket, bytes, fd);
}

void wait_for_room(int socket, Nanoseconds patience) { wait_for(socket, POLLOUT, patience); }

std::optional<Heard> receive(int socket, Nanoseconds patience) {
  if (patience > 0 && !wait_for(socket, POLLIN, patience)) return std::nullopt;
  Heard heard{};
  auto received =
      transport::shm::receive_packet(socket, transport::shm::writable_bytes_of(heard.packet));
  if (!received || received->bytes < kPacketHead ||
      received->bytes - kPacketHead != heard.packet.text_bytes) {
    return std::nullopt;
  }
  heard.fd = std::move(received->fd);
  return heard;
}

}  // namespace silurus::server::keeper
