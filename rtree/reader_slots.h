// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace silurus::rtree {

// Pins against publications: the writer stores the root and then looks at the pins, a reader stores
// its pin and then looks at the root (Dekker), all four sequentially consistent. So either the
// writer sees the pin, or the reader sees the new root and pins that. These are templates for the
// sake of a test, which goes through all interleavings: a Word is a std::atomic<std::uint64_t>.

/// Names the current root. Only the writer of the tree; releases the nodes of that version to
/// readers.
template <typename Word>
void name_root(Word& root, std::uint64_t word) {
  // Sequentially consistent: pairs with the loads in pin_root, which must see this root, or have
  // their pin seen by the look_at_pins that follows.
  root.store(word, std::memory_order_seq_cst);
}

/// Pins the version that is current, in a slot with nothing pinned: its root. Acquires its nodes.
template <typename Root, typename Word>
std::uint64_t pin_root(const Root& root, Word& pinned) {
  // Relaxed: what is loaded counts only if it is loaded again.
  std::uint64_t word = root.load(std::memory_order_relaxed);
  for (;;) {
    // Sequentially consistent both: pair with name_root and with the load in look_at_pins. If the
    // root is still this one, the writer's next look sees the pin.
    pinned.store(word, std::memory_order_seq_cst);
    const std::uint64_t again = root.load(std::memory_order_seq_cst);
    if (again == word) return word;
    word = again;
  }
}

template <typename Word>
void unpin(Word& pinned) {
  // Release: pairs with the load in look_at_pins. What was read under the pin happened before the
  // writer recycles it.
  pinned.store(0, std::memory_order_release);
}

/// Adds what is pinned in these slots: the words, without zeros. The writer of the tree, after it
/// has published.
template <typename Slots>
void look_at_pins(const Slots& slots, std::vector<std::uint64_t>& pinned) {
  for (const auto& slot : slots) {
    // Sequentially consistent: pairs with the store in pin_root. Acquire in it pairs with unpin.
    const std::uint64_t word = slot.pinned.load(std::memory_order_seq_cst);
    if (word != 0) pinned.push_back(word);
  }
}

/// Takes a slot that no thread owns and in which nothing is pinned; nullptr: there is none.
template <typename Slots>
auto claim_slot(Slots& slots) -> decltype(&slots[0]) {
  for (auto& slot : slots) {
    // Relaxed: only a hint.
    if (slot.owned.load(std::memory_order_relaxed)) continue;
    // Acquire: pairs with give_back_slot.
    if (slot.owned.exchange(true, std::memory_order_acquire)) continue;
    // A snapshot that has outlived its thread may pin it still.
    if (slot.pinned.load(std::memory_order_relaxed) == 0) return &slot;
    slot.owned.store(false, std::memory_order_release);
  }
  return nullptr;
}

template <typename Slot>
void give_back_slot(Slot& slot) {
  // Release: pairs with the exchange in claim_slot.
  slot.owned.store(false, std::memory_order_release);
}

/// Where a reader says which version it reads: one reader writes it, the writer of the tree looks.
struct alignas(64) ReaderSlot {
  std::atomic<std::uint64_t> pinned{0};  ///< NodeRef::word() of the pinned root; 0: none
  std::atomic<bool> owned{false};        ///< by a thread or by one snapshot
};

/// A slot in use by a snapshot.
struct PinnedSlot {
  ReaderSlot* slot = nullptr;
  bool threads_own = false;  ///< stays with the thread that acquired it
};

/// The slots of one tree. They grow in blocks and never move. A thread that has read a tree keeps a
/// slot for its next snapshot of it, so that taking one costs a few nanoseconds; a thread that ends
/// gives it back, even after the tree is gone (both share the slots). Any thread.
class ReaderSlots : public std::enable_shared_from_this<ReaderSlots> {
 public:
  static constexpr std::size_t kSlotsPerBlock = 32;
  /// Trees for which one thread keeps a slot at the same time; beyond, it claims one each time.
  static constexpr std::size_t kKeptPerThread = 32;

  static std::shared_ptr<ReaderSlots> create();
  ReaderSlots(const ReaderSlots&) = delete;
  ReaderSlots& operator=(const ReaderSlots&) = delete;
  ~ReaderSlots();

  /// A slot with nothing pinned, for the caller alone until release().
  PinnedSlot acquire() {
    if (last_.slots_id == id_ && last_.slot->pinned.load(std::memory_order_relaxed) == 0) {
      return {last_.slot, true};
    }
    return acquire_slowly();
  }

  /// Unpins and gives back.
  static void release(PinnedSlot held) {
    // In this order: once nothing is pinned any more, the slots of a tree that was removed may go.
    // A thread that claims a slot passes over one in which something is pinned.
    if (!held.threads_own) give_back_slot(*held.slot);
    unpin(held.slot->pinned);
  }

  /// What is pinned now: the words, without zeros, in no order, into a cleared vector. The writer
  /// of the tree, after it has published.
  void collect(std::vector<std::uint64_t>& pinned) const;

 private:
  struct Block {
    std::array<ReaderSlot, kSlotsPerBlock> slots;
    std::atomic<Block*> next{nullptr};
  };
  /// The slot that this thread used last.
  struct Last {
    std::uint64_t slots_id;  ///< 0: none
    ReaderSlot* slot;
  };
  class Kept;

  ReaderSlots();
  PinnedSlot acquire_slowly();
  ReaderSlot& claim();

  static thread_local constinit inline Last last_{0, nullptr};
  const std::uint64_t id_;  ///< id of these slots; never reused, unlike their address
  Block first_;
};

}  // namespace silurus::rtree
