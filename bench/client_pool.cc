// SPDX-License-Identifier: Apache-2.0

#include "bench/client_pool.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

#include "silurus/client.h"

namespace silurus::bench {
namespace {

constexpr std::size_t kMaxText = 512;

/// What the child says when all are connected; anything else is why they are not.
constexpr std::string_view kConnected = "connected";

void say(int pipe, std::string_view text) {
  if (::write(pipe, text.data(), text.size()) < 0) _exit(1);
}

/// The child: connects, says through the pipe how it went, and waits to be killed.
[[noreturn]] void run_clients(const std::string& url, unsigned clients, int pipe) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  ClientOptions options;
  options.mode = Mode::kMessaging;
  std::vector<Client<2>> connected;
  for (unsigned i = 0; i < clients; ++i) {
    auto client = Client<2>::connect(url, options);
    if (!client) {
      say(pipe, client.error().message.substr(0, kMaxText));
      _exit(0);
    }
    connected.push_back(std::move(*client));
  }
  say(pipe, kConnected);
  for (;;) pause();
}

}  // namespace

Result<ClientPool> ClientPool::connect(const std::string& url, unsigned clients) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot create a pipe", errno));
  }
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    run_clients(url, clients, ends[1]);
  }
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return fail(errno_error(ErrorCode::kIo, "cannot start a process of clients", errno));
  }
  ClientPool pool(pid);
  char text[kMaxText];
  const ssize_t size = read(ends[0], text, sizeof(text));  // until all are connected
  close(ends[0]);
  const std::string_view said(text, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (said != kConnected) {
    return fail(ErrorCode::kUnavailable,
                said.empty() ? "the process of clients ended" : std::string(said));
  }
  return pool;
}

ClientPool::ClientPool(ClientPool&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}

ClientPool::~ClientPool() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace silurus::bench
