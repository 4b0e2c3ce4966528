#include "server/history.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace silurus::server {

std::int64_t system_unix_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

template <int D>
void History<D>::add(const rtree::Tree<D>& tree, replication::Stamp stamp) {
  if (!enabled()) return;
  rtree::Snapshot<D> snapshot = tree.snapshot();
  const std::lock_guard lock(mutex_);
  if (!versions_.empty() && versions_.back().snapshot.version() == snapshot.version()) return;
  versions_.push_back({std::move(snapshot), stamp});
  trim(stamp, tree.stats().bytes_held);
}

template <int D>
void History<D>::trim(replication::Stamp now, std::uint64_t held_bytes) {
  const std::int64_t oldest = replication::HybridClock::to_unix_ns(now) - options_.age;
  // A version was current until the next one came.
  while (versions_.size() > 1 &&
         replication::HybridClock::to_unix_ns(versions_[1].stamp) < oldest) {
    versions_.pop_front();
  }
  if (held_bytes > options_.held_bytes) {
    // What that gives back shows after the writer's next look.
    for (std::size_t excess = (versions_.size() + 3) / 4; excess > 0 && versions_.size() > 1;
         --excess) {
      versions_.pop_front();
    }
  }
  if (versions_.size() > options_.versions) thin_out();
}

/// Leaves at most half + a quarter + 2 versions: so this is done once in nearly a quarter of their
/// number of publications.
template <int D>
void History<D>::thin_out() {
  const std::size_t older = versions_.size() - options_.versions / 2;
  const Nanoseconds apart = options_.age / static_cast<Nanoseconds>(options_.versions / 4);
  std::deque<Version> kept;
  for (std::size_t i = 0; i < versions_.size(); ++i) {
    const auto time_of = [](const Version& version) {
      return replication::HybridClock::to_unix_ns(version.stamp);
    };
    if (i >= older || kept.empty() || time_of(versions_[i]) - time_of(kept.back()) >= apart) {
      kept.push_back(std::move(versions_[i]));
    }
  }
  versions_ = std::move(kept);
}

template <int D>
Result<rtree::Snapshot<D>> History<D>::at(protocol::Moment moment) const {
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
  if (moment < protocol::kFirstStamp) {
    const auto found = std::lower_bound(versions_.begin(), versions_.end(), moment,
                                        [](const Version& kept, rtree::Version version) {
                                          return kept.snapshot.version() < version;
                                        });
    if (found != versions_.end() && found->snapshot.version() == moment) {
      return found->snapshot.duplicate();
    }
    return fail(ErrorCode::kNotFound, describe(("version " + std::to_string(moment)).c_str()));
  }
  const auto after = std::upper_bound(
      versions_.begin(), versions_.end(), moment,
      [](replication::Stamp stamp, const Version& kept) { return stamp < kept.stamp; });
  if (after == versions_.begin()) {
    return fail(ErrorCode::kNotFound, describe("the version of that time"));
  }
  return std::prev(after)->snapshot.duplicate();
}

template <int D>
std::vector<typename History<D>::Kept> History<D>::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<Kept> list;
  for (const Version& kept : versions_) {
    list.push_back({kept.snapshot.version(), kept.stamp, kept.snapshot.size()});
  }
  return list;
}

template class History<2>;
template class History<3>;

}  // namespace silurus::server
