// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/listener.h"

#include <algorithm>
#include <cerrno>

#include "common/check.h"
#include "common/log.h"
#include "transport/limits.h"
#include "transport/peer.h"
#include "transport/verbs/address.h"
#include "transport/verbs/connection.h"
#include "transport/verbs/error.h"
#include "transport/verbs/handshake.h"

namespace silurus::transport::verbs {
namespace {

/// Completions of a server's queues: many clients share them.
constexpr std::uint32_t kServerCompletions = 32 * 1024;

}  // namespace

// --- ListenerState ----------------------------------------------------------------------------

Result<std::shared_ptr<ListenerState>> ListenerState::create(
    const ListenOptions& options, std::string name,
    const std::vector<std::shared_ptr<Device>>& devices, AcceptHandler& handler) {
  std::shared_ptr<ListenerState> state(new ListenerState(options, std::move(name), handler));
  for (const auto& device : devices) {
    auto pages = Pages::allocate(kMaxRegions * sizeof(RegionEntry));
    if (!pages) return fail(std::move(pages.error()));
    auto table = SendSource::create(device, pages->bytes());
    if (!table) return fail(std::move(table.error()));
    state->devices_.push_back({device, std::move(*pages), std::move(*table), {}});
  }
  return state;
}

Result<std::uint32_t> ListenerState::take_rings(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  return budget_.take(peer);
}

void ListenerState::give_back(std::uint32_t ring_bytes, const std::string& peer) {
  const std::lock_guard lock(mutex_);
  budget_.give_back(ring_bytes, peer);
}

std::uint64_t ListenerState::ring_bytes() const {
  const std::lock_guard lock(mutex_);
  return budget_.bytes();
}

Status ListenerState::expose(const Region& region) {
  const std::lock_guard lock(mutex_);
  const std::uint32_t number = region_count_.load(std::memory_order_relaxed);  // ours, by mutex_
  if (number == kMaxRegions) {
    return fail(ErrorCode::kTooLarge,
                "more than " + std::to_string(kMaxRegions) + " regions: let each be larger");
  }
  std::vector<PeerReadable> registered;
  for (OnDevice& on : devices_) {
    auto memory = PeerReadable::create(on.device, region.bytes);
    if (!memory) return fail(std::move(memory.error()));
    registered.push_back(std::move(*memory));
  }
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    auto* const entries = reinterpret_cast<RegionEntry*>(devices_[i].pages.bytes().data());
    entries[number] = {registered[i].address(), region.bytes.size(), registered[i].remote_key(), 0};
    devices_[i].regions.push_back(std::move(registered[i]));
  }
  // release: pairs with the acquire load in region_count().
  region_count_.store(number + 1, std::memory_order_release);
  return {};
}

const SendSource& ListenerState::region_table(const Device& device) const {
  const auto found = std::find_if(devices_.begin(), devices_.end(),
                                  [&](const OnDevice& on) { return on.device.get() == &device; });
  SILURUS_CHECK(found != devices_.end());
  return found->table;
}

void ListenerState::expect(std::uint64_t serial, const std::string& peer,
                           std::shared_ptr<PollerGate> gate) {
  const Nanoseconds now = SystemClock().now();
  const std::lock_guard lock(mutex_);
  if (const auto pushed_out = newcomers_.make_room()) turn_away(*pushed_out, now);
  newcomers_.add(serial, peer, now);
  gates_.emplace(serial, std::move(gate));
}

bool ListenerState::expects(std::uint64_t serial) const {
  const std::lock_guard lock(mutex_);
  return gates_.contains(serial);
}

bool ListenerState::meet(std::uint64_t serial) {
  const std::lock_guard lock(mutex_);
  gates_.erase(serial);
  return newcomers_.remove(serial);
}

Nanoseconds ListenerState::expire(Nanoseconds now) {
  const std::lock_guard lock(mutex_);
  while (const auto late = newcomers_.expire(now)) turn_away(*late, now);
  return newcomers_.next_deadline().value_or(kNever);
}

/// With mutex_ held.
void ListenerState::turn_away(const Newcomers::TurnedAway& newcomer, Nanoseconds now) {
  refusals().add(newcomer.reason);
  const auto line = limiter_.line(
      newcomer.peer,
      name_ + ": refused a client of " + newcomer.peer + ": " + newcomer.error.message, now);
  if (line) log::warning(*line);
  const auto gate = gates_.extract(newcomer.number);
  gate.mapped()->post([serial = newcomer.number, error = newcomer.error](VerbsPoller& poller) {
    poller.on_lost(serial, error);
  });
}

Result<std::vector<std::byte>> ListenerState::ask(std::span<const std::byte> client_hello,
                                                  const Caller& caller) {
  const std::lock_guard lock(handler_mutex_);
  if (handler_ == nullptr) return fail(ErrorCode::kUnavailable, "shutting down");
  return handler_->on_hello(client_hello, caller);
}

bool ListenerState::may_read_regions(const Caller& caller) {
  const std::lock_guard lock(handler_mutex_);
  return handler_ != nullptr && handler_->may_read_regions(caller);
}

Result<access::KeyLabel> ListenerState::verify(const Caller& caller, access::KeyId id,
                                               const access::Transcript& said,
                                               const access::Tag& tag) {
  const std::lock_guard lock(handler_mutex_);
  if (handler_ == nullptr) return fail(ErrorCode::kUnavailable, "shutting down");
  return transport::verify(*handler_, caller, id, said, tag);
}

std::optional<access::Key> ListenerState::find_key(access::KeyId id) {
  const std::lock_guard lock(handler_mutex_);
  return handler_ == nullptr ? std::nullopt : handler_->find_key(id);
}

void ListenerState::deliver(std::unique_ptr<VerbsConnection> connection, Poller& poller) {
  const std::lock_guard lock(handler_mutex_);
  if (handler_ == nullptr) return;
  VerbsConnection& accepted = *connection;
  // The regions first: they are on their way before anything that the handler sends.
  accepted.announce_regions();
  handler_->on_accept(std::move(connection), poller);
}

void ListenerState::close() {
  const std::lock_guard lock(handler_mutex_);
  handler_ = nullptr;
}

// --- VerbsListener ----------------------------------------------------------------------------

Result<std::unique_ptr<VerbsListener>> VerbsListener::create(std::shared_ptr<Control> control,
                                                             const Address& address,
                                                             const ListenOptions& options,
                                                             std::span<Poller* const> pollers,
                                                             AcceptHandler& handler) {
  if (pollers.empty()) return fail(ErrorCode::kInvalidArgument, "a listener needs a poller");
  auto at = resolve(address, true, RDMA_PS_TCP);
  if (!at) return fail(std::move(at.error()));
  const std::string name = address.to_string();
  if (!options.allow_other_users) {
    return fail(
        ErrorCode::kPermission,
        name +
            (is_loopback(*(*at)->ai_src_addr)
                 ? " is reachable by other users, whom RDMA does not tell apart"
                 : " is reachable from other hosts") +
            ": say --allow-other-users or --access, or listen on shm:// or tcp://127.0.0.1");
  }
  rdma_cm_id* raw = nullptr;
  if (rdma_create_id(control->channel(), &raw, nullptr, RDMA_PS_TCP) != 0) {
    return fail(call_error("rdma_create_id", "", errno));
  }
  CmId id(raw);
  if (rdma_bind_addr(raw, (*at)->ai_src_addr) != 0) {
    return fail(call_error("rdma_bind_addr", name, errno));
  }
  std::vector<std::shared_ptr<Device>> devices = control->devices();
  if (raw->verbs != nullptr) {
    auto device = control->device(*raw);
    if (!device) return fail(std::move(device.error()));
    devices = {std::move(*device)};
  }
  Address bound = to_address(*rdma_get_local_addr(raw));
  auto state = ListenerState::create(options, bound.to_string(), devices, handler);
  if (!state) return fail(std::move(state.error()));
  std::unique_ptr<VerbsListener> listener(
      new VerbsListener(std::move(control), std::move(id), std::move(bound), pollers));
  listener->state_ = std::move(*state);
  listener->challenges_.emplace(options, listener->state_->refusals());
  raw->context = static_cast<CmSink*>(listener.get());
  if (rdma_listen(raw, kBacklog) != 0) {
    const int error = errno;
    raw->context = nullptr;
    return fail(call_error("rdma_listen", name, error));
  }
  return listener;
}

VerbsListener::~VerbsListener() {
  state_->close();
  // There, no event is being handled and none can find it later.
  control_->call([this] { id_.reset(); });
}

Status VerbsListener::expose(const Region& region) {
  if (auto status = state_->expose(region); !status) return status;
  for (Poller* const poller : pollers_) {
    static_cast<VerbsPoller*>(poller)->gate()->post(
        [state = state_](VerbsPoller& at) { at.announce_regions(*state); });
  }
  return {};
}

VerbsPoller& VerbsListener::least_loaded() const {
  VerbsPoller* best = nullptr;
  for (Poller* const poller : pollers_) {
    auto* const candidate = static_cast<VerbsPoller*>(poller);
    if (best == nullptr || candidate->load() < best->load()) best = candidate;
  }
  return *best;
}

void VerbsListener::on_cm(CmNotice notice) {
  if (notice.type != RDMA_CM_EVENT_CONNECT_REQUEST) {
    const std::string text = address_.to_string() + ": " + rdma_event_str(notice.type);
    if (const auto line = limiter_.line("", text, SystemClock().now())) log::warning(*line);
    return;
  }
  CmId requester = std::move(notice.requester);
  requester->context = nullptr;
  const std::string client = to_string(*rdma_get_peer_addr(requester.get()));
  if (auto accepted = accept(notice, requester); !accepted) {
    if (!requester) return;  // past the answer: the link tells
    log::debug(address_.to_string() + " refused " + client + ": " + accepted.error().message);
    const Refusal refusal = make_refusal(accepted.error());
    rdma_reject(requester.get(), &refusal, sizeof(refusal));
  }
}

Status VerbsListener::challenge(std::span<const std::byte> private_data, const std::string& peer,
                                CmId& requester) {
  const auto request = parse_challenge_request(private_data);
  if (!request) return fail(request.error());
  const Challenge& challenge = challenges_->add(*request, peer, SystemClock().now());
  if (rdma_reject(requester.get(), &challenge, sizeof(challenge)) != 0) {
    return fail(call_error("rdma_reject", address_.to_string(), errno));
  }
  return {};
}

Result<VerbsListener::Asking> VerbsListener::understand(std::span<const std::byte> private_data,
                                                        RequestKind kind, const std::string& peer) {
  if (kind == RequestKind::kWithProof) {
    const auto proof = parse_proof_request(private_data);
    if (!proof) return fail(proof.error());
    return check_proof(*proof, peer);
  }
  const auto request = parse_request(private_data);
  if (!request) return fail(request.error());
  const auto hello = hello_of(*request);
  return Asking{.peer = peer,
                .inbox_address = request->inbox_address,
                .inbox_key = request->inbox_key,
                .max_ring_bytes = request->max_ring_bytes,
                .hello = {hello.begin(), hello.end()}};
}

Result<VerbsListener::Asking> VerbsListener::check_proof(const ProofRequest& proof,
                                                         const std::string& peer) {
  const Challenges::Sent* const sent = challenges_->find(proof.number, peer, SystemClock().now());
  if (sent == nullptr) {
    return fail(ErrorCode::kUnavailable, "the challenge is too old: connect again");
  }
  const auto said = said_before(sent->request, sent->challenge, proof);
  auto key = state_->verify({.name = peer}, proof.key, said, proof.tag);
  if (!key) return fail(std::move(key.error()));
  const auto hello = hello_of(sent->request);
  Asking asking{.peer = peer,
                .inbox_address = proof.inbox_address,
                .inbox_key = proof.inbox_key,
                .max_ring_bytes = proof.max_ring_bytes,
                .hello = {hello.begin(), hello.end()},
                .key = std::move(*key),
                .proof = proof,
                .said = said};
  challenges_->remove(proof.number);
  return asking;
}

Status VerbsListener::accept(const CmNotice& notice, CmId& requester) {
  const std::string peer = peer_of_address(*rdma_get_peer_addr(requester.get()));
  const auto kind = kind_of_request(notice.private_data);
  if (kind && *kind == RequestKind::kForChallenge) {
    return challenge(notice.private_data, peer, requester);
  }
  const auto asking =
      kind ? understand(notice.private_data, *kind, peer) : Result<Asking>(fail(kind.error()));
  if (!asking) {
    const bool is_false = asking.error().code == ErrorCode::kPermission;
    state_->refusals().add(is_false ? RefusalReason::kPermission : RefusalReason::kHello);
    return fail(asking.error());
  }
  return accept(notice, requester, *asking);
}

Status VerbsListener::accept(const CmNotice& notice, CmId& requester, const Asking& asking) {
  const std::string& peer = asking.peer;
  auto device = control_->device(*requester);
  if (!device) return fail(std::move(device.error()));
  const Caller caller{.name = peer, .key = asking.key};
  auto hello = state_->ask(asking.hello, caller);
  if (!hello) {
    state_->refusals().add(reason_of_handler(hello.error().code));
    return fail(std::move(hello.error()));
  }
  auto reply = make_reply(*hello);
  if (!reply) return fail(std::move(reply.error()));
  auto ring_bytes = state_->take_rings(peer);
  if (!ring_bytes) return fail(std::move(ring_bytes.error()));
  VerbsPoller& poller = least_loaded();
  auto made = VerbsConnection::create(poller, control_, *device,
                                      {Role::kServer, *ring_bytes, 0, kServerCompletions, state_,
                                       peer, asking.key, state_->may_read_regions(caller)});
  if (!made) {
    state_->give_back(*ring_bytes, peer);
    return fail(std::move(made.error()));
  }
  VerbsConnection& connection = **made;
  if (*ring_bytes > asking.max_ring_bytes) {
    return fail(ErrorCode::kProtocol, "the client's ring is too small");
  }
  const DeviceLimits& limits = (*device)->limits();
  const ConnectionLimits agreed{max_message_bytes(*ring_bytes), kMaxReadsInFlight,
                                std::min(kMaxReadBytes, limits.max_message_bytes)};
  connection.set_peer({asking.inbox_address, asking.inbox_key, *ring_bytes, agreed, asking.hello,
                       to_string(*rdma_get_peer_addr(requester.get()))});
  const std::uint8_t as_target = std::min(limits.max_reads_as_target, notice.responder_resources);
  if (auto status = connection.make_initial(*requester); !status) return status;
  if (auto status = connection.make_ready(*requester, as_target, 1); !status) return status;
  reply->inbox_address = connection.inbox_address();
  reply->inbox_key = connection.inbox_key();
  reply->ring_bytes = *ring_bytes;
  reply->max_reads_in_flight = agreed.max_reads_in_flight;
  reply->max_read_bytes = agreed.max_read_bytes;
  if (asking.key) {
    const auto key = state_->find_key(asking.key->id);
    if (!key) return fail(false_key());  // it has gone since the client proved it
    reply->tag = said_at_last(asking.said, asking.proof, *reply).tag(*key, access::Side::kServer);
  }

  rdma_conn_param parameters{};
  parameters.private_data = &*reply;
  parameters.private_data_len = sizeof(*reply);
  parameters.responder_resources = as_target;
  parameters.initiator_depth = 0;
  parameters.rnr_retry_count = 7;
  parameters.srq = 1;
  parameters.qp_num = connection.queue_pair().qp_num;
  // From here on the poller owns the connection and the link the id; the first sign of life, the
  // manager's or the client's, has the connection given to the handler.
  rdma_cm_id* const id = requester.get();
  connection.set_link(control_->adopt(
      std::make_unique<Link>(std::move(requester), poller.gate(), connection.serial())));
  const std::uint64_t serial = connection.serial();
  state_->expect(serial, peer, poller.gate());
  auto shared = std::make_shared<std::unique_ptr<VerbsConnection>>(std::move(*made));
  poller.gate()->post([shared](VerbsPoller& at) { at.add_accepted(std::move(*shared)); });
  if (rdma_accept(id, &parameters) != 0) {
    const Error error = call_error("rdma_accept", address_.to_string(), errno);
    const auto line = limiter_.line(peer, error.message, SystemClock().now());
    if (line) log::warning(*line);
    poller.gate()->post([serial, error](VerbsPoller& at) { at.on_lost(serial, error); });
    return fail(error);
  }
  return {};
}

}  // namespace silurus::transport::verbs
