// SPDX-License-Identifier: Apache-2.0

#include "client/tool/doctor_findings.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "common/units.h"

namespace silurus::tool::doctor {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
/// What a client locks for a connection and for what its reads land in.
constexpr std::uint64_t kClientLocks = 4 * kMiB;
/// What a server locks by default: its tree (4 GiB) and its rings (64 MiB).
constexpr std::uint64_t kServerLocks = 4096 * kMiB + 64 * kMiB;
/// By default a server takes 4096 clients, each of which needs a few descriptors over shm.
constexpr std::uint64_t kServerFiles = 16384;
constexpr std::uint64_t kClientFiles = 256;
/// Bytes of a path in a unix(7) address, without the zero at its end.
constexpr std::size_t kMaxSocketPath = 107;

struct KernelVersion {
  int major = 0;
  int minor = 0;
  bool before(int other_major, int other_minor) const {
    return major < other_major || (major == other_major && minor < other_minor);
  }
};

KernelVersion parse_kernel(const std::string& release) {
  KernelVersion version;
  const char* const end = release.data() + release.size();
  const char* const dot = std::from_chars(release.data(), end, version.major).ptr;
  if (dot != end) std::from_chars(dot + 1, end, version.minor);
  return version;
}

bool has_software_card(const RdmaFacts& rdma) {
  return std::ranges::any_of(rdma.cards, [](const CardFacts& card) { return card.is_software; });
}

std::string limit_text(std::uint64_t limit, bool is_size) {
  if (limit == kUnlimited) return "unlimited";
  return is_size ? format_size(limit) : std::to_string(limit);
}

Finding kernel(const MachineFacts& machine, const RdmaFacts& rdma) {
  Finding finding{"kernel", Verdict::kOk, machine.kernel, ""};
  const KernelVersion version = parse_kernel(machine.kernel);
  if (machine.kernel.empty()) {
    finding = {"kernel", Verdict::kWarning, "unknown: no /proc", "mount -t proc proc /proc"};
  } else if (version.before(5, 1)) {
    finding.verdict = Verdict::kError;
    finding.advice = "install Linux 5.1 or newer: shared memory cannot be sealed against writers";
  } else if (has_software_card(rdma) && version.before(6, 3)) {
    finding.verdict = Verdict::kWarning;
    finding.advice =
        "soft-RoCE has no FLUSH before Linux 6.3: apt install -t bookworm-backports "
        "linux-image-amd64, if that is wanted";
  }
  return finding;
}

Finding memory(const MachineFacts& machine) {
  Finding finding{
      "memory", Verdict::kOk,
      format_size(machine.available_bytes) + " available of " + format_size(machine.memory_bytes),
      ""};
  if (machine.available_bytes < kServerLocks) {
    finding.verdict = Verdict::kWarning;
    // Half of it, in whole MiB: the rest of the machine lives on, too.
    const std::uint64_t mib = std::max<std::uint64_t>(machine.available_bytes / 2 / kMiB, 4);
    finding.advice = "silurus-server may take 4 GiB unless told otherwise: --memory " +
                     std::to_string(mib) + "M";
  }
  return finding;
}

Finding governor(const MachineFacts& machine) {
  Finding finding{"cpu-governor", Verdict::kOk, "", ""};
  if (machine.governors.empty()) {
    return {"cpu-governor", Verdict::kNotApplicable,
            "no frequency scaling here (a virtual machine?)", ""};
  }
  for (const std::string& one : machine.governors) {
    finding.found += (finding.found.empty() ? "" : ", ") + one;
    if (one != "performance") finding.verdict = Verdict::kWarning;
  }
  finding.found += machine.scaling_driver.empty() ? "" : " (" + machine.scaling_driver + ")";
  if (finding.verdict != Verdict::kOk) {
    finding.advice =
        "latencies vary with the clock: cpupower frequency-set -g performance (package "
        "linux-cpupower)";
  }
  return finding;
}

/// Where a server belongs: at its card, else at the first node that has CPUs.
std::string numactl(const MachineFacts& machine, const RdmaFacts& rdma) {
  std::optional<int> node;
  for (const CardFacts& card : rdma.cards) {
    if (!node) node = card.node;
  }
  for (const NumaNode& one : machine.nodes) {
    if (!node && !one.cpus.empty()) node = one.number;
  }
  const std::string number = std::to_string(node.value_or(0));
  return "numactl --cpunodebind=" + number + " --membind=" + number + " silurus-server ...";
}

Finding numa(const MachineFacts& machine, const RdmaFacts& rdma) {
  if (machine.nodes.size() < 2) {
    return {"numa", Verdict::kOk, machine.nodes.empty() ? "none" : "1 node", ""};
  }
  Finding finding{"numa", Verdict::kWarning, std::to_string(machine.nodes.size()) + " nodes", ""};
  for (const NumaNode& node : machine.nodes) {
    finding.found += ", " + std::to_string(node.number) + ": " +
                     (node.cpus.empty() ? "no CPUs" : "CPUs " + node.cpus) + ", " +
                     format_size(node.bytes);
  }
  for (const CardFacts& card : rdma.cards) {
    if (card.node) finding.found += ", " + card.name + " at node " + std::to_string(*card.node);
  }
  finding.advice = "keep a server and its memory on one node: " + numactl(machine, rdma);
  return finding;
}

Finding numa_balancing(const MachineFacts& machine) {
  const std::string name = "numa-balancing";
  if (machine.nodes.size() < 2) return {name, Verdict::kNotApplicable, "one NUMA node", ""};
  if (!machine.numa_balancing) return {name, Verdict::kOk, "off", ""};
  return {name, Verdict::kWarning, "on: the kernel unmaps pages to learn who uses them",
          "sysctl -w kernel.numa_balancing=0"};
}

/// Silurus does not raise this limit by itself: what binds is the soft one.
Finding locked_memory(const MachineFacts& machine, const RdmaFacts& rdma) {
  const Limit& limit = machine.locked_memory;
  Finding finding{"memlock", Verdict::kOk, limit_text(limit.soft, true), ""};
  if (rdma.cards.empty()) {
    finding.verdict = Verdict::kNotApplicable;
    finding.found += "; memory is locked for RDMA cards only, and there is none";
    return finding;
  }
  if (machine.may_lock_any) {
    finding.found += ", which does not bind this user (CAP_IPC_LOCK)";
    return finding;
  }
  if (limit.soft >= kServerLocks) return finding;
  const std::string raise =
      limit.hard < kServerLocks
          ? "LimitMEMLOCK=infinity in the service, or \"* - memlock unlimited\" in "
            "/etc/security/limits.conf and a new login"
          : "ulimit -l " +
                (limit.hard == kUnlimited ? "unlimited" : std::to_string(limit.hard / 1024));
  if (limit.soft < kClientLocks) {
    finding.verdict = Verdict::kError;
    finding.advice = "not enough for one RDMA client: " + raise;
  } else {
    finding.verdict = Verdict::kWarning;
    finding.advice = "a server of 4 GiB locks it all: " + raise + "; or silurus-server --memory " +
                     std::to_string(std::max<std::uint64_t>(limit.soft / kMiB * 3 / 4, 4)) + "M";
  }
  return finding;
}

Finding open_files(const MachineFacts& machine) {
  const Limit& limit = machine.open_files;
  Finding finding{
      "open-files", Verdict::kOk,
      limit_text(limit.soft, false) + ", servers raise it to " + limit_text(limit.hard, false), ""};
  if (limit.soft < kClientFiles) {
    finding.verdict = Verdict::kWarning;
    finding.advice = "ulimit -n " + std::to_string(std::min(limit.hard, std::uint64_t{1024}));
  }
  if (limit.hard < kServerFiles) {
    finding.verdict = Verdict::kWarning;
    finding.advice = "too few for 4096 clients: LimitNOFILE=" + std::to_string(kServerFiles) +
                     " in the service, or silurus-server --max-clients " +
                     std::to_string(std::max<std::uint64_t>(limit.hard / 4, 1));
  }
  return finding;
}

Finding anonymous_huge_pages(const MachineFacts& machine) {
  const std::string name = "huge-pages-anonymous";
  const std::string& mode = machine.anonymous_huge;
  if (mode.empty()) return {name, Verdict::kNotApplicable, "the kernel has none", ""};
  if (mode != "never") return {name, Verdict::kOk, mode, ""};
  return {name, Verdict::kWarning, mode,
          "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled"};
}

std::uint64_t free_pool_bytes(const MachineFacts& machine) {
  std::uint64_t bytes = 0;
  for (const HugePool& pool : machine.pools) {
    if (pool.page_bytes == 2 * kMiB) bytes += pool.free_pages * pool.page_bytes;
  }
  return bytes;
}

/// The tree lies in shared memory: what is said of anonymous memory does not hold for it.
Finding shared_huge_pages(const MachineFacts& machine) {
  const std::string name = "huge-pages-shared";
  const std::string& mode = machine.shared_huge;
  const std::string advise = "echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled";
  if (mode.empty()) {
    return {name, Verdict::kNotApplicable, "the kernel gives shared memory none", ""};
  }
  const std::string found = "shmem_enabled is " + mode;
  if (mode == "always" || mode == "force" || mode == "within_size") {
    return {name, Verdict::kOk, found, ""};
  }
  if (mode == "advise") {
    return {name, Verdict::kOk, found + ": for a server with --huge-pages", ""};
  }
  if (free_pool_bytes(machine) > 0) {
    return {name, Verdict::kOk, found + "; a server with --huge-pages takes reserved ones", ""};
  }
  return {
      name, Verdict::kWarning, found + ": a tree in shared memory has no huge pages",
      "up to 1.7 times as fast in small windows: " + advise + ", then silurus-server --huge-pages"};
}

Finding reserved_huge_pages(const MachineFacts& machine) {
  Finding finding{"huge-pages-reserved", Verdict::kNotApplicable, "", ""};
  for (const HugePool& pool : machine.pools) {
    if (pool.pages == 0) continue;
    finding.found += (finding.found.empty() ? "" : ", ") + std::to_string(pool.pages) + " of " +
                     format_size(pool.page_bytes) + ", " + std::to_string(pool.free_pages) +
                     " free";
    finding.verdict = Verdict::kOk;
  }
  if (finding.found.empty()) {
    finding.found = "none; 2200 for a server of 4 GiB: sysctl -w vm.nr_hugepages=2200";
  } else if (free_pool_bytes(machine) == 0) {
    finding.verdict = Verdict::kWarning;
    finding.advice = "no page of 2 MiB is free for a server: sysctl -w vm.nr_hugepages=N";
  }
  return finding;
}

Finding shared_memory(const MachineFacts& machine) {
  if (!machine.has_shm) {
    return {"dev-shm", Verdict::kWarning, "/dev/shm is not mounted",
            "mount -t tmpfs tmpfs /dev/shm"};
  }
  const auto size = parse_size(machine.shm_size);
  return {"dev-shm", Verdict::kOk,
          "/dev/shm, " + (size ? format_size(*size) : "half of the memory") +
              " (it does not limit trees, which lie in memory files without a name)",
          ""};
}

Finding ptrace(const MachineFacts& machine) {
  const std::string scope = machine.ptrace_scope
                                ? "Yama's ptrace_scope is " + std::to_string(*machine.ptrace_scope)
                                : "no Yama";
  return {"ptrace", Verdict::kNotApplicable,
          scope + "; clients get shared memory through the socket, not by tracing", ""};
}

}  // namespace

Findings advise_machine(const MachineFacts& machine, const RdmaFacts& rdma) {
  return {kernel(machine, rdma),         memory(machine),
          anonymous_huge_pages(machine), shared_huge_pages(machine),
          reserved_huge_pages(machine),  governor(machine),
          numa(machine, rdma),           numa_balancing(machine),
          locked_memory(machine, rdma),  open_files(machine),
          shared_memory(machine),        ptrace(machine)};
}

Finding advise_socket(const SocketFacts& socket) {
  Finding finding{"default-socket", Verdict::kOk, socket.url, ""};
  if (socket.named_by_environment) finding.found += " ($SILURUS_SERVER)";
  if (socket.path.empty()) return finding;
  if (socket.path.size() > kMaxSocketPath) {
    finding.verdict = Verdict::kError;
    finding.advice = "the path is longer than " + std::to_string(kMaxSocketPath) +
                     " bytes: export SILURUS_SERVER=shm:///tmp/silurus.sock";
  } else if (socket.exists && !socket.is_socket) {
    finding.verdict = Verdict::kError;
    finding.advice = "something else has that name: mv " + socket.path + " elsewhere";
  } else if (socket.exists && socket.owner != socket.user && socket.owner != 0 &&
             !socket.names_owner) {
    finding.verdict = Verdict::kWarning;
    finding.advice = "it belongs to the user of number " + std::to_string(socket.owner) +
                     ", and clients refuse it: if that is the server that you mean, export "
                     "SILURUS_SERVER=" +
                     socket.url + "?peer=" + std::to_string(socket.owner);
  } else if (!socket.exists && !socket.folder_is_writable) {
    finding.verdict = Verdict::kWarning;
    finding.advice =
        "no server of this user can listen there: silurus-server --listen "
        "shm:///tmp/silurus.sock, and SILURUS_SERVER likewise";
  }
  return finding;
}

std::size_t count_errors(const Findings& findings) {
  return static_cast<std::size_t>(std::ranges::count(findings, Verdict::kError, &Finding::verdict));
}

}  // namespace silurus::tool::doctor
