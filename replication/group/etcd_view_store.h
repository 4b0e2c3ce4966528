#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "etcd/gateway.h"
#include "replication/group/view_store.h"
#include "replication/group/wire.h"

namespace silurus::replication::group {

using EtcdAddress = etcd::Address;

/// Tells the shard of a cluster from all others on a network.
GroupId group_id(const EtcdAddress& address, std::uint32_t shard);

struct EtcdOptions {
  EtcdAddress address;
  std::uint32_t shard = 0;
  /// Of registrations; whole seconds.
  Nanoseconds lease = 3 * kSecond;
  /// Of one request to one endpoint.
  Nanoseconds timeout = kSecond;
  /// Called by another thread when progress() has something to tell.
  std::function<void()> wake;
};

/// A ViewStore in etcd, by its JSON gateway (etcd 3.4 or later). Keys, all below
/// "silurus/<name>/<shard>/": "view", and "members/<id>" under each member's lease. Requests are
/// made one after the other by a thread of its own, so that no member ever waits for etcd.
class EtcdViewStore : public ViewStore {
 public:
  /// kInvalidArgument if the options make no sense. Whether etcd is there is found out later.
  static Result<std::unique_ptr<EtcdViewStore>> create(const EtcdOptions& options);
  /// Waits for the request under way, at most its timeout.
  ~EtcdViewStore() override = default;
  /// Tells what has come of calls. The member's thread.
  virtual void progress() = 0;
};

}  // namespace silurus::replication::group
