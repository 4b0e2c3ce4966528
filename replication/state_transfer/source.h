// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "replication/state_transfer/limits.h"
#include "replication/state_transfer/wire.h"
#include "rtree/tree.h"
#include "transport/fabric.h"

namespace silurus::replication {

/// A version of a tree, and what the log says of it; or the tree of a bulk load, which is in no
/// version yet.
template <int D>
struct PinnedTree {
  std::optional<rtree::Snapshot<D>> tree;  ///< nothing: it is a bulk load's
  LogPosition log;                         ///< the first record that is not in it
  Stamp stamp = 0;
  group::Epoch epoch = 0;                  ///< in which the source is
  std::vector<std::byte> extra;            ///< what else belongs to it: a MachineState, encoded
  const rtree::Tree<D>* around = nullptr;  ///< the tree beside which a bulk load's tree lies
  rtree::NodeRef load_root = {};           ///< root of the bulk load's tree

  rtree::NodeRef root() const { return tree ? tree->root().ref : load_root; }
  const rtree::Node<D>& node(rtree::NodeRef ref) const {
    return tree ? tree->node(ref) : around->batch_node(ref);
  }
};

struct TransferSourceCounters {
  std::uint64_t copies = 0;    ///< begun, of a version
  std::uint64_t loads = 0;     ///< begun, of a bulk load's tree
  std::uint64_t messages = 0;  ///< taken from receivers
  std::uint64_t nodes = 0;     ///< sent by message
};

/// Lets other members copy the tree: a listener hands their connections to it. Holds a version for
/// each receiver that asks for one, until that has gone, or has taken too long. The slabs of the
/// tree must be exposed at the listener, in order, if its fabric has one-sided reads. One thread,
/// that of the listener's poller; it has left its listener before it ends.
///
///   TransferSource<2> source(group, {.first_region = links.regions()}, [&] { return hold(); });
///   links.admit(kTransferMagic, &source);
template <int D>
class TransferSource final : public transport::AcceptHandler {
 public:
  struct Options {
    std::uint32_t first_region = 0;  ///< the number of slab 0
    Nanoseconds longest = kLongestTransfer;
  };
  /// The newest version, pinned; kUnavailable if this member is no source now.
  using Hold = std::function<Result<PinnedTree<D>>()>;
  /// The tree of the bulk load with that id.
  using HoldLoad = std::function<Result<PinnedTree<D>>(std::uint64_t id)>;
  TransferSource(group::GroupId group, const Options& options, Hold hold, HoldLoad hold_load = {});
  ~TransferSource() override;

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                          const transport::Caller&) override;
  void on_accept(std::unique_ptr<transport::Connection> connection,
                 transport::Poller& poller) override;
  /// Frees what has ended, ends what took too long. To be called now and then.
  void tick(Nanoseconds now);
  /// Number of versions held just now, without those of bulk loads.
  std::size_t holds() const;
  /// The first record of the log that is in none of them; nothing: none is held.
  std::optional<Lsn> oldest() const;
  /// Ends all transfers: what they hold is needed.
  void let_go();
  const TransferSourceCounters& counters() const { return counters_; }

 private:
  class Peer;
  const group::GroupId group_;
  const Options options_;
  const Hold hold_;
  const HoldLoad hold_load_;
  std::vector<std::unique_ptr<Peer>> peers_;
  TransferSourceCounters counters_;
};

}  // namespace silurus::replication
