// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/result.h"
#include "replication/catalogue.h"
#include "replication/stored_forest.h"
#include "rtree/tree.h"

namespace silurus::replication {

/// The trees of a server's collections and their catalogue, which change together: what the
/// records of a log are applied to. Who has the trees writes them; here they come and go.
///
/// An order is a batch of its own. Like all batches it is seen when it is published, and until then
/// it can be taken back:
///
///   if (auto done = collections.begin(order); !done) return done;   // nothing has changed
///   ... make it durable ...
///   collections.first().publish();
///   auto dropped = collections.commit();
///
/// One thread, the writer of the trees.
template <int D>
class Collections {
 public:
  using Tree = rtree::Tree<D>;

  /// With the default collection alone.
  explicit Collections(std::unique_ptr<Tree> first);
  /// As they were stored: for each collection of the catalogue there is a tree of that number.
  Collections(std::vector<std::unique_ptr<Tree>> trees, Catalogue catalogue);
  Collections(Collections&&) = default;

  const Catalogue& catalogue() const { return catalogue_; }
  /// The first tree of the forest, by which what is of all trees is done.
  Tree& first() const { return *trees_.front(); }
  /// Finds a collection of the catalogue; nullptr: there is none.
  Tree* find(std::uint64_t number) const;
  const std::vector<std::unique_ptr<Tree>>& trees() const { return trees_; }

  /// Puts what the order changes into the batch, in which there is nothing else. Catalogue::check()
  /// says what is refused; kUnsupported for a collection of other dimensions than D; kOutOfMemory.
  Status begin(const CollectionOrder& order);
  /// The numbers that no collection will have any more once the order counts that was begun.
  std::vector<std::uint64_t> going() const;
  /// The batch was published: the order counts. Trees that are no more are the caller's to remove
  /// (rtree::Tree::remove), when no thread takes snapshots of them any more.
  struct Done {
    CatalogueChange change;
    std::vector<std::unique_ptr<Tree>> removed;
  };
  Done commit();
  /// Instead of that, after Tree::abandon().
  void take_back();

  /// Entries of all trees, as the batch has them.
  std::uint64_t entries() const;
  /// Gives the trees away; nothing else may be called any more.
  std::vector<std::unique_ptr<Tree>> release() { return std::move(trees_); }
  /// All trees as the sealed batch has them: the next version. Not between begin() and commit().
  StoredForest sealed() const;
  /// All trees as published, with pins of their nodes. Any thread, but not while the writer is
  /// within publish(), nor between an order's publish() and its commit().
  struct Held {
    StoredForest forest;
    std::vector<rtree::Snapshot<D>> pins;
  };
  Held hold() const;
  /// The same of a tree that is the only one, as it is published at that moment. Any thread.
  static Held hold_only(const Tree& tree);

 private:
  struct Order {
    Catalogue catalogue;  ///< that it leads to
    CollectionAction action;
    CatalogueChange change;
    std::unique_ptr<Tree> added;  ///< the new tree of kCreate
    Tree* retired = nullptr;      ///< by this order: it is no collection any more
  };

  Tree* tree_of(std::uint64_t number) const;
  Status change_trees(const CollectionOrder& order, Order& begun);
  Status clear_and_retire(Tree& tree, Order& begun);

  std::vector<std::unique_ptr<Tree>> trees_;
  Catalogue catalogue_;
  std::optional<Order> order_;  ///< begun
};

}  // namespace silurus::replication
