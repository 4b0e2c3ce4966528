// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace silurus::transport::verbs {

Result<CmAddress> resolve(const Address& address, bool passive, rdma_port_space space) {
  rdma_addrinfo hints{};
  hints.ai_flags = passive ? RAI_PASSIVE : 0;
  hints.ai_port_space = space;
  const bool any = passive && (address.host.empty() || address.host == "*");
  rdma_addrinfo* found = nullptr;
  if (rdma_getaddrinfo(any ? nullptr : address.host.c_str(), address.port.c_str(), &hints,
                       &found) != 0) {
    // What it sets errno to is no reason that a person could use.
    return fail(ErrorCode::kInvalidArgument,
                address.to_string() + ": no such host, or none that RDMA can reach");
  }
  CmAddress result(found);
  const sockaddr* const at = passive ? found->ai_src_addr : found->ai_dst_addr;
  if (at == nullptr) {
    return fail(ErrorCode::kInvalidArgument, address.to_string() + ": not an address");
  }
  return result;
}

Address to_address(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  std::uint16_t port = 0;
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof(v6));
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    port = ntohs(v6.sin6_port);
  } else {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    port = ntohs(v4.sin_port);
  }
  return {"rdma", text.data(), std::to_string(port), ""};
}

std::string to_string(const sockaddr& address) { return to_address(address).to_string(); }

bool is_loopback(const sockaddr& address) {
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof(v6));
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
  }
  sockaddr_in v4;
  std::memcpy(&v4, &address, sizeof(v4));
  return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
}

}  // namespace silurus::transport::verbs
