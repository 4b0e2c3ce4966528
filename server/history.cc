// SPDX-License-Identifier: Apache-2.0

#include "server/history.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/units.h"

namespace silurus::server {

using replication::HybridClock;

template <int D>
void History<D>::add(const rtree::Tree<D>& tree, replication::Stamp stamp) {
  const std::int64_t unix_ns = options_.unix_ns();
  watch(stamp, unix_ns);
  if (!enabled()) return;
  const Nanoseconds now = options_.now();
  rtree::Snapshot<D> snapshot = tree.snapshot();
  const std::lock_guard lock(mutex_);
  if (!versions_.empty() && versions_.back().snapshot.version() == snapshot.version()) {
    return trim(now);
  }
  if (!versions_.empty()) versions_.back().until = snapshot.version();
  versions_.push_back({std::move(snapshot), stamp, published_at(stamp, unix_ns, now)});
  trim(now);
}

template <int D>
void History<D>::trim() {
  const Nanoseconds now = options_.now();
  const std::lock_guard lock(mutex_);
  trim(now);
}

template <int D>
void History<D>::limit(std::span<History* const> histories, std::uint64_t retained_bytes) {
  History* of_oldest = nullptr;
  std::optional<Nanoseconds> oldest;
  for (History* const one : histories) {
    if (retained_bytes <= one->options_.retained_bytes) return;
    const auto since = one->oldest();
    if (!since || (oldest && *oldest <= *since)) continue;
    oldest = since;
    of_oldest = one;
  }
  if (of_oldest != nullptr) of_oldest->forget_oldest();
}

/// When the oldest version was published that is not the newest one; of a tree without such, none.
template <int D>
std::optional<Nanoseconds> History<D>::oldest() const {
  const std::lock_guard lock(mutex_);
  return versions_.size() > 1 ? std::optional(versions_.front().since) : std::nullopt;
}

template <int D>
void History<D>::forget_oldest() {
  const std::lock_guard lock(mutex_);
  for (std::size_t excess = (versions_.size() + 3) / 4; excess > 0 && versions_.size() > 1;
       --excess) {
    versions_.pop_front();
  }
}

template <int D>
void History<D>::watch(replication::Stamp stamp, std::int64_t unix_ns) {
  const std::int64_t lead = HybridClock::lead_ns(stamp, unix_ns);
  const bool is_ahead = lead > HybridClock::kMaxSkewNs;
  if (is_ahead == is_ahead_) return;
  is_ahead_ = is_ahead;
  if (is_ahead) {
    log::warning("the time of day is " + format_duration(lead) +
                 " behind the stamp of the last version: it fell back, or another member's clock "
                 "is ahead; versions keep their order; check the clocks (timedatectl)");
  } else {
    log::info("the time of day has caught up with the stamps of versions");
  }
}

/// When a version was published, on our clock that never jumps. Never before an older version.
template <int D>
Nanoseconds History<D>::published_at(replication::Stamp stamp, std::int64_t unix_ns,
                                     Nanoseconds now) const {
  const Nanoseconds ago = std::max<Nanoseconds>(unix_ns - HybridClock::to_unix_ns(stamp), 0);
  if (versions_.empty()) return now - ago;
  const bool is_believed = ago <= HybridClock::kMaxSkewNs;
  return std::max(versions_.back().since, is_believed ? now - ago : now);
}

template <int D>
void History<D>::trim(Nanoseconds now) {
  // A version was current until the next one came.
  while (versions_.size() > 1 && versions_[1].since < now - options_.age) versions_.pop_front();
  if (versions_.size() > options_.versions) thin_out();
}

/// Leaves at most half + a quarter + 2 versions: so this is done once in nearly a quarter of their
/// number of publications.
template <int D>
void History<D>::thin_out() {
  const std::size_t older = versions_.size() - options_.versions / 2;
  const Nanoseconds apart = options_.age / static_cast<Nanoseconds>(options_.versions / 4);
  std::deque<Version> retained;
  for (std::size_t i = 0; i < versions_.size(); ++i) {
    if (i >= older || retained.empty() || versions_[i].since - retained.back().since >= apart) {
      retained.push_back(std::move(versions_[i]));
    }
  }
  versions_ = std::move(retained);
}

/// Whether the tree was as it was retained when that version, not older, was the newest of all
/// trees.
template <int D>
bool History<D>::covers(const Version& retained, rtree::Version version) const {
  if (retained.snapshot.version() == version) return true;
  if (retained.until != 0) return version < retained.until;
  return options_.covers && options_.covers(version, retained.snapshot.version());
}

template <int D>
Result<rtree::Snapshot<D>> History<D>::at(Moment moment) const {
  if (!enabled()) {
    return fail(ErrorCode::kNotFound,
                "this server keeps no old versions: start it with --retain TIME");
  }
  const std::lock_guard lock(mutex_);
  const auto describe = [&](const char* what) {
    std::string text = std::string(what) + " is not kept: ";
    if (versions_.empty()) return text + "nothing is";
    return text + "of versions " + std::to_string(versions_.front().snapshot.version()) + " to " +
           std::to_string(versions_.back().snapshot.version()) + " " +
           std::to_string(versions_.size()) + " are (silurus history lists them)";
  };
  if (moment < kFirstStamp) {
    const auto after = std::upper_bound(versions_.begin(), versions_.end(), moment,
                                        [](rtree::Version version, const Version& retained) {
                                          return version < retained.snapshot.version();
                                        });
    if (after != versions_.begin() && covers(*std::prev(after), moment)) {
      return std::prev(after)->snapshot.duplicate();
    }
    return fail(ErrorCode::kNotFound, describe(("version " + std::to_string(moment)).c_str()));
  }
  const Nanoseconds ago = options_.unix_ns() - HybridClock::to_unix_ns(moment);
  const Nanoseconds then = options_.now() - ago;
  const auto after =
      std::upper_bound(versions_.begin(), versions_.end(), then,
                       [](Nanoseconds at, const Version& retained) { return at < retained.since; });
  if (after == versions_.begin()) {
    return fail(ErrorCode::kNotFound, describe("the version of that time"));
  }
  return std::prev(after)->snapshot.duplicate();
}

template <int D>
std::vector<typename History<D>::Kept> History<D>::list() const {
  const std::int64_t unix_ns = options_.unix_ns();
  const Nanoseconds now = options_.now();
  const std::lock_guard lock(mutex_);
  std::vector<Kept> list;
  for (const Version& retained : versions_) {
    list.push_back(
        {retained.snapshot.version(), unix_ns - (now - retained.since), retained.snapshot.size()});
  }
  return list;
}

template <int D>
replication::Stamp History<D>::stamp() const {
  const std::lock_guard lock(mutex_);
  return versions_.empty() ? 0 : versions_.back().stamp;
}

template class History<2>;
template class History<3>;

}  // namespace silurus::server
