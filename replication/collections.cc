// SPDX-License-Identifier: Apache-2.0

#include "replication/collections.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"

namespace silurus::replication {

template <int D>
Collections<D>::Collections(std::unique_ptr<Tree> first) : catalogue_(D) {
  trees_.push_back(std::move(first));
}

template <int D>
Collections<D>::Collections(std::vector<std::unique_ptr<Tree>> trees, Catalogue catalogue)
    : trees_(std::move(trees)), catalogue_(std::move(catalogue)) {
  SILURUS_CHECK(!trees_.empty());
  for (const auto& tree : trees_) {
    if (catalogue_.find(tree->number()) == nullptr) tree->set_retired(true);
  }
}

template <int D>
rtree::Tree<D>* Collections<D>::find(std::uint64_t number) const {
  return catalogue_.find(number) != nullptr ? tree_of(number) : nullptr;
}

template <int D>
rtree::Tree<D>* Collections<D>::tree_of(std::uint64_t number) const {
  const auto found =
      std::ranges::find_if(trees_, [&](const auto& tree) { return tree->number() == number; });
  return found != trees_.end() ? found->get() : nullptr;
}

template <int D>
Status Collections<D>::begin(const CollectionOrder& order) {
  SILURUS_CHECK(!order_);
  if (order.action == CollectionAction::kCreate && order.dimensions != D &&
      (order.dimensions == 2 || order.dimensions == 3)) {
    return fail(ErrorCode::kUnsupported, "this server has collections of " + std::to_string(D) +
                                             " dimensions, not of " +
                                             std::to_string(order.dimensions));
  }
  Order begun{.catalogue = catalogue_,
              .action = order.action,
              .change = {},
              .added = nullptr,
              .retired = nullptr};
  const auto change = begun.catalogue.obey(order);
  if (!change) return fail(change.error());
  begun.change = *change;
  if (Status changed = change_trees(order, begun); !changed) return changed;
  order_.emplace(std::move(begun));
  return {};
}

template <int D>
Status Collections<D>::change_trees(const CollectionOrder& order, Order& begun) {
  switch (order.action) {
    case CollectionAction::kCreate: {
      auto added =
          first().add_tree(begun.change.number, {.is_keyed = (order.flags & kKeyed) != 0,
                                                 .has_records = (order.flags & kWithRecords) != 0});
      if (!added) return fail(added.error());
      begun.added = std::move(*added);
      return {};
    }
    case CollectionAction::kDrop:
      return clear_and_retire(*tree_of(order.number), begun);
    case CollectionAction::kClear:
      return tree_of(order.number)->clear();
    case CollectionAction::kReplace:
      if (begun.change.replaced) return clear_and_retire(*tree_of(*begun.change.replaced), begun);
      return tree_of(order.number)->touch();
    case CollectionAction::kRename:
    case CollectionAction::kNote:
      return tree_of(order.number)->touch();  // so that it is a version
  }
  return fail(ErrorCode::kInvalidArgument, "an order to a collection is unknown");
}

/// Before the batch is published, so that no reader finds an empty tree under the old name.
template <int D>
Status Collections<D>::clear_and_retire(Tree& tree, Order& begun) {
  if (Status cleared = tree.clear(); !cleared) return cleared;
  if (tree.is_retired()) return {};  // as the whole server is
  tree.set_retired(true);
  begun.retired = &tree;
  return {};
}

template <int D>
std::vector<std::uint64_t> Collections<D>::going() const {
  SILURUS_CHECK(order_);
  std::vector<std::uint64_t> numbers;
  const CatalogueChange& change = order_->change;
  if (order_->action == CollectionAction::kDrop) numbers.push_back(change.number);
  if (change.replaced) numbers.push_back(*change.replaced);
  if (change.number != change.old_number) numbers.push_back(change.old_number);
  return numbers;
}

template <int D>
typename Collections<D>::Done Collections<D>::commit() {
  SILURUS_CHECK(order_);
  Order order = std::move(*order_);
  order_.reset();
  catalogue_ = std::move(order.catalogue);
  if (order.added != nullptr) trees_.push_back(std::move(order.added));
  Done done{.change = order.change, .removed = {}};
  std::vector<std::uint64_t> gone;
  if (order.action == CollectionAction::kDrop) gone.push_back(order.change.number);
  if (order.change.replaced) gone.push_back(*order.change.replaced);
  for (const std::uint64_t number : gone) {
    const auto found =
        std::ranges::find_if(trees_, [&](const auto& tree) { return tree->number() == number; });
    if (found == trees_.begin()) continue;  // the first one stays, without a name
    done.removed.push_back(std::move(*found));
    trees_.erase(found);
  }
  if (order.change.number != order.change.old_number) {
    tree_of(order.change.old_number)->renumber(order.change.number);
  }
  return done;
}

template <int D>
void Collections<D>::take_back() {
  SILURUS_CHECK(order_);
  if (order_->added != nullptr) Tree::remove(std::move(order_->added));
  if (order_->retired != nullptr) order_->retired->set_retired(false);
  order_.reset();
}

template <int D>
std::uint64_t Collections<D>::entries() const {
  rtree::ForestRoots roots;
  for (const auto& tree : trees_) tree->add_to(roots, tree->batch_root(), tree->batch_index());
  return roots.entries;
}

template <int D>
StoredForest Collections<D>::sealed() const {
  StoredForest forest{.roots = {}, .catalogue = catalogue_};
  forest.roots.version = first().next_version();
  for (const auto& tree : trees_) {
    tree->add_to(forest.roots, tree->batch_root(), tree->batch_index());
  }
  return forest;
}

template <int D>
typename Collections<D>::Held Collections<D>::hold() const {
  Held held{.forest = {.roots = {}, .catalogue = catalogue_}, .pins = {}};
  held.forest.roots.version = first().next_version() - 1;
  for (const auto& tree : trees_) {
    held.pins.push_back(tree->snapshot());
    tree->add_to(held.forest.roots, held.pins.back().root().ref, held.pins.back().index());
  }
  return held;
}

template <int D>
typename Collections<D>::Held Collections<D>::hold_only(const Tree& tree) {
  Held held{.forest = {.roots = {}, .catalogue = Catalogue(D)}, .pins = {}};
  held.pins.push_back(tree.snapshot());
  held.forest = only_tree(tree, held.pins.back().root().ref);
  return held;
}

template class Collections<2>;
template class Collections<3>;

}  // namespace silurus::replication
