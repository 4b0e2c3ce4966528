// SPDX-License-Identifier: Apache-2.0

#include "server/admission.h"

#include <fstream>

#include "common/durable_file.h"

namespace silurus::server {
namespace {

using replication::Admission;
using replication::AdmissionAction;
using replication::AdmissionOrder;

constexpr std::string_view kRetiredWord = "retired";

}  // namespace

Error retired_error() {
  return {ErrorCode::kMoved,
          "this server is retired: what it held has moved to others (silurus cluster status)"};
}

Status AdmissionControl::recover() {
  if (path_.empty()) return {};
  std::ifstream file(path_);
  if (!file.is_open()) return {};
  std::string word;
  std::uint64_t fencing_token = 0;
  if (!(file >> word >> fencing_token) || word != kRetiredWord || fencing_token == 0) {
    return fail(ErrorCode::kProtocol, path_ +
                                          " does not say that this server is retired, as it "
                                          "should if it is there");
  }
  follow({State::kRetired, fencing_token}, 0);
  return {};
}

void AdmissionControl::follow(const Admission& admission, Nanoseconds frozen_until) {
  frozen_until_ = frozen_until;
  fencing_token_.store(admission.fencing_token, std::memory_order_relaxed);
  // Release: pairs with the acquire in state().
  state_.store(admission.state, std::memory_order_release);
}

Status AdmissionControl::obey(const AdmissionOrder& order, Nanoseconds now) {
  Admission before{state(), fencing_token()};
  if (has_lapsed(now)) {
    const auto lapsed = transition(before, {AdmissionAction::kLapse, before.fencing_token, 0});
    if (!lapsed) return fail(lapsed.error());
    before = *lapsed;
  }
  const auto next = transition(before, order);
  if (!next) return fail(next.error());
  if (!path_.empty() && next->state != before.state) {
    if (next->state == State::kRetired) {
      const std::string text =
          std::string(kRetiredWord) + " " + std::to_string(next->fencing_token) + "\n";
      if (auto ok = write_durably(path_, text); !ok) {
        // It may be there nevertheless, and would be believed at the next start.
        [[maybe_unused]] const Status removed = remove_durably(path_);
        return ok;
      }
    } else if (before.state == State::kRetired) {
      if (auto ok = remove_durably(path_); !ok) return ok;
    }
  }
  follow(*next, now + static_cast<Nanoseconds>(order.freeze_ns));
  return {};
}

Status AdmissionControl::admit(std::uint64_t fencing_token, Nanoseconds now) const {
  switch (state()) {
    case State::kServing:
      if (fencing_token == 0) return {};
      return fail(ErrorCode::kConflict, "this connection does not fill this server any more");
    case State::kFilling:
      if (fencing_token != 0 && fencing_token == this->fencing_token()) return {};
      if (fencing_token == 0) {
        return fail(ErrorCode::kMoved,
                    "this server is being filled: it takes writes when it is complete");
      }
      return fail(ErrorCode::kConflict, "another connection fills this server now");
    case State::kFrozen:
      if (fencing_token == 0 && has_lapsed(now)) return {};
      return fail(ErrorCode::kMoved,
                  "this server is about to hand over what it holds: write again a little later");
    case State::kRetired:
      break;
  }
  return fail(retired_error());
}

}  // namespace silurus::server
