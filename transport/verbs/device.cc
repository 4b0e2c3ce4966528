// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/device.h"

#include <algorithm>
#include <cerrno>

#include "transport/verbs/error.h"

namespace silurus::transport::verbs {
namespace {

/// More than this many reads at a time at one target only cost its card memory.
constexpr int kMaxReadsAtATime = 32;

std::uint8_t reads_at_a_time(int device_limit) {
  return static_cast<std::uint8_t>(std::clamp(device_limit, 0, kMaxReadsAtATime));
}

}  // namespace

Device::Device(ibv_context* context, ProtectionDomain domain, DeviceLimits limits)
    : context_(context),
      name_(ibv_get_device_name(context->device)),
      domain_(std::move(domain)),
      limits_(limits) {}

Result<std::shared_ptr<Device>> Device::create(ibv_context* context) {
  const std::string name = ibv_get_device_name(context->device);
  ibv_device_attr attributes{};
  if (const int error = ibv_query_device(context, &attributes); error != 0) {
    return fail(call_error("ibv_query_device", name, error));
  }
  std::uint32_t max_message = 1u << 30;
  for (int port = 1; port <= attributes.phys_port_cnt; ++port) {
    ibv_port_attr port_attributes{};
    if (ibv_query_port(context, static_cast<std::uint8_t>(port), &port_attributes) == 0) {
      max_message = std::min(max_message, port_attributes.max_msg_sz);
    }
  }
  ProtectionDomain domain(ibv_alloc_pd(context));
  if (!domain) return fail(call_error("ibv_alloc_pd", name, errno));
  const DeviceLimits limits{
      .max_queue_entries = static_cast<std::uint32_t>(attributes.max_qp_wr),
      .max_completions = static_cast<std::uint32_t>(attributes.max_cqe),
      .max_shared_receives = static_cast<std::uint32_t>(attributes.max_srq_wr),
      .max_reads_as_target = reads_at_a_time(attributes.max_qp_rd_atom),
      .max_reads_as_initiator = reads_at_a_time(attributes.max_qp_init_rd_atom),
      .max_message_bytes = max_message,
      .ports = attributes.phys_port_cnt,
  };
  return std::shared_ptr<Device>(new Device(context, std::move(domain), limits));
}

std::string Device::description() const {
  for (std::uint8_t port = 1; port <= limits_.ports; ++port) {
    ibv_port_attr attributes{};
    if (ibv_query_port(context_, port, &attributes) == 0 && attributes.state != IBV_PORT_ACTIVE) {
      return name_ + ", whose port " + std::to_string(port) + " is down";
    }
  }
  return name_;
}

}  // namespace silurus::transport::verbs
