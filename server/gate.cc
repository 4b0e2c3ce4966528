#include "server/gate.h"

#include <fstream>

#include "common/durable_file.h"

namespace silurus::server {
namespace {

using replication::GateAction;
using replication::GatePayload;
using replication::GateState;

constexpr std::string_view kRetiredWord = "retired";

}  // namespace

Error retired_error() {
  return {ErrorCode::kMoved,
          "this server is retired: what it held has moved to others (silurus cluster status)"};
}

Status Gate::recover() {
  if (path_.empty()) return {};
  std::ifstream file(path_);
  if (!file.is_open()) return {};
  std::string word;
  std::uint64_t ticket = 0;
  if (!(file >> word >> ticket) || word != kRetiredWord || ticket == 0) {
    return fail(ErrorCode::kProtocol, path_ +
                                          " does not say that this server is retired, as it "
                                          "should if it is there");
  }
  GateState state;
  for (const GateAction action : {GateAction::kFreeze, GateAction::kRetire}) {
    if (auto ok = state.turn({action, ticket, 0}); !ok) return ok;
  }
  follow(state, 0);
  return {};
}

void Gate::follow(const GateState& state, Nanoseconds frozen_until) {
  state_ = state;
  frozen_until_ = frozen_until;
  ticket_.store(state.ticket(), std::memory_order_relaxed);
  // Release: pairs with the acquire in at().
  at_.store(state.at(), std::memory_order_release);
}

Status Gate::turn(const GatePayload& order, Nanoseconds now) {
  GateState next = state_;
  if (has_lapsed(now)) {
    if (auto ok = next.turn({GateAction::kLapse, next.ticket(), 0}); !ok) return ok;
  }
  const GateState::Turn before = next.at();
  if (auto ok = next.turn(order); !ok) return ok;
  if (!path_.empty() && next.at() != before) {
    if (next.at() == Turn::kRetired) {
      const std::string text =
          std::string(kRetiredWord) + " " + std::to_string(next.ticket()) + "\n";
      if (auto ok = write_durably(path_, text); !ok) {
        // It may be there nevertheless, and would be believed at the next start.
        [[maybe_unused]] const Status removed = remove_durably(path_);
        return ok;
      }
    } else if (before == Turn::kRetired) {
      if (auto ok = remove_durably(path_); !ok) return ok;
    }
  }
  follow(next, now + static_cast<Nanoseconds>(order.freeze_ns));
  return {};
}

Status Gate::admit(std::uint64_t ticket, Nanoseconds now) const {
  switch (at()) {
    case Turn::kServing:
      if (ticket == 0) return {};
      return fail(ErrorCode::kConflict, "this connection does not fill this server any more");
    case Turn::kFilling:
      if (ticket != 0 && ticket == this->ticket()) return {};
      if (ticket == 0) {
        return fail(ErrorCode::kMoved,
                    "this server is being filled: it takes writes when it is complete");
      }
      return fail(ErrorCode::kConflict, "another connection fills this server now");
    case Turn::kFrozen:
      if (ticket == 0 && has_lapsed(now)) return {};
      return fail(ErrorCode::kMoved,
                  "this server is about to hand over what it holds: write again a little later");
    case Turn::kRetired:
      break;
  }
  return fail(retired_error());
}

}  // namespace silurus::server
