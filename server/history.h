#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "replication/hybrid_clock.h"
#include "rtree/tree.h"
#include "server/limits.h"

namespace silurus::server {

constexpr std::uint64_t kMinRetainVersions = 8;

/// Unix time in nanoseconds, as this machine has it.
std::int64_t system_unix_ns();

struct HistoryOptions {
  Nanoseconds age = 0;         ///< how far back the tree can be asked; 0: only the current version
  std::size_t versions = 256;  ///< how many are kept at most; at least kMinRetainVersions
  std::uint64_t held_bytes = UINT64_MAX;  ///< of nodes that only old versions have: beyond, the
                                          ///< oldest go
  Nanoseconds hold_lease = kDefaultHoldLease;  ///< of a client that reads one one-sidedly
  /// The time of day, for stamps of versions where there is no log that stamps them.
  std::function<std::int64_t()> unix_ns = system_unix_ns;
};

/// The versions of a tree that can still be asked, each with its time. Versions that were current
/// within the last `age` are kept. If those are more than `versions`, the newest half of that
/// number is kept whole, and of those before at least one for every four `versions`-ths of `age`:
/// what is recent is exact, what is old is coarse.
template <int D>
class History {
 public:
  explicit History(const HistoryOptions& options) : options_(options) {}

  struct Kept {
    rtree::Version version;
    replication::Stamp stamp;
    std::uint64_t entries;
  };

  /// The version that was just published, at that time. Only the holder of the writer's role: it is
  /// here that old versions are released (see Snapshot::duplicate).
  void add(const rtree::Tree<D>& tree, replication::Stamp stamp);
  bool enabled() const { return options_.age > 0; }
  Nanoseconds hold_lease() const { return options_.hold_lease; }
  std::int64_t unix_ns() const { return options_.unix_ns(); }

  // --- any thread
  /// The version of that number, or the newest one kept that is not after that time. kNotFound says
  /// what is kept.
  Result<rtree::Snapshot<D>> at(protocol::Moment moment) const;
  /// Oldest first.
  std::vector<Kept> list() const;

 private:
  struct Version {
    rtree::Snapshot<D> snapshot;
    replication::Stamp stamp;
  };
  void thin_out();
  void trim(replication::Stamp now, std::uint64_t held_bytes);

  const HistoryOptions options_;
  mutable std::mutex mutex_;
  std::deque<Version> versions_;
};

}  // namespace silurus::server
