// SPDX-License-Identifier: Apache-2.0

#include "replication/admission_state.h"

#include <string>

namespace silurus::replication {

std::string_view to_string(AdmissionState state) {
  switch (state) {
    case AdmissionState::kServing:
      return "serving";
    case AdmissionState::kFilling:
      return "filling";
    case AdmissionState::kFrozen:
      return "frozen";
    case AdmissionState::kRetired:
      return "retired";
  }
  return "unknown";
}

Result<Admission> transition(const Admission& from, const AdmissionOrder& order) {
  using enum AdmissionState;
  const auto refuse = [&](std::string_view but) {
    return fail(ErrorCode::kConflict,
                "this server is " + std::string(to_string(from.state)) + std::string(but));
  };
  if (order.fencing_token == 0 || order.fencing_token < from.fencing_token) {
    return fail(ErrorCode::kConflict, "fencing token " + std::to_string(order.fencing_token) +
                                          " comes too late: fencing token " +
                                          std::to_string(from.fencing_token) +
                                          " has taken over here");
  }
  const bool is_of_same = order.fencing_token == from.fencing_token;
  switch (order.action) {
    case AdmissionAction::kFill:
      if (from.state == kFrozen || from.state == kRetired) {
        return refuse(": only an empty one is filled");
      }
      return Admission{kFilling, order.fencing_token};
    case AdmissionAction::kFreeze:
      if (from.state == kFilling || from.state == kRetired) return refuse(": it cannot be frozen");
      return Admission{kFrozen, order.fencing_token};
    case AdmissionAction::kRetire:
      if (!is_of_same || (from.state != kFrozen && from.state != kRetired)) {
        return refuse(", and not frozen (any more): writes may have come");
      }
      return Admission{kRetired, order.fencing_token};
    case AdmissionAction::kServe:
      return Admission{kServing, order.fencing_token};
    case AdmissionAction::kLapse:
      if (!is_of_same || from.state != kFrozen) return refuse(", and not frozen");
      return Admission{kServing, order.fencing_token};
  }
  return fail(ErrorCode::kUnsupported, "an admission order that this Silurus does not know");
}

}  // namespace silurus::replication
