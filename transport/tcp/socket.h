// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "transport/fabric.h"
#include "transport/keys.h"
#include "transport/unique_fd.h"

// Sockets of the tcp fabric: set-up only, with errors for people.

namespace silurus::transport::tcp {

/// A listening socket, non-blocking. kPermission for an address beyond loopback unless allowed.
Result<UniqueFd> listen_on(const Address& address, bool allow_other_users);
/// The address that a socket is bound to.
Address local_address(int socket);
/// Both ends of a connected socket.
OtherEnd other_end(int socket);
/// "tcp://127.0.0.1:40122"
std::string peer_name(int socket);

/// A connected socket, non-blocking and tuned. Waits until the deadline (of SystemClock).
Result<UniqueFd> connect_to(const Address& address, Nanoseconds deadline);
/// Fills `bytes`, waiting until the deadline.
Status receive_all(int socket, std::span<std::byte> bytes, Nanoseconds deadline,
                   const std::string& name);
/// No Nagle; finds out about peers that vanished.
void tune(int socket);

}  // namespace silurus::transport::tcp
