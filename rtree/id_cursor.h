// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rtree/id_index.h"
#include "rtree/node.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

/// A look-up of entries by their ids in an id index, as RangeCursor is a range search: it says
/// which nodes it needs, is fed them from wherever they are, and writes what it finds into a
/// result. It wants only nodes that hold an id asked for if any does, and all that it knows of at
/// once. Not thread-safe; reusable (start() again keeps its memory).
template <int D>
class IdCursor {
 public:
  /// Begins a look-up of these ids, in any order. `found` must outlive it; it is overwritten, and
  /// of use once done(): the entries that there are, in the order of the ids asked for. A root of
  /// any level may be given, kAnyIndexLevel too, and a pair that names one.
  void start(std::span<const std::uint64_t> ids, WantedNode root,
             std::vector<KeyedEntry<D>>& found);

  /// The next node to fetch, or nothing if none is known to be needed now.
  std::optional<WantedNode> take();
  /// Gives it the content of a node that was taken, by its name; checked by the caller
  /// (check_node).
  void feed(NodeRef ref, const Node<D>& node);

  /// Whether the result is complete: nothing left to take, nothing taken but not fed.
  bool done() const { return known_.empty() && in_flight_.empty(); }

  /// Goes on into another result, to which the caller has moved the one so far.
  void redirect(std::vector<KeyedEntry<D>>& found) { found_ = &found; }

 private:
  /// A node that may hold some of the ids: those from `first` to `last` of sorted_.
  struct Part {
    std::uint64_t word;
    std::uint32_t level;
    std::uint32_t first;
    std::uint32_t last;
  };

  void look_into_leaf(const Part& part, const Node<D>& leaf);
  void look_into_inner(const Part& part, const Node<D>& inner);
  void tell();

  std::vector<std::uint64_t> ids_;     ///< as they were asked for
  std::vector<std::uint64_t> sorted_;  ///< each once
  std::vector<Part> known_;            ///< nodes to be taken, the last one first
  std::vector<Part> in_flight_;        ///< nodes taken and not yet fed
  std::vector<KeyedEntry<D>> entries_;
  std::vector<std::uint32_t> places_;  ///< where in entries_ that of sorted_[i] is, if anywhere
  std::vector<KeyedEntry<D>>* found_ = nullptr;
};

}  // namespace silurus::rtree
