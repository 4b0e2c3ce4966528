// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "tests/conformance/transport/fixture.h"
#include "tests/support/patience.h"

namespace silurus::transport::conformance {

/// A user that is not the one of the tests.
constexpr uid_t kNobody = 65534;

/// A listening server of shm or tcp, and a directory of its own, for tests that come with sockets
/// and processes instead of a World.
class RealServer : public ::testing::Test {
 protected:
  explicit RealServer(std::string_view scheme) : fabric(std::move(*make_fabric(scheme))) {
    std::string pattern = std::filesystem::temp_directory_path() / "silurus-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    directory = pattern;
    poller = std::move(*fabric->create_poller());
  }
  ~RealServer() override {
    acceptor.ends.clear();
    listener.reset();
    std::filesystem::remove_all(directory);
  }

  Status listen(const Address& address, const ListenOptions& options = {}) {
    Poller* const one = poller.get();
    auto made = fabric->listen(address, options, std::span(&one, 1), acceptor);
    if (!made) return fail(std::move(made.error()));
    listener = std::move(*made);
    return {};
  }

  bool run_until(const std::function<bool()>& done) {
    testing_support::Patience patience;
    while (!done()) {
      poller->progress();
      if (patience.is_over()) return false;
      testing_support::pace(100 * kMicrosecond);  // pacing: lets the other process run
    }
    return true;
  }

  /// Connects in a child process; its exit status: 0, or the code of the error.
  pid_t connect_in_child(const std::function<void(Connection&, Poller&)>& then,
                         uid_t user = geteuid()) {
    const Address address = listener->address();
    const pid_t child = fork();
    if (child != 0) return child;
    if (user != geteuid() && setuid(user) != 0) _exit(99);
    auto own = std::move(*make_fabric(address.scheme));
    auto own_poller = std::move(*own->create_poller());
    Recorder recorder;
    const ConnectOptions patient = {.timeout = testing_support::patient(ConnectOptions{}.timeout)};
    auto connection = own->connect(address, patient, *own_poller, {}, recorder);
    if (!connection) _exit(static_cast<int>(connection.error().code));
    then(**connection, *own_poller);
    _exit(0);
  }
  /// Drives the server until the child has ended; its exit status.
  int await(pid_t child) {
    int status = 0;
    EXPECT_TRUE(run_until([&] { return waitpid(child, &status, WNOHANG) == child; }));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::unique_ptr<Fabric> fabric;
  std::string directory;
  std::unique_ptr<Poller> poller;
  Acceptor acceptor;
  std::unique_ptr<Listener> listener;
};

}  // namespace silurus::transport::conformance
