#include "transport/verbs/connector.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "common/clock.h"
#include "transport/verbs/address.h"
#include "transport/verbs/error.h"
#include "transport/verbs/handshake.h"

namespace silurus::transport::verbs {
namespace {

/// Completions of a client's queues: a handful of connections.
constexpr std::uint32_t kClientCompletions = 4096;

/// Milliseconds until an address is asked for again. The kernel asks the neighbour when the call
/// begins, and may miss an answer that comes before it waits: it looks again at the end of the
/// call's time only (ib_addr, queue_req and netevent_callback in Linux 6.1).
constexpr int kResolveAttempt = 1'000;

Error unexpected(const rdma_cm_event& event, std::string_view call, const std::string& what) {
  switch (event.event) {
    case RDMA_CM_EVENT_REJECTED: {
      const rdma_conn_param& parameters = event.param.conn;
      const auto* data = static_cast<const std::byte*>(parameters.private_data);
      return parse_refusal(
          std::span(data, data == nullptr ? std::size_t{0} : parameters.private_data_len), what);
    }
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_MULTICAST_ERROR:
      return call_error(call, what, std::abs(event.status));
    case RDMA_CM_EVENT_UNREACHABLE:
      return {ErrorCode::kUnavailable, what + ": does not answer connection requests"};
    default:
      return {ErrorCode::kUnavailable, what + ": " + std::string(call) + ": " +
                                           rdma_event_str(event.event) + " (status " +
                                           std::to_string(event.status) + ")"};
  }
}

}  // namespace

Result<EventWaiter> EventWaiter::create(Nanoseconds timeout) {
  EventChannel channel(rdma_create_event_channel());
  if (!channel) return fail(call_error("rdma_create_event_channel", "", errno));
  return EventWaiter(std::move(channel), SystemClock().now() + timeout);
}

int EventWaiter::milliseconds_left() const {
  const Nanoseconds left = (deadline_ - SystemClock().now()) / kMillisecond;
  return static_cast<int>(std::clamp<Nanoseconds>(left, 1, 3'600'000));
}

Result<CmEvent> EventWaiter::next_event(std::string_view call, const std::string& what) {
  pollfd waiting{channel_->fd, POLLIN, 0};
  while (poll(&waiting, 1, milliseconds_left()) <= 0) {
    if (SystemClock().now() < deadline_) continue;
    return fail(ErrorCode::kDeadlineExceeded, what + ": no answer in time (" + std::string(call) +
                                                  "); is the host up, and the port right?");
  }
  rdma_cm_event* raw = nullptr;
  if (rdma_get_cm_event(channel_.get(), &raw) != 0) {
    return fail(call_error("rdma_get_cm_event", what, errno));
  }
  return CmEvent(raw);
}

Result<CmEvent> EventWaiter::expect_event(rdma_cm_event_type type, std::string_view call,
                                          const std::string& what) {
  auto event = next_event(call, what);
  if (event && (*event)->event != type) return fail(unexpected(**event, call, what));
  return event;
}

Status EventWaiter::resolve_address(rdma_cm_id* id, sockaddr* source, sockaddr* target,
                                    const std::string& what) {
  for (;;) {
    const int left = milliseconds_left();
    if (rdma_resolve_addr(id, source, target, std::min(left, kResolveAttempt)) != 0) {
      return fail(call_error("rdma_resolve_addr", what, errno));
    }
    auto event = next_event("rdma_resolve_addr", what);
    if (!event) return fail(std::move(event.error()));
    if ((*event)->event == RDMA_CM_EVENT_ADDR_RESOLVED) return {};
    const bool timed_out =
        (*event)->event == RDMA_CM_EVENT_ADDR_ERROR && std::abs((*event)->status) == ETIMEDOUT;
    if (!timed_out || left <= kResolveAttempt) {
      return fail(unexpected(**event, "rdma_resolve_addr", what));
    }
  }
}

Result<CmNotice> EventWaiter::expect(rdma_cm_event_type type, std::string_view call,
                                     const std::string& what) {
  auto event = expect_event(type, call, what);
  if (!event) return fail(std::move(event.error()));
  return CmNotice::take(std::move(*event));
}

namespace {

/// Address, route, device: everything before the request.
Result<CmId> find_way(EventWaiter& waiter, const Address& address, const std::string& name) {
  auto at = resolve(address, false, RDMA_PS_TCP);
  if (!at) return fail(std::move(at.error()));
  rdma_cm_id* raw = nullptr;
  if (rdma_create_id(waiter.channel(), &raw, nullptr, RDMA_PS_TCP) != 0) {
    return fail(call_error("rdma_create_id", "", errno));
  }
  CmId id(raw);
  auto resolved = waiter.resolve_address(raw, (*at)->ai_src_addr, (*at)->ai_dst_addr, name);
  if (!resolved) return fail(std::move(resolved.error()));
  if (rdma_resolve_route(raw, waiter.milliseconds_left()) != 0) {
    return fail(call_error("rdma_resolve_route", name, errno));
  }
  auto routed = waiter.expect(RDMA_CM_EVENT_ROUTE_RESOLVED, "rdma_resolve_route", name);
  if (!routed) return fail(std::move(routed.error()));
  return id;
}

}  // namespace

Result<std::unique_ptr<Connection>> connect(const std::shared_ptr<Control>& control,
                                            const Address& address, const ConnectOptions& options,
                                            VerbsPoller& poller, std::span<const std::byte> hello,
                                            ConnectionHandler& handler) {
  const std::string name = address.to_string();
  auto request = make_request(hello);
  if (!request) return fail(std::move(request.error()));
  auto waiter = EventWaiter::create(options.timeout);
  if (!waiter) return fail(std::move(waiter.error()));
  auto id = find_way(*waiter, address, name);
  if (!id) return fail(std::move(id.error()));
  auto device = control->device(**id);
  if (!device) return fail(std::move(device.error()));
  auto made = VerbsConnection::create(
      poller, control, *device,
      {Role::kClient, kMaxRingBytes, kMaxReadsInFlight, kClientCompletions, nullptr});
  if (!made) return fail(std::move(made.error()));
  VerbsConnection& connection = **made;
  if (auto status = connection.make_initial(**id); !status) return fail(std::move(status.error()));

  request->inbox_address = connection.inbox_address();
  request->inbox_key = connection.inbox_key();
  request->max_ring_bytes = kMaxRingBytes;
  rdma_conn_param parameters{};
  parameters.private_data = &*request;
  parameters.private_data_len = sizeof(*request);
  parameters.initiator_depth = (*device)->limits().max_reads_as_initiator;
  parameters.responder_resources = 0;
  parameters.retry_count = 6;
  parameters.rnr_retry_count = 7;
  parameters.srq = 1;
  parameters.qp_num = connection.queue_pair().qp_num;
  if (rdma_connect(id->get(), &parameters) != 0) {
    return fail(call_error("rdma_connect", name, errno));
  }
  auto answer = waiter->expect(RDMA_CM_EVENT_CONNECT_RESPONSE, "rdma_connect", name);
  if (!answer) return fail(std::move(answer.error()));
  auto reply = parse_reply(answer->private_data, name);
  if (!reply) return fail(std::move(reply.error()));
  connection.set_peer({reply->inbox_address,
                       reply->inbox_key,
                       reply->ring_bytes,
                       {max_message_bytes(reply->ring_bytes),
                        std::min(reply->max_reads_in_flight, kMaxReadsInFlight),
                        std::min(reply->max_read_bytes, (*device)->limits().max_message_bytes)},
                       {hello_of(*reply).begin(), hello_of(*reply).end()},
                       name});
  connection.set_handler(&handler);
  // The server may send as soon as it has the last of the manager's messages.
  if (auto status = connection.start(); !status) return fail(std::move(status.error()));
  const auto as_initiator =
      std::min(answer->initiator_depth, (*device)->limits().max_reads_as_initiator);
  if (auto status = connection.make_ready(**id, 1, as_initiator); !status) {
    return fail(std::move(status.error()));
  }
  if (rdma_establish(id->get()) != 0) return fail(call_error("rdma_establish", name, errno));
  auto link = std::make_unique<Link>(std::move(*id), poller.gate(), connection.serial());
  if (rdma_migrate_id(link->id(), control->channel()) != 0) {
    return fail(call_error("rdma_migrate_id", name, errno));
  }
  connection.set_link(control->adopt(std::move(link)));
  return std::unique_ptr<Connection>(std::move(*made));
}

}  // namespace silurus::transport::verbs
