// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bench/subprocess.h"
#include "common/result.h"

namespace silurus::bench {

/// A silurus-server of our own, in a process of its own; stopped when this object goes. Movable.
class ServerProcess {
 public:
  /// Starts the silurus-server that lies beside this program, with these options, and returns when
  /// it listens; an error says what it printed last.
  static Result<ServerProcess> start(const std::vector<std::string>& options);

  pid_t pid() const { return process_.pid(); }
  double cpu_seconds() const { return process_.cpu_seconds(); }
  /// The first address that it listens on that begins so ("tcp://"), with the port really used.
  std::string address(const std::string& scheme) const;

 private:
  explicit ServerProcess(Subprocess process) : process_(std::move(process)) {}

  Subprocess process_;
  std::vector<std::string> addresses_;
};

}  // namespace silurus::bench
