// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/socket.h>

#include <string>

#include "transport/fabric.h"
#include "transport/verbs/handles.h"

namespace silurus::transport::verbs {

/// Looks the host and port up. `passive`: to listen there; an empty host or "*" is any address.
Result<CmAddress> resolve(const Address& address, bool passive, rdma_port_space space);
/// "rdma://10.9.0.1:7471", IPv6 in brackets.
std::string to_string(const sockaddr& address);
Address to_address(const sockaddr& address);
bool is_loopback(const sockaddr& address);

}  // namespace silurus::transport::verbs
