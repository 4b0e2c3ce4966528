// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include "common/clock.h"
#include "common/counters.h"
#include "protocol/messages.h"

namespace silurus::server {

/// Types of requests, kAnswer (which is none) included, so that a type is an index.
constexpr std::size_t kRequestTypes = static_cast<std::size_t>(protocol::kLastMessageType) + 1;

/// What a worker counts; any thread may read.
struct WorkerCounters {
  std::array<Counter, kRequestTypes> requests;  ///< by MessageType
  Counter errors;                               ///< requests answered with an error
  Counter streams;                              ///< searches whose answers were streamed
  Counter disconnects;                          ///< clients that broke the protocol
  Counter idle_clients;                         ///< disconnected since they sent nothing
  Counter audited;     ///< audit lines of the log: which client had what done
  Counter idle_loads;  ///< bulk loads given up since nothing came
  Counter write_operations;
  Counter failed_operations;
  Counter sweeps;             ///< sweeps that found something
  SharedHistogram search_ns;  ///< time of the sweep that found a search and answered it
  SharedHistogram write_ns;   ///< from the arrival of a write to its answer
  std::atomic<Nanoseconds> busy_ns{0};
  std::atomic<std::size_t> sessions{0};
};

}  // namespace silurus::server
