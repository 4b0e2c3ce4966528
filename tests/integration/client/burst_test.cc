// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <deque>
#include <string>
#include <vector>

#include "silurus/client.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"
#include "transport/unique_fd.h"

// Many processes that ask one server at the same moment.

namespace silurus {
namespace {

using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

constexpr int kProcesses = 300;
constexpr std::uint64_t kEntriesOfBurst = 200'000;
constexpr Box<2> kAllOfBurst{{-1e9, -1e9}, {1e9, 1e9}};
constexpr Box<2> kWindowOfBurst{{0.5, 0.5}, {0.51, 0.51}};
constexpr int kBusyClients = 8;

/// A process that has the server send it everything, again and again, until this goes.
class BusyClient {
 public:
  explicit BusyClient(const std::string& url) : pid_(testing_support::fork_to_die_with_us()) {
    if (pid_ != 0) return;
    for (;;) {
      auto client = Client<2>::connect(url, patient({.mode = Mode::kMessaging}));
      while (client && client->range(kAllOfBurst)) continue;
    }
  }
  BusyClient(const BusyClient&) = delete;
  BusyClient& operator=(const BusyClient&) = delete;
  ~BusyClient() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  const pid_t pid_;
};

/// Processes that each connect and ask once, all released at the same moment; the errors of those
/// that failed.
std::vector<std::string> errors_of_burst(const std::string& url) {
  const ClientOptions options = patient();
  std::array<int, 2> gate{};
  std::array<int, 2> errors{};
  if (pipe(gate.data()) != 0 || pipe(errors.data()) != 0) return {"no pipe"};
  std::vector<pid_t> processes;
  for (int i = 0; i < kProcesses; ++i) {
    const pid_t pid = testing_support::fork_to_die_with_us();
    if (pid < 0) return {"no process"};
    if (pid != 0) {
      processes.push_back(pid);
      continue;
    }
    close(gate[1]);
    char byte = 0;
    if (read(gate[0], &byte, 1) != 0) _exit(2);  // until the gate opens
    std::string error;
    {
      auto client = Client<2>::connect(url, options);
      const auto count =
          client ? client->count(kWindowOfBurst) : Result<std::uint64_t>(fail(client.error()));
      if (!count) error = count.error().message;
    }
    if (!error.empty()) static_cast<void>(!write(errors[1], (error += '\n').data(), error.size()));
    _exit(error.empty() ? 0 : 1);
  }
  close(gate[0]);
  close(gate[1]);
  close(errors[1]);
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = read(errors[0], buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  close(errors[0]);
  std::vector<std::string> failed;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    failed.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  for (const pid_t pid : processes) {
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status)) failed.push_back("a process died");
  }
  return failed;
}

TEST(Burst, OfProcessesThatEachAskABusyServerOnceIsAnsweredWhole) {
  const TemporaryFolder folder;
  ServerProcess server({"--listen", "shm://" + (folder / "socket"), "--listen", "tcp://127.0.0.1:0",
                        "--threads", "1", "--load", "uniform:" + std::to_string(kEntriesOfBurst)});
  ASSERT_EQ(server.addresses().size(), 2u) << server.errors();
  for (const std::string& url : server.addresses()) {
    std::deque<BusyClient> busy;
    for (int i = 0; i < kBusyClients; ++i) busy.emplace_back(url);
    const auto failed = errors_of_burst(url);
    EXPECT_TRUE(failed.empty()) << failed.size() << " at " << url << ": " << failed.front();
  }
}

}  // namespace
}  // namespace silurus
