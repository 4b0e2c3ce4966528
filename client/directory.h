// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "client/environment.h"
#include "common/result.h"
#include "etcd/gateway.h"

namespace silurus::client {

/// Where the members of a shard listen for clients, by what they say of themselves in etcd
/// (replication/group/etcd_view_store.h): the primary first, then the others of the view, then
/// those that would like to be. What makes no sense there is passed over.
class EtcdDirectory final : public Directory {
 public:
  /// The directory of a shard: of shard 0 where the address names none. `timeout`: what etcd may
  /// take to answer.
  static Result<std::unique_ptr<EtcdDirectory>> create(const etcd::GroupAddress& address,
                                                       Environment& environment,
                                                       Nanoseconds timeout);
  Result<std::vector<std::string>> members() override;

 private:
  EtcdDirectory(std::string prefix, std::unique_ptr<etcd::Gateway> gateway)
      : prefix_(std::move(prefix)), gateway_(std::move(gateway)) {}

  std::string prefix_;
  std::unique_ptr<etcd::Gateway> gateway_;
};

/// The addresses for clients in what the keys of a shard hold: "view" and "members/ID".
std::vector<std::string> client_urls(const std::vector<etcd::KeyValue>& keys);

}  // namespace silurus::client
