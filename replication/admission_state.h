// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "common/result.h"
#include "replication/record.h"

namespace silurus::replication {

/// Which writes a tree's server admits, and whether it admits readers: what the commands that
/// replace one shard by others change (docs/sharding.md, decision 0100).
///
///   serving ──fill──▶ filling ──serve──▶ serving ──freeze──▶ frozen ──retire──▶ retired
///                                           ▲──────serve, or lapse───────┘          │
///                                           └──────────────serve────────────────────┘
///
/// What comes of an order depends on the orders before it alone, so the members of a group, whose
/// log has them all, agree on it (decision 0115).
enum class AdmissionState : std::uint64_t { kServing, kFilling, kFrozen, kRetired };

/// The state with its fencing token. Two words, as they lie in a member's checkpoint.
struct Admission {
  AdmissionState state = AdmissionState::kServing;
  std::uint64_t fencing_token = 0;  ///< the greatest of the orders so far

  friend bool operator==(const Admission&, const Admission&) = default;
  /// Whether bytes that came from outside are one.
  bool is_sound() const {
    return state <= AdmissionState::kRetired &&
           (state == AdmissionState::kServing || fencing_token != 0);
  }
};
static_assert(std::is_trivially_copyable_v<Admission> &&
              std::has_unique_object_representations_v<Admission>);

/// What comes of an order. kConflict: it is refused, because the state does not allow it, or its
/// fencing token is below the greatest one, so that another coordinator has overtaken the one that
/// gave it.
Result<Admission> transition(const Admission& from, const AdmissionOrder& order);

std::string_view to_string(AdmissionState state);

}  // namespace silurus::replication
