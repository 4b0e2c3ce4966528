#include "bench/server_process.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <utility>

#include "common/clock.h"

namespace silurus::bench {
namespace {

constexpr Nanoseconds kStartTimeout = 300 * kSecond;  // it may be asked to load a data set first
constexpr Nanoseconds kStopTimeout = 10 * kSecond;

std::string beside_this_program(const char* name) {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename(name).string();
}

void sleep_for(Nanoseconds time) {
  const timespec request{time / kSecond, time % kSecond};
  nanosleep(&request, nullptr);
}

}  // namespace

Result<ServerProcess> ServerProcess::start(const std::vector<std::string>& options) {
  const std::string program = beside_this_program("silurus-server");
  const std::string ready =
      (std::filesystem::temp_directory_path() / ("silurus-ready-" + std::to_string(getpid())))
          .string();
  std::filesystem::remove(ready);
  std::vector<std::string> words = {program, "--ready-file", ready, "--log-level", "warning"};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const pid_t pid = fork();
  if (pid < 0) return fail(errno_error(ErrorCode::kIo, "cannot start " + program, errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // whoever stops the benchmark stops its servers too
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  ServerProcess process(pid);
  const SystemClock clock;
  for (const Nanoseconds deadline = clock.now() + kStartTimeout; clock.now() < deadline;) {
    if (std::ifstream file(ready); file) {
      for (std::string line; std::getline(file, line);) process.addresses_.push_back(line);
      std::filesystem::remove(ready);
      return process;
    }
    if (waitpid(pid, nullptr, WNOHANG) == pid) {
      process.pid_ = 0;
      return fail(ErrorCode::kUnavailable, program + " ended before it listened: see above");
    }
    sleep_for(5 * kMillisecond);
  }
  return fail(ErrorCode::kDeadlineExceeded, program + " was not ready in time");
}

ServerProcess::ServerProcess(ServerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), addresses_(std::move(other.addresses_)) {}

ServerProcess::~ServerProcess() {
  if (pid_ == 0) return;
  kill(pid_, SIGTERM);
  const SystemClock clock;
  for (const Nanoseconds deadline = clock.now() + kStopTimeout; clock.now() < deadline;) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) return;
    sleep_for(5 * kMillisecond);
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string ServerProcess::address(const std::string& scheme) const {
  for (const std::string& address : addresses_) {
    if (address.rfind(scheme, 0) == 0) return address;
  }
  return {};
}

}  // namespace silurus::bench
