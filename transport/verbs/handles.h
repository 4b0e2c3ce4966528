// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <memory>

namespace silurus::transport::verbs {

/// Owners of rdma-core's handles. Destroying fails only when our own order of destruction is wrong
/// (members are declared in order of creation), so the answer is not looked at.
template <auto Function>
struct Release {
  template <typename T>
  void operator()(T* handle) const {
    Function(handle);
  }
};

using EventChannel = std::unique_ptr<rdma_event_channel, Release<rdma_destroy_event_channel>>;
using CmId = std::unique_ptr<rdma_cm_id, Release<rdma_destroy_id>>;
/// Acknowledges the event.
using CmEvent = std::unique_ptr<rdma_cm_event, Release<rdma_ack_cm_event>>;
using CmAddress = std::unique_ptr<rdma_addrinfo, Release<rdma_freeaddrinfo>>;
using ProtectionDomain = std::unique_ptr<ibv_pd, Release<ibv_dealloc_pd>>;
using MemoryRegion = std::unique_ptr<ibv_mr, Release<ibv_dereg_mr>>;
using CompletionChannel = std::unique_ptr<ibv_comp_channel, Release<ibv_destroy_comp_channel>>;
using CompletionQueue = std::unique_ptr<ibv_cq, Release<ibv_destroy_cq>>;
using SharedReceiveQueue = std::unique_ptr<ibv_srq, Release<ibv_destroy_srq>>;
using QueuePair = std::unique_ptr<ibv_qp, Release<ibv_destroy_qp>>;
using AddressHandle = std::unique_ptr<ibv_ah, Release<ibv_destroy_ah>>;

}  // namespace silurus::transport::verbs
