// SPDX-License-Identifier: Apache-2.0

#include "client/tool/doctor_facts.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "protocol/default_url.h"
#include "transport/fabric.h"

namespace silurus::tool::doctor {
namespace {

/// Capability of locking memory without a limit (linux/capability.h).
constexpr int kCapIpcLock = 14;

/// Value in a file of lines "Name: value": what follows the name.
std::string_view value_of(std::string_view lines, std::string_view name) {
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const std::string_view line = lines.substr(at, end - at);
    if (line.starts_with(name)) return line.substr(name.size());
    at = end + 1;
  }
  return {};
}

std::uint64_t kibibytes(std::string_view lines, std::string_view name) {
  return static_cast<std::uint64_t>(leading_number(value_of(lines, name)).value_or(0)) * 1024;
}

/// The word of "always [madvise] never" that is chosen.
std::string chosen(const std::optional<std::string>& words) {
  if (!words) return "";
  const auto open = words->find('[');
  const auto close = words->find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return *words;
  return words->substr(open + 1, close - open - 1);
}

std::uint64_t limit_value(const std::string& word) {
  return static_cast<std::uint64_t>(
      leading_number(word).value_or(static_cast<std::int64_t>(kUnlimited)));
}

Limit limit_of(std::string_view limits, std::string_view name) {
  std::istringstream words{std::string(value_of(limits, name))};
  std::string soft;
  std::string hard;
  words >> soft >> hard;
  return {limit_value(soft), limit_value(hard)};
}

std::vector<NumaNode> read_nodes(const SystemTree& tree) {
  const std::string folder = "sys/devices/system/node";
  std::vector<NumaNode> nodes;
  for (const std::string& name : tree.names(folder)) {
    if (!name.starts_with("node")) continue;
    const auto number = leading_number(std::string_view(name).substr(4));
    if (!number) continue;
    NumaNode node{.number = static_cast<int>(*number),
                  .cpus = tree.text(folder + "/" + name + "/cpulist").value_or("")};
    // "Node 0 MemTotal:       49368168 kB"
    const std::string begin = "Node " + std::to_string(node.number) + " MemTotal:";
    node.bytes = kibibytes(tree.text(folder + "/" + name + "/meminfo").value_or(""), begin);
    nodes.push_back(std::move(node));
  }
  std::ranges::sort(nodes, {}, &NumaNode::number);
  return nodes;
}

std::vector<HugePool> read_pools(const SystemTree& tree) {
  const std::string folder = "sys/kernel/mm/hugepages";
  std::vector<HugePool> pools;
  for (const std::string& name : tree.names(folder)) {
    if (!name.starts_with("hugepages-")) continue;
    const auto number = [&](const char* file) {
      return static_cast<std::uint64_t>(tree.number(folder + "/" + name + "/" + file).value_or(0));
    };
    const auto size = leading_number(std::string_view(name).substr(10)).value_or(0);
    pools.push_back({static_cast<std::uint64_t>(size) * 1024, number("nr_hugepages"),
                     number("free_hugepages")});
  }
  std::ranges::sort(pools, {}, &HugePool::page_bytes);
  return pools;
}

void read_governors(const SystemTree& tree, MachineFacts& facts) {
  const std::string folder = "sys/devices/system/cpu/cpufreq";
  for (const std::string& policy : tree.names(folder)) {
    const auto governor = tree.text(folder + "/" + policy + "/scaling_governor");
    if (!governor) continue;
    if (std::ranges::find(facts.governors, *governor) == facts.governors.end()) {
      facts.governors.push_back(*governor);
    }
    if (!facts.scaling_driver.empty()) continue;
    facts.scaling_driver = tree.text(folder + "/" + policy + "/scaling_driver").value_or("");
    facts.energy_preference =
        tree.text(folder + "/" + policy + "/energy_performance_preference").value_or("");
  }
}

/// The newest mount of /dev/shm: what its options say of its size.
void read_shm(const SystemTree& tree, MachineFacts& facts) {
  std::istringstream mounts(tree.text("proc/self/mountinfo").value_or(""));
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" /dev/shm ") == std::string::npos) continue;
    facts.has_shm = true;
    const auto size = line.rfind("size=");
    facts.shm_size =
        size == std::string::npos ? "" : line.substr(size + 5, line.find(',', size) - size - 5);
  }
}

}  // namespace

MachineFacts read_machine(const SystemTree& tree) {
  MachineFacts facts;
  facts.kernel = tree.text("proc/sys/kernel/osrelease").value_or("");
  const std::string memory = tree.text("proc/meminfo").value_or("");
  facts.memory_bytes = kibibytes(memory, "MemTotal:");
  facts.available_bytes = kibibytes(memory, "MemAvailable:");
  read_governors(tree, facts);
  facts.nodes = read_nodes(tree);
  facts.numa_balancing = tree.number("proc/sys/kernel/numa_balancing").value_or(0) != 0;
  const std::string limits = tree.text("proc/self/limits").value_or("");
  facts.open_files = limit_of(limits, "Max open files");
  facts.locked_memory = limit_of(limits, "Max locked memory");
  const std::string status = tree.text("proc/self/status").value_or("");
  const auto capabilities = leading_number(value_of(status, "CapEff:"), 16).value_or(0);
  facts.may_lock_any = (capabilities >> kCapIpcLock & 1) != 0;
  facts.anonymous_huge = chosen(tree.text("sys/kernel/mm/transparent_hugepage/enabled"));
  facts.shared_huge = chosen(tree.text("sys/kernel/mm/transparent_hugepage/shmem_enabled"));
  facts.pools = read_pools(tree);
  read_shm(tree, facts);
  if (const auto scope = tree.number("proc/sys/kernel/yama/ptrace_scope")) {
    facts.ptrace_scope = static_cast<int>(*scope);
  }
  return facts;
}

SocketFacts read_socket(const SystemTree& tree, const std::string& url, bool named_by_environment,
                        std::uint32_t user) {
  SocketFacts facts{.url = url, .named_by_environment = named_by_environment, .user = user};
  if (url.find(',') != std::string::npos) return facts;
  const auto address = transport::Address::parse(url);
  if (!address || address->path.empty()) return facts;
  facts.path = address->path;
  facts.names_owner = !address->peer.empty();
  struct stat status {};
  if (::lstat(tree.whole(facts.path).c_str(), &status) == 0) {
    facts.exists = true;
    facts.is_socket = S_ISSOCK(status.st_mode);
    facts.owner = status.st_uid;
  }
  const std::string folder = std::filesystem::path(facts.path).parent_path();
  const bool is_made_by_server = folder == protocol::temporary_folder(user);
  facts.folder_is_writable = tree.may_use(folder) || (is_made_by_server && tree.may_use("/tmp"));
  return facts;
}

}  // namespace silurus::tool::doctor
