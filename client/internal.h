// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "client/core.h"
#include "client/environment.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "silurus/client.h"

// What other parts of the library may ask of a Client, beyond what its public face offers. Not
// installed.

namespace silurus {

template <int D>
class Router;

namespace client {

/// The way to what is private in Client and Router. No state.
class Internal {
 public:
  /// Client::connect() and Router::connect() in a world of one's own: a simulated host's.
  template <int D>
  static Result<Client<D>> connect(std::string_view url, const ClientOptions& options,
                                   Environment& environment);
  template <int D>
  static Result<Router<D>> connect_router(std::string_view url, const ClientOptions& options,
                                          Environment& environment);
  template <int D>
  static ClientCore<D>& core(Client<D>& client);
  /// Runs a task to its end, and all else that is in flight on the client; its answer as it came.
  template <int D>
  static Result<std::string> run_task(Client<D>& client, const request::Task& task) {
    Result<std::string> text = std::string();
    const Status begun = core(client).submit(task, [&text](Result<TextAnswer*> answer) {
      if (answer) {
        text = std::move((*answer)->json);
      } else {
        text = fail(std::move(answer.error()));
      }
    });
    if (!begun) return fail(begun.error());
    client.wait();
    return text;
  }
};

}  // namespace client

}  // namespace silurus
