// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "protocol/messages.h"
#include "replication/collections.h"
#include "rtree/tree.h"
#include "server/history.h"

namespace silurus::server {

/// Trees that were dropped and that nothing uses any more, for the writer to give back.
template <int D>
struct DroppedTrees {
  std::mutex mutex;
  std::vector<std::unique_ptr<rtree::Tree<D>>> trees;
};

/// A tree of a server, and those of its versions that can still be asked. Lives as long as anything
/// uses the tree.
template <int D>
struct ServedTree {
  ServedTree(rtree::Tree<D>& of, const HistoryOptions& options) : tree(of), history(options) {}
  ServedTree(const ServedTree&) = delete;
  ~ServedTree() {
    if (dropped == nullptr) return;
    const std::lock_guard lock(into->mutex);
    into->trees.push_back(std::move(dropped));
  }

  rtree::Tree<D>& tree;
  History<D> history;
  std::unique_ptr<rtree::Tree<D>> dropped = nullptr;  ///< the tree, once it is dropped
  std::shared_ptr<DroppedTrees<D>> into = nullptr;    ///< where it goes in the end
};

/// A collection of a server as its sessions see it: what it is called, and its tree. When it is
/// gone (dropped, renamed or replaced by another one), it stays readable for those that still have
/// it. Any thread.
template <int D>
struct Collection {
  Collection(replication::CollectionInfo about, std::shared_ptr<ServedTree<D>> its)
      : info(std::move(about)), served(std::move(its)) {}

  rtree::Tree<D>& tree() const { return served->tree; }
  const History<D>& history() const { return served->history; }
  /// Whether its coordinates are degrees.
  bool is_lonlat() const { return (info.flags & replication::kLonLat) != 0; }

  const replication::CollectionInfo info;  ///< but for the note, which may change
  const std::shared_ptr<ServedTree<D>> served;
  /// Whether it is gone. A snapshot of its tree may be answered with if it was not after the
  /// snapshot was taken: what is dropped is emptied in the same version.
  bool goes() const { return is_gone.load(std::memory_order_acquire); }

  std::atomic<bool> is_gone{false};  ///< set by the writer
};
template <int D>
using CollectionPtr = std::shared_ptr<Collection<D>>;

/// An order to the collections of a server as a client gives it: by name.
struct CollectionDemand {
  replication::CollectionAction action = replication::CollectionAction::kCreate;
  std::string name;
  std::string text;  ///< a new name, or a note
  std::uint32_t dimensions = 0;
  std::uint32_t flags = 0;
};

/// What is said to those whose collection is gone: it is looked for again, by its name.
Error gone_error(const std::string& name);

/// The collections of a server: one writer changes them, any thread finds them, reads them, and
/// holds a version of all.
///
/// A tree that is dropped is given back to its forest by the writer, in reclaim(), when no session,
/// task or job has it any more.
template <int D>
class ServedCollections {
 public:
  using Tree = rtree::Tree<D>;
  using Held = typename replication::Collections<D>::Held;

  ServedCollections(replication::Collections<D> collections, const HistoryOptions& history);
  ~ServedCollections();
  ServedCollections(const ServedCollections&) = delete;
  ServedCollections& operator=(const ServedCollections&) = delete;

  // --- any thread
  /// By protocol::collection_key() of its name; null: there is none.
  CollectionPtr<D> find(std::uint64_t key) const;
  CollectionPtr<D> default_one() const { return find(protocol::kDefaultCollection); }
  /// Counts up whenever one is gone.
  std::uint64_t edition() const { return edition_.load(std::memory_order_acquire); }
  struct Listed {
    CollectionPtr<D> collection;
    std::string note;
  };
  /// In the order of their names.
  std::vector<Listed> list() const;
  /// All trees at the version published last, which they stay readable at.
  Held hold() const;
  /// The trees of two collections as one version of the server has them.
  std::pair<rtree::Snapshot<D>, rtree::Snapshot<D>> hold_both(const Collection<D>& one,
                                                              const Collection<D>& other) const;
  /// Counts an export (Export); false if there are kMaxExports.
  bool begin_export() const;
  void end_export() const { exports_.fetch_sub(1, std::memory_order_relaxed); }  // a counter
  /// The first tree of the forest, for what is of all trees.
  Tree& first() const { return *first_; }

  // --- the writer
  /// Puts what the order changes into the batch, in which there is nothing else; what goes into the
  /// log for it. Errors as Collections::begin(), and kNotFound. Then publish(), or take_back()
  /// after Tree::abandon().
  Result<replication::CollectionOrder> begin(const CollectionDemand& demand);
  /// Publishes the batch, of whatever trees it is, and an order with it.
  rtree::Version publish();
  void take_back();
  /// The forest of all trees as the sealed batch has them. Not after begin().
  replication::StoredForest sealed() const { return collections_.sealed(); }
  /// Turns one-sided readers of all trees away, or lets them read again.
  void set_retired(bool retired);
  /// Releases old versions that are kept no longer, of trees that nothing is written to,
  /// too.
  void trim_histories(Nanoseconds now);
  /// Gives back what dropped trees had, if nothing uses them any more; and Tree::reclaim().
  Nanoseconds reclaim();

 private:
  CollectionPtr<D> found(std::uint64_t key) const;
  void renew_list();
  std::shared_ptr<ServedTree<D>> serve(Tree& tree);

  const HistoryOptions history_;
  Tree* const first_;
  const std::shared_ptr<DroppedTrees<D>> dropped_;
  std::atomic<std::uint64_t> edition_{1};
  mutable std::atomic<std::size_t> exports_{0};
  bool has_begun_ = false;  ///< an order; the writer's
  mutable std::mutex mutex_;
  replication::Collections<D> collections_;  ///< changed by the writer, under the mutex
  std::vector<CollectionPtr<D>> list_;       ///< in the order of their names
  rtree::Version version_;                   ///< published last, of all trees
  Nanoseconds trimmed_ = 0;                  ///< when all histories were; the writer's
};

}  // namespace silurus::server
