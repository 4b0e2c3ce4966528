// SPDX-License-Identifier: Apache-2.0

#include "rtree/reader_slots.h"

#include <algorithm>

namespace silurus::rtree {
namespace {

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;  // a counter, pairs with nothing
}

}  // namespace

/// The slots that a thread keeps, given back when it ends.
class ReaderSlots::Kept {
 public:
  ~Kept() {
    for (const Entry& entry : entries_) give_back(entry);
    last_ = {};
  }

  ReaderSlot* find(const ReaderSlots& slots) const {
    for (const Entry& entry : entries_)
      if (entry.slots.get() == &slots) return entry.slot;
    return nullptr;
  }
  /// Whether there is room for one more; forgets trees that are gone.
  bool has_room() {
    std::erase_if(entries_, [](const Entry& entry) { return entry.slots.use_count() == 1; });
    return entries_.size() < kKeptPerThread;
  }
  void add(std::shared_ptr<ReaderSlots> slots, ReaderSlot& slot) {
    entries_.push_back({std::move(slots), &slot});
  }

 private:
  struct Entry {
    std::shared_ptr<ReaderSlots> slots;
    ReaderSlot* slot;
  };
  static void give_back(const Entry& entry) {
    // A snapshot that outlives its thread may still pin the slot; claim_slot() passes over those.
    give_back_slot(*entry.slot);
  }

  std::vector<Entry> entries_;
};

ReaderSlots::ReaderSlots() : id_(next_id()) {}

std::shared_ptr<ReaderSlots> ReaderSlots::create() {
  return std::shared_ptr<ReaderSlots>(new ReaderSlots());
}

ReaderSlots::~ReaderSlots() {
  // No thread shares these slots any more; acquire only to see the blocks' content.
  Block* block = first_.next.load(std::memory_order_acquire);
  while (block != nullptr) {
    const std::unique_ptr<Block> owned(block);
    block = owned->next.load(std::memory_order_acquire);
  }
}

PinnedSlot ReaderSlots::acquire_slowly() {
  static thread_local Kept kept;
  ReaderSlot* own = kept.find(*this);
  if (own == nullptr && kept.has_room()) {
    own = &claim();
    kept.add(shared_from_this(), *own);
  }
  if (own == nullptr || own->pinned.load(std::memory_order_relaxed) != 0) return {&claim(), false};
  last_ = {id_, own};
  return {own, true};
}

ReaderSlot& ReaderSlots::claim() {
  for (Block* block = &first_;;) {
    if (ReaderSlot* const slot = claim_slot(block->slots); slot != nullptr) return *slot;
    // Acquire and release: the block's content, between the thread that adds it and those that find
    // it.
    Block* next = block->next.load(std::memory_order_acquire);
    if (next == nullptr) {
      auto added = std::make_unique<Block>();
      // Sequentially consistent: a pin stored in the new block comes after the block is linked, so
      // collect() that should see the pin sees the block.
      if (block->next.compare_exchange_strong(next, added.get(), std::memory_order_seq_cst)) {
        next = added.release();
      }
    }
    block = next;
  }
}

void ReaderSlots::collect(std::vector<std::uint64_t>& pinned) const {
  pinned.clear();
  for (const Block* block = &first_; block != nullptr;) {
    look_at_pins(block->slots, pinned);
    block = block->next.load(std::memory_order_seq_cst);
  }
}

}  // namespace silurus::rtree
