// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "transport/fabric.h"
#include "transport/reception.h"
#include "transport/tcp/connection.h"
#include "transport/tcp/poller.h"

namespace silurus::transport::tcp {

/// A listening socket, driven by the first of its pollers.
class TcpListener final : public Listener {
 public:
  static Result<std::unique_ptr<TcpListener>> create(const Address& address,
                                                     const ListenOptions& options,
                                                     std::vector<TcpPoller*> pollers,
                                                     AcceptHandler& handler);

  Address address() const override { return address_; }
  Status expose(const Region& region) override;
  std::uint64_t ring_bytes() const override { return budget_->bytes(); }
  RefusalCounts refusals() const override { return budget_->refusals().get(); }

 private:
  TcpListener(Address address, const ListenOptions& options, std::vector<TcpPoller*> pollers,
              AcceptHandler& handler);
  bool hear(IncomingConnection& incoming);
  /// What has come of the incoming connection's hello, or its proof; what is to be made of it.
  /// Nothing: more is to come.
  std::optional<Status> take_setup(IncomingConnection& incoming);
  std::optional<Status> take_proof(IncomingConnection& incoming);
  /// The user that the incoming connection belongs to, if it is on this machine; kPermission if it
  /// may not come in.
  Result<std::optional<uid_t>> user_of(const IncomingConnection& incoming) const;
  /// The incoming connection as a handler is told of it, once its key is proved.
  Result<Caller> identify(const IncomingConnection& incoming);
  Status welcome(IncomingConnection& incoming);
  static void refuse(IncomingConnection& incoming, const Error& error);

  const Address address_;
  AcceptHandler& handler_;
  const bool allow_other_users_;
  std::shared_ptr<SharedBudget> budget_;
  Dealer<TcpPoller, TcpConnection, Endpoint> dealer_;
  std::unique_ptr<Reception> reception_;
};

}  // namespace silurus::transport::tcp
