// SPDX-License-Identifier: Apache-2.0

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <sstream>

#include "client/tool/doctor_facts.h"

// The devices: RDMA cards and persistent memory, as /sys describes them.

namespace silurus::tool::doctor {
namespace {

/// "4: ACTIVE" as "ACTIVE".
std::string after_colon(const std::optional<std::string>& text) {
  if (!text) return "";
  const auto colon = text->find(": ");
  return colon == std::string::npos ? *text : text->substr(colon + 2);
}

/// A GID as an address; empty if it is no GID, or all of it is zero.
std::string address_of(const std::string& gid) {
  in6_addr bytes{};
  if (inet_pton(AF_INET6, gid.c_str(), &bytes) != 1) return "";
  const std::span<const std::uint8_t> all(bytes.s6_addr);
  // InfiniBand and RoCE alike: the lower half names the port.
  if (std::ranges::all_of(all.subspan(8), [](std::uint8_t byte) { return byte == 0; })) return "";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (IN6_IS_ADDR_V4MAPPED(&bytes)) {
    inet_ntop(AF_INET, all.data() + 12, text.data(), text.size());
  } else {
    inet_ntop(AF_INET6, &bytes, text.data(), text.size());
  }
  return text.data();
}

bool is_link_local(const std::string& address) { return address.starts_with("fe80:"); }

std::vector<Gid> read_gids(const SystemTree& tree, const std::string& port) {
  std::vector<Gid> gids;
  for (const std::string& name : tree.names(port + "/gids")) {
    Gid gid{.index = std::atoi(name.c_str()),
            .address = address_of(tree.text(port + "/gids/" + name).value_or("")),
            .type = tree.text(port + "/gid_attrs/types/" + name).value_or(""),
            .interface = tree.text(port + "/gid_attrs/ndevs/" + name).value_or("")};
    if (!gid.address.empty()) gids.push_back(std::move(gid));
  }
  std::ranges::sort(gids, {}, &Gid::index);
  return gids;
}

/// On InfiniBand the interface is IPoIB's: of those that hang on the card, the port's own.
std::string infiniband_interface(const SystemTree& tree, const std::string& card, int port) {
  const std::string folder = card + "/device/net";
  for (const std::string& name : tree.names(folder)) {
    // dev_id counts from 0, in hexadecimal: "0x0"
    const auto id = tree.text(folder + "/" + name + "/dev_id").value_or("0x0");
    if (std::strtol(id.c_str(), nullptr, 16) == port - 1) return name;
  }
  return "";
}

PortFacts read_port(const SystemTree& tree, const std::string& card, const std::string& number,
                    const std::vector<InterfaceAddress>& addresses) {
  const std::string folder = card + "/ports/" + number;
  PortFacts port{.number = std::atoi(number.c_str()),
                 .state = after_colon(tree.text(folder + "/state")),
                 .physical = after_colon(tree.text(folder + "/phys_state")),
                 .link_layer = tree.text(folder + "/link_layer").value_or(""),
                 .rate = tree.text(folder + "/rate").value_or(""),
                 .gids = read_gids(tree, folder)};
  for (const Gid& gid : port.gids) {
    if (port.interface.empty()) port.interface = gid.interface;
  }
  if (port.interface.empty()) {
    port.interface = tree.text(card + "/parent").value_or("");
    if (port.interface.empty()) port.interface = infiniband_interface(tree, card, port.number);
  }
  const auto mtu = tree.number("sys/class/net/" + port.interface + "/mtu");
  port.interface_mtu = port.interface.empty() ? 0 : static_cast<std::uint64_t>(mtu.value_or(0));
  const auto add = [&](const std::string& address) {
    if (!is_link_local(address) &&
        std::ranges::find(port.addresses, address) == port.addresses.end()) {
      port.addresses.push_back(address);
    }
  };
  if (port.link_layer == "Ethernet") {
    for (const Gid& gid : port.gids) add(gid.address);
  } else {
    for (const InterfaceAddress& one : addresses) {
      if (one.interface == port.interface) add(one.address);
    }
  }
  return port;
}

/// -1 in /sys: not known.
std::optional<int> node_in(const SystemTree& tree, const std::string& file) {
  const auto node = tree.number(file);
  return node && *node >= 0 ? std::optional(static_cast<int>(*node)) : std::nullopt;
}

struct Mount {
  std::string source;
  std::string point;
  std::string file_system;
  bool is_dax = false;
};

/// "36 35 259:0 / /pm rw,relatime shared:1 - ext4 /dev/pmem0 rw,dax=always"
std::vector<Mount> read_mounts(const SystemTree& tree) {
  std::vector<Mount> mounts;
  std::istringstream lines(tree.text("proc/self/mountinfo").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash));
    std::istringstream after(line.substr(dash + 3));
    std::string ignored;
    Mount mount;
    std::string own_options;
    std::string options;
    before >> ignored >> ignored >> ignored >> ignored >> mount.point >> own_options;
    after >> mount.file_system >> mount.source >> options;
    options = "," + own_options + "," + options + ",";
    mount.is_dax = options.find(",dax,") != std::string::npos ||
                   options.find(",dax=always,") != std::string::npos;
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

/// "/dev/pmem0", or a partition of it, "/dev/pmem0p1".
bool is_of_disk(const std::string& source, const std::string& disk) {
  const std::string device = "/dev/" + disk;
  if (!source.starts_with(device)) return false;
  const std::string rest = source.substr(device.size());
  return rest.empty() || rest.front() == 'p';
}

}  // namespace

RdmaFacts read_rdma(const SystemTree& tree, const std::vector<InterfaceAddress>& addresses) {
  const std::string folder = "sys/class/infiniband";
  RdmaFacts facts;
  for (const std::string& name : tree.names(folder)) {
    const std::string path = folder + "/" + name;
    CardFacts card{.name = name,
                   .firmware = tree.text(path + "/fw_ver").value_or(""),
                   .is_software = tree.exists(path + "/parent") || !tree.exists(path + "/device"),
                   .node = node_in(tree, path + "/device/numa_node")};
    for (const std::string& number : tree.names(path + "/ports")) {
      card.ports.push_back(read_port(tree, path, number, addresses));
    }
    if (!card.node && !card.ports.empty() && !card.ports.front().interface.empty()) {
      card.node =
          node_in(tree, "sys/class/net/" + card.ports.front().interface + "/device/numa_node");
    }
    facts.cards.push_back(std::move(card));
  }
  const std::string devices = "dev/infiniband";
  facts.has_manager = tree.exists(devices + "/rdma_cm");
  for (const std::string& name : tree.names(devices)) {
    const bool is_needed = name == "rdma_cm" || name.starts_with("uverbs");
    if (is_needed && !tree.may_use(devices + "/" + name)) {
      facts.not_allowed.push_back("/" + devices + "/" + name);
    }
  }
  return facts;
}

std::vector<InterfaceAddress> interface_addresses() {
  ifaddrs* raw = nullptr;
  if (getifaddrs(&raw) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype([](ifaddrs* list) { freeifaddrs(list); })> list(raw);
  std::vector<InterfaceAddress> found;
  for (const ifaddrs* one = raw; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (one->ifa_addr->sa_family == AF_INET) {
      sockaddr_in address{};
      std::memcpy(&address, one->ifa_addr, sizeof address);
      inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 address{};
      std::memcpy(&address, one->ifa_addr, sizeof address);
      inet_ntop(AF_INET6, &address.sin6_addr, text.data(), text.size());
    } else {
      continue;
    }
    found.push_back({one->ifa_name, text.data()});
  }
  return found;
}

PersistentMemoryFacts read_persistent_memory(const SystemTree& tree) {
  PersistentMemoryFacts facts;
  const std::string folder = "sys/bus/dax/devices";
  for (const std::string& name : tree.names(folder)) {
    const std::string path = folder + "/" + name;
    MemoryKind kind = memory_kind(tree, "/" + tree.real_path(path));
    facts.devices.push_back(
        {.name = name,
         .bytes = static_cast<std::uint64_t>(tree.number(path + "/size").value_or(0)),
         .target_node = node_in(tree, path + "/target_node"),
         .persistence = kind.persistence,
         .origin = std::move(kind.origin),
         .is_system_memory = tree.real_path(path + "/driver").ends_with("/kmem")});
  }
  const std::vector<Mount> mounts = read_mounts(tree);
  for (const std::string& name : tree.names("sys/block")) {
    if (!name.starts_with("pmem")) continue;
    MemoryKind kind = memory_kind(tree, "/" + tree.real_path("sys/block/" + name));
    PmemDisk disk{.name = name, .persistence = kind.persistence, .origin = std::move(kind.origin)};
    for (const Mount& mount : mounts) {
      if (!is_of_disk(mount.source, name) || !disk.mount_point.empty()) continue;
      disk.mount_point = mount.point;
      disk.file_system = mount.file_system;
      disk.is_dax = mount.is_dax;
    }
    facts.disks.push_back(std::move(disk));
  }
  return facts;
}

}  // namespace silurus::tool::doctor
