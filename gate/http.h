// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "silurus/result.h"

// What an HTTP request and its answer are to the gate. Plain values: the server (http_server.h)
// makes the first of bytes and bytes of the second, and knows nothing of what they are about.

namespace silurus::gate {

class Source;

/// A request that has arrived whole.
struct HttpRequest {
  std::string method;         ///< "GET"
  std::string target;         ///< path and query, as they were sent
  std::string host;           ///< header field, may be empty
  std::string accept;         ///< header field, may be empty
  std::string if_none_match;  ///< header field, may be empty
};

/// The body of an answer that is made while it is sent. Any thread may take the next piece, one at
/// a time.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  /// Appends a piece of about kPieceBytes. False: that was the last one. An error ends the
  /// connection, so that the client sees that the answer is not whole.
  virtual Result<bool> next(Source& source, std::string& into) = 0;
};

struct HttpAnswer {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  std::unique_ptr<BodyStream> stream = nullptr;  ///< what follows `body`, if anything does
};

/// The name of a status: "Not Found".
std::string_view reason_of(int status);

/// A problem document (RFC 9457). `parameter`: the name of the one that is wrong; may be empty.
HttpAnswer problem(int status, const std::string& detail, const std::string& parameter = "");
/// The same of an error of the library; one that says that the server is away is a 503 with
/// Retry-After.
HttpAnswer problem(const Error& error);

}  // namespace silurus::gate
