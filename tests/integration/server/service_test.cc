// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/server_process.h"
#include "transport/unique_fd.h"

// What silurus-server tells a service manager: sd_notify(3).

namespace silurus {
namespace {

using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

constexpr int kGenerousMs = 60'000;

/// A service manager's end of the conversation: a datagram socket, which servers that are started
/// while it lives know of.
class Manager {
 public:
  explicit Manager(const char* watchdog_us = nullptr) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ / "notify";
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    if (watchdog_us != nullptr) setenv("WATCHDOG_USEC", watchdog_us, 1);
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;
  ~Manager() {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
  }

  /// The next message; nothing if none comes in that time.
  std::optional<std::string> next(int milliseconds) {
    pollfd readable{socket_.get(), POLLIN, 0};
    if (poll(&readable, 1, milliseconds) <= 0) return std::nullopt;
    std::string message(4096, '\0');
    const ssize_t size = recv(socket_.get(), message.data(), message.size(), 0);
    message.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return message;
  }
  /// Messages up to the first one that has this text; it is missing if it did not come.
  std::vector<std::string> until(const std::string& text) {
    std::vector<std::string> messages;
    while (auto message = next(kGenerousMs)) {
      messages.push_back(*message);
      if (message->find(text) != std::string::npos) break;
    }
    return messages;
  }

 private:
  TemporaryFolder folder_;
  transport::UniqueFd socket_{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
};

bool any_has(const std::vector<std::string>& messages, const std::string& text) {
  return std::ranges::any_of(messages, [&](const std::string& message) {
    return message.find(text) != std::string::npos;
  });
}

/// One thread of another process that is stopped while this lives.
class StoppedThread {
 public:
  StoppedThread(pid_t process, const std::string& name) {
    for (const auto& task :
         std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
      std::string found;
      std::getline(std::ifstream(task.path() / "comm") >> std::ws, found);
      if (found == name) thread_ = std::stoi(task.path().filename().string());
    }
    stopped_ = thread_ != 0 && ptrace(PTRACE_SEIZE, thread_, nullptr, nullptr) == 0 &&
               ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) == 0 &&
               waitpid(thread_, nullptr, __WALL) == thread_;
  }
  StoppedThread(const StoppedThread&) = delete;
  StoppedThread& operator=(const StoppedThread&) = delete;
  ~StoppedThread() { go_on(); }

  bool was_found() const { return thread_ != 0; }
  bool is_stopped() const { return stopped_; }
  void go_on() {
    if (stopped_) ptrace(PTRACE_DETACH, thread_, nullptr, nullptr);
    stopped_ = false;
  }

 private:
  pid_t thread_ = 0;
  bool stopped_ = false;
};

TEST(Service, ReportsItsStartThatItServesAndThatItStops) {
  Manager manager;
  const TemporaryFolder folder;
  const std::string url = "shm://" + (folder / "socket");
  ServerProcess server({"--listen", url, "--data", folder / "data", "--memory", "64M", "--log-size",
                        "16M", "--load", "uniform:1000", "--log-level", "error"});
  ASSERT_FALSE(server.addresses().empty()) << server.errors();
  const auto start = manager.until("READY=1");
  ASSERT_TRUE(any_has(start, "READY=1"));
  EXPECT_TRUE(any_has(start, "STATUS=recovering " + (folder / "data")));
  EXPECT_TRUE(any_has(start, "STATUS=loading 1000 entries"));
  EXPECT_NE(start.front().find("EXTEND_TIMEOUT_USEC="), std::string::npos) << start.front();
  EXPECT_NE(start.back().find("STATUS=serving at " + url), std::string::npos) << start.back();
  server.signal(SIGTERM);
  EXPECT_TRUE(any_has(manager.until("STOPPING=1"), "STOPPING=1"));
  EXPECT_EQ(server.wait(), 0);
}

TEST(Service, IsNotReadyIfItCannotServe) {
  Manager manager;
  ServerProcess server({"--listen", "shm:///no/such/folder/socket", "--log-level", "error"});
  EXPECT_EQ(server.wait(), 1);
  while (const auto message = manager.next(0)) {
    EXPECT_EQ(message->find("READY=1"), std::string::npos) << *message;
  }
}

TEST(Service, GivesSignsOfLifeAsLongAsAllItsWorkersLive) {
  Manager manager("200000");
  const TemporaryFolder folder;
  const ServerProcess server({"--listen", "shm://" + (folder / "socket"), "--memory", "64M",
                              "--threads", "2", "--log-level", "error"});
  manager.until("READY=1");
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(any_has(manager.until("WATCHDOG=1"), "WATCHDOG=1")) << "idle workers are alive";
  }
  StoppedThread worker(server.pid(), "silurus-1");
  ASSERT_TRUE(worker.was_found());
  if (!worker.is_stopped()) GTEST_SKIP() << "this system lets no process stop a thread of a child";
  // What it had said before may still arrive. After that there is silence, although the main thread
  // and the other worker run.
  int signs = 0;
  while (signs < 20 && manager.next(1'000)) ++signs;
  EXPECT_LT(signs, 20);
  EXPECT_FALSE(manager.next(1'000));
  worker.go_on();
  EXPECT_TRUE(any_has(manager.until("WATCHDOG=1"), "WATCHDOG=1"));
}

TEST(Service, AKeeperSpeaksForItsServersAndShowsItsOwnLife) {
  Manager manager("8000000");
  const TemporaryFolder folder;
  ServerProcess keeper({"--outlive", "--listen", "shm://" + (folder / "socket"), "--memory", "64M",
                        "--log-level", "error"});
  ASSERT_FALSE(keeper.addresses().empty()) << keeper.errors();
  ASSERT_TRUE(any_has(manager.until("READY=1"), "READY=1"));
  ASSERT_TRUE(any_has(manager.until("WATCHDOG=1"), "WATCHDOG=1"));
  const std::string id = std::to_string(keeper.pid());
  pid_t server = 0;
  std::ifstream("/proc/" + id + "/task/" + id + "/children") >> server;
  ASSERT_NE(server, 0);
  kill(server, SIGKILL);
  const auto messages = manager.until("READY=1");
  EXPECT_TRUE(any_has(messages, "died of SIGKILL"));
  EXPECT_TRUE(any_has(messages, "READY=1"));
  keeper.signal(SIGTERM);
  EXPECT_TRUE(any_has(manager.until("STOPPING=1"), "STOPPING=1"));
  EXPECT_EQ(keeper.wait(), 0);
}

TEST(Service, WithoutAManagerNothingIsDifferent) {
  setenv("WATCHDOG_USEC", "1000", 1);
  const TemporaryFolder folder;
  ServerProcess server({"--listen", "shm://" + (folder / "socket"), "--log-level", "error"});
  unsetenv("WATCHDOG_USEC");
  ASSERT_FALSE(server.addresses().empty()) << server.errors();
  EXPECT_EQ(server.stop(), 0);
}

}  // namespace
}  // namespace silurus
