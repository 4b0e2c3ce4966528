// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "transport/shm/layout.h"

// SLEEPING (shm/connection.h), step by step. A Word is a std::atomic_ref of a word that both sides
// see, and Fence a full fence; others are for a test that goes through all interleavings.

namespace silurus::transport::shm {

/// Side::sleep of this side becomes `sleep`: bits for what it wants to be rung for.
template <typename Word>
void say_sleep(Word&& mine, std::uint64_t sleep) {
  // relaxed: before it sleeps there is the fence of fall_asleep; if it does not, a peer that sees
  // the older value rings once too often.
  mine.store(sleep, std::memory_order_relaxed);
}

/// Sends `count` sides to sleep that may be rung for: `say` (of its number) stores what each wants,
/// then `settle` looks whether it has work by now, and takes it back then. In descending order, so
/// that `settle` may take the side out of a list.
template <typename Fence, typename Say, typename Settle>
void fall_asleep(std::size_t count, Fence&& fence, Say&& say, Settle&& settle) {
  for (std::size_t i = 0; i < count; ++i) say(i);
  fence();
  for (std::size_t i = count; i-- > 0;) settle(i);
}

/// After messages or credit were published: `ring` looks at each peer (must_ring).
template <typename Fence, typename Ring>
void look_for_sleepers(Fence&& fence, Ring&& ring) {
  fence();
  ring();
}

/// Whether the peer, whose Side::sleep that is, sleeps for want of what was published, and is for
/// us to ring: once for each sleep.
template <typename Word>
bool must_ring(Word&& theirs, std::uint64_t published) {
  // relaxed, both: the fences of fall_asleep and look_for_sleepers order them.
  if ((theirs.load(std::memory_order_relaxed) & published) == 0) return false;
  return theirs.exchange(kAwake, std::memory_order_relaxed) != kAwake;
}

}  // namespace silurus::transport::shm
