#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "transport/accept.h"
#include "transport/event_loop.h"
#include "transport/fabric.h"
#include "transport/setup.h"
#include "transport/tcp/connection.h"
#include "transport/tcp/poller.h"
#include "transport/unique_fd.h"

namespace silurus::transport::tcp {

/// A listening socket, driven by the first of its pollers.
class TcpListener final : public Listener, private EventSink {
 public:
  static Result<std::unique_ptr<TcpListener>> create(const Address& address,
                                                     const ListenOptions& options,
                                                     std::vector<TcpPoller*> pollers,
                                                     AcceptHandler& handler);
  ~TcpListener() override;

  Address address() const override { return address_; }
  Status expose(const Region& region) override;
  std::uint64_t ring_bytes() const override { return budget_->bytes(); }

 private:
  /// A client that has not finished saying hello.
  class Guest;

  TcpListener(UniqueFd socket, const ListenOptions& options, std::vector<TcpPoller*> pollers,
              AcceptHandler& handler);
  void on_ready(std::uint32_t events) override;
  void admit(Guest& guest);
  Status welcome(Guest& guest);
  void dismiss(Guest& guest);
  void expire();
  void deal_out(Endpoint endpoint);

  UniqueFd socket_;
  Accepting accepting_;
  Address address_;
  ListenOptions options_;
  std::vector<TcpPoller*> pollers_;
  AcceptHandler& handler_;
  std::shared_ptr<SharedBudget> budget_;
  std::shared_ptr<bool> alive_;  ///< false once destroyed: for what other pollers still have queued
  EventLoop::Registration registration_ = EventLoop::kNone;
  std::unique_ptr<Timer> timer_;
  std::vector<std::unique_ptr<Guest>> guests_;
  std::size_t next_poller_ = 0;
};

}  // namespace silurus::transport::tcp
