// SPDX-License-Identifier: Apache-2.0

#include "readers/confine.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <vector>

namespace silurus::readers {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kArchitecture = 0;  // no filter
#endif
constexpr std::uint32_t kX32Bit = 0x40000000;  // numbers of x86-64's second set of calls

/// What Landlock has learnt after its first version, and in which: the headers lack some.
struct LaterAccess {
  std::int64_t version;
  std::uint64_t access;
};
constexpr LaterAccess kLaterAccess[] = {
    {2, std::uint64_t{1} << 13},  // LANDLOCK_ACCESS_FS_REFER: to link or rename elsewhere
    {3, std::uint64_t{1} << 14},  // LANDLOCK_ACCESS_FS_TRUNCATE
    {5, std::uint64_t{1} << 15},  // LANDLOCK_ACCESS_FS_IOCTL_DEV
};

/// All that reading a file needs once the libraries are loaded, the most frequent first: files that
/// are open, memory, the process's own signals and threads' waits, time, and facts about it. Calls
/// that the kernel learns later are not among them.
constexpr std::uint32_t kAllowedCalls[] = {
    SYS_read,
    SYS_pread64,
    SYS_write,
    SYS_lseek,
    SYS_munmap,
    SYS_brk,
    SYS_mremap,
    SYS_madvise,
    SYS_readv,
    SYS_preadv,
    SYS_writev,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_fstatfs,
    SYS_statfs,
    SYS_fcntl,
    SYS_flock,
    SYS_fadvise64,
    SYS_dup,
    SYS_futex,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_membarrier,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_exit,
    SYS_exit_group,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_getrandom,
    SYS_getrusage,
    SYS_setrlimit,
    SYS_getrlimit,
    SYS_getpid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_uname,
    SYS_sysinfo,
#if defined(__x86_64__)
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_time,
#endif
};

/// Calls that are refused if one of these bits is set in one of their arguments.
struct CallWithFlags {
  std::uint32_t call;
  unsigned argument;
  std::uint32_t refused;
  std::uint32_t error;
};
constexpr std::uint32_t kChangesFiles = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
constexpr CallWithFlags kCallsWithFlags[] = {
    {SYS_openat, 2, kChangesFiles, EACCES},
#if defined(__x86_64__)
    {SYS_open, 1, kChangesFiles, EACCES},
#endif
    {SYS_mprotect, 2, PROT_EXEC, EPERM},
    {SYS_mmap, 2, PROT_EXEC, EPERM},
};

/// What may be done to the process itself alone, which the first argument names: 0 or its own id.
/// raise() and abort() need the first.
constexpr std::uint32_t kCallsOnItself[] = {SYS_tgkill, SYS_prlimit64};

/// The lower half of an argument: both architectures have it first.
constexpr std::uint32_t argument_offset(unsigned number) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + number * sizeof(std::uint64_t));
}

constexpr sock_filter kAllow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
constexpr sock_filter refuse(std::uint32_t error) {
  return BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
}

void set_limit(__rlimit_resource resource, rlim_t value) {
  const rlimit limit = {value, value};
  ::setrlimit(resource, &limit);
}

/// The soft limit, whose signal ends the process, can be raised again, up to the hard one.
void set_cpu_limit(rlim_t seconds) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_CPU, &limit) != 0) return;
  if (limit.rlim_max > kMaxCpuSecondsInAll) limit.rlim_max = kMaxCpuSecondsInAll;
  limit.rlim_cur = seconds < limit.rlim_max ? seconds : limit.rlim_max;
  ::setrlimit(RLIMIT_CPU, &limit);
}

void allow(int ruleset, const std::string& path, std::uint64_t access) {
  const int file = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (file < 0) return;
  landlock_path_beneath_attr rule = {};
  rule.allowed_access = access;
  rule.parent_fd = file;
  ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  ::close(file);
}

/// Only what is needed can be opened from now on, to read.
void allow_only(const Needs& needs) {
  const std::int64_t version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return;
  landlock_ruleset_attr rules = {};
  rules.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // all of the first version
  for (const LaterAccess& later : kLaterAccess) {
    if (version >= later.version) rules.handled_access_fs |= later.access;
  }
  const auto ruleset =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0));
  if (ruleset < 0) return;
  for (const std::string& file : needs.files) allow(ruleset, file, LANDLOCK_ACCESS_FS_READ_FILE);
  for (const std::string& folder : needs.folders) {
    allow(ruleset, folder, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
  }
  ::syscall(SYS_landlock_restrict_self, ruleset, 0);
  ::close(ruleset);
}

/// Adds that a call is refused unless its first argument is 0 or `own_id`.
void allow_on_itself(std::vector<sock_filter>& filter, std::uint32_t call, std::uint32_t own_id) {
  filter.insert(filter.end(), {
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 5),
                                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument_offset(0)),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, own_id, 0, 1),
                                  kAllow,
                                  refuse(EPERM),
                              });
}

/// Adds that a call is allowed unless it has one of the refused bits.
void allow_without(std::vector<sock_filter>& filter, const CallWithFlags& one) {
  filter.insert(filter.end(), {
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one.call, 0, 4),
                                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument_offset(one.argument)),
                                  BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, one.refused, 1, 0),
                                  kAllow,
                                  refuse(one.error),
                              });
}

/// From now on the calls above are allowed, and all others fail with EPERM, as do those of another
/// architecture.
void allow_calls() {
  if (kArchitecture == 0) return;
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      refuse(EPERM),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, 0, 1),
      refuse(EPERM),
  };
  for (const CallWithFlags& one : kCallsWithFlags) allow_without(filter, one);
  for (const std::uint32_t call : kAllowedCalls) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    filter.push_back(kAllow);
  }
  for (const std::uint32_t call : kCallsOnItself) {
    allow_on_itself(filter, call, static_cast<std::uint32_t>(::getpid()));
  }
  filter.push_back(refuse(EPERM));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

}  // namespace

void confine(const Needs& needs) {
  set_limit(RLIMIT_CORE, 0);
  set_cpu_limit(needs.cpu_seconds);
  set_limit(RLIMIT_FSIZE, 0);
  set_limit(RLIMIT_NOFILE, kMaxDescriptors);
  // A sanitizer's shadow memory takes terabytes of addresses.
  if (SILURUS_READERS_LIMIT_MEMORY != 0) set_limit(RLIMIT_AS, kMaxMemoryBytes);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  allow_only(needs);
  allow_calls();
}

void renew_cpu_time() {
  rusage used = {};
  if (::getrusage(RUSAGE_SELF, &used) != 0) return;
  const auto seconds = static_cast<unsigned>(used.ru_utime.tv_sec + used.ru_stime.tv_sec);
  set_cpu_limit(seconds + kMaxCpuSeconds);
}

}  // namespace silurus::readers
