// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "transport/custody.h"
#include "transport/unique_fd.h"

namespace silurus::server::keeper {

/// What a keeper tells the server that it starts, in a variable of its environment.
struct Birth {
  int socket = -1;
  int keeper = 0;  ///< its process
  std::uint64_t life = 1;
  int lock = -1;             ///< lock of the data directory, which the life before had; -1: none
  bool has_manager = false;  ///< a service manager hears what the server tells
  Nanoseconds watchdog = 0;  ///< it has to show life this often; 0: need not

  static constexpr const char* kVariable = "SILURUS_KEEPER";
  std::string encode() const;
  static std::optional<Birth> decode(std::string_view text);
};

/// The server's end of what it says to its keeper. Any thread.
class KeeperLink final : public transport::Custody {
 public:
  /// That of this process, if a keeper has started it; null: none has. Fails if the variable is
  /// there but of no use: one that took itself for a server without a keeper would start another
  /// keeper. Removes the variable, closes what was inherited to programs that this one starts, and
  /// has this process end with its keeper. Before there are other threads.
  static Result<std::unique_ptr<KeeperLink>> from_environment();

  std::uint64_t hold(int fd) override;
  void release(std::uint64_t ticket) override;
  Status hold_root(int fd) override;
  Status hold_lock(int fd) override;
  int inherited_lock(int fd) const override;

  /// Holds nothing, as for a member of a group: connections end with the process, so that clients
  /// go to another member at once.
  void hold_nothing() { holds_ = false; }
  /// All is ready, and clients may connect when this returns: the life before has ended for them.
  Status take_over();
  /// Lines for the service manager. Signs of life are left out while the keeper takes nothing;
  /// other lines wait for it, for a moment, and keep no other thread waiting.
  void notify(std::string_view lines);

  const Birth& birth() const { return birth_; }
  /// Descriptors that the keeper has of this process.
  std::uint64_t held() const;

  /// What was made by from_environment(), as long as that exists; for statistics.
  static const KeeperLink* of_this_process();

 private:
  explicit KeeperLink(const Birth& birth);
  ~KeeperLink() override;
  friend std::default_delete<KeeperLink>;
  Status ask(int kind, std::uint64_t ticket, int fd, const std::string& what);
  void send_releases();

  const Birth birth_;
  const transport::UniqueFd socket_;
  const transport::UniqueFd lock_;
  bool holds_ = true;
  mutable std::mutex mutex_;  ///< guards what follows, and the order on the socket
  std::uint64_t last_ticket_ = 0;
  std::uint64_t held_ = 0;
  std::vector<std::uint64_t> unsent_releases_;
  bool is_stuck_ = false;  ///< the keeper did not take the last packet: no more waiting for it
};

}  // namespace silurus::server::keeper
