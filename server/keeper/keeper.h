// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "common/clock.h"
#include "server/keeper/channel.h"
#include "server/keeper/hang_watch.h"
#include "server/keeper/holdings.h"
#include "server/keeper/restart_policy.h"
#include "server/service.h"
#include "transport/unique_fd.h"

namespace silurus::server::keeper {

struct KeeperOptions {
  char* const* arguments = nullptr;  ///< the program's, which its servers get
  /// A server that shows no life for this time is killed and replaced (HangWatch); 0: never.
  Nanoseconds hang_limit = 0;
};

/// The parent of a server, which outlives it: `silurus-server --outlive`. Holds what clients' reads
/// hang on, so that they go on when the server has died or hangs, and starts a successor.
///
/// What makes reads right (docs/decisions/0150): the old life is ended for readers, in its own
/// memory, after its process has ended and before the successor is told that it may serve. So
/// nothing was acknowledged by the successor that a read of the old memory could lack.
///
/// One thread, which waits in one poll(). Signals that are forwarded must be blocked, and come
/// through `signals` (a signalfd).
class Keeper {
 public:
  Keeper(const KeeperOptions& options, const ServiceManager& manager, int signals);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  /// Until there is no server any more, and none is to be started; the exit status.
  int run();

 private:
  /// A server that runs.
  struct Server {
    pid_t process = 0;
    std::uint64_t life = 0;
    transport::UniqueFd socket;
    Holdings holdings;
    bool serves = false;          ///< the life before has been ended for it
    Nanoseconds ready_since = 0;  ///< 0: it is not ready
    HangWatch watch{0};
    bool was_asked_to_end = false;
    bool has_hung_in_start = false;  ///< it was killed for that
  };

  bool start_server();
  void start_successor();
  [[noreturn]] void become_server(int socket, pid_t keeper) const;
  int wait_milliseconds() const;
  void hear_signals();
  void hear_server();
  void take(Heard heard);
  void take_over();
  void answer(Kind kind, const std::string& text);
  void pass_on(std::string_view lines);
  void look_for_end();
  void end_life(int wait_status);
  void follow(const Verdict& verdict, const std::string& what);
  void kill_server();
  void look_at_times();

  const KeeperOptions options_;
  const ServiceManager& manager_;
  const int signals_;
  std::string program_;
  SystemClock clock_;
  RestartPolicy policy_;
  transport::UniqueFd lock_;  ///< is given up after all that it guards
  std::optional<Server> server_;
  Holdings believed_;  ///< what the life before held, whose memory readers still believe
  std::uint64_t lives_ = 0;
  std::optional<Nanoseconds> start_at_;  ///< when the next server starts
  std::optional<int> exit_status_;
  bool is_stopping_ = false;
  Nanoseconds told_manager_at_ = 0;
};

}  // namespace silurus::server::keeper
