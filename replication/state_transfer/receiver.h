// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "replication/state_transfer/limits.h"
#include "replication/state_transfer/wire.h"
#include "rtree/tree.h"
#include "transport/fabric.h"

namespace silurus::replication {

/// What a receiver learns of the version that the source holds: PinnedTree without the tree.
struct TreeFacts {
  rtree::NodeRef root;
  LogPosition log;
  Stamp stamp = 0;
  group::Epoch epoch = 0;
  std::vector<std::byte> extra;
};

/// Where the nodes of a transfer go. The thread of the transfer alone.
template <int D>
class StateSink {
 public:
  virtual ~StateSink() = default;
  /// A transfer begins; nothing that came by the one before counts.
  virtual Status begin() = 0;
  /// The root first, then each other node once, checked as Tree::restore() checks it: so a tree
  /// that is whole can be restored. An error ends the transfer.
  virtual Status take(rtree::NodeRef ref, const rtree::Node<D>& node) = 0;
  /// All of it is there: makes it durable.
  virtual Status finish(const TreeFacts& facts) = 0;
};

struct TransferOptions {
  group::GroupId group = 0;
  group::Epoch epoch = 0;  ///< a source that knows of no view so late is behind
  Lsn at_least = 0;        ///< a version that has less of the log is of no use
  std::uint64_t load = 0;  ///< instead of a version: the tree of that bulk load
  /// Silence after which a source is given up.
  Nanoseconds patience = kCopyPatience;
  std::size_t reads_in_flight = kTransferReadsInFlight;
  std::optional<access::Key> key = {};  ///< key of the cluster
};

/// Takes one tree from a source. Does its work within the poller's progress(); step() after it, and
/// now and then when nothing happens. One thread, that of the poller.
///
///   TransferReceiver<2> receiver({.group = group}, *poller, sink);  // after sink.begin()
///   auto connection = fabric.connect(address, {}, *poller, receiver.hello(), receiver);
///   receiver.begin(std::move(*connection));
///   while (!receiver.outcome()) { poller->progress(); receiver.step(clock.now()); }
template <int D>
class TransferReceiver final : public transport::ConnectionHandler {
 public:
  /// `sink`: has begun, and must outlive it. The step() that finds the tree whole finishes it.
  TransferReceiver(const TransferOptions& options, transport::Poller& poller, StateSink<D>& sink);
  ~TransferReceiver() override;

  /// What to say when connecting.
  std::span<const std::byte> hello() const { return hello_; }
  /// Allocates, and asks the source to hold a version.
  void begin(std::unique_ptr<transport::Connection> connection);
  void step(Nanoseconds now);
  /// Nothing while it is under way; then whether the sink has the whole tree. Errors: kProtocol,
  /// kConnectionLost, kDeadlineExceeded, kUnavailable (the source refuses, or is behind), those of
  /// the sink.
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
  bool is_whole() const;
  bool read_one_sidedly() const { return first_region_.has_value(); }
  void read_more();
  void ask_more();
  bool ask(TransferMessage kind, std::uint64_t argument, std::span<const std::uint64_t> names = {});
  void fail_with(Error error);
  void fail_by_source(ErrorCode code, const std::string& what);

  const TransferOptions options_;
  transport::Poller& poller_;
  StateSink<D>& sink_;
  const std::vector<std::byte> hello_;
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

/// Runs receivers, one after the other, for one sink: on a thread (StateFetchThread), or in a
/// simulated world. Made, asked and destroyed by one thread.
class StateFetch {
 public:
  /// Ends what is under way; what has not arrived is gone.
  virtual ~StateFetch() = default;
  /// Begins a transfer from the member that others find at `source`. None is under way.
  virtual void begin(const std::string& source, const TransferOptions& options) = 0;
  /// Where the log goes on behind the version that is transferred; 0: none is held yet.
  virtual Lsn log() const = 0;
  /// Nodes of that version that are here.
  virtual std::uint64_t nodes() const = 0;
  /// Nothing while it is under way; then TransferReceiver::outcome(), or why there was no receiver.
  virtual std::optional<Status> outcome() const = 0;
  /// Wants it to end soon, in vain if it is not over by then.
  virtual void cancel() = 0;
};
template <int D>
using MakeFetch = std::function<std::unique_ptr<StateFetch>(StateSink<D>& sink)>;

}  // namespace silurus::replication
