// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "tests/support/patience.h"

namespace silurus::testing_support {

/// A folder of its own for sockets and files of a test, gone with it.
class TemporaryFolder {
 public:
  /// `where`: a folder that is there.
  explicit TemporaryFolder(const std::string& where = "/tmp") : path_(where + kName) {
    if (mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    if (!path_.empty()) [[maybe_unused]]
      const int ignored = std::system(("rm -rf " + path_).c_str());
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  static constexpr const char* kName = "/silurus-test-XXXXXX";
  std::string path_;
};

/// fork(), of a child that dies with the test, however that ends; unless it is not the main thread
/// that calls this, for then it would die with the thread.
inline pid_t fork_to_die_with_us() {
  const bool is_main_thread = gettid() == getpid();
  const pid_t pid = fork();
  if (pid == 0 && is_main_thread) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return pid;
}

/// A program and its arguments, put together before fork(): from there to exec a child of a process
/// that has threads must not allocate. (Another thread may have held a lock of the allocator; the
/// address sanitizer's are then held for ever.)
class Command {
 public:
  /// `arguments`: behind the program's own name.
  Command(std::string path, std::vector<std::string> arguments)
      : path_(std::move(path)), arguments_(std::move(arguments)) {
    argv_.push_back(path_.data());
    for (std::string& argument : arguments_) argv_.push_back(argument.data());
    argv_.push_back(nullptr);
  }
  Command(const Command&) = delete;
  [[noreturn]] void run() const {
    execv(path_.c_str(), argv_.data());
    _exit(127);
  }

 private:
  std::string path_;
  std::vector<std::string> arguments_;
  std::vector<char*> argv_;
};

/// Path of the program that lies beside this test.
inline std::string path_beside_us(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

/// A real silurus-server (the one built beside this test), killed at the end if it still runs.
class ServerProcess {
 public:
  /// Starts it with these arguments and waits until it says where it listens, or has ended.
  /// `enter`: called in the new process before it becomes the server.
  explicit ServerProcess(const std::vector<std::string>& arguments,
                         const std::function<void()>& enter = {}) {
    int out[2];
    int err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return;
    const Command server(path_beside_us("silurus-server"), arguments);
    pid_ = fork_to_die_with_us();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      if (enter) enter();
      server.run();
    }
    close(out[1]);
    close(err[1]);
    out_ = out[0];
    err_ = err[0];
    wait_until_ready();
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() {
    if (pid_ > 0 && !status_taken_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(out_);
    close(err_);
  }

  pid_t pid() const { return pid_; }
  /// Where it listens; empty if it ended instead.
  const std::vector<std::string>& addresses() const { return addresses_; }
  void signal(int number) const { kill(pid_, number); }
  /// Stops all its threads, and returns when they have stopped. SIGCONT lets it go on.
  void freeze() const {
    kill(pid_, SIGSTOP);
    waitpid(pid_, nullptr, WUNTRACED);
  }
  /// Waits for its end; its exit status, or minus the signal that ended it. INT_MIN if it doesn't
  /// end.
  int wait() {
    int status = 0;
    status_taken_ = wait_until([&] { return waitpid(pid_, &status, WNOHANG) == pid_; });
    if (!status_taken_) return INT_MIN;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int stop() {
    signal(SIGTERM);
    return wait();
  }
  /// What it has written to stderr so far.
  std::string errors() {
    drain(err_, errors_);
    return errors_;
  }
  /// How often its threads have woken up from sleeps so far.
  std::uint64_t wake_ups() const {
    std::uint64_t sum = 0;
    std::error_code gone;
    for (const auto& task :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task", gone)) {
      std::ifstream status(task.path() / "status");
      const std::string key = "voluntary_ctxt_switches:";
      for (std::string line; std::getline(status, line);) {
        if (line.starts_with(key)) sum += std::stoull(line.substr(key.size()));
      }
    }
    return sum;
  }
  /// User and system time so far, of /proc/PID/stat.
  double cpu_seconds() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::stringstream text;
    text << file.rdbuf();
    std::istringstream after_name(text.str().substr(text.str().rfind(')') + 2));
    std::string skipped;
    for (int field = 3; field < 14; ++field) after_name >> skipped;
    double user = 0;
    double system = 0;
    after_name >> user >> system;
    return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }

 private:
  static void drain(int fd, std::string& text) {
    pollfd ready{fd, POLLIN, 0};
    char buffer[4096];
    while (poll(&ready, 1, 0) > 0) {
      const ssize_t got = read(fd, buffer, sizeof buffer);
      if (got <= 0) return;
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }

  /// The addresses are printed in one go once all of them are served.
  void wait_until_ready() {
    std::string text;
    char buffer[4096];
    while (text.find("listening on ") == std::string::npos || text.back() != '\n') {
      const ssize_t got = read(out_, buffer, sizeof buffer);
      if (got <= 0) return;
      text.append(buffer, static_cast<std::size_t>(got));
    }
    std::istringstream lines(text);
    const std::string prefix = "listening on ";
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(prefix)) addresses_.push_back(line.substr(prefix.size()));
    }
  }

  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
  bool status_taken_ = false;
  std::vector<std::string> addresses_;
  std::string errors_;
};

}  // namespace silurus::testing_support
