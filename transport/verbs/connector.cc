// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/connector.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "common/clock.h"
#include "transport/keys.h"
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

namespace {

/// A connection that is being made, and what it takes.
struct Dial {
  const std::shared_ptr<Control>& control;
  const Address& address;
  const std::string name = address.to_string();
  EventWaiter& waiter;
  std::uint8_t reads_as_initiator = 0;
};

OtherEnd other_end(rdma_cm_id* id) {
  const Address there = to_address(*rdma_get_peer_addr(id));
  return {there.host, there.port, to_address(*rdma_get_local_addr(id)).host};
}

template <typename Request>
Status ask(const Dial& dial, rdma_cm_id* id, const Request& request, std::uint32_t queue_pair) {
  rdma_conn_param parameters{};
  parameters.private_data = &request;
  parameters.private_data_len = sizeof(request);
  parameters.initiator_depth = dial.reads_as_initiator;
  parameters.responder_resources = 0;
  parameters.retry_count = 6;
  parameters.rnr_retry_count = 7;
  parameters.srq = 1;
  parameters.qp_num = queue_pair;
  if (rdma_connect(id, &parameters) == 0) return {};
  return fail(call_error("rdma_connect", dial.name, errno));
}

/// What was said before the client proves its key.
struct Challenged {
  ChallengeRequest request;
  Challenge challenge;
};

/// By a connection manager's id of its own, which the server's rejection ends.
Result<Challenged> get_challenge(const Dial& dial, CmId id, std::uint32_t queue_pair,
                                 std::span<const std::byte> hello) {
  const auto request = make_challenge_request(hello);
  if (!request) return fail(request.error());
  if (auto ok = ask(dial, id.get(), *request, queue_pair); !ok) return fail(std::move(ok.error()));
  const auto answer = dial.waiter.expect(RDMA_CM_EVENT_REJECTED, "rdma_connect", dial.name);
  if (!answer) return fail(answer.error());
  const auto challenge = parse_challenge(answer->private_data);
  if (!challenge) return fail(parse_refusal(answer->private_data, dial.name));
  return Challenged{*request, *challenge};
}

/// The server's answer to a client without a key, or to one that proves its key.
struct Answer {
  CmNotice notice;
  ConnectReply reply;
};

Result<Answer> take_reply(const Dial& dial) {
  auto notice = dial.waiter.expect(RDMA_CM_EVENT_CONNECT_RESPONSE, "rdma_connect", dial.name);
  if (!notice) return fail(std::move(notice.error()));
  auto reply = parse_reply(notice->private_data, dial.name);
  if (!reply) return fail(std::move(reply.error()));
  return Answer{std::move(*notice), *reply};
}

Result<Answer> ask_without_key(const Dial& dial, rdma_cm_id* id, VerbsConnection& connection,
                               std::span<const std::byte> hello) {
  auto request = make_request(hello);
  if (!request) return fail(std::move(request.error()));
  request->inbox_address = connection.inbox_address();
  request->inbox_key = connection.inbox_key();
  request->max_ring_bytes = kMaxRingBytes;
  const std::uint32_t queue_pair = connection.queue_pair().qp_num;
  if (auto ok = ask(dial, id, *request, queue_pair); !ok) return fail(std::move(ok.error()));
  return take_reply(dial);
}

Result<Answer> ask_with_key(const Dial& dial, rdma_cm_id* id, VerbsConnection& connection,
                            const Challenged& challenged, const ClientKey& key) {
  ProofRequest proof = make_proof_request(challenged.challenge, key.key.label().id);
  proof.inbox_address = connection.inbox_address();
  proof.inbox_key = connection.inbox_key();
  proof.max_ring_bytes = kMaxRingBytes;
  const auto before = said_before(challenged.request, challenged.challenge, proof);
  proof.tag = before.tag(key.key, access::Side::kClient);
  const std::uint32_t queue_pair = connection.queue_pair().qp_num;
  if (auto ok = ask(dial, id, proof, queue_pair); !ok) return fail(std::move(ok.error()));
  auto answer = take_reply(dial);
  if (!answer) return fail(with_key(std::move(answer.error()), key));
  const auto said = said_at_last(before, proof, answer->reply);
  if (said.is_proved_by(answer->reply.tag, key.key, access::Side::kServer)) return answer;
  return fail(unproved_server(dial.name, key));
}

/// From the server's answer on.
Status complete(const Dial& dial, CmId& id, const Answer& answer, const Device& device,
                VerbsConnection& connection, ConnectionHandler& handler) {
  const ConnectReply& reply = answer.reply;
  connection.set_peer(
      {reply.inbox_address,
       reply.inbox_key,
       reply.ring_bytes,
       {max_message_bytes(reply.ring_bytes), std::min(reply.max_reads_in_flight, kMaxReadsInFlight),
        std::min(reply.max_read_bytes, device.limits().max_message_bytes)},
       {hello_of(reply).begin(), hello_of(reply).end()},
       dial.name});
  connection.set_handler(&handler);
  // The server may send as soon as it has the last of the manager's messages.
  if (auto status = connection.start(); !status) return status;
  const auto as_initiator = std::min(answer.notice.initiator_depth, dial.reads_as_initiator);
  if (auto status = connection.make_ready(*id, 1, as_initiator); !status) return status;
  if (rdma_establish(id.get()) != 0) return fail(call_error("rdma_establish", dial.name, errno));
  return {};
}

}  // namespace

Result<std::unique_ptr<Connection>> connect(const std::shared_ptr<Control>& control,
                                            const Address& address, const ConnectOptions& options,
                                            VerbsPoller& poller, std::span<const std::byte> hello,
                                            ConnectionHandler& handler) {
  auto waiter = EventWaiter::create(options.timeout);
  if (!waiter) return fail(std::move(waiter.error()));
  Dial dial{.control = control, .address = address, .waiter = *waiter};
  auto id = find_way(*waiter, address, dial.name);
  if (!id) return fail(std::move(id.error()));
  const auto key = key_for(address, options, other_end(id->get()));
  if (!key) return fail(key.error());
  auto device = control->device(**id);
  if (!device) return fail(std::move(device.error()));
  dial.reads_as_initiator = (*device)->limits().max_reads_as_initiator;
  auto made = VerbsConnection::create(poller, control, *device,
                                      {Role::kClient,
                                       kMaxRingBytes,
                                       kMaxReadsInFlight,
                                       kClientCompletions,
                                       nullptr,
                                       {},
                                       label_of(*key)});
  if (!made) return fail(std::move(made.error()));
  VerbsConnection& connection = **made;
  std::optional<Challenged> challenged;
  if (*key) {
    auto got = get_challenge(dial, std::move(*id), connection.queue_pair().qp_num, hello);
    if (!got) return fail(with_key(std::move(got.error()), **key));
    challenged = *got;
    id = find_way(*waiter, address, dial.name);
    if (!id) return fail(std::move(id.error()));
  }
  if (auto status = connection.make_initial(**id); !status) return fail(std::move(status.error()));
  const auto answer = challenged ? ask_with_key(dial, id->get(), connection, *challenged, **key)
                                 : ask_without_key(dial, id->get(), connection, hello);
  if (!answer) return fail(answer.error());
  if (auto ok = complete(dial, *id, *answer, **device, connection, handler); !ok) {
    return fail(std::move(ok.error()));
  }
  auto link = std::make_unique<Link>(std::move(*id), poller.gate(), connection.serial());
  if (rdma_migrate_id(link->id(), control->channel()) != 0) {
    return fail(call_error("rdma_migrate_id", dial.name, errno));
  }
  connection.set_link(control->adopt(std::move(link)));
  return std::unique_ptr<Connection>(std::move(*made));
}

}  // namespace silurus::transport::verbs
