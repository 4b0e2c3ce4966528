// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "silurus/api.h"
#include "silurus/client.h"
#include "silurus/options.h"
#include "silurus/result.h"
#include "silurus/time.h"

namespace silurus {

/// How a server of a program's own is started.
struct OwnServerOptions {
  /// The data directory, which is made if there is none; one server at a time can have it. Empty:
  /// in memory alone, gone when the server ends.
  std::string path = {};
  /// What the tree may take: "16G". Empty: the server's default.
  std::string memory = {};
  /// Other options of silurus-server: {"--retain", "10min"}.
  std::vector<std::string> arguments = {};
  /// The program; empty: the one that SILURUS_SERVER_PROGRAM names, else silurus-server in the
  /// folder of the running program, where Silurus was configured to be installed, or on the PATH.
  std::string program = {};
  Nanoseconds timeout = 60 * kSecond;  ///< in which it has to be ready
  ClientOptions client = {};           ///< options of the client that is connected to it
};

template <int D>
class OwnServer;

/// Starts a server and connects to it. kNotFound: there is no such program; kUnavailable: it did
/// not start, and says why; kDeadlineExceeded: it was not ready in time.
template <int D>
SILURUS_API Result<OwnServer<D>> open(const OwnServerOptions& options = {});

/// A server beside this process, and a client of it: for programs that keep an index of their own
/// data, and today use a library for it. The server listens on a private socket over shared memory.
/// It ends with this object, and with this process, also if that crashes (and with the children
/// that this process has made by fork() meanwhile, if these live longer). Movable.
///
///   auto db = silurus::open<2>({.path = "data"});
///   if (!db) return report(db.error());
///   (*db)->insert(7, {{2.3, 48.8}, {2.4, 48.9}});
///   auto found = (*db)->range({{2, 48}, {3, 49}});
///
/// Other processes may connect to url() meanwhile. Programs that need no more than a tree in their
/// own memory, of which nothing is kept, search faster with LocalTree (local_tree.h).
template <int D>
class SILURUS_API OwnServer {
 public:
  OwnServer(OwnServer&&) noexcept;
  OwnServer& operator=(OwnServer&&) noexcept;
  /// Waits until the server has ended, a minute at most.
  ~OwnServer();

  Client<D>& client();
  Client<D>* operator->() { return &client(); }
  /// "shm:///tmp/silurus-x8Rt2q/socket"
  const std::string& url() const;

 private:
  struct SILURUS_INTERNAL Impl;
  template <int E>
  friend Result<OwnServer<E>> open(const OwnServerOptions& options);
  explicit OwnServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace silurus
