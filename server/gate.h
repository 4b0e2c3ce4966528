#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"

namespace silurus::server {

/// Who may write to this server, and whether anybody may read it: what the commands that replace
/// one shard by others turn (docs/sharding.md, decision 0100).
///
///   serving ──fill──▶ filling ──serve──▶ serving ──freeze──▶ frozen ──retire──▶ retired
///                                           ▲──────serve, or its time is over──┘     │
///                                           └──────────────serve────────────────────┘
///
/// Every command carries a ticket; one below the greatest seen so far is refused: whoever sent it
/// was overtaken by another one. The commands and admit() belong to the holder of the writer's
/// role, so that no batch is under way when the gate turns; what reads only is for any thread.
class Gate {
 public:
  enum class State : std::uint8_t { kServing, kFilling, kFrozen, kRetired };

  /// `path`: the file in which it is remembered that this server is retired, which must outlive a
  /// restart; empty: nothing outlives a restart here, nor do entries. kProtocol: not such a file.
  explicit Gate(std::string path = {}) : path_(std::move(path)) {}
  Status recover();

  // --- of the holder of the writer's role; kConflict says what is the matter
  Status fill(std::uint64_t ticket);
  /// Nobody may write until `until`.
  Status freeze(std::uint64_t ticket, Nanoseconds now, Nanoseconds until);
  /// Only if nobody could write since freeze() of the same ticket.
  Status retire(std::uint64_t ticket, Nanoseconds now);
  Status serve(std::uint64_t ticket);
  /// Whether a write of a connection may happen: `ticket` is that of the fill() which came by it,
  /// or 0. kMoved: it may elsewhere, or here a little later.
  Status admit(std::uint64_t ticket, Nanoseconds now) const;

  // --- any thread
  State state() const { return state_.load(std::memory_order_acquire); }
  std::uint64_t ticket() const { return ticket_.load(std::memory_order_relaxed); }
  /// Acquire, in state(): pairs with the release in which retire() ends. Whoever has heard of that
  /// end, by whatever way, finds it so.
  bool retired() const { return state() == State::kRetired; }

 private:
  Status accept(std::uint64_t ticket);
  void become(State state) { state_.store(state, std::memory_order_release); }

  const std::string path_;
  std::atomic<State> state_{State::kServing};
  std::atomic<std::uint64_t> ticket_{0};  ///< the greatest seen
  Nanoseconds frozen_until_ = 0;
};

std::string_view to_string(Gate::State state);
/// What a server that is retired answers to everything.
Error retired_error();

}  // namespace silurus::server
