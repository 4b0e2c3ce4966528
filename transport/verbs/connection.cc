// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/connection.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "transport/verbs/error.h"
#include "transport/verbs/listener.h"

namespace silurus::transport::verbs {
namespace {

/// Offset of the ring in our copy of the peer's inbox: the mailbox comes before it (the region
/// table is sent from the listener's own).
constexpr std::size_t kOutboxRing = kPageBytes;
/// Messages up to this length are copied into the work request where the device takes that.
constexpr std::uint32_t kInlineWish = 64 + kHeaderBytes;
/// Work requests behind one doorbell, beside all reads that may be in flight.
constexpr std::size_t kShortChain = 64;
/// Bytes of one-sided writes that are on their way.
constexpr std::size_t kStageBytes = std::size_t{256} << 10;
/// How long a close waits for its last message to be acknowledged.
constexpr Nanoseconds kClosingTime = 3 * kSecond;
/// Silence (up to twice that) after which a peer is looked after. A server does so
/// for the sake of the client's rings, and seldom, so that idle clients cost it nothing; a client
/// wants to know that its server has gone, and asks only the server's card.
constexpr Nanoseconds kServerLooksEvery = 10 * kSecond;
constexpr Nanoseconds kClientLooksEvery = 2 * kSecond;

/// The local acknowledgement timeout, 4.096 us * 2^17 = 0.54 s, and the retries: a peer that is
/// gone is noticed after about 4 s. Not 7 retries, the most that there are: soft-RoCE takes that
/// for "for ever".
constexpr std::uint8_t kAckTimeout = 17;
constexpr std::uint8_t kRetries = 6;
/// "For ever": a peer out of receives is slow, not gone.
constexpr std::uint8_t kReceiverNotReadyRetries = 7;
constexpr std::uint8_t kReceiverNotReadyTimer = 12;  // 0.64 ms

Status to_state(rdma_cm_id& id, ibv_qp& pair, ibv_qp_state state,
                const VerbsConnection::Options& options, std::uint8_t reads_as_target,
                std::uint8_t reads_as_initiator) {
  const std::string on = std::string("on ") + ibv_get_device_name(id.verbs->device);
  ibv_qp_attr attributes{};
  attributes.qp_state = state;
  int mask = 0;
  if (rdma_init_qp_attr(&id, &attributes, &mask) != 0) {
    return fail(call_error("rdma_init_qp_attr", on, errno));
  }
  switch (state) {
    case IBV_QPS_INIT:
      attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
      // The card refuses reads of a client that the regions are not for, whatever it guesses.
      if (options.shows_regions) attributes.qp_access_flags |= IBV_ACCESS_REMOTE_READ;
      break;
    case IBV_QPS_RTR:
      attributes.max_dest_rd_atomic = reads_as_target;
      attributes.min_rnr_timer = kReceiverNotReadyTimer;
      break;
    default:
      attributes.max_rd_atomic = reads_as_initiator;
      attributes.timeout = kAckTimeout;
      attributes.retry_cnt = kRetries;
      attributes.rnr_retry = kReceiverNotReadyRetries;
      break;
  }
  if (const int error = ibv_modify_qp(&pair, &attributes, mask); error != 0) {
    return fail(call_error("ibv_modify_qp", on, error));
  }
  return {};
}

}  // namespace

// --- set-up -----------------------------------------------------------------------------------

VerbsConnection::VerbsConnection(VerbsPoller& poller, std::shared_ptr<Control> control,
                                 std::shared_ptr<Queues> queues, const Options& options,
                                 Pages inbox_pages, PeerWritable inbox, Pages outbox_pages,
                                 SendSource outbox)
    : poller_(poller),
      control_(std::move(control)),
      queues_(std::move(queues)),
      options_(options),
      owner_(std::make_shared<QueuePairOwner>(QueuePairOwner{poller.gate(), poller.new_serial()})),
      inbox_pages_(std::move(inbox_pages)),
      inbox_(std::move(inbox)),
      outbox_pages_(std::move(outbox_pages)),
      outbox_(std::move(outbox)),
      sends_(kMessagesInFlight + options.max_reads_in_flight + kControlSlots),
      mailbox_out_(outbox_.bytes()),
      mailbox_in_(inbox_.bytes()),
      accepted_(options.role == Role::kClient),
      chain_(kShortChain + options.max_reads_in_flight),
      pieces_(chain_.size()) {}

Result<std::unique_ptr<VerbsConnection>> VerbsConnection::create(VerbsPoller& poller,
                                                                 std::shared_ptr<Control> control,
                                                                 std::shared_ptr<Device> device,
                                                                 const Options& options) {
  auto inbox_pages = Pages::allocate(inbox_bytes(options.role, options.ring_bytes));
  if (!inbox_pages) return fail(std::move(inbox_pages.error()));
  auto inbox = PeerWritable::create(device, inbox_pages->bytes());
  if (!inbox) return fail(std::move(inbox.error()));
  auto outbox_pages = Pages::allocate(kOutboxRing + options.ring_bytes);
  if (!outbox_pages) return fail(std::move(outbox_pages.error()));
  auto outbox = SendSource::create(device, outbox_pages->bytes());
  if (!outbox) return fail(std::move(outbox.error()));
  const std::uint32_t sends = kMessagesInFlight + options.max_reads_in_flight + kControlSlots;
  if (sends > device->limits().max_queue_entries) {
    return fail(ErrorCode::kUnsupported,
                device->name() + " allows " + std::to_string(device->limits().max_queue_entries) +
                    " work requests in a queue; " + std::to_string(sends) + " are needed");
  }
  auto queues = poller.take_queues(device, sends, options.new_completions);
  if (!queues) return fail(std::move(queues.error()));
  std::unique_ptr<VerbsConnection> connection(
      new VerbsConnection(poller, std::move(control), *queues, options, std::move(*inbox_pages),
                          std::move(*inbox), std::move(*outbox_pages), std::move(*outbox)));
  connection->entries_ = sends;
  poller.add_load(1);
  auto created =
      connection->queues_->create_pair({IBV_QPT_RC, sends, 0, kInlineWish}, connection->owner_);
  if (!created) {
    connection->options_.listener.reset();  // the caller gives back what it took
    return fail(std::move(created.error()));
  }
  connection->pair_ = std::move(created->pair);
  connection->max_inline_bytes_ = created->max_inline_bytes;
  return connection;
}

VerbsConnection::~VerbsConnection() {
  release();
  if (started_) poller_.remove(serial(), *this);
  if (entries_ != 0) queues_->give_back(entries_);
  poller_.add_load(-1);
  if (!options_.listener) return;
  if (!accepted_) options_.listener->meet(serial());  // it has gone before it answered
  options_.listener->give_back(options_.ring_bytes, options_.owner);
}

void VerbsConnection::release() {
  if (pair_ && !started_) {
    queues_->discard(std::move(pair_));  // on the control's thread, perhaps
  } else if (pair_ && reads_in_flight_ != 0) {
    queues_->destroy(std::move(pair_));  // now: then nothing lands in a buffer any more
  } else if (pair_) {
    const Nanoseconds now = SystemClock().now();
    queues_->retire(std::move(pair_), std::exchange(entries_, 0), now);
    poller_.tick_by(now + kLongestRetirement);
  }
  if (link_ != nullptr) control_->dispose(std::exchange(link_, nullptr));
}

void VerbsConnection::set_peer(Peer peer) {
  peer_ = std::move(peer);
  const std::size_t at = ring_offset(options_.role);
  out_.emplace(outbox_.bytes().subspan(kOutboxRing, peer_.ring_bytes));
  in_.emplace(inbox_.bytes().subspan(at, peer_.ring_bytes));
  if (options_.role == Role::kClient) regions_.reserve(kMaxRegions);
}

Status VerbsConnection::make_initial(rdma_cm_id& id) {
  return to_state(id, *pair_, IBV_QPS_INIT, options_, 0, 0);
}

Status VerbsConnection::make_ready(rdma_cm_id& id, std::uint8_t reads_as_target,
                                   std::uint8_t reads_as_initiator) {
  for (const ibv_qp_state state : {IBV_QPS_RTR, IBV_QPS_RTS}) {
    auto status = to_state(id, *pair_, state, options_, reads_as_target, reads_as_initiator);
    if (!status) return status;
  }
  return {};
}

Status VerbsConnection::start() {
  queues_->add(*pair_, *this);
  started_ = true;
  return poller_.add(serial(), *this, queues_);
}

// --- sending ----------------------------------------------------------------------------------

ibv_send_wr& VerbsConnection::add(const Operation& operation, std::uint64_t from, std::uint32_t key,
                                  std::uint32_t bytes) {
  if (chained_ == chain_.size()) post_chain();
  if (!held_back_) {
    held_back_ = true;
    poller_.hold_back(*this);
  }
  ibv_sge& piece = pieces_[chained_];
  piece = {from, bytes, key};
  ibv_send_wr& request = chain_[chained_++];
  request = {};
  request.wr_id = sends_.push(operation);
  request.sg_list = &piece;
  request.num_sge = bytes == 0 ? 0 : 1;
  ++counters_.work_requests;
  return request;
}

void VerbsConnection::add_write(const Write& write) {
  ibv_send_wr& request = add(write.operation, write.from, write.key, write.bytes);
  request.opcode = write.immediate ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE;
  if (write.immediate) request.imm_data = htonl(*write.immediate);
  request.wr.rdma.remote_addr = peer_.inbox_address + write.to;
  request.wr.rdma.rkey = peer_.inbox_key;
  if (write.bytes != 0 && write.bytes <= max_inline_bytes_) request.send_flags |= IBV_SEND_INLINE;
  // Often enough that neither slots nor the ring can run out for want of a completion.
  if (write.signalled || ++unsignalled_ >= kSignalEvery ||
      (out_->position() - signalled_position_) * 8 >= peer_.ring_bytes / kLineBytes) {
    request.send_flags |= IBV_SEND_SIGNALED;
    unsignalled_ = 0;
    signalled_position_ = out_->position();
  }
}

void VerbsConnection::post_chain() {
  if (chained_ == 0 || !pair_) return;
  for (std::size_t i = 0; i + 1 < chained_; ++i) chain_[i].next = &chain_[i + 1];
  chain_[chained_ - 1].next = nullptr;
  chained_ = 0;
  ++counters_.doorbells;
  ibv_send_wr* bad = nullptr;
  if (const int error = ibv_post_send(pair_.get(), chain_.data(), &bad); error != 0) {
    end(call_error("ibv_post_send", "on " + queues_->device()->description(), error));
  }
}

void VerbsConnection::post_held_back() {
  post_chain();
  held_back_ = false;
}

std::span<std::byte> VerbsConnection::reserve(std::size_t bytes) {
  if (state_ != State::kOpen) return {};
  if (sends_.room() >= kControlSlots + kSlotsPerMessage) {
    if (const auto room = out_->reserve(bytes); !room.empty()) return room;
  }
  ++counters_.would_block;
  blocked_bytes_ = std::max(blocked_bytes_, bytes);
  return {};
}

void VerbsConnection::commit(std::size_t bytes) {
  if (bytes == 0 || state_ != State::kOpen) {
    out_->cancel();
    return;
  }
  if (options_.listener) announce_regions();
  const RingProducer::Extent extent = out_->commit(bytes);
  const std::uint64_t ring = outbox_.address() + kOutboxRing;
  const std::size_t peer_ring =
      ring_offset(options_.role == Role::kClient ? Role::kServer : Role::kClient);
  if (extent.skip_offset != RingProducer::kNoSkip) {
    // Before the message: its completion tells the peer that both are there.
    add_write({.operation = {Operation::Kind::kPlain, 0},
               .from = ring + extent.skip_offset,
               .key = outbox_.local_key(),
               .bytes = kHeaderBytes,
               .to = peer_ring + extent.skip_offset});
  }
  add_write({.operation = {Operation::Kind::kMessage, out_->position()},
             .from = ring + extent.offset,
             .key = outbox_.local_key(),
             .bytes = static_cast<std::uint32_t>(extent.bytes),
             .to = peer_ring + extent.offset,
             .immediate = Immediate::make(Notice::kMessage, in_->take_credit())});
  ++counters_.messages_sent;
  counters_.message_bytes_sent += bytes;
}

void VerbsConnection::announce_regions() {
  if (state_ != State::kOpen || !options_.shows_regions) return;
  const std::uint32_t count = options_.listener->region_count();
  if (announced_ == count || sends_.room() == 0) return;
  const SendSource& table = options_.listener->region_table(*queues_->device());
  const std::uint64_t first = announced_ * sizeof(RegionEntry);
  add_write({.operation = {Operation::Kind::kPlain, 0},
             .from = table.address() + first,
             .key = table.local_key(),
             .bytes = static_cast<std::uint32_t>((count - announced_) * sizeof(RegionEntry)),
             .to = kRegionTableOffset + first,
             .immediate = Immediate::make(Notice::kRegions, count)});
  announced_ = count;
}

void VerbsConnection::send_credit() {
  credit_owed_ = sends_.room() < kControlSlots / 2;
  if (credit_owed_) return;  // with the next completion
  add_write({.operation = {Operation::Kind::kPlain, 0},
             .immediate = Immediate::make(Notice::kCredit, in_->take_credit())});
}

void VerbsConnection::write_mailbox(std::span<const std::byte> bytes) {
  if (state_ != State::kOpen) return;
  // Two slots: the older one must have gone out before it is filled again.
  if (mailboxes_in_flight_ == 2 || sends_.room() < kControlSlots / 2) {
    next_mailbox_.assign(bytes.begin(), bytes.end());
    return;
  }
  const std::size_t offset = mailbox_out_.fill(bytes);
  ++mailboxes_in_flight_;
  add_write({.operation = {Operation::Kind::kMailbox, 0},
             .from = outbox_.address() + offset,
             .key = outbox_.local_key(),
             .bytes = sizeof(MailboxSlot),
             .to = offset,
             .signalled = true});
}

bool VerbsConnection::read_mailbox(std::array<std::byte, kMailboxBytes>& content) {
  return mailbox_in_.read(content);
}

// --- one-sided reads --------------------------------------------------------------------------

PostStatus VerbsConnection::check(const ReadRequest& request) const {
  if (request.region >= regions_.size()) return PostStatus::kUnknownRegion;
  const std::uint64_t region_bytes = regions_[request.region].bytes;
  const std::uint64_t buffer_bytes = request.buffer->bytes().size();
  if (request.length == 0 || request.length > peer_.limits.max_read_bytes ||
      request.offset > region_bytes || request.length > region_bytes - request.offset ||
      request.buffer_offset > buffer_bytes ||
      request.length > buffer_bytes - request.buffer_offset) {
    return PostStatus::kInvalid;
  }
  return PostStatus::kPosted;
}

Connection::PostResult VerbsConnection::post_reads(std::span<const ReadRequest> requests) {
  if (state_ != State::kOpen) return {0, PostStatus::kClosed};
  PostResult result{0, PostStatus::kPosted};
  const std::uint32_t kept = kControlSlots + (out_->reserved() ? kSlotsPerMessage : 0);
  ibv_send_wr* last = nullptr;
  for (const ReadRequest& request : requests) {
    result.status = check(request);
    if (result.status == PostStatus::kPosted &&
        (reads_in_flight_ >= peer_.limits.max_reads_in_flight || sends_.room() <= kept)) {
      result.status = PostStatus::kWouldBlock;
      ++counters_.would_block;
      reads_blocked_ = true;
    }
    if (result.status != PostStatus::kPosted) break;
    const auto& buffer = static_cast<const VerbsBuffer&>(*request.buffer);
    const auto to = reinterpret_cast<std::uint64_t>(buffer.bytes().data()) + request.buffer_offset;
    ibv_send_wr& read = add({Operation::Kind::kRead, request.cookie}, to,
                            buffer.key_on(*queues_->device()), request.length);
    read.opcode = IBV_WR_RDMA_READ;
    read.wr.rdma.remote_addr = regions_[request.region].address + request.offset;
    read.wr.rdma.rkey = regions_[request.region].key;
    // A chain that is posted before we are through must not end unsignalled.
    if (chained_ == chain_.size()) read.send_flags = IBV_SEND_SIGNALED;
    last = &read;
    ++reads_in_flight_;
    ++result.posted;
    ++counters_.reads;
    counters_.read_bytes += request.length;
  }
  if (last != nullptr) last->send_flags = IBV_SEND_SIGNALED;
  post_chain();
  return result;
}

// --- one-sided writes -------------------------------------------------------------------------

Result<std::span<const std::byte>> VerbsConnection::offer_window(std::size_t bytes) {
  if (options_.role != Role::kClient || window_ || bytes == 0 || bytes % kWindowGrain != 0 ||
      bytes > kMaxWindowBytes || state_ != State::kOpen || sends_.room() < kControlSlots) {
    return fail(ErrorCode::kInvalidArgument, "a window of " + std::to_string(bytes) +
                                                 " bytes cannot be offered to " + peer_.name);
  }
  auto pages = Pages::allocate(bytes);
  if (!pages) return fail(std::move(pages.error()));
  auto use = PeerWritable::create(queues_->device(), pages->bytes());
  if (!use) return fail(std::move(use.error()));
  window_.emplace(Registered<PeerWritable>{std::move(*pages), std::move(*use)});
  const RegionEntry entry{.address = window_->use.address(),
                          .bytes = bytes,
                          .key = window_->use.remote_key(),
                          .reserved = 0};
  std::memcpy(outbox_.bytes().data() + kRegionTableOffset, &entry, sizeof entry);
  add_write({.operation = {Operation::Kind::kPlain, 0},
             .from = outbox_.address() + kRegionTableOffset,
             .key = outbox_.local_key(),
             .bytes = sizeof entry,
             .to = kRegionTableOffset,
             .immediate = Immediate::make(Notice::kRegions, 1)});
  flush();
  return window_->pages.bytes();
}

/// A client's window: once for each connection, so that memory may be registered for it here.
void VerbsConnection::take_window(std::uint32_t count) {
  RegionEntry entry;
  std::memcpy(&entry, inbox_.bytes().data() + kRegionTableOffset, sizeof entry);
  if (count != 1 || peer_window_.bytes != 0 || entry.bytes == 0 ||
      entry.bytes % kWindowGrain != 0 || entry.bytes > kMaxWindowBytes) {
    return end({ErrorCode::kProtocol, peer_.name + ": offered a malformed window"});
  }
  auto pages = Pages::allocate(kStageBytes);
  if (!pages) return end(std::move(pages.error()));
  auto use = SendSource::create(queues_->device(), pages->bytes());
  if (!use) return end(std::move(use.error()));
  stage_.emplace(Registered<SendSource>{std::move(*pages), std::move(*use)});
  peer_window_ = entry;
}

/// Where that many bytes may be copied to, in one piece.
std::optional<std::size_t> VerbsConnection::take_stage(std::size_t bytes) {
  const std::size_t offset = staged_ % kStageBytes;
  const std::size_t skipped = offset + bytes <= kStageBytes ? 0 : kStageBytes - offset;
  if (staged_ + skipped + bytes - unstaged_ > kStageBytes) return std::nullopt;
  staged_ += skipped + bytes;
  return (offset + skipped) % kStageBytes;
}

PostStatus VerbsConnection::post_write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (state_ != State::kOpen) return PostStatus::kClosed;
  if (peer_window_.bytes == 0) return PostStatus::kUnknownRegion;
  if (bytes.empty() || bytes.size() % 8 != 0 || offset % 8 != 0 || bytes.size() > kStageBytes ||
      bytes.size() > peer_window_.bytes || offset > peer_window_.bytes - bytes.size()) {
    return PostStatus::kInvalid;
  }
  const bool has_slot = sends_.room() > kControlSlots + kSlotsPerMessage;
  const auto at = has_slot ? take_stage(bytes.size()) : std::nullopt;
  if (!at) {
    ++counters_.would_block;
    return PostStatus::kWouldBlock;
  }
  std::memcpy(stage_->pages.bytes().data() + *at, bytes.data(), bytes.size());
  const auto length = static_cast<std::uint32_t>(bytes.size());
  ibv_send_wr& request = add({Operation::Kind::kWrite, staged_}, stage_->use.address() + *at,
                             stage_->use.local_key(), length);
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma.remote_addr = peer_window_.address + offset;
  request.wr.rdma.rkey = peer_window_.key;
  // Often enough that neither slots nor the stage can run out for want of a completion.
  if (++unsignalled_ >= kSignalEvery || staged_ - signalled_stage_ >= kStageBytes / 4) {
    request.send_flags |= IBV_SEND_SIGNALED;
    unsignalled_ = 0;
    signalled_stage_ = staged_;
    signalled_position_ = out_->position();
  }
  ++counters_.writes;
  counters_.write_bytes += length;
  flush();
  return PostStatus::kPosted;
}

// --- completions ------------------------------------------------------------------------------

void VerbsConnection::on_replenished(std::uint32_t receives) {
  ++counters_.doorbells;
  counters_.work_requests += receives;
}

void VerbsConnection::on_completion(const ibv_wc& completion) {
  if (state_ == State::kEnding || state_ == State::kEnded) return;
  heard_ = true;
  if (completion.status != IBV_WC_SUCCESS) {
    end(completion_error(peer_.name, queues_->device()->description(), completion.status));
  } else if (completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM) {
    receive(ntohl(completion.imm_data));
  } else {
    retire(completion.wr_id);
  }
}

void VerbsConnection::retire(std::uint64_t number) {
  if (!sends_.contains(number)) return;
  while (!sends_.empty() && sends_.head() <= number) {
    const Operation operation = sends_.pop();
    switch (operation.kind) {
      case Operation::Kind::kPlain:
        break;
      case Operation::Kind::kKeepAlive:
        keepalive_in_flight_ = false;
        break;
      case Operation::Kind::kMessage:
        locally_done_ = operation.value;
        break;
      case Operation::Kind::kRead:
        --reads_in_flight_;
        handler_->on_read(*this, operation.value, true);
        break;
      case Operation::Kind::kWrite:
        unstaged_ = operation.value;
        break;
      case Operation::Kind::kMailbox:
        --mailboxes_in_flight_;
        break;
      case Operation::Kind::kClosing:
        end({ErrorCode::kUnavailable, peer_.name + ": closed by us"});
        return;
    }
  }
  if (!next_mailbox_.empty() && mailboxes_in_flight_ < 2) {
    // It may be put off again, and be the next one itself.
    const auto next = std::exchange(next_mailbox_, {});
    write_mailbox(next);
  }
  if (credit_owed_) send_credit();
  tell_writable();
}

void VerbsConnection::tell_writable() {
  // The copy of a message may be overwritten when the peer has consumed the original and the card
  // here has no more use for it.
  out_->grant(std::min(peer_consumed_, locally_done_));
  if (state_ != State::kOpen || sends_.room() < kControlSlots + kSlotsPerMessage) return;
  const bool room = blocked_bytes_ != 0 && out_->has_room(blocked_bytes_);
  const bool reads = reads_blocked_ && reads_in_flight_ < peer_.limits.max_reads_in_flight;
  if (!room && !reads) return;
  if (room) blocked_bytes_ = 0;
  if (reads) reads_blocked_ = false;
  handler_->on_writable(*this);
}

void VerbsConnection::receive(std::uint32_t immediate) {
  const std::uint32_t value = Immediate::value(immediate);
  switch (Immediate::notice(immediate)) {
    case Notice::kMessage:
      take_credit(value);
      ++unread_;
      receive_messages();
      break;
    case Notice::kCredit:
      take_credit(value);
      break;
    case Notice::kRegions:
      take_regions(value);
      break;
    case Notice::kClosing:
      end({ErrorCode::kConnectionLost, peer_.name + ": closed by the peer"});
      break;
  }
}

void VerbsConnection::receive_messages() {
  reading_later_ = false;
  while (unread_ > 0 && !paused_ && state_ == State::kOpen) {
    const RingConsumer::Peeked peeked = in_->peek();
    if (peeked.state != RingConsumer::State::kMessage) {
      end({ErrorCode::kProtocol, peer_.name + ": broke the message ring"});
      return;
    }
    --unread_;
    ++counters_.messages_received;
    counters_.message_bytes_received += peeked.message.size();
    handler_->on_message(*this, peeked.message);
    in_->pop();
    if (in_->credit_due() && state_ == State::kOpen) send_credit();
  }
}

void VerbsConnection::set_paused(bool paused) {
  paused_ = paused;
  if (paused || unread_ == 0 || reading_later_) return;
  reading_later_ = true;
  poller_.read_later(*this);
}

void VerbsConnection::take_credit(std::uint32_t value) {
  const std::uint64_t consumed = Immediate::extend(peer_consumed_, value);
  if (consumed > out_->position()) {
    end({ErrorCode::kProtocol, peer_.name + ": gave credit for what was never sent"});
    return;
  }
  peer_consumed_ = consumed;
  tell_writable();
}

void VerbsConnection::take_regions(std::uint32_t count) {
  if (options_.role == Role::kServer) return take_window(count);
  if (count > kMaxRegions || count < regions_.size()) {
    end({ErrorCode::kProtocol, peer_.name + ": announced regions that make no sense"});
    return;
  }
  for (auto i = static_cast<std::uint32_t>(regions_.size()); i < count; ++i) {
    RegionEntry entry;
    std::memcpy(&entry, inbox_.bytes().data() + kRegionTableOffset + i * sizeof(entry),
                sizeof(entry));
    regions_.push_back(entry);
  }
}

// --- the end ----------------------------------------------------------------------------------

Nanoseconds VerbsConnection::tick(Nanoseconds now) {
  if (state_ == State::kClosing) {
    if (now < closed_by_) return closed_by_;
    end({ErrorCode::kUnavailable, peer_.name + ": closed by us"});
  }
  if (state_ != State::kOpen) return kNever;
  if (!accepted_) return options_.listener->expire(now);
  if (now < next_look_) return next_look_;
  const Nanoseconds period = options_.role == Role::kServer ? kServerLooksEvery : kClientLooksEvery;
  // All connections look at the same moments: one wake-up for all of them.
  const bool first = std::exchange(next_look_, (now / period + 1) * period) == 0;
  if (!first && !std::exchange(heard_, false) && !keepalive_in_flight_) look_after_peer();
  return next_look_;
}

void VerbsConnection::look_after_peer() {
  // An empty write to a peer that is there is acknowledged by its card; to one that is not, it
  // fails when the retries are used up.
  keepalive_in_flight_ = true;
  add_write({.operation = {Operation::Kind::kKeepAlive, 0}, .signalled = true});
}

void VerbsConnection::on_lost(const Error& reason) {
  end({reason.code, peer_.name + ": " + reason.message});
}

void VerbsConnection::close() {
  if (state_ != State::kOpen) return;
  if (out_->reserved()) out_->cancel();
  add_write({.operation = {Operation::Kind::kClosing, 0},
             .signalled = true,
             .immediate = Immediate::make(Notice::kClosing, in_->take_credit())});
  state_ = State::kClosing;
  closed_by_ = SystemClock().now() + kClosingTime;
  poller_.tick_by(closed_by_);
}

void VerbsConnection::end(Error reason) {
  if (state_ == State::kEnding || state_ == State::kEnded) return;
  state_ = State::kEnding;
  end_reason_ = std::move(reason);
  poller_.report_ended(*this);
}

void VerbsConnection::report_ended() {
  if (!accepted_) {  // its owner does not know of it yet: let the poller drop it, from outside
    poller_.post([number = serial(), reason = *end_reason_](VerbsPoller& poller) {
      poller.on_lost(number, reason);
    });
    return;
  }
  chained_ = 0;
  release();
  state_ = State::kEnded;
  while (!sends_.empty()) {
    const Operation operation = sends_.pop();
    if (operation.kind == Operation::Kind::kRead) handler_->on_read(*this, operation.value, false);
  }
  if (handler_ != nullptr) handler_->on_closed(*this, *end_reason_);
}

}  // namespace silurus::transport::verbs
