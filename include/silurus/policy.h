// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "silurus/api.h"
#include "silurus/time.h"

// How a client decides, search by search, between sending it to the server and walking the tree
// itself. A policy is a pure function of what it is told: no clock, no socket, no tree; its dice
// are seeded. Not thread-safe.

namespace silurus {

/// The two ways of running a search.
enum class Access : std::uint8_t { kMessaging = 0, kOffload = 1 };

/// Number of classes that searches are put into, by their kind and size; what a class means
/// is the caller's affair (search_class(): by the size of the window, by k).
constexpr std::size_t kSearchClasses = 64;

/// How a search went.
struct SearchOutcome {
  std::uint8_t search_class = 0;  ///< below kSearchClasses
  Access access = Access::kMessaging;
  Nanoseconds latency = 0;       ///< from the call to the answer
  Nanoseconds completed_at = 0;  ///< by any steady clock
};

/// What a heartbeat said of the server.
struct ServerLoad {
  double cpu_busy = 0;       ///< its workers' busy share, 0 to 1
  std::uint32_t queued = 0;  ///< requests waiting
};

class SILURUS_API AccessPolicy {
 public:
  virtual ~AccessPolicy() = default;
  /// Decides about the next search.
  virtual Access choose(std::uint8_t search_class) = 0;
  /// Reports one that it had decided about.
  virtual void on_search(const SearchOutcome& outcome) = 0;
  /// A search that the policy had decided about taught nothing: it failed, or another server did it
  /// in the end.
  virtual void forget(Access) {}
  virtual void on_heartbeat(const ServerLoad& load) = 0;
};

/// By measured cost; or by one of two readings of the rule of the Catfish paper (client/policy.h).
enum class PolicyKind : std::uint8_t { kCost, kCatfish, kCatfishDoubling };

SILURUS_API std::unique_ptr<AccessPolicy> make_policy(PolicyKind kind, std::uint64_t seed);

}  // namespace silurus
