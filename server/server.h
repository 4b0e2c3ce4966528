// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "access/authorization.h"
#include "common/result.h"
#include "server/options.h"

namespace silurus::server {

/// Verifies a data directory offline: reads it as a start would, checks the whole tree, and returns
/// lines that say what is there and what a start would do. Changes nothing.
Result<std::string> check_data(const ServerOptions& options);

/// Who may do what by these options: by the file of `access`, or without one.
Result<access::Rules> read_rules(const ServerOptions& options);

/// A running server: a Core with a thread for each worker. Any thread may call any function.
///
///   auto server = Server::start({.listen = {"tcp://127.0.0.1:0"}});
///   connect_to((*server)->addresses()[0]);
///   (*server)->stop();
class Server {
 public:
  /// Loads the data set if one is named, listens, and serves. The error says what could not be had:
  /// memory, an address, a data set.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options);
  /// Stops.
  virtual ~Server() = default;

  /// Where it listens: the URLs given, with the ports really used.
  virtual const std::vector<std::string>& addresses() const = 0;
  /// The text that clients get for a stats request.
  virtual std::string stats_json() const = 0;
  /// Whether each worker has done a turn since the last call, which wakes them to do one. Calls lie
  /// far enough apart for that. Of one thread.
  virtual bool workers_are_alive() = 0;
  /// Has each worker do a turn: ServerOptions::rules have changed.
  virtual void wake_workers() = 0;
  /// Ends all connections, removes its sockets, and waits for its threads. Once.
  virtual void stop() = 0;
};

}  // namespace silurus::server
