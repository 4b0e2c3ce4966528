// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <span>

#include "transport/fabric.h"
#include "transport/verbs/connection.h"
#include "transport/verbs/control.h"

namespace silurus::transport::verbs {

/// Connects to a listener, waiting at most the timeout. On the poller's thread.
Result<std::unique_ptr<Connection>> connect(const std::shared_ptr<Control>& control,
                                            const Address& address, const ConnectOptions& options,
                                            VerbsPoller& poller, std::span<const std::byte> hello,
                                            ConnectionHandler& handler);

/// Waits for one event of a channel of its own.
class EventWaiter {
 public:
  static Result<EventWaiter> create(Nanoseconds timeout);
  rdma_event_channel* channel() const { return channel_.get(); }
  /// The next event, which must be the expected one. `call` and `what` are for the error.
  Result<CmNotice> expect(rdma_cm_event_type type, std::string_view call, const std::string& what);
  /// As above, with the event itself, for what only it holds.
  Result<CmEvent> expect_event(rdma_cm_event_type type, std::string_view call,
                               const std::string& what);
  /// Finds the device and the neighbour that lead from `source` (nullptr: any) to `target`, and
  /// asks again until the deadline.
  Status resolve_address(rdma_cm_id* id, sockaddr* source, sockaddr* target,
                         const std::string& what);
  /// The time left until the deadline, for the calls that take one: at least 1.
  int milliseconds_left() const;

 private:
  /// The next event, of whatever kind.
  Result<CmEvent> next_event(std::string_view call, const std::string& what);

  EventWaiter(EventChannel channel, Nanoseconds deadline)
      : channel_(std::move(channel)), deadline_(deadline) {}

  EventChannel channel_;
  Nanoseconds deadline_;
};

}  // namespace silurus::transport::verbs
