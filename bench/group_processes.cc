// SPDX-License-Identifier: Apache-2.0

#include "bench/group_processes.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "common/json.h"

namespace silurus::bench {
namespace {

/// How many members belong to the view, as the client's server says.
Result<int> members_in_view(Client<2>& client) {
  const auto said = client.cluster();
  if (!said) return fail(said.error());
  return static_cast<int>(std::ranges::count_if(said->members, &GroupMember::is_in_view));
}

}  // namespace

Result<GroupProcesses> GroupProcesses::start(const Folder& folder, const std::string& name,
                                             const std::vector<std::string>& options,
                                             const std::vector<std::string>& of_first) {
  GroupProcesses group;
  std::string all;
  for (int i = 1; i <= kMembers; ++i) {
    const std::string member_name = name + std::to_string(i);
    std::vector<std::string> arguments{
        "--listen",        "shm://" + (folder / (member_name + ".sock")),
        "--threads",       "1",
        "--log-level",     "warning",
        "--data",          folder / member_name,
        "--group-address", "shm://" + (folder / (member_name + ".group"))};
    arguments.insert(arguments.end(), options.begin(), options.end());
    if (i == 1) arguments.insert(arguments.end(), of_first.begin(), of_first.end());
    auto member = ServerProcess::start(arguments);
    if (!member) return fail(member.error());
    all += (all.empty() ? "" : ",") + member->address("shm://");
    group.members.push_back(std::move(*member));
  }
  auto client = Client<2>::connect(all);
  if (!client) return fail(client.error());
  group.client = std::make_unique<Client<2>>(std::move(*client));
  if (auto ok = expect_all_in_view(*group.client, 60 * kSecond); !ok) return fail(ok.error());
  return group;
}

Result<std::uint64_t> epoch(Client<2>& client) {
  const auto said = client.cluster();
  if (!said) return fail(said.error());
  return said->epoch;
}

Status expect_all_in_view(Client<2>& client, Nanoseconds patience) {
  const SystemClock clock;
  const Nanoseconds until = clock.now() + patience;
  Result<int> members = members_in_view(client);
  for (; members && *members < kMembers && clock.now() < until; members = members_in_view(client)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (!members) return fail(members.error());
  if (*members == kMembers) return {};
  return fail(ErrorCode::kUnavailable,
              std::to_string(*members) + " of 3 members belong to the group");
}

}  // namespace silurus::bench
