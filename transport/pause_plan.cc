// SPDX-License-Identifier: Apache-2.0

#include "transport/pause_plan.h"

#include <algorithm>

namespace silurus::transport {
namespace {

constexpr double kKept = 0.875;  ///< share that earlier cycles' figures keep in each cycle

}  // namespace

std::optional<Nanoseconds> PausePlan::next(Nanoseconds busy) {
  work_ = kKept * work_ + static_cast<double>(busy);
  span_ = kKept * span_ + static_cast<double>(busy + last_);
  last_ = 0;
  fruitless_ = busy == 0 ? fruitless_ + 1 : 0;
  if (fruitless_ > options_.idle_pauses) return {};
  const double share = load();
  const double longest = static_cast<double>(options_.most);
  double pause = longest;
  if (share > 0) {
    pause = static_cast<double>(options_.least) + cost_ / (options_.overhead * share);
  }
  pause = std::min(pause, longest);
  if (pause < longest) fruitless_ = 0;
  return static_cast<Nanoseconds>(pause);
}

void PausePlan::cost(Nanoseconds cpu_time) {
  cost_ = kKept * cost_ + (1 - kKept) * kWithColdCaches * static_cast<double>(cpu_time);
}

}  // namespace silurus::transport
