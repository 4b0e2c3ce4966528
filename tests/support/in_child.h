// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>

#include "common/result.h"
#include "tests/support/patience.h"
#include "tests/support/server_process.h"

namespace silurus::testing_support {

/// What `act` returns in a child; -1 if the child doesn't end.
inline int in_child(const std::function<int()>& act) {
  const pid_t pid = testing_support::fork_to_die_with_us();
  if (pid == 0) _exit(act());
  int status = 0;
  if (!wait_until([&] { return waitpid(pid, &status, WNOHANG) == pid; })) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Whether that was refused since the client or router is the parent's.
template <typename T>
bool is_refused_after_fork(const Result<T>& result) {
  return !result && result.error().code == ErrorCode::kInvalidArgument &&
         result.error().message.find("fork()") != std::string::npos;
}

}  // namespace silurus::testing_support
