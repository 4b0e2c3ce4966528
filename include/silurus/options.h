#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "silurus/policy.h"
#include "silurus/time.h"
#include "silurus/types.h"
#include "silurus/wait.h"

namespace silurus {

/// How searches are run. Writes always go by message.
enum class Mode : std::uint8_t {
  kMessaging = 0,
  kOffload = 1,   ///< by one-sided reads; an error at connect() where there are none
  kAdaptive = 2,  ///< whichever the policy finds better; messaging where there is nothing to choose
};

/// Of one-sided traversal.
struct OffloadOptions {
  std::size_t cache_bytes = std::size_t{64} << 20;  ///< for inner nodes
  std::uint32_t slots = 256;                        ///< nodes being read at once, by all searches
  std::uint32_t nearest_width = 2;                  ///< ... by one nearest search
  std::uint32_t max_restarts = 4;  ///< of one search, before it goes by message instead
  /// A search may be answered from a version of the tree that was current this long before the
  /// call, which saves it a look at the root. 0: never, every answer is current.
  Nanoseconds max_staleness = 0;
  /// Of every node read: a test of the time lease, not a need. Those of searches that take an
  /// eighth of the lease or more, and of old versions, are verified always.
  bool verify_checksums = false;
};

/// How a window is searched.
struct RangeOptions {
  Predicate predicate = Predicate::kIntersects;
  ResultShape shape = ResultShape::kIds;
  std::uint64_t limit = UINT64_MAX;  ///< entries found at most; which ones is unspecified
  Moment as_of = 0;                  ///< an older version that the server keeps; 0: the current one
};

/// Which member of a group answers searches.
enum class ReadFrom : std::uint8_t {
  kPrimary = 0,  ///< what it answers is the newest: reads and writes are linearizable
  kAny = 1,      ///< any that is fresh enough, by how busy they are; writes go to the primary
};

/// Of searches that any member may answer: what is not kept to is asked of the primary instead.
struct ReadOptions {
  ReadFrom from = ReadFrom::kPrimary;
  /// The answer's version had been superseded for no longer than this when the answer was here.
  Nanoseconds max_staleness = kSecond;
  /// ... and by no more versions than so many, of those that the primary's heartbeats have told of.
  std::uint64_t max_versions_behind = UINT64_MAX;
  /// No answer is of an older version than any that had come before the search began.
  bool monotonic = true;
};

struct ClientOptions {
  Mode mode = Mode::kAdaptive;
  PolicyKind policy = PolicyKind::kCost;  ///< of the adaptive mode
  /// Instead of one of its own (make_policy()). Clients of one server that are driven by one thread
  /// do well to share one: what any of them does itself keeps the others waiting, which none can
  /// learn alone. Never by clients of several threads.
  std::shared_ptr<AccessPolicy> shared_policy = nullptr;
  Nanoseconds deadline = 10 * kSecond;  ///< of each operation, but for those of `patience`
  /// Operations that may rightly take long (steps of a bulk load, history, differences, backups,
  /// orders of a replacement) have no deadline: they end when the server has shown no sign of life,
  /// message or heartbeat, for so long.
  Nanoseconds patience = 10 * kSecond;
  Nanoseconds connect_timeout = 5 * kSecond;  ///< of connecting, and of each request to etcd
  /// When the connection is lost, or the server is no longer the primary, another one is looked for
  /// for so long, with pauses, before what is under way fails. 0: never; the client stays
  /// disconnected.
  Nanoseconds reconnect_for = 5 * kSecond;
  /// A member of a group that leaves us without answer and heartbeat for so long is given up: it
  /// may be cut off. If it turns out to be the primary still, it gets twice the time at each such
  /// turn, 16 times at most.
  Nanoseconds silence = kSecond;
  ReadOptions read = {};
  /// False: stays with the one server that is named, whatever it is in its group: for what that one
  /// says of itself. What only a primary does then fails.
  bool follow_primary = true;
  std::uint64_t seed = 1;  ///< of the policy's dice
  /// Names this client to the servers, which remember its writes under it (each happens once,
  /// however often it is sent). 0: Client draws one; a ClientCore without a Client has none.
  std::uint64_t client_id = 0;
  OffloadOptions offload = {};
  WaitOptions wait = {};  ///< how blocking calls wait
};

}  // namespace silurus
