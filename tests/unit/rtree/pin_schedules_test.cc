// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <vector>

#include "rtree/reader_slots.h"
#include "rtree/reclaimer.h"
#include "tests/support/explorer.h"

// Readers that pin a version against the writer, which publishes and recycles: every interleaving.

namespace silurus::rtree {
namespace {

using testing_support::Explorer;
using testing_support::Word;

struct Slot {
  Word pinned;
  Word owned;
};

/// A tree of one node, which each version replaces: its chunk is its version.
struct World {
  std::array<Slot, 2> slots;
  Word root{1};
  std::array<Word, 4> recycled;

  void write(Version versions) {
    Reclaimer reclaimer(0);
    std::vector<Version> pinned;
    for (Version version = 2; version <= versions; ++version) {
      name_root(root, version);
      const RetiredNode retired{.chunk = static_cast<std::uint32_t>(version - 1),
                                .chunks = 1,
                                .birth = version - 1,
                                .death = version};
      reclaimer.retire({&retired, 1}, 0);
      pinned.clear();
      look_at_pins(slots, pinned);
      std::ranges::sort(pinned);
      for (const RetiredNode& node : reclaimer.collect(0, pinned)) {
        recycled[node.chunk].store(1, std::memory_order_seq_cst);
      }
    }
  }
  /// A snapshot: the node of the version that is pinned is there as long as it is.
  void read(Slot& slot) {
    const std::uint64_t version = pin_root(root, slot.pinned);
    Explorer::require(recycled[version].load(std::memory_order_relaxed) == 0,
                      "a node that a reader has pinned is recycled");
    unpin(slot.pinned);
  }
};

void expect_no_violation(std::vector<Explorer::Body> threads) {
  const Explorer::Outcome all = Explorer(std::move(threads)).run();
  EXPECT_EQ(all.violation, "");
  EXPECT_GT(all.ends, 0u);
  std::cout << all.states << " states\n";
}

TEST(PinSchedules, NoNodeIsRecycledThatAPinnedReaderMayReach) {
  World world;
  expect_no_violation({[&] { world.write(3); },
                       [&] {
                         world.read(world.slots[0]);
                         world.read(world.slots[0]);
                       }});
}

TEST(PinSchedules, NoNodeIsRecycledThatOneOfTwoReadersMayReach) {
  World world;
  expect_no_violation({[&] { world.write(2); }, [&] { world.read(world.slots[0]); },
                       [&] { world.read(world.slots[1]); }});
}

TEST(PinSchedules, NoSlotIsClaimedByTwoReaders) {
  World world;
  std::array<Word, 2> users;
  const auto claim = [&] {
    Slot* const slot = claim_slot(world.slots);
    if (slot == nullptr) return;
    Word& user = users[static_cast<std::size_t>(slot - world.slots.data())];
    Explorer::require(user.exchange(1, std::memory_order_relaxed) == 0, "two readers have a slot");
    user.store(0, std::memory_order_relaxed);
    give_back_slot(*slot);
  };
  expect_no_violation({claim, claim});
}

TEST(PinSchedules, NoSlotIsClaimedInWhichASnapshotHasOutlivedItsThread) {
  std::array<Slot, 1> slots;
  const auto outlived = [&] {
    Slot* const slot = claim_slot(slots);
    if (slot == nullptr) return;
    slot->pinned.store(7, std::memory_order_seq_cst);
    give_back_slot(*slot);  // the thread has ended
    Explorer::require(slot->pinned.load(std::memory_order_relaxed) == 7, "the pin is gone");
    unpin(slot->pinned);
  };
  const auto other = [&] {
    Slot* const slot = claim_slot(slots);
    if (slot == nullptr) return;
    slot->pinned.store(8, std::memory_order_seq_cst);
    unpin(slot->pinned);
    give_back_slot(*slot);
  };
  expect_no_violation({outlived, other, other});
}

TEST(PinSchedules, WouldFindAPinThatIsNotLookedAtAgain) {
  World world;
  const auto careless = [&] {
    Slot& slot = world.slots[0];
    const std::uint64_t version = world.root.load(std::memory_order_seq_cst);
    slot.pinned.store(version, std::memory_order_seq_cst);
    Explorer::require(world.recycled[version].load(std::memory_order_relaxed) == 0, "recycled");
  };
  EXPECT_NE(Explorer({[&] { world.write(2); }, careless}).run().violation, "");
}

TEST(PinSchedules, WouldFindAPinThatMayBeSeenLate) {
  World world;
  const auto weak = [&] {
    Slot& slot = world.slots[0];
    const std::uint64_t version = world.root.load(std::memory_order_seq_cst);
    slot.pinned.store(version, std::memory_order_release);
    if (world.root.load(std::memory_order_seq_cst) != version) return;
    Explorer::require(world.recycled[version].load(std::memory_order_relaxed) == 0, "recycled");
  };
  EXPECT_NE(Explorer({[&] { world.write(2); }, weak}).run().violation, "");
}

}  // namespace
}  // namespace silurus::rtree
