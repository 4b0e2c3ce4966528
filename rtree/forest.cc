// SPDX-License-Identifier: Apache-2.0

#include "rtree/forest.h"

#include <algorithm>

#include "rtree/records.h"

namespace silurus::rtree {

template <int D>
void OldNodes<D>::retire_some(const Arena<D>& arena, std::size_t most) {
  constexpr Version kBirths = (Version{1} << NodeRef::kBirthBits) - 1;
  for (std::size_t count = 0; !subtrees_.empty() && count < most; ++count) {
    const Subtree here = subtrees_.back();
    subtrees_.pop_back();
    if (!is_childless(here.level)) {
      for_each_child(arena.node(here.ref.chunk()), [&](WantedNode child) {
        subtrees_.push_back({child.ref, child.level, here.death, here.published});
      });
    }
    // The name has the low bits of a version before `death`: no need to look at the node.
    const Version age = (here.death - here.ref.birth()) & kBirths;
    const RetiredNode found{here.ref.chunk(), chunks_of<D>(here.level), here.death - age,
                            here.death};
    reclaimer_.retire(std::span(&found, 1), here.published);
  }
}

template <int D>
std::span<const RetiredNode> OldNodes<D>::collect(const Arena<D>& arena, Version current,
                                                  Nanoseconds now, std::size_t most_of_subtrees) {
  retire_some(arena, most_of_subtrees);
  pinned_words_.clear();
  slots_->collect(pinned_words_);
  pinned_.clear();
  for (const std::uint64_t word : pinned_words_) {
    // The pinned word has the low bits of a version that is at most the current one.
    const Version behind =
        (current - NodeRef::from_word(word).birth()) & ((Version{1} << NodeRef::kBirthBits) - 1);
    pinned_.push_back(current - behind);
  }
  std::sort(pinned_.begin(), pinned_.end());
  return reclaimer_.collect(now, pinned_);
}

template <int D>
void Forest<D>::note_old_nodes(OldNodes<D>& old) {
  if (old.is_noted || (old.is_empty() && !old.block())) return;
  old.is_noted = true;
  recycling.push_back(&old);
}

template <int D>
OldChunks Forest<D>::old_chunks() const {
  OldChunks sum;
  for (const OldNodes<D>* old : recycling) {
    const Reclaimer& reclaimer = old->reclaimer();
    sum.nodes += reclaimer.retired_count();
    sum.retired += reclaimer.retired_chunks();
    sum.held += reclaimer.pinned_chunks();
    const Nanoseconds deadline = reclaimer.next_deadline();
    if (deadline != 0 && (sum.deadline == 0 || deadline < sum.deadline)) sum.deadline = deadline;
  }
  return sum;
}

template <int D>
void Forest<D>::recycle(Nanoseconds time, std::size_t most_of_subtrees) {
  for (std::size_t i = 0; i < recycling.size();) {
    OldNodes<D>& old = *recycling[i];
    if (!old.is_empty() && !old.is_due(time)) {
      ++i;
      continue;
    }
    const auto freed = old.collect(arena, current, time, most_of_subtrees);
    for (const RetiredNode& node : freed) arena.release(node.chunk, node.chunks);
    add(counters.recycled, freed.size());
    if (!old.is_empty()) {
      ++i;
      continue;
    }
    old.is_noted = false;
    recycling[i] = recycling.back();
    recycling.pop_back();
    if (!old.block()) continue;
    arena.give_back_root_block(*old.block());
    std::erase_if(old_nodes, [&](const auto& one) { return one.get() == &old; });
  }
}

template class OldNodes<2>;
template class OldNodes<3>;
template void Forest<2>::note_old_nodes(OldNodes<2>&);
template void Forest<3>::note_old_nodes(OldNodes<3>&);
template OldChunks Forest<2>::old_chunks() const;
template OldChunks Forest<3>::old_chunks() const;
template void Forest<2>::recycle(Nanoseconds, std::size_t);
template void Forest<3>::recycle(Nanoseconds, std::size_t);

}  // namespace silurus::rtree
