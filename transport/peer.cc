// SPDX-License-Identifier: Apache-2.0

#include "transport/peer.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "transport/unique_fd.h"

namespace silurus::transport {

std::string peer_of_user(uid_t user) { return "user " + std::to_string(user); }

std::string peer_of_address(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.sa_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return text.data();
  }
  if (address.sa_family != AF_INET6) return "unknown";
  in6_addr v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    inet_ntop(AF_INET, v6.s6_addr + 12, text.data(), text.size());
    return text.data();
  }
  std::fill(v6.s6_addr + 8, v6.s6_addr + 16, std::uint8_t{0});
  inet_ntop(AF_INET6, &v6, text.data(), text.size());
  return std::string(text.data()) + "/64";
}

std::string peer_of_unix_socket(int socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return "unknown";
  return peer_of_user(peer.uid);
}

namespace {

/// The kernel answers at once; should it ever not, a client is turned away after this.
constexpr timeval kKernelPatience{1, 0};

struct DiagRequest {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

/// Address and port of one end as sock_diag has them; false for another family.
bool take_end(const sockaddr_storage& from, __be32 (&address)[4], __be16& port) {
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    address[0] = v4.sin_addr.s_addr;
    port = v4.sin_port;
    return true;
  }
  if (from.ss_family != AF_INET6) return false;
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
  std::memcpy(address, v6.sin6_addr.s6_addr, sizeof(address));
  port = v6.sin6_port;
  return true;
}

}  // namespace

Result<std::optional<uid_t>> user_of_tcp_peer(int socket) {
  sockaddr_storage theirs{};
  sockaddr_storage ours{};
  socklen_t theirs_length = sizeof(theirs);
  socklen_t ours_length = sizeof(ours);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&theirs), &theirs_length) != 0 ||
      getsockname(socket, reinterpret_cast<sockaddr*>(&ours), &ours_length) != 0) {
    return std::nullopt;  // it has gone
  }
  DiagRequest request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.body.sdiag_family = static_cast<__u8>(theirs.ss_family);
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = ~__u32{0};
  request.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  // The answer is about the other end's socket: what that one has as its own address is our peer's.
  if (!take_end(theirs, request.body.id.idiag_src, request.body.id.idiag_sport) ||
      !take_end(ours, request.body.id.idiag_dst, request.body.id.idiag_dport)) {
    return std::nullopt;
  }
  const UniqueFd kernel(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!kernel) return fail(errno_error(ErrorCode::kIo, "cannot ask whose a socket is", errno));
  setsockopt(kernel.get(), SOL_SOCKET, SO_RCVTIMEO, &kKernelPatience, sizeof(kKernelPatience));
  alignas(nlmsghdr) std::array<std::byte, 4096> answer;
  ssize_t got = -1;
  if (::send(kernel.get(), &request, sizeof(request), 0) == sizeof(request)) {
    got = recv(kernel.get(), answer.data(), answer.size(), 0);
  }
  nlmsghdr header{};
  if (got < static_cast<ssize_t>(sizeof(header))) {
    return fail(errno_error(ErrorCode::kIo, "cannot ask whose a socket is", errno));
  }
  std::memcpy(&header, answer.data(), sizeof(header));
  const auto payload = static_cast<std::size_t>(got) - sizeof(header);
  if (header.nlmsg_type == NLMSG_ERROR && payload >= sizeof(int)) {
    int error = 0;
    std::memcpy(&error, answer.data() + sizeof(header), sizeof(error));
    if (error == -ENOENT) return std::nullopt;
    return fail(errno_error(ErrorCode::kIo, "cannot ask whose a socket is", -error));
  }
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || payload < sizeof(inet_diag_msg)) {
    return fail(ErrorCode::kIo, "the kernel does not tell whose a socket is");
  }
  inet_diag_msg found{};
  std::memcpy(&found, answer.data() + sizeof(header), sizeof(found));
  // A socket that was closed has no user, and is shown as root's.
  if (found.idiag_state != TCP_ESTABLISHED || found.idiag_inode == 0) return std::nullopt;
  return found.idiag_uid;
}

Error not_for_user(const std::string& user) {
  return {ErrorCode::kPermission, user + " may not connect to a server of user " +
                                      std::to_string(geteuid()) +
                                      "; it lets them with --allow-other-users or --access"};
}

std::string peer_of_tcp_socket(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  auto* const address = reinterpret_cast<sockaddr*>(&storage);
  if (getpeername(socket, address, &length) != 0) return "unknown";
  return peer_of_address(*address);
}

}  // namespace silurus::transport
