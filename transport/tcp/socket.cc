// SPDX-License-Identifier: Apache-2.0

#include "transport/tcp/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "transport/limits.h"

namespace silurus::transport::tcp {
namespace {

/// A peer that has vanished (host down, cable cut) is given up after about this long.
constexpr int kVanishedSeconds = 30;

using AddressList = std::unique_ptr<addrinfo, decltype([](addrinfo* list) { freeaddrinfo(list); })>;

Result<AddressList> resolve(const Address& address, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &list);
  if (error != 0) {
    return fail(ErrorCode::kNotFound, "cannot resolve host \"" + address.host + "\" of " +
                                          address.to_string() + ": " + gai_strerror(error));
  }
  return AddressList(list);
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

Address to_address(const sockaddr_storage& storage, socklen_t length) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  getnameinfo(reinterpret_cast<const sockaddr*>(&storage), length, host.data(), host.size(),
              port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV);
  return {"tcp", host.data(), port.data(), ""};
}

std::string text_of(const addrinfo& info) {
  sockaddr_storage storage{};
  std::memcpy(&storage, info.ai_addr, info.ai_addrlen);
  return to_address(storage, info.ai_addrlen).to_string();
}

/// Waits for events on a socket; false when the deadline has passed.
bool wait_for(int socket, short events, Nanoseconds deadline) {
  for (;;) {
    const Nanoseconds left = std::max<Nanoseconds>(deadline - SystemClock().now(), 0);
    const timespec time{left / kSecond, left % kSecond};
    pollfd fd{socket, events, 0};
    const int ready = ppoll(&fd, 1, &time, nullptr);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

Result<UniqueFd> connect_one(const addrinfo& info, const std::string& name, Nanoseconds deadline) {
  UniqueFd fd(socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(errno_error(ErrorCode::kIo, "cannot create a socket", errno));
  int error = 0;
  if (connect(fd.get(), info.ai_addr, info.ai_addrlen) != 0) error = errno;
  if (error == EINPROGRESS) {
    if (!wait_for(fd.get(), POLLOUT, deadline)) {
      return fail(ErrorCode::kDeadlineExceeded,
                  name +
                      " did not take the connection in time; is the address right, and no "
                      "firewall between?");
    }
    socklen_t length = sizeof(error);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  }
  if (error == ECONNREFUSED) {
    return fail(ErrorCode::kUnavailable,
                "no server at " + name + ": connection refused; is it running?");
  }
  if (error != 0) {
    return fail(errno_error(ErrorCode::kUnavailable, "cannot connect to " + name, error));
  }
  return fd;
}

}  // namespace

Result<UniqueFd> listen_on(const Address& address, bool allow_other_users) {
  auto list = resolve(address, AI_PASSIVE);
  if (!list) return fail(std::move(list.error()));
  const addrinfo& info = **list;
  if (!allow_other_users && !is_loopback(info.ai_addr)) {
    return fail(ErrorCode::kPermission, "will not listen at " + text_of(info) +
                                            ", which other hosts and users can reach, unless "
                                            "--allow-other-users or --access says that "
                                            "they may connect");
  }
  UniqueFd fd(socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(errno_error(ErrorCode::kIo, "cannot create a socket", errno));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd.get(), info.ai_addr, info.ai_addrlen) != 0 || listen(fd.get(), kBacklog) != 0) {
    const bool taken = errno == EADDRINUSE;
    return fail(errno_error(taken ? ErrorCode::kConflict : ErrorCode::kIo,
                            "cannot listen at " + address.to_string() +
                                (taken ? " (another server has that port)" : ""),
                            errno));
  }
  return fd;
}

Address local_address(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length);
  return to_address(storage, length);
}

OtherEnd other_end(int socket) {
  sockaddr_storage theirs{};
  socklen_t length = sizeof(theirs);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&theirs), &length) != 0) return {};
  const Address there = to_address(theirs, length);
  return {there.host, there.port, local_address(socket).host};
}

std::string peer_name(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "tcp peer";
  return to_address(storage, length).to_string();
}

Result<UniqueFd> connect_to(const Address& address, Nanoseconds deadline) {
  auto list = resolve(address, 0);
  if (!list) return fail(std::move(list.error()));
  Result<UniqueFd> socket = fail(ErrorCode::kNotFound, "no address for " + address.to_string());
  for (const addrinfo* info = list->get(); info != nullptr; info = info->ai_next) {
    socket = connect_one(*info, address.to_string(), deadline);
    if (socket) {
      tune(socket->get());
      break;
    }
  }
  return socket;
}

Status receive_all(int socket, std::span<std::byte> bytes, Nanoseconds deadline,
                   const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t got = recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    } else if (got == 0) {
      return fail(ErrorCode::kConnectionLost,
                  name + " closed the connection without an answer; is it a Silurus server?");
    } else if (errno == EAGAIN) {
      if (!wait_for(socket, POLLIN, deadline)) {
        return fail(ErrorCode::kDeadlineExceeded,
                    name + " did not answer in time; is it a Silurus server, and not stuck?");
      }
    } else if (errno != EINTR) {
      return fail(errno_error(ErrorCode::kConnectionLost, "no answer from " + name, errno));
    }
  }
  return {};
}

void tune(int socket) {
  const int on = 1;
  const int idle = kVanishedSeconds / 2;
  const int interval = kVanishedSeconds / 6;
  const int count = 3;
  const int timeout_ms = kVanishedSeconds * 1000;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

}  // namespace silurus::transport::tcp
