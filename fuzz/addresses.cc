// SPDX-License-Identifier: Apache-2.0

#include "client/cluster_info.h"
#include "common/units.h"
#include "etcd/gateway.h"
#include "fuzz/target.h"
#include "replication/group/static_group.h"
#include "replication/group/view.h"
#include "silurus/shard_map.h"
#include "transport/fabric.h"

// Texts that name something: addresses of every kind, sizes, durations, keys.

namespace silurus::fuzz {
namespace {

void try_addresses(std::string_view text) {
  if (const auto address = transport::Address::parse(text)) {
    const auto again = transport::Address::parse(address->to_string());
    SILURUS_CHECK(again && again->scheme == address->scheme && again->host == address->host &&
                  again->port == address->port && again->path == address->path &&
                  again->peer == address->peer);
    SILURUS_CHECK(address->path.empty() != address->host.empty());
    SILURUS_CHECK(!address->path.ends_with('/'));
  }
  if (const auto address = etcd::Address::parse(text)) {
    SILURUS_CHECK(etcd::is_address(text) && etcd::is_cluster_name(address->name));
    SILURUS_CHECK(!address->endpoints.empty());
  }
  static_cast<void>(etcd::GroupAddress::parse(text));
  for (const char* scheme : {"tcp", "shm"}) {
    const auto group = replication::group::StaticAddress::parse(text, scheme);
    if (group) SILURUS_CHECK(etcd::is_cluster_name(group->name));
  }
  for (const std::string& url : shards::servers_of(text)) SILURUS_CHECK(!url.empty());
}

void try_numbers(std::string_view text) {
  if (const auto size = parse_size(text)) {
    SILURUS_CHECK(!format_size(*size).empty());
    // Exact as long as a double is.
    if (*size < std::uint64_t{1} << 53) SILURUS_CHECK(*parse_size(std::to_string(*size)) == *size);
  }
  if (const auto duration = parse_duration(text)) {
    SILURUS_CHECK(*duration >= 0 && !format_duration(*duration).empty());
  }
  if (const auto key = shards::parse_key(text)) {
    SILURUS_CHECK(*shards::parse_key(shards::key_text(*key)) == *key);
  }
  if (const auto ack = replication::group::parse_ack(text)) {
    SILURUS_CHECK(replication::group::to_string(*ack) == text);
  }
  if (const auto members = replication::group::parse_min_members(text)) {
    SILURUS_CHECK(*members <= replication::group::kMaxMembers);
  }
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  const std::string_view text = as_text(bytes);
  try_addresses(text);
  try_numbers(text);
}

std::vector<std::string> seeds() {
  return {"tcp://127.0.0.1:7470",
          "rdma://[fe80::1]:7471",
          "shm:///run/silurus/default.sock?peer=silurus",
          "etcd://a:2379,b:2379/name/7",
          "static://10.0.0.1:7400/maps",
          "static:///run/first.sock/maps",
          "tcp://a:1,tcp://b:2",
          "1.5GiB",
          "250us",
          "0123456789abcdef",
          "quorum",
          "majority"};
}

}  // namespace silurus::fuzz
