// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"
#include "replication/admission_state.h"

namespace silurus::server {

/// A server's admission state for all its threads: asked by what comes from clients, and changed by
/// orders. The holder of the writer's role (in a group: the group's thread) changes it and asks
/// admit(), so that no batch is under way when it changes; what reads only is for any thread.
class AdmissionControl {
 public:
  using State = replication::AdmissionState;

  /// `path`: the file in which it is remembered that this server is retired, which must outlive a
  /// restart; empty: it need not, or a group's log remembers.
  explicit AdmissionControl(std::string path = {}) : path_(std::move(path)) {}
  /// kProtocol: not such a file.
  Status recover();

  // --- the holder of the writer's role
  /// Obeys an order to a server that is in no group; kConflict says why it cannot.
  Status obey(const replication::AdmissionOrder& order, Nanoseconds now);
  /// Takes over what a group's log has led to: a freeze lasts until `frozen_until`.
  void follow(const replication::Admission& admission, Nanoseconds frozen_until);
  /// Whether it is frozen, and the time for that is over: the next write ends the freeze.
  bool has_lapsed(Nanoseconds now) const {
    return state() == State::kFrozen && now >= frozen_until_;
  }
  /// Whether a write of a connection may happen: `fencing token` is that of the kFill which came by
  /// it, or 0. kMoved: it may elsewhere, or here a little later.
  Status admit(std::uint64_t fencing_token, Nanoseconds now) const;

  // --- any thread
  /// Acquire: pairs with the release in follow(). A thread that has heard that the server was
  /// retired, by whatever way, finds it so.
  State state() const { return state_.load(std::memory_order_acquire); }
  std::uint64_t fencing_token() const { return fencing_token_.load(std::memory_order_relaxed); }
  bool retired() const { return state() == State::kRetired; }

 private:
  const std::string path_;
  Nanoseconds frozen_until_ = 0;
  std::atomic<State> state_{State::kServing};
  std::atomic<std::uint64_t> fencing_token_{0};
};

/// What a server that is retired answers to everything.
Error retired_error();

}  // namespace silurus::server
