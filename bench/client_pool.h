// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <string>

#include "common/result.h"

namespace silurus::bench {

/// That many clients that have connected and say nothing, in a process of their own, which is
/// killed when this object goes: to the server, all of them die at once. Movable.
class ClientPool {
 public:
  /// Returns once all are connected.
  static Result<ClientPool> connect(const std::string& url, unsigned clients);
  ClientPool(ClientPool&& other) noexcept;
  ClientPool& operator=(ClientPool&&) = delete;
  ~ClientPool();

 private:
  explicit ClientPool(pid_t pid) : pid_(pid) {}
  pid_t pid_;  ///< 0 once moved from
};

}  // namespace silurus::bench
