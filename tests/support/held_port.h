// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "common/check.h"
#include "transport/unique_fd.h"

namespace silurus::testing_support {

/// A port on loopback that the kernel has chosen, kept for the programs that the owner starts on
/// it, one after the other. A socket is bound to it and never listens: the kernel gives the port to
/// no program that asks for any, neither to listen at nor to connect from, while a program that
/// names it and sets SO_REUSEADDR (as silurus-server and etcd do) can listen there, also in its
/// next life.
class HeldPort {
 public:
  HeldPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    SILURUS_CHECK(setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    SILURUS_CHECK(bind(fd_.get(), generic, length) == 0);
    SILURUS_CHECK(getsockname(fd_.get(), generic, &length) == 0);
    number_ = ntohs(address.sin_port);
  }

  int number() const { return number_; }
  /// "127.0.0.1:PORT"
  std::string host_and_port() const { return "127.0.0.1:" + std::to_string(number_); }

 private:
  transport::UniqueFd fd_;
  int number_ = 0;
};

}  // namespace silurus::testing_support
