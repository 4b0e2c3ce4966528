// SPDX-License-Identifier: Apache-2.0

#include "server/keeper/restart_policy.h"

#include <signal.h>
#include <string.h>

#include <algorithm>

namespace silurus::server::keeper {
namespace {

constexpr int kCannotServe = 1;
constexpr int kWrongUsage = 2;

}  // namespace

Verdict RestartPolicy::on_end(const LifeEnd& end) {
  const int status = end.signal != 0 ? kCannotServe : end.exit_status;
  if (status == 0 || status == kWrongUsage) return {.exit_status = status};
  any_was_ready_ = any_was_ready_ || end.was_ready;
  if (end.was_asked) return {.restarts = true};
  if (!any_was_ready_) return {.exit_status = status};
  if (end.was_ready && end.ready_for >= kSettledAfter) failures_ = 0;
  if (++failures_ > kMostFailures) return {.exit_status = status};
  Verdict verdict{.restarts = true};
  verdict.lets_go = !end.was_ready && end.signal == SIGKILL && !end.has_hung_in_start;
  if (failures_ > 1) {
    verdict.pause = std::min(kFirstPause << (failures_ - 2), kLongestPause);
  }
  return verdict;
}

std::string to_string(const LifeEnd& end) {
  if (end.signal == 0) return "ended with status " + std::to_string(end.exit_status);
  const char* const name = sigabbrev_np(end.signal);
  return "died of " +
         (name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(end.signal));
}

}  // namespace silurus::server::keeper
