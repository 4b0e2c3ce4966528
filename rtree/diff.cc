// SPDX-License-Identifier: Apache-2.0

#include "rtree/diff.h"

#include <algorithm>
#include <string>
#include <unordered_set>

namespace silurus::rtree {
namespace {

using Refs = std::vector<NodeRef>;

/// Removes what both have.
void remove_common(Refs& a, Refs& b) {
  const std::unordered_set<NodeRef> in_a(a.begin(), a.end());
  std::unordered_set<NodeRef> common;
  for (const NodeRef ref : b) {
    if (in_a.contains(ref)) common.insert(ref);
  }
  const auto is_common = [&](NodeRef ref) { return common.contains(ref); };
  std::erase_if(a, is_common);
  std::erase_if(b, is_common);
}

template <int D>
Refs children_of(const Snapshot<D>& snapshot, const Refs& refs) {
  Refs children;
  for (const NodeRef ref : refs) {
    const Node<D>& node = snapshot.node(ref);
    for (std::uint32_t i = 0; i < node.count(); ++i) children.push_back(node.child(i));
  }
  return children;
}

template <int D>
bool is_before(const Entry<D>& a, const Entry<D>& b) {
  if (a.id != b.id) return a.id < b.id;
  return std::pair(a.box.min, a.box.max) < std::pair(b.box.min, b.box.max);
}

template <int D>
std::vector<Entry<D>> sorted_entries(const Snapshot<D>& snapshot, const Refs& leaves) {
  std::vector<Entry<D>> entries;
  for (const NodeRef ref : leaves) {
    const Node<D>& leaf = snapshot.node(ref);
    for (std::uint32_t i = 0; i < leaf.count(); ++i) entries.push_back(leaf.entry(i));
  }
  std::sort(entries.begin(), entries.end(), is_before<D>);
  return entries;
}

/// Entries of one id that only one version has are a move, pair by pair; what is left over was
/// erased or inserted.
template <int D>
void pair_moves(std::vector<Entry<D>> gone, std::vector<Entry<D>> come, Difference<D>& result) {
  auto from = gone.begin();
  auto to = come.begin();
  while (from != gone.end() || to != come.end()) {
    if (to == come.end() || (from != gone.end() && from->id < to->id)) {
      result.erased.push_back(*from++);
    } else if (from == gone.end() || to->id < from->id) {
      result.inserted.push_back(*to++);
    } else {
      result.moved.push_back({from->id, from->box, to->box});
      ++from;
      ++to;
    }
  }
}

}  // namespace

template <int D>
Result<Difference<D>> difference(const Snapshot<D>& from, const Snapshot<D>& to,
                                 std::uint64_t limit) {
  Difference<D> result;
  Refs old_refs{from.root().ref};
  Refs new_refs{to.root().ref};
  std::uint32_t old_level = from.root().level;
  std::uint32_t new_level = to.root().level;
  for (;;) {
    if (old_level == new_level) remove_common(old_refs, new_refs);
    result.nodes_visited += old_refs.size() + new_refs.size();
    if (old_level == 0 && new_level == 0) break;
    const std::uint32_t level = std::max(old_level, new_level);
    if (old_level == level) {
      old_refs = children_of(from, old_refs);
      --old_level;
    }
    if (new_level == level) {
      new_refs = children_of(to, new_refs);
      --new_level;
    }
  }
  if ((old_refs.size() + new_refs.size()) * kLeafFanout<D> / 2 > limit) {
    return fail(ErrorCode::kTooLarge,
                "versions " + std::to_string(from.version()) + " and " +
                    std::to_string(to.version()) + " differ in " +
                    std::to_string(old_refs.size() + new_refs.size()) +
                    " leaves, too many to list: compare versions that are closer");
  }
  const auto old_entries = sorted_entries(from, old_refs);
  const auto new_entries = sorted_entries(to, new_refs);
  std::vector<Entry<D>> gone;
  std::vector<Entry<D>> come;
  std::set_difference(old_entries.begin(), old_entries.end(), new_entries.begin(),
                      new_entries.end(), std::back_inserter(gone), is_before<D>);
  std::set_difference(new_entries.begin(), new_entries.end(), old_entries.begin(),
                      old_entries.end(), std::back_inserter(come), is_before<D>);
  pair_moves(std::move(gone), std::move(come), result);
  return result;
}

template Result<Difference<2>> difference(const Snapshot<2>&, const Snapshot<2>&, std::uint64_t);
template Result<Difference<3>> difference(const Snapshot<3>&, const Snapshot<3>&, std::uint64_t);

}  // namespace silurus::rtree
