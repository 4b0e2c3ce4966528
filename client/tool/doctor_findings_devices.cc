// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>

#include "client/tool/doctor_findings.h"
#include "common/units.h"

namespace silurus::tool::doctor {
namespace {

/// What RoCE puts around the payload of a packet, at most: the kernel takes off as much of an
/// interface's MTU (rdma/ib_addr.h, iboe_get_mtu).
constexpr std::uint64_t kRoceHeaders = 96;
/// IPoIB's own header, in datagram mode.
constexpr std::uint64_t kIpoibHeader = 4;
constexpr std::uint64_t kLargestMtu = 4096;

bool is_active(const PortFacts& port) { return port.state == "ACTIVE"; }
bool is_ethernet(const PortFacts& port) { return port.link_layer == "Ethernet"; }

std::string port_name(const CardFacts& card, const PortFacts& port) {
  return card.name + "/" + std::to_string(port.number);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// What brings a port up.
std::string cure_of(const PortFacts& port) {
  if (is_ethernet(port)) {
    const std::string interface = port.interface.empty() ? "INTERFACE" : port.interface;
    return "ip link set " + interface + " up; is the cable in? ethtool " + interface;
  }
  if (port.state == "INIT" || port.state == "ARMED") {
    return "no subnet manager has set it up: systemctl start opensm, on one host of the network";
  }
  return "is the cable in? ibstat, and iblinkinfo";
}

Finding card_finding(const CardFacts& card) {
  Finding finding{"card " + card.name, Verdict::kOk,
                  card.is_software ? "in software, for trying things out" : "", ""};
  const auto add = [&](const std::string& text) {
    finding.found += (finding.found.empty() ? "" : ", ") + text;
  };
  if (!card.firmware.empty() && !card.is_software) add("firmware " + card.firmware);
  add(std::to_string(card.ports.size()) + (card.ports.size() == 1 ? " port" : " ports"));
  if (card.node) add("NUMA node " + std::to_string(*card.node));
  return finding;
}

/// A port that is down is an error if no other one can be used instead.
Finding state_finding(const CardFacts& card, const PortFacts& port, bool another_is_active) {
  Finding finding{"port " + port_name(card, port), Verdict::kOk,
                  port.state + " (" + port.physical + "), " + port.link_layer, ""};
  if (!port.interface.empty()) finding.found += ", interface " + port.interface;
  if (!port.rate.empty()) finding.found += ", " + port.rate;
  if (is_active(port)) return finding;
  finding.verdict = another_is_active ? Verdict::kWarning : Verdict::kError;
  finding.advice = cure_of(port);
  return finding;
}

Finding gid_finding(const CardFacts& card, const PortFacts& port) {
  Finding finding{"gids " + port_name(card, port), Verdict::kOk, "", ""};
  for (const Gid& gid : port.gids) {
    finding.found += (finding.found.empty() ? "" : ", ") + std::to_string(gid.index) + ": " +
                     gid.address + (gid.type.empty() || !is_ethernet(port) ? "" : " " + gid.type);
  }
  if (finding.found.empty()) finding.found = "none";
  if (!port.addresses.empty()) {
    finding.found += "; --listen rdma://" + port.addresses.front() + ":PORT";
  } else if (is_active(port)) {
    finding.verdict = Verdict::kWarning;
    finding.advice = "no address chooses this port: ip addr add 10.0.0.1/24 dev " +
                     (port.interface.empty() ? "INTERFACE" : port.interface);
  }
  return finding;
}

/// Bytes of a packet's payload, by the MTU of the interface; 0 where that does not tell.
std::uint64_t path_mtu(const PortFacts& port) {
  std::uint64_t room = port.interface_mtu + kIpoibHeader;
  if (is_ethernet(port)) {
    room = port.interface_mtu > kRoceHeaders ? port.interface_mtu - kRoceHeaders : 0;
  } else if (room > kLargestMtu) {
    return 0;  // IPoIB in connected mode
  }
  for (std::uint64_t mtu = kLargestMtu; mtu >= 256; mtu /= 2) {
    if (room >= mtu) return mtu;
  }
  return 0;
}

Finding mtu_finding(const CardFacts& card, const PortFacts& port) {
  const std::uint64_t mtu = path_mtu(port);
  Finding finding{"mtu " + port_name(card, port), Verdict::kOk,
                  std::to_string(mtu) + " (interface " + std::to_string(port.interface_mtu) + ")",
                  ""};
  if (mtu == 0) {
    return {finding.name, Verdict::kNotApplicable, "not told by an interface; ibv_devinfo does",
            ""};
  }
  if (mtu == kLargestMtu) return finding;
  if (card.is_software) {
    finding.found += ", enough for soft-RoCE";
    return finding;
  }
  finding.verdict = Verdict::kWarning;
  finding.advice = is_ethernet(port)
                       ? "ip link set " + port.interface + " mtu 4200, on all hosts and switches"
                       : "the subnet manager's partition allows no more: mtu=5 in "
                         "/etc/opensm/partitions.conf";
  return finding;
}

Finding rights(const RdmaFacts& rdma) {
  const std::string name = "rdma-rights";
  if (!rdma.has_manager) {
    return {name, Verdict::kError, "there is no /dev/infiniband/rdma_cm", "modprobe rdma_ucm"};
  }
  if (!rdma.not_allowed.empty()) {
    return {
        name, Verdict::kError, "this user may not open " + joined(rdma.not_allowed),
        "chmod 666 " + rdma.not_allowed.front() + ", or a udev rule (package rdma-core has one)"};
  }
  return {name, Verdict::kOk, "/dev/infiniband can be used", ""};
}

/// "persistent", and what that means for --data.
Finding persistence_finding(std::string name, Persistence persistence, std::string found) {
  switch (persistence) {
    case Persistence::kPersistent:
      return {std::move(name), Verdict::kOk, "persistent: " + found, ""};
    case Persistence::kEmulated:
      return {std::move(name), Verdict::kWarning,
              "volatile, though it is called persistent: " + found,
              "for tests only: a power cut takes what --data keeps there"};
    case Persistence::kVolatile:
      return {std::move(name), Verdict::kWarning, "volatile: " + found,
              "not for --data: a power cut takes it all"};
    case Persistence::kUnknown:
      break;
  }
  return {std::move(name), Verdict::kWarning, "not known to be persistent: " + found,
          "not for --data, unless its maker says that it outlives a power cut"};
}

Finding device_finding(const DaxDevice& device) {
  std::string found = "devdax, " + device.origin + ", " + format_size(device.bytes);
  if (device.target_node) found += ", target node " + std::to_string(*device.target_node);
  const std::string name = "persistent-memory " + device.name;
  if (device.is_system_memory) {
    return {name, Verdict::kNotApplicable, found + ", used by the kernel as ordinary memory", ""};
  }
  Finding finding = persistence_finding(name, device.persistence, std::move(found));
  if (finding.verdict == Verdict::kOk) finding.found += "; --data /dev/" + device.name;
  return finding;
}

Finding disk_finding(const PmemDisk& disk) {
  const std::string name = "persistent-memory " + disk.name;
  const std::string device = "/dev/" + disk.name;
  if (disk.mount_point.empty()) {
    return {name, Verdict::kNotApplicable, "fsdax, " + disk.origin + ", not mounted", ""};
  }
  std::string found = "fsdax, " + disk.origin + ", " + disk.file_system + " on " + disk.mount_point;
  Finding finding = persistence_finding(name, disk.persistence, std::move(found));
  if (disk.is_dax) {
    if (finding.verdict == Verdict::kOk) finding.found += "; --data " + disk.mount_point + "/DIR";
    return finding;
  }
  finding.found += ", mounted without dax";
  if (finding.verdict == Verdict::kOk) {
    finding.verdict = Verdict::kWarning;
    finding.advice =
        "umount " + disk.mount_point + " && mount -o dax " + device + " " + disk.mount_point;
  }
  return finding;
}

}  // namespace

Findings advise_rdma(const RdmaFacts& rdma) {
  if (rdma.cards.empty()) {
    return {{"rdma", Verdict::kNotApplicable,
             "no RDMA device; shm:// and tcp:// need none (soft-RoCE: rdma link add rxe0 type rxe "
             "netdev INTERFACE)",
             ""}};
  }
  Findings findings{rights(rdma)};
  std::size_t active = 0;
  for (const CardFacts& card : rdma.cards) {
    active += static_cast<std::size_t>(std::ranges::count_if(card.ports, is_active));
  }
  for (const CardFacts& card : rdma.cards) {
    findings.push_back(card_finding(card));
    for (const PortFacts& port : card.ports) {
      findings.push_back(state_finding(card, port, active > 0));
      if (!is_active(port)) continue;
      findings.push_back(gid_finding(card, port));
      findings.push_back(mtu_finding(card, port));
    }
  }
  return findings;
}

Findings advise_persistent_memory(const PersistentMemoryFacts& memory) {
  Findings findings;
  for (const DaxDevice& device : memory.devices) findings.push_back(device_finding(device));
  for (const PmemDisk& disk : memory.disks) findings.push_back(disk_finding(disk));
  if (findings.empty()) {
    findings.push_back({"persistent-memory", Verdict::kNotApplicable,
                        "none; silurus-server --data DIR keeps trees on a disk", ""});
  }
  return findings;
}

}  // namespace silurus::tool::doctor
