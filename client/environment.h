// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "client/network.h"
#include "common/clock.h"
#include "common/result.h"
#include "etcd/gateway.h"
#include "transport/waiter.h"

namespace silurus::client {

/// The fabrics of one blocking client, each made when an address of it comes up, with one poller
/// each, and how the client waits for what happens on them. One thread.
class Fabrics : public Network {
 public:
  virtual ~Fabrics() = default;
  /// More as more fabrics are made.
  const std::vector<transport::Poller*>& pollers() const { return pollers_; }
  /// Drives the pollers until they have handled something (the answer: how many events), or
  /// `longest` has passed (0; it may be sooner).
  virtual std::size_t wait(Nanoseconds longest) = 0;

 protected:
  std::vector<transport::Poller*> pollers_;
};

/// What code that blocks asks of the world around it: this machine's (real_environment()), or a
/// simulated host's, where the code that ships runs in virtual time. Outlives its users.
class Environment {
 public:
  virtual const Clock& clock() const = 0;
  virtual void sleep(Nanoseconds time) = 0;
  /// Never 0, and different from all others.
  virtual std::uint64_t random_id() = 0;
  virtual Result<std::unique_ptr<Fabrics>> open_fabrics(const transport::WaitOptions& wait) = 0;
  virtual Result<std::unique_ptr<etcd::Gateway>> open_etcd(const etcd::Address& address,
                                                           Nanoseconds timeout) = 0;

 protected:
  ~Environment() = default;
};

/// Real fabrics, a real etcd, real time. Any thread.
Environment& real_environment();

}  // namespace silurus::client
