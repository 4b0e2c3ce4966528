// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/multicast.h"

#include <cerrno>
#include <cstring>

#include "transport/verbs/address.h"
#include "transport/verbs/connector.h"
#include "transport/verbs/error.h"

namespace silurus::transport::verbs {
namespace {

/// What a card puts before each datagram that it receives.
constexpr std::size_t kHeaderRoom = 40;
constexpr std::uint64_t kSendFlag = std::uint64_t{1} << 32;  ///< in wr_id: a send, not a receive

std::uint32_t mtu_bytes(ibv_mtu mtu) { return 128u << static_cast<unsigned>(mtu); }

/// Datagrams of a burst.
std::uint32_t slots_for(std::uint32_t mtu, const DeviceLimits& limits) {
  const auto wanted = static_cast<std::uint32_t>(kMulticastBurstBytes / (mtu - kHeaderRoom)) + 1;
  return std::min(wanted, limits.max_queue_entries);
}

}  // namespace

VerbsMulticast::VerbsMulticast(std::shared_ptr<Control> control, VerbsPoller& poller,
                               MulticastHandler& handler, std::string name,
                               std::shared_ptr<Queues> queues, std::uint32_t mtu,
                               std::uint32_t slots, Pages pages, LandingArea area)
    : control_(std::move(control)),
      poller_(poller),
      handler_(handler),
      name_(std::move(name)),
      queues_(std::move(queues)),
      owner_(std::make_shared<QueuePairOwner>(QueuePairOwner{poller.gate(), poller.new_serial()})),
      max_datagram_bytes_(mtu - kHeaderRoom),
      slot_bytes_(mtu),
      slots_(slots),
      pages_(std::move(pages)),
      area_(std::move(area)),
      chain_(slots),
      pieces_(slots) {}

VerbsMulticast::~VerbsMulticast() {
  if (pair_) {
    ibv_detach_mcast(pair_.get(), &group_.ah_attr.grh.dgid, group_.ah_attr.dlid);
    queues_->destroy(std::move(pair_));
  }
  if (started_) poller_.remove(owner_->serial, *this);
  queues_->give_back(2 * slots_);
  if (link_ != nullptr) control_->dispose(link_);
}

Result<std::unique_ptr<MulticastGroup>> VerbsMulticast::join(
    const std::shared_ptr<Control>& control, const Address& group, const ConnectOptions& options,
    VerbsPoller& poller, MulticastHandler& handler) {
  const std::string name = group.to_string();
  auto waiter = EventWaiter::create(options.timeout);
  if (!waiter) return fail(std::move(waiter.error()));
  auto at = resolve(group, false, RDMA_PS_UDP);
  if (!at) return fail(std::move(at.error()));
  rdma_cm_id* raw = nullptr;
  if (rdma_create_id(waiter->channel(), &raw, nullptr, RDMA_PS_UDP) != 0) {
    return fail(call_error("rdma_create_id", "", errno));
  }
  CmId id(raw);
  auto resolved = waiter->resolve_address(raw, nullptr, (*at)->ai_dst_addr, name);
  if (!resolved) return fail(std::move(resolved.error()));
  auto device = control->device(*raw);
  if (!device) return fail(std::move(device.error()));
  if (rdma_join_multicast(raw, (*at)->ai_dst_addr, nullptr) != 0) {
    return fail(call_error("rdma_join_multicast", name, errno));
  }
  auto joined = waiter->expect_event(RDMA_CM_EVENT_MULTICAST_JOIN, "rdma_join_multicast", name);
  if (!joined) return fail(std::move(joined.error()));
  const rdma_ud_param parameters = (*joined)->param.ud;
  joined->reset();

  ibv_port_attr port{};
  if (const int error = ibv_query_port(raw->verbs, raw->port_num, &port); error != 0) {
    return fail(call_error("ibv_query_port", (*device)->name(), error));
  }
  const std::uint32_t mtu = mtu_bytes(port.active_mtu);
  const std::uint32_t slots = slots_for(mtu, (*device)->limits());
  auto pages = Pages::allocate(2 * std::size_t{slots} * mtu);
  if (!pages) return fail(std::move(pages.error()));
  auto area = LandingArea::create(*device, pages->bytes());
  if (!area) return fail(std::move(area.error()));
  auto queues = poller.take_queues(*device, 2 * slots, 0);
  if (!queues) return fail(std::move(queues.error()));
  std::unique_ptr<VerbsMulticast> made(new VerbsMulticast(
      control, poller, handler, name, *queues, mtu, slots, std::move(*pages), std::move(*area)));
  if (auto status = made->enter(parameters, raw->port_num); !status) {
    return fail(std::move(status.error()));
  }
  if (auto status = made->start(std::move(id)); !status) return fail(std::move(status.error()));
  return std::unique_ptr<MulticastGroup>(std::move(made));
}

Status VerbsMulticast::enter(const rdma_ud_param& group, std::uint8_t port) {
  const std::string on = "for " + name_ + " on " + queues_->device()->name();
  auto created = queues_->create_pair({IBV_QPT_UD, slots_, slots_, 0}, owner_);
  if (!created) return fail(std::move(created.error()));
  QueuePair pair = std::move(created->pair);
  group_ = group;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = port;
  attributes.qkey = group.qkey;
  constexpr int kInit = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY;
  int error = ibv_modify_qp(pair.get(), &attributes, kInit);
  attributes.qp_state = IBV_QPS_RTR;
  if (error == 0) error = ibv_modify_qp(pair.get(), &attributes, IBV_QP_STATE);
  attributes.qp_state = IBV_QPS_RTS;
  if (error == 0) error = ibv_modify_qp(pair.get(), &attributes, IBV_QP_STATE | IBV_QP_SQ_PSN);
  if (error != 0) return fail(call_error("ibv_modify_qp", on, error));
  address_.reset(ibv_create_ah(queues_->device()->domain(), &group_.ah_attr));
  if (!address_) return fail(call_error("ibv_create_ah", on, errno));
  error = ibv_query_gid(queues_->device()->context(), port, group_.ah_attr.grh.sgid_index, &own_);
  if (error != 0) return fail(call_error("ibv_query_gid", on, errno));
  error = ibv_attach_mcast(pair.get(), &group_.ah_attr.grh.dgid, group_.ah_attr.dlid);
  if (error != 0) return fail(call_error("ibv_attach_mcast", on, error));
  pair_ = std::move(pair);
  return {};
}

Status VerbsMulticast::start(CmId id) {
  for (std::uint64_t i = 0; i < slots_; ++i) post_receive(i);
  queues_->add(*pair_, *this);
  started_ = true;
  if (auto status = poller_.add(owner_->serial, *this, queues_); !status) return status;
  auto link = std::make_unique<Link>(std::move(id), owner_->gate, owner_->serial);
  if (rdma_migrate_id(link->id(), control_->channel()) != 0) {
    return fail(call_error("rdma_migrate_id", name_, errno));
  }
  link_ = control_->adopt(std::move(link));
  return {};
}

std::span<std::byte> VerbsMulticast::slot(std::uint64_t number) const {
  return area_.bytes().subspan(number * slot_bytes_, slot_bytes_);
}

void VerbsMulticast::post_receive(std::uint64_t number) {
  const auto room = slot(number);
  ibv_sge piece{reinterpret_cast<std::uint64_t>(room.data()),
                static_cast<std::uint32_t>(room.size()), area_.local_key()};
  ibv_recv_wr request{};
  request.wr_id = number;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  ++counters_.work_requests;
  if (const int error = ibv_post_recv(pair_.get(), &request, &bad); error != 0) {
    on_lost(call_error("ibv_post_recv", "on " + queues_->device()->description(), error));
  }
}

PostStatus VerbsMulticast::send(std::span<const std::byte> datagram) {
  if (ended_) return PostStatus::kClosed;
  if (datagram.empty() || datagram.size() > max_datagram_bytes_) return PostStatus::kInvalid;
  if (sent_ - completed_ == slots_) {
    ++counters_.would_block;
    return PostStatus::kWouldBlock;
  }
  const auto room = slot(slots_ + sent_ % slots_);
  std::memcpy(room.data(), datagram.data(), datagram.size());
  pieces_[chained_] = {reinterpret_cast<std::uint64_t>(room.data()),
                       static_cast<std::uint32_t>(datagram.size()), area_.local_key()};
  ibv_send_wr& request = chain_[chained_];
  request = {};
  request.wr_id = kSendFlag | (sent_ & (kSendFlag - 1));
  request.sg_list = &pieces_[chained_];
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.wr.ud.ah = address_.get();
  request.wr.ud.remote_qpn = group_.qp_num;
  request.wr.ud.remote_qkey = group_.qkey;
  if (++sent_ % kSignalEvery == 0) request.send_flags = IBV_SEND_SIGNALED;
  ++chained_;
  if (!held_back_) {
    held_back_ = true;
    poller_.hold_back(*this);
  }
  ++counters_.work_requests;
  ++counters_.messages_sent;
  counters_.message_bytes_sent += datagram.size();
  return PostStatus::kPosted;
}

void VerbsMulticast::post_held_back() {
  held_back_ = false;
  post_chain();
}

void VerbsMulticast::post_chain() {
  if (chained_ == 0 || ended_) return;
  for (std::size_t i = 0; i + 1 < chained_; ++i) chain_[i].next = &chain_[i + 1];
  chained_ = 0;
  ++counters_.doorbells;
  ibv_send_wr* bad = nullptr;
  if (const int error = ibv_post_send(pair_.get(), chain_.data(), &bad); error != 0) {
    on_lost(call_error("ibv_post_send", "on " + queues_->device()->description(), error));
  }
}

bool VerbsMulticast::from_us(const ibv_wc& completion, const std::byte* header) const {
  if (completion.src_qp != pair_->qp_num) return false;
  // The source's GID is at 8; over IPv4 the last 20 bytes are an IPv4 header, the source at 12.
  return std::memcmp(header + 8, own_.raw, sizeof(own_.raw)) == 0 ||
         std::memcmp(header + 32, own_.raw + 12, 4) == 0;
}

void VerbsMulticast::on_completion(const ibv_wc& completion) {
  if (ended_) return;
  if (completion.status != IBV_WC_SUCCESS) {
    on_lost(completion_error(name_, queues_->device()->description(), completion.status));
    return;
  }
  if ((completion.wr_id & kSendFlag) != 0) {
    completed_ = (sent_ - ((sent_ - completion.wr_id - 1) & (kSendFlag - 1)));
    return;
  }
  const auto room = slot(completion.wr_id);
  if (completion.byte_len > kHeaderRoom && completion.byte_len <= room.size() &&
      !from_us(completion, room.data())) {
    const auto datagram = room.subspan(kHeaderRoom, completion.byte_len - kHeaderRoom);
    ++counters_.messages_received;
    counters_.message_bytes_received += datagram.size();
    handler_.on_datagram(*this, datagram);
  }
  if (pair_) post_receive(completion.wr_id);
}

void VerbsMulticast::on_lost(const Error& reason) {
  if (ended_) return;
  ended_ = true;
  end_reason_ = Error{reason.code, name_ + ": " + reason.message};
  poller_.report_ended(*this);
}

void VerbsMulticast::report_ended() { handler_.on_group_lost(*this, *end_reason_); }

}  // namespace silurus::transport::verbs
