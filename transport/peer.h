// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <optional>
#include <string>

#include "common/result.h"

namespace silurus::transport {

/// What counts as one peer, for limits and in the log: a user of this machine ("user 1000"), an
/// IPv4 address ("10.0.0.7"; also where it is written as an IPv6 one), or a /64 of IPv6
/// ("2001:db8:1:2::/64"), since a host has all addresses of one. "unknown": of another family.
std::string peer_of_user(uid_t user);
std::string peer_of_address(const sockaddr& address);
/// The peer at the other end of a connected socket: its user, or its address.
std::string peer_of_unix_socket(int socket);
std::string peer_of_tcp_socket(int socket);

/// The user whose socket the other end of a connected TCP socket is, if that is a socket of this
/// network namespace, as over loopback; asked of the kernel (sock_diag(7)). Nothing: it is none, or
/// has been closed meanwhile. kIo: the kernel does not tell.
Result<std::optional<uid_t>> user_of_tcp_peer(int socket);
/// The refusal of a server that serves its own user alone.
Error not_for_user(const std::string& user);

}  // namespace silurus::transport
