// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "transport/verbs/handles.h"
#include "transport/verbs/handshake.h"
#include "transport/verbs/inbox.h"

namespace silurus::transport::verbs {

/// A client that keeps to no rules: it speaks the handshake (or something like it) and then does
/// with the card whatever it likes. For the probe of a card's rights, and for tests. One thread.
class RawClient {
 public:
  RawClient() : inbox_(inbox_bytes(Role::kClient, kMaxRingBytes)), scratch_(1 << 16) {}
  ~RawClient() {
    inbox_region_.reset();
    scratch_region_.reset();
    if (id_ && id_->qp != nullptr) rdma_destroy_qp(id_.get());
  }

  /// False if the server refused: refusal() says why.
  bool connect(const Address& address, std::uint16_t version = kHandshakeVersion) {
    rdma_cm_id* raw = nullptr;
    if (rdma_create_id(nullptr, &raw, nullptr, RDMA_PS_TCP) != 0) return false;
    id_.reset(raw);
    rdma_addrinfo hints{};
    hints.ai_port_space = RDMA_PS_TCP;
    rdma_addrinfo* found = nullptr;
    if (rdma_getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found) != 0) {
      return false;
    }
    const CmAddress at(found);
    std::uint8_t quick = 14;  // 67 ms: a server that has hung up is soon noticed
    rdma_set_option(raw, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &quick, sizeof(quick));
    if (rdma_resolve_addr(raw, nullptr, at->ai_dst_addr, 2000) != 0 ||
        rdma_resolve_route(raw, 2000) != 0) {
      return false;
    }
    ibv_qp_init_attr attributes{};
    attributes.cap = {16, 16, 1, 1, 0};
    attributes.qp_type = IBV_QPT_RC;
    attributes.sq_sig_all = 1;
    if (rdma_create_qp(raw, nullptr, &attributes) != 0) return false;
    constexpr int kAll = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    inbox_region_.reset(ibv_reg_mr(raw->pd, inbox_.data(), inbox_.size(), kAll));
    scratch_region_.reset(ibv_reg_mr(raw->pd, scratch_.data(), scratch_.size(), kAll));
    if (!inbox_region_ || !scratch_region_) return false;
    for (int i = 0; i < 16; ++i)
      rdma_post_recv(raw, nullptr, scratch_.data(), 64, scratch_region_.get());
    ConnectRequest request = *make_request({});
    request.version = version;
    request.inbox_address = reinterpret_cast<std::uint64_t>(inbox_.data());
    request.inbox_key = inbox_region_->rkey;
    request.max_ring_bytes = kMaxRingBytes;
    rdma_conn_param parameters{};
    parameters.private_data = &request;
    parameters.private_data_len = sizeof(request);
    parameters.initiator_depth = 1;
    parameters.retry_count = 6;
    parameters.rnr_retry_count = 7;
    const bool connected = rdma_connect(raw, &parameters) == 0;
    const rdma_conn_param& answer = raw->event->param.conn;
    const std::span data(static_cast<const std::byte*>(answer.private_data),
                         answer.private_data_len);
    if (connected) {
      reply_ = *parse_reply(data, "server");
    } else {
      refusal_ = parse_refusal(data, "server");
    }
    return connected;
  }
  const std::optional<Error>& refusal() const { return refusal_; }
  const ConnectReply& reply() const { return reply_; }

  /// The server's region, once it has been announced.
  std::optional<RegionEntry> region(std::uint32_t number) const {
    RegionEntry entry;
    const auto* at = inbox_.data() + kRegionTableOffset + number * sizeof(entry);
    std::memcpy(&entry, const_cast<const std::byte*>(at), sizeof(entry));
    if (entry.key == 0) return std::nullopt;
    return entry;
  }
  std::vector<std::byte>& scratch() { return scratch_; }

  /// Does it, and answers how it ended.
  ibv_wc_status run(ibv_wr_opcode what, std::uint64_t address, std::uint32_t key,
                    std::uint32_t bytes, std::uint32_t immediate = 0) {
    ibv_sge piece{reinterpret_cast<std::uint64_t>(scratch_.data()), bytes, scratch_region_->lkey};
    ibv_send_wr request{};
    request.sg_list = &piece;
    request.num_sge = bytes == 0 ? 0 : 1;
    request.opcode = what;
    request.send_flags = IBV_SEND_SIGNALED;
    request.imm_data = htobe32(immediate);
    request.wr.rdma.remote_addr = address;
    request.wr.rdma.rkey = key;
    ibv_send_wr* bad = nullptr;
    if (ibv_post_send(id_->qp, &request, &bad) != 0) return IBV_WC_GENERAL_ERR;
    ibv_wc completion{};
    const SystemClock clock;
    const Nanoseconds end = clock.now() + 2 * kSecond;
    while (ibv_poll_cq(id_->send_cq, 1, &completion) == 0) {
      if (clock.now() > end) return IBV_WC_RESP_TIMEOUT_ERR;
      std::this_thread::yield();
    }
    return completion.status;
  }

 private:
  std::vector<std::byte> inbox_, scratch_;
  CmId id_;
  MemoryRegion inbox_region_, scratch_region_;
  ConnectReply reply_{};
  std::optional<Error> refusal_;
};

}  // namespace silurus::transport::verbs
