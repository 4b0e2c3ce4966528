// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"
#include "transport/unique_fd.h"

namespace silurus::server {

/// The service manager (systemd) that started this process, and what it is told: sd_notify(3). Its
/// protocol is a datagram to a Unix socket, so that no library is linked for it. Without a manager
/// all functions do nothing. Any thread may call them.
///
///   const auto manager = ServiceManager::from_environment();
///   manager.status("recovering: 12 records");
///   manager.ready("serving at shm:///run/silurus/default.sock");
class ServiceManager {
 public:
  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them from the environment, so
  /// that programs that this one starts do not speak in its place. Before there are other threads.
  static ServiceManager from_environment();

  /// Tells it by way of another process (a keeper), whose own it is: `say` is given the lines.
  /// `is_there`: whether that one has a manager; `watchdog`: what it wants itself.
  static ServiceManager through(std::function<void(std::string_view)> say, bool is_there,
                                std::optional<Nanoseconds> watchdog);

  /// Whether there is one.
  bool is_there() const { return is_there_; }
  /// Lines of another process, for which this one speaks.
  void pass_on(std::string_view lines) const { send(std::string(lines)); }
  /// What an operator sees in `systemctl status`.
  void status(std::string_view text) const;
  /// The start advances: also puts off the time at which it would be given up.
  void advances(std::string_view text) const;
  void ready(std::string_view text) const;
  void stopping(std::string_view text) const;
  /// The process does its work; to be told more often than watchdog_interval().
  void alive() const;
  /// Time without alive() after which the process is killed; nothing: it is not watched.
  std::optional<Nanoseconds> watchdog_interval() const { return watchdog_; }

 private:
  void send(const std::string& lines) const;

  bool is_there_ = false;
  std::function<void(std::string_view)> say_;
  transport::UniqueFd socket_;
  std::string address_;  ///< a path, or "@name" in the abstract namespace
  std::optional<Nanoseconds> watchdog_;
};

}  // namespace silurus::server
