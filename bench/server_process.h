#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/result.h"

namespace silurus::bench {

/// A silurus-server of our own, in a process of its own; stopped when this object goes. Movable.
class ServerProcess {
 public:
  /// Starts the silurus-server that lies beside this program, with these options, and returns when
  /// it listens; an error says what it printed last.
  static Result<ServerProcess> start(const std::vector<std::string>& options);
  ServerProcess(ServerProcess&& other) noexcept;
  ServerProcess& operator=(ServerProcess&&) = delete;
  ~ServerProcess();

  pid_t pid() const { return pid_; }
  /// The first address that it listens on that begins so ("tcp://"), with the port really used.
  std::string address(const std::string& scheme) const;

 private:
  explicit ServerProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;  ///< 0 once moved from
  std::vector<std::string> addresses_;
};

}  // namespace silurus::bench
