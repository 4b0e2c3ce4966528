// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "bench/peers/peer.h"

namespace silurus::bench {

/// A session of a library: answers when asked to finish, query by query.
class LibrarySession final : public PeerSession {
 public:
  using Ask = std::function<Status(const PeerQuery&, PeerAnswer&)>;  ///< into an empty answer
  explicit LibrarySession(Ask ask) : ask_(std::move(ask)) {}

  Status begin(std::span<const PeerQuery> queries) override {
    queries_ = queries;
    return {};
  }
  Status finish(std::span<PeerAnswer> answers) override {
    for (std::size_t i = 0; i < queries_.size(); ++i) {
      answers[i].clear();
      if (auto ok = ask_(queries_[i], answers[i]); !ok) return ok;
    }
    return {};
  }

 private:
  Ask ask_;
  std::span<const PeerQuery> queries_;
};

}  // namespace silurus::bench
