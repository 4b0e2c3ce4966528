// SPDX-License-Identifier: Apache-2.0

#include "replication/group/loaded_runs.h"

#include <string>
#include <utility>

#include "common/check.h"

namespace silurus::replication::group {

template <int D>
LoadedRuns<D>::LoadedRuns(rtree::Tree<D>& tree, std::vector<LoadPayload> kept) : tree_(tree) {
  for (const LoadPayload& load : kept) runs_.emplace(load.id, One{load, true, false, true});
}

template <int D>
Result<bool> LoadedRuns<D>::reserve(const LoadPayload& load) {
  const auto reserved = tree_.reserve_run(run_of(load));
  if (reserved && *reserved) runs_.emplace(load.id, One{load, false, false, false});
  return reserved;
}

template <int D>
void LoadedRuns<D>::keep(std::uint64_t id) {
  const auto one = runs_.find(id);
  SILURUS_CHECK(one != runs_.end() && !one->second.is_whole);
  one->second.is_whole = true;
  if (one->second.is_dropped) drop(one);
}

template <int D>
void LoadedRuns<D>::give_up(std::uint64_t id) {
  const auto one = runs_.find(id);
  SILURUS_CHECK(one != runs_.end() && !one->second.is_whole);
  one->second.is_whole = true;  // nothing is written there any more
  drop(one);
}

template <int D>
typename std::map<std::uint64_t, typename LoadedRuns<D>::One>::iterator LoadedRuns<D>::drop(
    typename std::map<std::uint64_t, One>::iterator one) {
  if (!one->second.is_whole) {
    one->second.is_dropped = true;
    return std::next(one);
  }
  tree_.release_run(run_of(one->second.load));
  return runs_.erase(one);
}

template <int D>
void LoadedRuns<D>::drop(std::uint64_t id) {
  if (const auto one = runs_.find(id); one != runs_.end()) drop(one);
}

template <int D>
void LoadedRuns<D>::drop_stale() {
  for (auto one = runs_.begin(); one != runs_.end();) {
    one = one->second.load.version < tree_.next_version() ? drop(one) : std::next(one);
  }
}

template <int D>
void LoadedRuns<D>::drop_others(const LoadPayload& load) {
  for (auto one = runs_.begin(); one != runs_.end();) {
    const bool is_other =
        one->first != load.id && !one->second.is_logged && one->second.load.version <= load.version;
    one = is_other ? drop(one) : std::next(one);
  }
}

template <int D>
bool LoadedRuns<D>::has(std::uint64_t id) const {
  const auto one = runs_.find(id);
  return one != runs_.end() && !one->second.is_dropped;
}

template <int D>
bool LoadedRuns<D>::is_whole(std::uint64_t id) const {
  const auto one = runs_.find(id);
  return one != runs_.end() && one->second.is_whole;
}

template <int D>
Status LoadedRuns<D>::adopt(const LoadPayload& load) {
  if (!is_whole(load.id)) {
    return fail(ErrorCode::kNotFound, "the nodes of the bulk load of version " +
                                          std::to_string(load.version) + " are not here");
  }
  if (Status adopted = tree_.adopt_run(run_of(load)); !adopted) return adopted;
  runs_.erase(load.id);
  return {};
}

template class LoadedRuns<2>;
template class LoadedRuns<3>;

}  // namespace silurus::replication::group
