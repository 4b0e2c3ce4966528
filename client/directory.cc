#include "client/directory.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "client/network.h"

namespace silurus::client {
namespace {

using Json = nlohmann::json;

/// The string of that name in an object; empty if it isn't there.
std::string text(const Json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

Result<std::unique_ptr<EtcdDirectory>> EtcdDirectory::create(const etcd::GroupAddress& address) {
  auto gateway = etcd::Gateway::create(address.cluster, kSecond);
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
    const Json json = Json::parse(one.value, nullptr, false);
    if (!json.is_object()) continue;
    if (const auto member = json.find("member"); member != json.end()) {
      add(urls, text(*member, "clients"));
    }
    const auto members = json.find("members");
    if (members == json.end() || !members->is_array()) continue;
    const std::string primary = text(json, "primary");
    for (const Json& member : *members) {
      add(text(member, "id") == primary ? first : urls, text(member, "clients"));
    }
  }
  first.insert(first.end(), urls.begin(), urls.end());
  return first;
}

}  // namespace silurus::client
