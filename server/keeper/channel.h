// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "transport/unique_fd.h"

// What a server and its keeper say to each other over a pair of sockets (Unix, SOCK_SEQPACKET).
// Both are the same program, but perhaps of two releases: the keeper's may be the older one.

namespace silurus::server::keeper {

/// In packets: numbers stay.
enum class Kind : std::uint32_t {
  kHold = 1,     ///< with a descriptor and its ticket
  kRelease = 2,  ///< with a ticket
  kRoot = 3,     ///< with the memfd of the root block, and the offset there of the
                 ///< word that ends its life (as the ticket); answered
  kLock = 4,     ///< with the lock of the data directory; answered
  kServe = 5,    ///< the server is about to serve: the life before has to end; answered
  kNotify = 6,   ///< with lines for the service manager
  kDone = 7,     ///< an answer: done
  kFailed = 8,   ///< an answer: not done, with the reason
};

constexpr std::size_t kMostText = 1008;

/// Lines for the service manager that say no more than that the server lives.
constexpr std::string_view kSignOfLife = "WATCHDOG=1\n";

struct Packet {
  std::uint32_t kind;
  std::uint32_t text_bytes;
  std::uint64_t ticket;
  std::array<char, kMostText> text;

  std::string_view said() const { return {text.data(), text_bytes}; }
};
static_assert(sizeof(Packet) == 1024);
constexpr std::size_t kPacketHead = sizeof(Packet) - kMostText;

/// Sends a packet, with a descriptor if `fd` is one, and waits for room for that time at most.
/// False with errno. A text that is too long is cut.
bool send(int socket, Kind kind, std::uint64_t ticket, std::string_view text, int fd,
          Nanoseconds patience);

/// Waits for room for a packet for that time at most.
void wait_for_room(int socket, Nanoseconds patience);

struct Heard {
  Packet packet;
  transport::UniqueFd fd;
};
/// One packet; nothing: there is none, or the other end is gone, or says what makes no sense.
/// Waits for that time at most.
std::optional<Heard> receive(int socket, Nanoseconds patience);

}  // namespace silurus::server::keeper
