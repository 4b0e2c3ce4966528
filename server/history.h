// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "replication/hybrid_clock.h"
#include "rtree/tree.h"
#include "server/limits.h"
#include "server/time_of_day.h"

namespace silurus::server {

struct HistoryOptions {
  Nanoseconds age = 0;  ///< how far back the tree can be asked; 0: only the current version
  std::size_t versions =
      kDefaultRetainVersions;  ///< how many are retained at most; at least kMinRetainVersions
  std::uint64_t retained_bytes = UINT64_MAX;  ///< bytes of nodes that only old versions have;
                                              ///< above, the oldest go
  /// Time for which a version is held for a client that reads it one-sidedly.
  Nanoseconds hold_lease = kDefaultHoldLease;
  /// The time of day, for stamps of versions where there is no log that stamps them, and for times
  /// that are asked for. It may jump.
  std::function<std::int64_t()> unix_ns = system_unix_ns;
  /// Whether that version was the newest of all trees of the server when this tree's newest one was
  /// `current`; empty: where there is one tree.
  std::function<bool(rtree::Version version, rtree::Version current)> covers = {};
  /// A clock that never jumps, for how long ago something was.
  std::function<Nanoseconds()> now = [clock = SystemClock()] { return clock.now(); };
};

/// The versions of a tree that can still be asked, each with its time. Versions that were current
/// within the last `age` are retained. If those are more than `versions`, the newest half of that
/// number is retained whole, and of those before at least one for every four `versions`-ths of
/// `age`: what is recent is exact, what is old is coarse.
///
/// How long ago a version was published is counted on a clock that never jumps, so whatever the
/// time of day does neither drops versions nor has the wrong one found: a time that is asked for is
/// as long ago as the time of day now says. Stamps are believed as times within
/// HybridClock::kMaxSkewNs only, but for that of the first version, which may be from an earlier
/// life of the server.
template <int D>
class History {
 public:
  explicit History(const HistoryOptions& options) : options_(options) {}

  struct Kept {
    rtree::Version version;
    std::int64_t unix_ns;  ///< when it was published, as the time of day is now
    std::uint64_t entries;
  };

  /// The version that was just published, with that stamp. Only the holder of the writer's role: it
  /// is here that old versions are released (see Snapshot::duplicate). Warns, once each time it
  /// happens, if the stamp is far ahead of the time of day; where nothing is retained, that is all.
  void add(const rtree::Tree<D>& tree, replication::Stamp stamp);
  /// Releases what has become too old, though nothing is added.
  void trim();
  /// Releases versions, a quarter of those of the tree that has the oldest one, if old versions of
  /// all these trees hold more than HistoryOptions::retained_bytes. What that gives back shows
  /// after the writer's next look. All three are for the holder of the writer's role.
  static void limit(std::span<History* const> histories, std::uint64_t retained_bytes);
  bool enabled() const { return options_.age > 0; }
  Nanoseconds hold_lease() const { return options_.hold_lease; }
  std::int64_t unix_ns() const { return options_.unix_ns(); }

  // --- any thread
  /// The version of that number (or, of a server of several trees, this tree as that version of
  /// another one left it), or the newest one retained that is not after that time. kNotFound says
  /// what is retained.
  Result<rtree::Snapshot<D>> at(Moment moment) const;
  /// Stamp of the version added last; 0: none is retained.
  replication::Stamp stamp() const;
  /// Oldest first.
  std::vector<Kept> list() const;

 private:
  struct Version {
    rtree::Snapshot<D> snapshot;
    replication::Stamp stamp;
    Nanoseconds since;         ///< when it was published, on the clock that never jumps
    rtree::Version until = 0;  ///< the version of this tree that came next; 0: none yet
  };
  void watch(replication::Stamp stamp, std::int64_t unix_ns);
  Nanoseconds published_at(replication::Stamp stamp, std::int64_t unix_ns, Nanoseconds now) const;
  bool covers(const Version& retained, rtree::Version version) const;
  void thin_out();
  void trim(Nanoseconds now);
  std::optional<Nanoseconds> oldest() const;
  void forget_oldest();

  const HistoryOptions options_;
  bool is_ahead_ = false;  ///< the last stamp was far ahead of the time of day; the writer's
  mutable std::mutex mutex_;
  std::deque<Version> versions_;
};

}  // namespace silurus::server
