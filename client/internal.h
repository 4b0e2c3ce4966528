#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "client/client.h"
#include "client/core.h"
#include "common/result.h"
#include "protocol/messages.h"

// What other parts of the library may ask of a Client, beyond what its public face offers. Not
// installed.

namespace silurus::client {

/// The way to the state machine below a Client. No state.
class Internal {
 public:
  template <int D>
  static ClientCore<D>& core(Client<D>& client);
  /// Runs a task of those that replace a shard by others (docs/sharding.md) to its end, and all
  /// else that is in flight on the client; its answer.
  template <int D>
  static Result<std::string> run_task(Client<D>& client, protocol::TaskKind kind,
                                      std::uint64_t from, std::uint64_t to) {
    Result<std::string> text = std::string();
    const Status begun = core(client).submit(request::Task{.kind = kind, .from = from, .to = to},
                                             [&text](Result<StatsAnswer*> answer) {
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

}  // namespace silurus::client
