// SPDX-License-Identifier: Apache-2.0

#include "replication/group/static_group.h"

#include <algorithm>

#include "etcd/gateway.h"

namespace silurus::replication::group {

Result<StaticAddress> StaticAddress::parse(std::string_view url, std::string_view scheme) {
  const auto bad = [&](const std::string& what) {
    return fail(ErrorCode::kInvalidArgument,
                "\"" + std::string(url) + "\": " + what +
                    "; expected static://HOST:PORT/NAME, where the first member listens "
                    "for the others, or static:///PATH/NAME with a --group-address of shm");
  };
  constexpr std::string_view kScheme = "static://";
  const std::size_t slash = url.rfind('/');
  if (!url.starts_with(kScheme) || slash < kScheme.size()) return bad("no group is named");
  const std::string_view where = url.substr(kScheme.size(), slash - kScheme.size());
  StaticAddress address{.keeper = {}, .name = std::string(url.substr(slash + 1))};
  if (!etcd::is_cluster_name(address.name)) return bad("not a name of a group");
  const bool is_path = where.starts_with('/');
  if (is_path != (scheme == "shm")) {
    return bad("members of this one listen at " + std::string(scheme) + ":// (--group-address)");
  }
  auto keeper = transport::Address::parse(std::string(scheme) + "://" + std::string(where));
  if (!keeper) return bad(keeper.error().message);
  if (keeper->port == "0") return bad("others have to know the port");
  address.keeper = std::move(*keeper);
  return address;
}

}  // namespace silurus::replication::group
