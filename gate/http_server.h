// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "gate/http.h"
#include "gate/limits.h"
#include "gate/source.h"
#include "silurus/result.h"

namespace silurus::gate {

/// What the server counts; any thread may read.
struct HttpCounters {
  std::atomic<std::uint64_t> accepted{0};     ///< connections
  std::atomic<std::uint64_t> open{0};         ///< connections now
  std::atomic<std::uint64_t> turned_away{0};  ///< connections beyond the limit
  std::atomic<std::uint64_t> cut_off{0};      ///< connections that were too slow
  std::atomic<std::uint64_t> malformed{0};    ///< requests that are no HTTP or too large
};

struct HttpOptions {
  std::string address = "127.0.0.1";  ///< a number of IPv4 or IPv6
  std::uint16_t port = 8080;          ///< 0: any that is free
  std::size_t threads = 2;            ///< that make answers, each with a source of its own
  std::size_t max_connections = kDefaultMaxConnections;
  Nanoseconds request_time = kRequestTime;
  Nanoseconds piece_time = kPieceTime;
};

/// Serves HTTP/1.1: one thread moves bytes, some others make answers. A connection has one request
/// at a time under way; what it holds is bounded by the limits of limits.h, whatever the answer's
/// size.
///
///   auto server = HttpServer::start(options, counters, make_source, answer);
///   ...                                // serves until it is destroyed
class HttpServer {
 public:
  using Answer = std::function<HttpAnswer(const HttpRequest&, Source&)>;
  /// `answer` is called by several threads at once. kIo: the address cannot be listened at.
  static Result<std::unique_ptr<HttpServer>> start(const HttpOptions& options,
                                                   HttpCounters& counters,
                                                   const SourceFactory& make_source, Answer answer);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  /// Stops, and closes all connections.
  ~HttpServer();

  std::uint16_t port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace silurus::gate
