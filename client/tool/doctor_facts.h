// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/persistence.h"
#include "common/system_tree.h"

// What `silurus doctor` finds out about this machine, as plain values. They are read from files of
// /sys, /proc and /dev below a root, so that tests hand in a made-up tree; what follows from them
// is decided elsewhere (doctor_findings.h).

namespace silurus::tool::doctor {

constexpr std::uint64_t kUnlimited = UINT64_MAX;

/// A limit of this process: as it is, and as far as it may raise it itself.
struct Limit {
  std::uint64_t soft = kUnlimited;
  std::uint64_t hard = kUnlimited;
};

/// The pool of huge pages of one size that an administrator has set aside.
struct HugePool {
  std::uint64_t page_bytes = 0;
  std::uint64_t pages = 0;
  std::uint64_t free_pages = 0;
};

struct NumaNode {
  int number = 0;
  std::string cpus;  ///< "0-7"; empty: memory only
  std::uint64_t bytes = 0;
};

struct MachineFacts {
  std::string kernel;  ///< "6.1.0-28-amd64"
  std::uint64_t memory_bytes = 0;
  std::uint64_t available_bytes = 0;
  std::vector<std::string>
      governors;  ///< governors of all CPUs, each once; empty: no frequency scaling
  std::string scaling_driver;
  std::string energy_preference;  ///< the first CPU's; empty where the driver has none
  std::vector<NumaNode> nodes;
  bool numa_balancing = false;  ///< the kernel moves pages between nodes by itself
  Limit open_files;
  Limit locked_memory;
  bool may_lock_any = false;        ///< the limit of locked memory does not bind (CAP_IPC_LOCK)
  std::string anonymous_huge;       ///< "always", "madvise", "never"; empty: the kernel has none
  std::string shared_huge;          ///< "never", "advise", "always", ...; likewise
  std::vector<HugePool> pools;      ///< one for each size that the processor has
  std::string shm_size;             ///< size of /dev/shm as mounted, "24684084k"; empty: no limit
  bool has_shm = false;             ///< /dev/shm is mounted
  std::optional<int> ptrace_scope;  ///< Yama's setting, where that is built in
};

MachineFacts read_machine(const SystemTree& tree);

/// Where a server listens and a client looks by default.
struct SocketFacts {
  std::string url;
  bool named_by_environment = false;  ///< SILURUS_SERVER is set
  std::string path = {};              ///< empty: no shm:// address
  bool names_owner = false;           ///< the URL says whose server it is (?peer=)
  bool exists = false;
  bool is_socket = false;
  std::uint32_t owner = 0;
  std::uint32_t user = 0;  ///< this one
  bool folder_is_writable = false;
};

SocketFacts read_socket(const SystemTree& tree, const std::string& url, bool named_by_environment,
                        std::uint32_t user);

struct Gid {
  int index = 0;
  std::string address;         ///< "10.9.0.1" where an IPv4 address is mapped, else IPv6
  std::string type = {};       ///< "RoCE v2", "IB/RoCE v1"
  std::string interface = {};  ///< that it belongs to; empty on InfiniBand
};

struct PortFacts {
  int number = 0;
  std::string state;           ///< "ACTIVE", "DOWN", "INIT"
  std::string physical;        ///< "LinkUp", "Polling", "Disabled"
  std::string link_layer;      ///< "Ethernet", "InfiniBand"
  std::string rate;            ///< "100 Gb/sec (4X EDR)"
  std::vector<Gid> gids;       ///< without empty ones
  std::string interface = {};  ///< the network interface that is this port's; empty: none
  std::uint64_t interface_mtu = 0;
  /// Addresses of this host that choose the port: "10.9.0.1".
  std::vector<std::string> addresses = {};
};

struct CardFacts {
  std::string name;          ///< "mlx5_0"
  std::string firmware;      ///< empty where there is none to speak of
  bool is_software = false;  ///< soft-RoCE, or iWARP in software
  std::optional<int> node;   ///< its NUMA node
  std::vector<PortFacts> ports = {};
};

/// A network interface's address.
struct InterfaceAddress {
  std::string interface = {};
  std::string address;
};

struct RdmaFacts {
  std::vector<CardFacts> cards;
  bool has_manager = false;              ///< /dev/infiniband/rdma_cm is there
  std::vector<std::string> not_allowed;  ///< files of /dev/infiniband that this user can't open
};

/// `addresses`: of this host's interfaces, since InfiniBand's GIDs don't tell them.
RdmaFacts read_rdma(const SystemTree& tree, const std::vector<InterfaceAddress>& addresses);
/// Addresses of this host, without those of loopback.
std::vector<InterfaceAddress> interface_addresses();

struct DaxDevice {
  std::string name;  ///< "dax0.0"
  std::uint64_t bytes = 0;
  std::optional<int> target_node;  ///< its NUMA node if it were ordinary memory
  Persistence persistence = Persistence::kUnknown;
  std::string origin;             ///< "NVDIMM", "CXL memory", ...
  bool is_system_memory = false;  ///< the kernel uses it as ordinary memory (driver kmem)
};

/// A block device of persistent memory.
struct PmemDisk {
  std::string name;  ///< "pmem0"
  Persistence persistence = Persistence::kUnknown;
  std::string origin;
  std::string mount_point = {};  ///< empty: not mounted
  std::string file_system = {};
  bool is_dax = false;  ///< mounted so that files are mapped directly
};

struct PersistentMemoryFacts {
  std::vector<DaxDevice> devices;
  std::vector<PmemDisk> disks;
};

PersistentMemoryFacts read_persistent_memory(const SystemTree& tree);

}  // namespace silurus::tool::doctor
