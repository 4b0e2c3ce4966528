// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "common/result.h"
#include "transport/verbs/handles.h"

namespace silurus::transport::verbs {

/// What a device allows, as queried.
struct DeviceLimits {
  std::uint32_t max_queue_entries;      ///< work requests of one queue pair
  std::uint32_t max_completions;        ///< entries of one completion queue
  std::uint32_t max_shared_receives;    ///< entries of one shared receive queue
  std::uint8_t max_reads_as_target;     ///< reads of one peer under way at a time
  std::uint8_t max_reads_as_initiator;  ///< reads of ours under way at a time on one queue pair
  std::uint32_t max_message_bytes;      ///< longest read or write
  std::uint8_t ports;
};

/// One RDMA device, opened by the connection manager (which keeps it open as long as the process
/// lives), with the protection domain that all memory and queues of ours share. Any thread.
class Device {
 public:
  static Result<std::shared_ptr<Device>> create(ibv_context* context);

  ibv_context* context() const { return context_; }
  ibv_pd* domain() const { return domain_.get(); }
  const std::string& name() const { return name_; }
  const DeviceLimits& limits() const { return limits_; }

  /// "rxe0", or "rxe0, whose port 1 is down": asks the kernel, for messages to people.
  std::string description() const;

 private:
  Device(ibv_context* context, ProtectionDomain domain, DeviceLimits limits);

  ibv_context* context_;
  std::string name_;
  ProtectionDomain domain_;
  DeviceLimits limits_;
};

}  // namespace silurus::transport::verbs
