// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/held_port.h"
#include "tests/support/patience.h"
#include "tests/support/raw_client.h"
#include "tests/support/server_process.h"

namespace silurus::testing_support {

/// A lease of members that are killed, which is waited for: as short as a machine that is as busy
/// as this one can keep it.
inline std::string short_lease() { return patient_option(400 * kMillisecond); }
/// A lease of members that must all stay, whatever keeps them from running.
inline std::string long_lease() {
  return std::to_string(std::min(patient(5 * kSecond), 60 * kSecond) / kMillisecond) + "ms";
}

/// One member of a group of real servers: its process, if it runs, its directory and its address,
/// which are the same in its next life.
class MemberProcess {
 public:
  /// `url`, `group`: where it listens for clients and for other members ("tcp://127.0.0.1:0": at a
  /// port of its own, the same in each of its lives); `etcd`: of the cluster; `lease`: of the
  /// group, the same for all its members; `more`: options, which may say otherwise than those
  /// below.
  MemberProcess(std::string url, std::string group, std::string data, std::string etcd,
                std::string lease, const std::vector<std::string>& more = {})
      : url_(std::move(url)),
        data_(std::move(data)),
        arguments_({"--cluster",
                    std::move(etcd),
                    "--data",
                    data_,
                    "--group-address",
                    std::move(group),
                    "--group-lease",
                    std::move(lease),
                    "--log-size",
                    "64M",
                    "--memory",
                    "64M",
                    "--threads",
                    "1",
                    "--wait",
                    "sleep",
                    "--checkpoint-interval",
                    "1s",
                    "--log-level",
                    "info"}) {
    arguments_.insert(arguments_.end(), more.begin(), more.end());
    if (url_ == "tcp://127.0.0.1:0") url_ = "tcp://" + port_.emplace().host_and_port();
  }

  /// Whether it listens now.
  bool start() {
    std::vector<std::string> arguments = arguments_;
    arguments.insert(arguments.end(), {"--listen", url_});
    process_ = std::make_unique<ServerProcess>(arguments);
    return !process_->addresses().empty();
  }
  /// With SIGKILL.
  void kill_it() { process_.reset(); }
  bool is_running() const { return process_ != nullptr; }
  ServerProcess& process() { return *process_; }
  const std::string& url() const { return url_; }
  const std::string& data() const { return data_; }

  /// What it says of the group; null if it doesn't.
  nlohmann::json cluster(std::uint32_t dimensions = 2) const {
    if (!is_running()) return {};
    const auto client = RawClient::connect(url_, dimensions);
    if (!client || !(*client)->bare(1, protocol::MessageType::kCluster)) return {};
    const auto reply = (*client)->reply(1, kSecond);
    return reply && !reply->error ? nlohmann::json::parse(reply->text(), nullptr, false)
                                  : nlohmann::json();
  }
  /// Whether it says that it is the primary and may read.
  bool leads() const {
    const nlohmann::json said = cluster();
    return said.is_object() && said["role"] == "primary" && said["lease_ms_left"] != 0;
  }

 private:
  std::optional<HeldPort> port_;
  std::string url_;
  std::string data_;
  std::vector<std::string> arguments_;
  std::unique_ptr<ServerProcess> process_;
};

/// Until all that run know of the same view of that many, are in it, and one of them leads in it:
/// one that has just started again knows of its last view, and so may the others.
template <std::derived_from<MemberProcess> Member>
bool wait_for_view(const std::vector<Member>& members, std::size_t size) {
  return wait_until([&] {
    std::set<nlohmann::json> epochs;
    int primaries = 0;
    return std::ranges::all_of(members,
                               [&](const Member& member) {
                                 if (!member.is_running()) return true;
                                 const nlohmann::json said = member.cluster();
                                 if (!said.is_object() || said["members"].size() != size) {
                                   return false;
                                 }
                                 epochs.insert(said["epoch"]);
                                 primaries += said["role"] == "primary" ? 1 : 0;
                                 return said["role"] == "primary" || said["role"] == "backup";
                               }) &&
           epochs.size() == 1 && primaries == 1;
  });
}
/// The one of them that leads, as soon as one does; nullptr if none does.
template <std::derived_from<MemberProcess> Member>
Member* wait_for_primary(std::vector<Member>& members) {
  Member* found = nullptr;
  wait_until([&] {
    for (Member& member : members) {
      if (member.leads()) found = &member;
    }
    return found != nullptr;
  });
  return found;
}

}  // namespace silurus::testing_support
