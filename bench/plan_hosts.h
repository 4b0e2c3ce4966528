// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "bench/model.h"
#include "transport/sim/host.h"
#include "transport/sim/options.h"
#include "transport/sim/world.h"

// From a model file to the hosts and links of a simulated world.

namespace silurus::bench {

/// A cost of the measured machine, on a core of the model's.
inline Nanoseconds on_core(const PlanModel& model, double ns) {
  return static_cast<Nanoseconds>(ns / model.host.core_speed + 0.5);
}

/// A host with `cards` cards. `extra_read_ns`: what its code does for each read that has ended, on
/// top of the transport.
transport::sim::HostOptions host_options(const PlanModel& model, const PlanCosts& costs,
                                         double cards, double extra_read_ns);
transport::sim::LinkModel link_model(const PlanModel& model);
transport::sim::FabricOptions fabric_options(const PlanModel& model);

}  // namespace silurus::bench
