// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/folder.h"
#include "bench/server_process.h"
#include "common/clock.h"
#include "common/result.h"
#include "silurus/client.h"

namespace silurus::bench {

/// Members of a group of servers in GroupProcesses.
constexpr int kMembers = 3;

/// Three servers of one thread that replicate one shard over shm, and a client.
struct GroupProcesses {
  /// Starts them, with these options besides their addresses and data, and returns when all belong
  /// to the group. `name` is part of the names of their files. `of_first`: options of the first one
  /// besides.
  static Result<GroupProcesses> start(const Folder& folder, const std::string& name,
                                      const std::vector<std::string>& options,
                                      const std::vector<std::string>& of_first = {});

  std::vector<ServerProcess> members;
  std::unique_ptr<Client<2>> client;
};

/// The number of the view that a client's server is in: each change of the view has the next one.
Result<std::uint64_t> epoch(Client<2>& client);

/// An insert is to be durable at all members: kUnavailable if they do not all belong to the group
/// within that time.
Status expect_all_in_view(Client<2>& client, Nanoseconds patience);

}  // namespace silurus::bench
