// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/server_process.h"

namespace silurus::testing_support {

/// A disk (in memory) that is soon full, in a mount namespace of its own: a process keeps that
/// alive, others enter it, and this one looks at the files by way of /proc. Not every machine
/// allows that: problem() says why not.
///
///   SmallDisk disk(16 << 20);
///   if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
///   ServerProcess server({"--data", disk.path() + "/data"}, [&] { disk.enter(); });
///   disk.fill();
class SmallDisk {
 public:
  explicit SmallDisk(std::uint64_t bytes) {
    std::filesystem::create_directory(path());
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0) return;
    holder_ = fork();
    if (holder_ == 0) hold(bytes, ready[1]);
    close(ready[1]);
    char text[256];
    for (ssize_t got; (got = read(ready[0], text, sizeof text)) > 0;) {
      problem_.append(text, static_cast<std::size_t>(got));
    }
    close(ready[0]);
    if (problem_ == kReady) problem_.clear();
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (holder_ <= 0) return;
    kill(holder_, SIGKILL);
    waitpid(holder_, nullptr, 0);
  }

  /// Why there is none; empty: there is.
  const std::string& problem() const { return problem_; }
  /// For those who have entered.
  std::string path() const { return folder_ / "disk"; }
  /// The same for this process.
  std::string seen_path() const { return "/proc/" + std::to_string(holder_) + "/root" + path(); }

  /// Makes a process with one thread see the disk from here on.
  void enter() const {
    const std::string spaces = "/proc/" + std::to_string(holder_) + "/ns/";
    for (const char* name : {"user", "mnt"}) {
      if (geteuid() == 0 && name == std::string("user"))
        continue;  // root needs no namespace of users
      const int space = open((spaces + name).c_str(), O_RDONLY | O_CLOEXEC);
      if (space < 0 || setns(space, 0) != 0) _exit(126);
      close(space);
    }
  }

  /// Takes all that is free, but for that number of bytes.
  void fill(std::uint64_t left = 0) const {
    const int file = open(filler().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const std::vector<char> bytes(4096);
    while (std::filesystem::space(seen_path()).available > left) {
      if (write(file, bytes.data(), bytes.size()) <= 0) break;
    }
    close(file);
  }
  void make_room() const { std::filesystem::remove(filler()); }
  std::uint64_t free_bytes() const { return std::filesystem::space(seen_path()).available; }

 private:
  static constexpr const char* kReady = "ready";

  std::string filler() const { return seen_path() + "/filler"; }

  static void put(const char* path, const std::string& text) { std::ofstream(path) << text; }

  [[noreturn]] void hold(std::uint64_t bytes, int ready) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto user = std::to_string(geteuid());
    const auto group = std::to_string(getegid());
    const bool is_root = user == "0";
    const std::string size = "size=" + std::to_string(bytes) + ",mode=0700";
    std::string said = kReady;
    if (unshare(CLONE_NEWNS | (is_root ? 0 : CLONE_NEWUSER)) != 0) {
      said = std::string("no mount namespace of one's own here: ") + std::strerror(errno);
    } else {
      if (!is_root) {
        put("/proc/self/setgroups", "deny");
        put("/proc/self/uid_map", user + " " + user + " 1");
        put("/proc/self/gid_map", group + " " + group + " 1");
      }
      if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          mount("none", path().c_str(), "tmpfs", 0, size.c_str()) != 0) {
        said = std::string("no small tmpfs here: ") + std::strerror(errno);
      }
    }
    if (write(ready, said.data(), said.size()) < 0) _exit(1);
    close(ready);
    for (;;) pause();
  }

  TemporaryFolder folder_;
  pid_t holder_ = -1;
  std::string problem_ = {};
};

}  // namespace silurus::testing_support
