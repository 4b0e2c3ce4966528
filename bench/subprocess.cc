// SPDX-License-Identifier: Apache-2.0

#include "bench/subprocess.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <utility>

namespace silurus::bench {
namespace {

namespace fs = std::filesystem;

constexpr Nanoseconds kStopTimeout = 10 * kSecond;
constexpr std::streamoff kLastWords = 600;  ///< bytes

/// Who a process shall be.
struct Identity {
  uid_t user;
  gid_t group;
};

Result<std::optional<Identity>> identity_of(const std::string& user) {
  if (user.empty() || geteuid() != 0) return std::optional<Identity>();
  const passwd* found = getpwnam(user.c_str());
  if (found == nullptr) return fail(ErrorCode::kNotFound, "there is no user " + user);
  return std::optional(Identity{found->pw_uid, found->pw_gid});
}

/// Between fork and exec: only what is safe there.
[[noreturn]] void become(const SubprocessOptions& options, char* const* argv,
                         const std::optional<Identity>& identity, const cpu_set_t* cpus,
                         pid_t parent) {
  if (!options.log.empty()) {
    const int log = open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
  }
  if (cpus != nullptr) sched_setaffinity(0, sizeof *cpus, cpus);
  if (identity &&
      (setgroups(0, nullptr) != 0 || setgid(identity->group) != 0 || setuid(identity->user) != 0)) {
    _exit(126);
  }
  prctl(PR_SET_PDEATHSIG, options.stop_signal);  // after setuid, which would take it back
  if (getppid() != parent) _exit(126);           // killed in between
  execv(argv[0], argv);
  _exit(127);
}

/// CPU time of one process: of all its threads, by the scheduler's count.
double cpu_seconds_of(const fs::path& process) {
  double sum = 0;
  std::error_code ignored;
  for (const auto& task : fs::directory_iterator(process / "task", ignored)) {
    std::ifstream file(task.path() / "schedstat");
    double nanoseconds = 0;
    if (file >> nanoseconds) sum += nanoseconds * 1e-9;
  }
  return sum;
}

double cpu_seconds_of_tree(pid_t pid) {
  const fs::path process = "/proc/" + std::to_string(pid);
  double sum = cpu_seconds_of(process);
  std::error_code ignored;
  for (const auto& task : fs::directory_iterator(process / "task", ignored)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child = 0; children >> child;) sum += cpu_seconds_of_tree(child);
  }
  return sum;
}

}  // namespace

void sleep_for(Nanoseconds time) {
  const timespec request{time / kSecond, time % kSecond};
  nanosleep(&request, nullptr);
}

Result<Subprocess> Subprocess::start(const SubprocessOptions& options) {
  const std::string& program = options.words.front();
  if (::access(program.c_str(), X_OK) != 0) {
    return fail(errno_error(ErrorCode::kNotFound, "cannot run " + program, errno));
  }
  const auto identity = identity_of(options.user);
  if (!identity) return fail(identity.error());
  std::vector<std::string> words = options.words;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const int cpu : options.cpus) CPU_SET(static_cast<unsigned>(cpu), &cpus);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return fail(errno_error(ErrorCode::kIo, "cannot start " + program, errno));
  if (pid == 0) {
    become(options, argv.data(), *identity, options.cpus.empty() ? nullptr : &cpus, parent);
  }
  return Subprocess(options, pid);
}

Subprocess::Subprocess(Subprocess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      stop_signal_(other.stop_signal_),
      log_(std::move(other.log_)),
      status_(other.status_) {}

Subprocess::~Subprocess() {
  if (pid_ == 0) return;
  kill(pid_, stop_signal_);
  const SystemClock clock;
  for (const Nanoseconds deadline = clock.now() + kStopTimeout; clock.now() < deadline;) {
    if (status()) return;
    sleep_for(5 * kMillisecond);
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<int> Subprocess::status() {
  int status = 0;
  if (pid_ != 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
    pid_ = 0;
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  return status_;
}

int Subprocess::wait() {
  while (!status()) sleep_for(kMillisecond);
  return *status_;
}

std::string Subprocess::last_words() const {
  std::ifstream file(log_, std::ios::binary | std::ios::ate);
  if (log_.empty() || !file) return "(see above)";
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - kLastWords));
  std::string text(std::istreambuf_iterator<char>(file), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "(nothing)" : text;
}

double Subprocess::cpu_seconds() const { return pid_ == 0 ? 0 : cpu_seconds_of_tree(pid_); }

}  // namespace silurus::bench
