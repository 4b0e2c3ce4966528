// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "silurus/policy.h"
#include "silurus/time.h"
#include "silurus/types.h"
#include "silurus/wait.h"

namespace silurus {

/// How searches are run, and entries read by their ids. Writes always go by message.
enum class Mode : std::uint8_t {
  kMessaging = 0,
  kOffload = 1,   ///< by one-sided reads; an error at connect() where there are none
  kAdaptive = 2,  ///< whichever the policy finds better; messaging where there is nothing to choose
};

/// Options of one-sided traversal.
struct OffloadOptions {
  std::size_t cache_bytes = std::size_t{64} << 20;  ///< size of the cache of inner nodes
  std::uint32_t slots = 256;                        ///< nodes being read at once, by all searches
  std::uint32_t nearest_width = 2;                  ///< nodes being read by one nearest search
  std::uint32_t max_restarts = 4;  ///< restarts of a search before it is sent as a message
  /// A search may be answered from a version of the tree that was current this long before the
  /// call, which saves it a look at the root. 0: never, every answer is current.
  Nanoseconds max_staleness = 0;
  /// Whether the checksum of every node is verified: a test of the time lease, not a need. Nodes of
  /// searches that take an eighth of the lease or more, and of old versions, are verified always.
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

/// Bounds of searches that any member may answer. A search for which no member keeps them goes to
/// the primary.
struct ReadOptions {
  ReadFrom from = ReadFrom::kPrimary;
  /// The answer's version had been superseded for no longer than this when the answer was here.
  Nanoseconds max_staleness = kSecond;
  /// Most versions that an answer may be behind the newest one that the primary has announced.
  std::uint64_t max_versions_behind = UINT64_MAX;
  /// No answer is of an older version than any that had come before the search began.
  bool monotonic = true;
};

struct ClientOptions {
  /// Collection of the server that all operations are for; empty: the default one.
  std::string collection = {};
  Mode mode = Mode::kAdaptive;
  PolicyKind policy = PolicyKind::kCost;  ///< how the adaptive mode decides
  /// A policy to share, instead of one of its own (make_policy()). Clients of one server that run
  /// on one thread should share one: a search that one of them offloads delays the others, which a
  /// policy of one client cannot observe. Clients of several threads must not share one.
  std::shared_ptr<AccessPolicy> shared_policy = nullptr;
  Nanoseconds deadline = 10 * kSecond;  ///< for each operation without `patience`
  /// Operations that may rightly take long (steps of a bulk load, history, differences, backups,
  /// orders of a replacement) have no deadline. They end after this time without a sign of life of
  /// the server, be it a message or a heartbeat.
  Nanoseconds patience = 10 * kSecond;
  Nanoseconds connect_timeout = 5 * kSecond;  ///< for connecting, and each request to etcd
  /// Time in which another server is looked for, with pauses, after the connection is lost or the
  /// server is no longer the primary; then what is under way fails. 0: none; the client stays
  /// disconnected.
  Nanoseconds reconnect_for = 5 * kSecond;
  /// Time without answer and heartbeat after which a member of a group is given up: it may be cut
  /// off. If it turns out to be the primary still, it gets twice the time at each such
  /// turn, 16 times at most.
  Nanoseconds silence = kSecond;
  ReadOptions read = {};
  /// False: the client stays with the server that is named, whatever its role is, to ask it about
  /// itself. Operations that only a primary does then fail.
  bool follow_primary = true;
  std::uint64_t seed = 1;  ///< for the policy's random numbers
  /// Names this client to the servers, which remember its writes under it (each happens once,
  /// however often it is sent). 0: Client draws one; a ClientCore without a Client has none.
  std::uint64_t client_id = 0;
  OffloadOptions offload = {};
  WaitOptions wait = {};  ///< how blocking calls wait
};

}  // namespace silurus
