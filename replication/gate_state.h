#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "common/result.h"
#include "replication/record.h"

namespace silurus::replication {

/// Who may write to a tree, and whether anybody may read it: what the commands that replace one
/// shard by others turn (docs/sharding.md, decision 0100).
///
///   serving ──fill──▶ filling ──serve──▶ serving ──freeze──▶ frozen ──retire──▶ retired
///                                           ▲──────serve, or lapse───────┘          │
///                                           └──────────────serve────────────────────┘
///
/// Every order carries a ticket; one below the greatest seen so far is refused: whoever gave it was
/// overtaken by another one. What comes of an order depends on the orders before it alone, so the
/// members of a group, whose log has them all, agree on it (decision 0115). A value, of two words
/// as it lies in a member's checkpoint.
class GateState {
 public:
  enum class Turn : std::uint64_t { kServing, kFilling, kFrozen, kRetired };

  /// kConflict says what is the matter, and nothing has changed.
  Status turn(const GatePayload& order);
  Turn at() const { return at_; }
  std::uint64_t ticket() const { return ticket_; }  ///< the greatest seen
  friend bool operator==(const GateState&, const GateState&) = default;

  /// Whether bytes that came from outside are one.
  bool is_sound() const { return at_ <= Turn::kRetired && (at_ == Turn::kServing || ticket_ != 0); }

 private:
  Turn at_ = Turn::kServing;
  std::uint64_t ticket_ = 0;
};
static_assert(std::is_trivially_copyable_v<GateState> &&
              std::has_unique_object_representations_v<GateState>);

std::string_view to_string(GateState::Turn turn);

}  // namespace silurus::replication
