// SPDX-License-Identifier: Apache-2.0

#include "server/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "common/units.h"
#include "server/limits.h"

namespace silurus::server {
namespace {

/// "0-3,8"
std::string ranges_of(const std::vector<int>& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
    if (last > i) text += "-" + std::to_string(cpus[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace

Machine this_machine() {
  Machine machine;
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0) {
    machine.memory_bytes =
        static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
  }
  // The mask that was inherited is no limit: a thread may be pinned to any core of the cpuset,
  // which is what the kernel makes of a mask of all cores.
  cpu_set_t inherited, all;
  if (sched_getaffinity(0, sizeof inherited, &inherited) != 0) return machine;
  std::memset(&all, 0xff, sizeof all);
  cpu_set_t allowed = inherited;
  if (sched_setaffinity(0, sizeof all, &all) == 0) {
    sched_getaffinity(0, sizeof allowed, &allowed);
    sched_setaffinity(0, sizeof inherited, &inherited);
  }
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) machine.cpus.push_back(cpu);
  }
  return machine;
}

Status check_machine(const ServerOptions& options, const Machine& machine) {
  if (machine.memory_bytes != 0 && options.memory_bytes > machine.memory_bytes) {
    return fail(ErrorCode::kInvalidArgument,
                "--memory: " + format_size(options.memory_bytes) + " is more than the " +
                    format_size(machine.memory_bytes) + " that this machine has");
  }
  if (machine.cpus.empty()) return {};
  for (const int cpu : options.cpus) {
    if (std::ranges::find(machine.cpus, cpu) != machine.cpus.end()) continue;
    return fail(ErrorCode::kInvalidArgument,
                "--cpus: core " + std::to_string(cpu) +
                    " is not one that this process may run on; these are " +
                    ranges_of(machine.cpus));
  }
  const std::uint64_t most = std::max<std::uint64_t>(kMaxThreadsOfACore * machine.cpus.size(), 16);
  if (options.threads > most) {
    return fail(ErrorCode::kInvalidArgument,
                "--threads: " + std::to_string(options.threads) + " is more than " +
                    std::to_string(most) + ", which is sensible at most for " +
                    std::to_string(machine.cpus.size()) + " cores; one for each core serves best");
  }
  return {};
}

}  // namespace silurus::server
