#include "replication/gate_state.h"

#include <string>

namespace silurus::replication {

std::string_view to_string(GateState::Turn turn) {
  switch (turn) {
    case GateState::Turn::kServing:
      return "serving";
    case GateState::Turn::kFilling:
      return "filling";
    case GateState::Turn::kFrozen:
      return "frozen";
    case GateState::Turn::kRetired:
      return "retired";
  }
  return "unknown";
}

Status GateState::turn(const GatePayload& order) {
  const auto refuse = [this](std::string_view but) {
    return fail(ErrorCode::kConflict,
                "this server is " + std::string(to_string(at_)) + std::string(but));
  };
  if (order.ticket == 0 || order.ticket < ticket_) {
    return fail(ErrorCode::kConflict, "ticket " + std::to_string(order.ticket) +
                                          " comes too late: ticket " + std::to_string(ticket_) +
                                          " has taken over here");
  }
  Turn next = at_;
  switch (order.action) {
    case GateAction::kFill:
      if (at_ == Turn::kFrozen || at_ == Turn::kRetired)
        return refuse(": only an empty one is filled");
      next = Turn::kFilling;
      break;
    case GateAction::kFreeze:
      if (at_ == Turn::kFilling || at_ == Turn::kRetired) return refuse(": it cannot be frozen");
      next = Turn::kFrozen;
      break;
    case GateAction::kRetire:
      if (order.ticket != ticket_ || (at_ != Turn::kFrozen && at_ != Turn::kRetired)) {
        return refuse(", and not frozen (any more): writes may have come");
      }
      next = Turn::kRetired;
      break;
    case GateAction::kServe:
      next = Turn::kServing;
      break;
    case GateAction::kLapse:
      if (order.ticket != ticket_ || at_ != Turn::kFrozen) return refuse(", and not frozen");
      next = Turn::kServing;
      break;
    default:
      return fail(ErrorCode::kUnsupported, "an order to the gate that this Silurus does not know");
  }
  ticket_ = order.ticket;
  at_ = next;
  return {};
}

}  // namespace silurus::replication
