// SPDX-License-Identifier: Apache-2.0

#include "client/cluster_info.h"

#include <algorithm>

#include "common/json.h"

namespace silurus::client {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxUrlBytes = 1024;

tl::unexpected<Error> bad(const char* what) {
  return fail(ErrorCode::kProtocol,
              "a server sent a malformed description of its group: " + std::string(what));
}

bool is_id(const Json& value) { return value.is_string() || value.is_number_unsigned(); }

}  // namespace

std::vector<std::string> split_urls(std::string_view text) {
  std::vector<std::string> urls;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma != 0) urls.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return urls;
}

Result<ClusterInfo> parse_cluster_info(std::string_view text) {
  const Json json = parse_json(text);
  if (!json.is_object()) return bad("not an object");
  const auto self = json.find("self");
  const auto primary = json.find("primary");
  const auto role = json.find("role");
  const auto members = json.find("members");
  if (self == json.end() || !is_id(*self)) return bad("self");
  if (role == json.end() || !role->is_string()) return bad("role");
  if (members == json.end() || !members->is_array() || members->size() > kMaxClusterMembers) {
    return bad("members");
  }
  // Between two views there is none.
  const bool has_primary = primary != json.end() && is_id(*primary);
  ClusterInfo info;
  info.is_primary =
      role->get_ref<const std::string&>() == "primary" && has_primary && *primary == *self;
  info.is_backup = role->get_ref<const std::string&>() == "backup";
  for (const Json& member : *members) {
    const auto id = member.is_object() ? member.find("id") : member.end();
    const auto url = member.is_object() ? member.find("url") : member.end();
    if (!member.is_object() || id == member.end() || url == member.end() || !is_id(*id) ||
        !url->is_string() || url->get_ref<const std::string&>().size() > kMaxUrlBytes) {
      return bad("a member");
    }
    const auto& address = url->get_ref<const std::string&>();
    if (address.empty()) continue;
    if (has_primary && *id == *primary) info.primary = address;
    const auto in_view = member.find("in_view");
    const bool counts = in_view == member.end() || (in_view->is_boolean() && in_view->get<bool>());
    if (counts && *id != *self) info.others.push_back(address);
  }
  return info;
}

}  // namespace silurus::client
