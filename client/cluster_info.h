// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace silurus::client {

constexpr std::size_t kMaxClusterMembers = 16;

/// What a member of a group says of it (protocol::MessageType::kCluster), as far as a client needs
/// to know.
struct ClusterInfo {
  bool is_primary = false;  ///< the one that says it
  bool is_backup = false;
  /// Addresses for clients; of a member that has several, all of them, parted by commas.
  std::string primary;  ///< empty if there is none
  std::vector<std::string>
      others;  ///< the other members of the view, without the one that says this
};

/// Servers as people name them: "shm:///run/silurus.sock"; or those of one group, parted by commas.
std::vector<std::string> split_urls(std::string_view text);

/// kProtocol says what is wrong.
Result<ClusterInfo> parse_cluster_info(std::string_view json);

}  // namespace silurus::client
