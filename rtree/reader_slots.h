#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace silurus::rtree {

/// Where a reader says which version it reads: one reader writes it, the writer of the tree looks.
struct alignas(64) ReaderSlot {
  std::atomic<std::uint64_t> pinned{0};  ///< NodeRef::word() of the pinned root; 0: none
  std::atomic<bool> owned{false};        ///< by a thread or by one snapshot
};

/// A slot in use by a snapshot.
struct HeldSlot {
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
  HeldSlot acquire() {
    if (last_.slots_id == id_ && last_.slot->pinned.load(std::memory_order_relaxed) == 0) {
      return {last_.slot, true};
    }
    return acquire_slowly();
  }

  /// Unpins and gives back.
  static void release(HeldSlot held) {
    // Release: pairs with the load in collect(). What was read under the pin happened before the
    // writer recycles it.
    held.slot->pinned.store(0, std::memory_order_release);
    // Release: pairs with the claim by the next reader.
    if (!held.threads_own) held.slot->owned.store(false, std::memory_order_release);
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
  HeldSlot acquire_slowly();
  ReaderSlot& claim();

  static thread_local constinit inline Last last_{0, nullptr};
  const std::uint64_t id_;  ///< of these slots; never reused, unlike their address
  Block first_;
};

}  // namespace silurus::rtree
