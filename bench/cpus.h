// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <vector>

#include "common/result.h"

namespace silurus::bench {

/// The processors that this process may run on, in order.
std::vector<int> allowed_cpus();
/// Keeps the calling thread on one processor.
void pin_this_thread(int cpu);
/// CPU time that the calling thread has used.
double thread_cpu_seconds();

/// Nanoseconds of a bare round trip through shared memory between two threads that spin on two
/// processors, one cache line each way: what no service over shared memory can beat. The median of
/// many; kUnsupported with only one processor, since the threads would then wait for the scheduler.
Result<double> bare_round_trip_ns(int cpu, int other_cpu);

}  // namespace silurus::bench
