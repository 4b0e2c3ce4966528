// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "common/result.h"
#include "replication/record.h"
#include "rtree/tree.h"

namespace silurus::replication::group {

/// The trees of bulk loads that a member has, or gets, in runs of chunks beside the tree that is
/// published: until a record of the log makes one of them the tree (RecordType::kLoad), or it is of
/// no use any more, since another version has come instead. The thread of the tree's writer; the
/// nodes of a run are another thread's between reserve() and keep() or give_up().
template <int D>
class LoadedRuns {
 public:
  /// `kept`: those that are whole already (Store::OpenedMember::loads).
  LoadedRuns(rtree::Tree<D>& tree, std::vector<LoadPayload> kept);
  LoadedRuns(const LoadedRuns&) = delete;

  /// One step of making room for the nodes of a load, see Tree::reserve_run(); true: they may come.
  Result<bool> reserve(const LoadPayload& load);
  /// They are there, and durable.
  void keep(std::uint64_t id);
  /// They will not come: the copy that brought them has ended.
  void give_up(std::uint64_t id);
  /// A load is not needed any more. One whose nodes are on their way goes with give_up() or keep().
  void drop(std::uint64_t id);
  /// The same of all that can't be the next version, nor one that comes later.
  void drop_stale();
  /// The same of all that were offered for the same version as another one, or an earlier one; but
  /// of none that was there from the beginning: the log has its record already, behind this offer.
  void drop_others(const LoadPayload& load);

  /// Whether its nodes are there, and durable, or on their way.
  bool has(std::uint64_t id) const;
  bool is_whole(std::uint64_t id) const;
  /// Root of a load that is here.
  rtree::NodeRef root(std::uint64_t id) const { return run_of(runs_.at(id).load).root(); }
  /// Makes a load the tree's batch, which is then published. kNotFound if it is not whole;
  /// kConflict: see Tree::adopt_run().
  Status adopt(const LoadPayload& load);

 private:
  struct One {
    LoadPayload load;
    bool is_whole;
    bool is_dropped;
    bool is_logged;  ///< RecordType::kLoad, when this member started
  };
  typename std::map<std::uint64_t, One>::iterator drop(
      typename std::map<std::uint64_t, One>::iterator one);

  rtree::Tree<D>& tree_;
  std::map<std::uint64_t, One> runs_;  ///< by id; all of them reserved
};

}  // namespace silurus::replication::group
