// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "transport/fabric.h"
#include "transport/reception.h"
#include "transport/ring_budget.h"
#include "transport/shm/connection.h"
#include "transport/shm/poller.h"
#include "transport/unique_fd.h"

namespace silurus::transport::shm {

/// What the connections of a listener share, and outlive it with. Any thread.
class ListenerState {
 public:
  ListenerState(const ListenOptions& options, const std::string& name) : budget_(options, name) {}

  Result<std::uint32_t> take_ring(const std::string& peer);
  void give_back_ring(std::uint32_t ring_bytes, const std::string& peer);
  std::uint64_t ring_bytes() const;
  RefusalCounters& refusals() { return budget_.refusals(); }

  /// Lets the client behind a control socket know all regions, and from now on every new one.
  void announce_to(int control);
  /// Before the socket is closed.
  void forget(int control);
  Status expose(const Region& region);

 private:
  struct Exposed {
    UniqueFd fd;
    std::uint64_t bytes;
  };
  void send_region(int control, std::size_t index) const;

  mutable std::mutex mutex_;
  RingBudget budget_;             ///< under mutex_, but for its refusals()
  std::vector<Exposed> regions_;  ///< under mutex_
  std::set<int> controls_;        ///< under mutex_: sockets of clients to announce to
};

/// A listening socket, driven by the first of its pollers.
class ShmListener final : public Listener {
 public:
  static Result<std::unique_ptr<ShmListener>> create(const Address& address,
                                                     const ListenOptions& options,
                                                     std::vector<ShmPoller*> pollers,
                                                     AcceptHandler& handler);
  ~ShmListener() override;

  Address address() const override { return address_; }
  Status expose(const Region& region) override { return state_->expose(region); }
  std::uint64_t ring_bytes() const override { return state_->ring_bytes(); }
  RefusalCounts refusals() const override { return state_->refusals().get(); }

 private:
  ShmListener(Address address, const ListenOptions& options, std::vector<ShmPoller*> pollers,
              AcceptHandler& handler);
  Result<UniqueFd> bind_and_listen();
  bool hear(IncomingConnection& incoming);
  Status welcome(IncomingConnection& incoming);
  static void refuse(IncomingConnection& incoming, const Error& error);

  const Address address_;
  const bool allow_other_users_;
  AcceptHandler& handler_;
  std::shared_ptr<ListenerState> state_;
  struct stat bound_ {};  ///< the socket's file, so as to delete no other
  Dealer<ShmPoller, ShmConnection, Endpoint> dealer_;
  std::unique_ptr<Reception> reception_;
};

}  // namespace silurus::transport::shm
