#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "replication/group/wire.h"
#include "replication/record.h"
#include "rtree/tree.h"
#include "transport/fabric.h"

// A copy of a member's tree for one whose log ends before the primary's begins: the nodes of one
// version, which the source holds meanwhile, read one by one without its processor (Tebis:
// Vardoulakis et al., "Tebis: Index shipping for efficient replication in LSM key-value stores",
// EuroSys 2022). Where there are no one-sided reads, nodes are asked for by message.

namespace silurus::replication::group {

/// A version of a tree, and what the log says of it; or the tree of a bulk load, which is in no
/// version yet.
template <int D>
struct PinnedTree {
  std::optional<rtree::Snapshot<D>> tree;  ///< nothing: it is a bulk load's
  LogPosition log;                         ///< the first record that is not in it
  Stamp stamp = 0;
  Epoch epoch = 0;                         ///< in which the source is
  std::vector<std::byte> extra;            ///< what else belongs to it: a MachineState, encoded
  const rtree::Tree<D>* around = nullptr;  ///< the tree beside which a bulk load's tree lies
  rtree::NodeRef load_root = {};           ///< root of the bulk load's tree

  rtree::NodeRef root() const { return tree ? tree->root().ref : load_root; }
  const rtree::Node<D>& node(rtree::NodeRef ref) const {
    return tree ? tree->node(ref) : around->batch_node(ref);
  }
};
/// The same without the tree, as a copier has it.
struct TreeFacts {
  rtree::NodeRef root;
  LogPosition log;
  Stamp stamp = 0;
  Epoch epoch = 0;
  std::vector<std::byte> extra;
};

/// What a copier's hello begins with.
constexpr std::uint32_t kTransferMagic = 0x544c4953;  // "SILT"
/// Copies under way from one source: of a bulk load's tree, all other members may be at once.
constexpr std::size_t kMaxTransfers = kMaxMembers - 1;
/// Greatest size of PinnedTree::extra.
constexpr std::size_t kMaxExtraBytes = std::size_t{64} << 20;
/// How long a source may take to accept a connection.
constexpr Nanoseconds kTransferDialTimeout = 2 * kSecond;
/// Nodes asked for in one message.
constexpr std::size_t kMaxAskedNodes = 16;

struct TransferSourceCounters {
  std::uint64_t copies = 0;    ///< begun, of a version
  std::uint64_t loads = 0;     ///< begun, of a bulk load's tree
  std::uint64_t messages = 0;  ///< taken from copiers
  std::uint64_t nodes = 0;     ///< sent by message
};

/// Lets others copy the tree: what a listener hands to. Holds a version for each one that connects
/// and asks, until that one has gone, or has taken too long. The slabs of the tree must be exposed
/// at the listener, in order, if its fabric has one-sided reads. One thread, that of the listener's
/// poller; it has left its listener before it ends.
///
///   TransferSource<2> source(group, {.first_region = links.regions()}, [&] { return hold_newest();
///   }); links.admit(kTransferMagic, &source);
template <int D>
class TransferSource final : public transport::AcceptHandler {
 public:
  struct Options {
    std::uint32_t first_region = 0;  ///< the number of slab 0
    /// Without end a copier that hangs would hold ever more retired memory.
    Nanoseconds longest = 600 * kSecond;
  };
  using Hold = std::function<Result<PinnedTree<D>>()>;
  /// The tree of the bulk load with that id.
  using HoldLoad = std::function<Result<PinnedTree<D>>(std::uint64_t id)>;
  TransferSource(GroupId group, const Options& options, Hold hold, HoldLoad hold_load = {});
  ~TransferSource() override;

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                          const transport::Caller&) override;
  void on_accept(std::unique_ptr<transport::Connection> connection,
                 transport::Poller& poller) override;
  /// Frees what has ended, ends what took too long. Now and then.
  void tick(Nanoseconds now);
  /// Versions held just now, those of no bulk load.
  std::size_t holds() const;
  /// The first record of the log that is in none of them; nothing: none is held.
  std::optional<Lsn> oldest() const;
  /// Ends all copies: what they hold is needed.
  void let_go();
  const TransferSourceCounters& counters() const { return counters_; }

 private:
  class Guest;
  const GroupId group_;
  const Options options_;
  const Hold hold_;
  const HoldLoad hold_load_;
  std::vector<std::unique_ptr<Guest>> guests_;
  TransferSourceCounters counters_;
};

/// Where the nodes of a copy go, each of them once, checked as Tree::restore() checks it: so a copy
/// that is whole can be restored. An error ends the copy.
template <int D>
using TakeNode = std::function<Status(rtree::NodeRef ref, const rtree::Node<D>& node)>;

/// A copy in memory, for Tree::restore.
template <int D>
class ReceivedTree final : public rtree::StoredNodes<D> {
 public:
  TreeFacts facts;

  Status take(rtree::NodeRef ref, const rtree::Node<D>& node);
  std::span<const std::byte> find(rtree::NodeRef ref) const override;

 private:
  std::deque<rtree::Node<D>> nodes_;
  std::unordered_map<rtree::NodeRef, std::size_t> places_;
};

struct TransferOptions {
  GroupId group = 0;
  Epoch epoch = 0;         ///< a source that knows of no view so late is behind
  Lsn at_least = 0;        ///< a version that has less of the log is of no use
  std::uint64_t load = 0;  ///< instead of a version: the tree of that bulk load
  /// Silence after which a source is given up.
  Nanoseconds patience = 10 * kSecond;
  std::size_t reads_in_flight = 64;
  std::optional<access::Key> key = {};  ///< key of the cluster
};

/// Takes one copy. Does its work within the poller's progress(); step() after it, and now and then
/// when nothing happens. One thread, that of the poller.
///
///   TransferReceiver<2> copier({.group = group}, *poller, [&](auto ref, auto& node) { ... });
///   auto connection = fabric.connect(address, {}, *poller, copier.hello(), copier);
///   copier.begin(std::move(*connection));
///   while (!copier.outcome()) { poller->progress(); copier.step(clock.now()); }
template <int D>
class TransferReceiver final : public transport::ConnectionHandler {
 public:
  TransferReceiver(const TransferOptions& options, transport::Poller& poller, TakeNode<D> take);
  ~TransferReceiver() override;

  /// What to say when connecting.
  std::span<const std::byte> hello() const;
  /// Allocates, and asks the source to hold a version.
  void begin(std::unique_ptr<transport::Connection> connection);
  void step(Nanoseconds now);
  /// Whether it has ended; the error says why in vain: kProtocol, kConnectionLost,
  /// kDeadlineExceeded, what the source said.
  const std::optional<Status>& outcome() const { return outcome_; }
  /// Whether the source holds a version for it: then but for `extra` the facts are known.
  bool is_held() const { return is_held_; }
  const TreeFacts& facts() const { return facts_; }
  /// Nodes taken, and those of them that were read one-sidedly.
  std::uint64_t nodes() const { return nodes_; }
  std::uint64_t nodes_read() const { return nodes_read_; }

  void on_message(transport::Connection& connection, std::span<const std::byte> message) override;
  void on_read(transport::Connection& connection, std::uint64_t cookie, bool ok) override;
  void on_writable(transport::Connection&) override { go_on(); }
  void on_closed(transport::Connection& connection, const Error& reason) override;

 private:
  void go_on();
  void on_held(std::span<const std::byte> payload);
  void on_node(const rtree::WantedNode& node, std::span<const std::byte> bytes);
  bool claim(rtree::NodeRef ref, std::uint32_t level);
  void on_extra(std::uint64_t offset, std::span<const std::byte> bytes);
  bool read_one_sidedly() const { return first_region_.has_value(); }
  void read_more();
  void ask_more();
  bool ask(std::uint32_t kind, std::uint64_t argument, std::span<const std::uint64_t> names);
  void fail_with(Error error);
  void finish_if_whole();

  const TransferOptions options_;
  transport::Poller& poller_;
  const TakeNode<D> take_;
  std::vector<std::byte> hello_;
  std::unique_ptr<transport::Connection> connection_;
  std::unique_ptr<transport::Buffer> buffer_;
  std::optional<std::uint32_t> first_region_;
  std::optional<Status> outcome_;
  TreeFacts facts_;
  bool has_asked_ = false;
  bool is_held_ = false;
  std::uint64_t extra_bytes_ = 0;
  bool asks_extra_ = false;
  std::vector<bool> named_;  ///< chunks
  std::deque<rtree::WantedNode> wanted_;
  std::unordered_map<std::uint64_t, rtree::WantedNode> under_way_;  ///< by slot, or by name
  std::vector<std::uint64_t> free_slots_;
  std::uint64_t nodes_ = 0;
  std::uint64_t nodes_read_ = 0;
  std::uint64_t came_ = 0;              ///< nodes, and bytes of what belongs to them, by ...
  std::optional<Nanoseconds> came_at_;  ///< time of the step that found the last nodes
};

/// Connects, copies and comes back: for a thread that has nothing else to do. Gives up with the
/// error of `look`, which is called now and then.
template <int D>
Result<TreeFacts> receive_tree(transport::Fabric& fabric, const transport::Address& source,
                               const TransferOptions& options, TakeNode<D> take,
                               const std::function<Status(const TransferReceiver<D>&)>& look = {});

}  // namespace silurus::replication::group
