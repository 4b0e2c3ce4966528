// SPDX-License-Identifier: Apache-2.0

#include "client/directory.h"

#include <utility>

#include "client/cluster_info.h"
#include "common/json.h"

namespace silurus::client {

Result<std::unique_ptr<EtcdDirectory>> EtcdDirectory::create(const etcd::GroupAddress& address,
                                                             Environment& environment,
                                                             Nanoseconds timeout) {
  auto gateway =
      environment.open_etcd(address.cluster, etcd::timeout_of_each(address.cluster, timeout));
  if (!gateway) return fail(gateway.error());
  const std::string prefix =
      "silurus/" + address.cluster.name + "/" + std::to_string(address.shard.value_or(0)) + "/";
  return std::unique_ptr<EtcdDirectory>(new EtcdDirectory(prefix, std::move(*gateway)));
}

Result<std::vector<std::string>> EtcdDirectory::members() {
  const auto keys = gateway_->read_prefix(prefix_);
  if (!keys) {
    return fail(keys.error().code, "members below " + prefix_ + ": " + keys.error().message);
  }
  auto urls = client_urls(*keys);
  if (urls.empty()) {
    return fail(ErrorCode::kNotFound, "etcd knows of no member below " + prefix_ +
                                          ": is the cluster named right, and started?");
  }
  return urls;
}

std::vector<std::string> client_urls(const std::vector<etcd::KeyValue>& keys) {
  std::vector<std::string> first;
  std::vector<std::string> urls;
  const auto add = [](std::vector<std::string>& to, const std::string& given) {
    for (std::string& url : split_urls(given)) to.push_back(std::move(url));
  };
  for (const etcd::KeyValue& one : keys) {
    const auto json = parse_json(one.value);
    add(urls, json_string(json_field(json, "member"), "clients"));
    const std::string primary = json_string(json, "primary");
    for (const auto& member : json_array(json, "members")) {
      add(json_string(member, "id") == primary ? first : urls, json_string(member, "clients"));
    }
  }
  first.insert(first.end(), urls.begin(), urls.end());
  return first;
}

}  // namespace silurus::client
