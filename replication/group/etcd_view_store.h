// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "etcd/gateway.h"
#include "replication/group/view_store.h"

namespace silurus::replication::group {

using EtcdAddress = etcd::Address;

struct EtcdOptions {
  EtcdAddress address;
  std::uint32_t shard = 0;
  /// Lease of registrations; whole seconds.
  Nanoseconds lease = 3 * kSecond;
  /// Time limit of one request to one endpoint.
  Nanoseconds timeout = kSecond;
  /// Called by another thread when progress() has something to tell.
  std::function<void()> wake;
};

/// A ViewStore in etcd, by its JSON gateway (etcd 3.4 or later). Keys, all below
/// "silurus/<name>/<shard>/": "view", and "members/<id>" under each member's lease. Requests are
/// made one after the other by a thread of its own, so that no member ever waits for etcd; its end
/// waits for the one under way, at most its timeout.
/// kInvalidArgument if the options make no sense. Whether etcd is there is found out later.
Result<std::unique_ptr<ViewStore>> make_etcd_view_store(const EtcdOptions& options);

}  // namespace silurus::replication::group
