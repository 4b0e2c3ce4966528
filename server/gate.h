#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"
#include "replication/gate_state.h"

namespace silurus::server {

/// A server's gate, for all its threads: what replication::GateState is to orders, this is to those
/// who come. It is turned, and asked to admit(), by the holder of the writer's role (in a group: by
/// the group's thread), so that no batch is under way when it turns; what reads only is for any
/// thread.
class Gate {
 public:
  using Turn = replication::GateState::Turn;

  /// `path`: the file in which it is remembered that this server is retired, which must outlive a
  /// restart; empty: it need not, or a group's log remembers.
  explicit Gate(std::string path = {}) : path_(std::move(path)) {}
  /// kProtocol: not such a file.
  Status recover();

  // --- of the holder of the writer's role
  /// An order to a server of its own; kConflict says what is the matter.
  Status turn(const replication::GatePayload& order, Nanoseconds now);
  /// As a group's log has turned it: a freeze lasts until `frozen_until`.
  void follow(const replication::GateState& state, Nanoseconds frozen_until);
  /// Whether it is frozen, and the time for that is over: whoever writes next ends the freeze.
  bool has_lapsed(Nanoseconds now) const { return at() == Turn::kFrozen && now >= frozen_until_; }
  /// Whether a write of a connection may happen: `ticket` is that of the kFill which came by it,
  /// or 0. kMoved: it may elsewhere, or here a little later.
  Status admit(std::uint64_t ticket, Nanoseconds now) const;

  // --- any thread
  Turn at() const { return at_.load(std::memory_order_acquire); }
  std::uint64_t ticket() const { return ticket_.load(std::memory_order_relaxed); }
  /// Acquire, in at(): pairs with the release in follow(). Whoever has heard that it was retired,
  /// by whatever way, finds it so.
  bool retired() const { return at() == Turn::kRetired; }

 private:
  const std::string path_;
  replication::GateState state_;
  Nanoseconds frozen_until_ = 0;
  // Of state_.
  std::atomic<Turn> at_{Turn::kServing};
  std::atomic<std::uint64_t> ticket_{0};
};

/// What a server that is retired answers to everything.
Error retired_error();

}  // namespace silurus::server
