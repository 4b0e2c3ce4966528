// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_hosts.h"

namespace silurus::bench {

namespace sim = transport::sim;

sim::HostOptions host_options(const PlanModel& model, const PlanCosts& costs, double cards,
                              double extra_read_ns) {
  sim::HostOptions options;
  options.nic = {
      .reads_per_second = cards * model.card.reads_per_second,
      .read_latency = static_cast<Nanoseconds>(model.card.read_us * 1e3),
      .bytes_per_second = model.network.bytes_per_second,
      .max_read_pieces = 1,
      .link_bytes_per_second = cards * model.network.bytes_per_second,
      .messages_per_second = cards * model.card.messages_per_second,
      .packet_bytes = static_cast<std::size_t>(model.network.packet_bytes),
      .extra_packet_bytes = model.network.packet_overhead_bytes - sim::kPacketOverheadBytes};
  PlanModel::Cpu cpu = model.cpu;
  if (cpu.calibrated) {
    cpu = {.send_ns = costs.tcp.send_ns,
           .receive_ns = costs.tcp.receive_ns,
           .byte_ns = costs.tcp.byte_ns};
  }
  options.cpu = {.send = on_core(model, cpu.send_ns),
                 .receive = on_core(model, cpu.receive_ns),
                 .message_byte = cpu.byte_ns / model.host.core_speed,
                 .doorbell = on_core(model, cpu.doorbell_ns),
                 .post_read = on_core(model, cpu.post_read_ns),
                 .complete_read = on_core(model, cpu.complete_read_ns + extra_read_ns)};
  return options;
}

sim::LinkModel link_model(const PlanModel& model) {
  // The cards limit what goes through; a little jitter, so that clients don't march in step.
  return {.latency = static_cast<Nanoseconds>(model.network.one_way_us * 1e3), .jitter = 50};
}

sim::FabricOptions fabric_options(const PlanModel& model) {
  sim::FabricOptions options;
  options.is_lossless = true;
  if (!model.card.one_sided) options.capabilities = 0;
  return options;
}

}  // namespace silurus::bench
