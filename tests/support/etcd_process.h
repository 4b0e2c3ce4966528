// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "etcd/gateway.h"
#include "tests/support/held_port.h"
#include "tests/support/patience.h"
#include "tests/support/server_process.h"

namespace silurus::testing_support {

/// A real etcd on this host, on ports and in a folder of its own; killed at the end.
class EtcdProcess {
 public:
  EtcdProcess() { start(); }
  EtcdProcess(const EtcdProcess&) = delete;
  EtcdProcess& operator=(const EtcdProcess&) = delete;
  ~EtcdProcess() { stop(); }

  /// Whether there is an etcd to be run (package etcd-server).
  static bool is_installed() { return ::access(kPath, X_OK) == 0; }
  /// Whether it answers; waits for that.
  bool wait_until_ready() const {
    // It listens before it answers: while it elects itself, say.
    const auto gateway =
        etcd::Gateway::create(*etcd::Address::parse(address("ready")), patient(kSecond));
    return gateway && wait_until([&] { return (*gateway)->read("ready").has_value(); });
  }
  std::string address(const std::string& name) const {
    return "etcd://" + client_port_.host_and_port() + "/" + name;
  }
  void start() {
    const std::string client = "http://" + client_port_.host_and_port();
    const std::string peer = "http://" + peer_port_.host_and_port();
    const Command etcd(kPath, {"--data-dir", folder_ / "etcd", "--listen-client-urls", client,
                               "--advertise-client-urls", client, "--listen-peer-urls", peer,
                               "--initial-advertise-peer-urls", peer, "--initial-cluster",
                               "default=" + peer, "--unsafe-no-fsync"});
    pid_ = fork_to_die_with_us();
    if (pid_ != 0) return;
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    etcd.run();
  }
  void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  static constexpr const char* kPath = "/usr/bin/etcd";

  TemporaryFolder folder_;
  const HeldPort client_port_;
  const HeldPort peer_port_;
  pid_t pid_ = -1;
};

}  // namespace silurus::testing_support
