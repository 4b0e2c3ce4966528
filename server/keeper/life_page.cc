// SPDX-License-Identifier: Apache-2.0

#include "server/keeper/life_page.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "rtree/root_block.h"

namespace silurus::server::keeper {
namespace {

// Trees of two and of three dimensions have the word at the same place.
static_assert(offsetof(rtree::RootBlock<2>, ended) == offsetof(rtree::RootBlock<3>, ended));
constexpr std::size_t kPage = 4096;
static_assert(offsetof(rtree::RootBlock<2>, ended) + sizeof(std::uint64_t) <= kPage);

std::atomic<std::uint64_t>& ended(std::span<std::byte> page, std::uint64_t word) {
  return *reinterpret_cast<std::atomic<std::uint64_t>*>(page.data() + word);
}

}  // namespace

const std::uint64_t LifePage::kWord = offsetof(rtree::RootBlock<2>, ended);

Result<LifePage> LifePage::map(int memory, std::uint64_t word) {
  if (word % sizeof(std::uint64_t) != 0 || word >= kPage) {
    return fail(ErrorCode::kUnsupported,
                "the root block ends its life at an offset that this keeper does not know: start "
                "the keeper anew with the release of its server");
  }
  struct stat status {};
  if (fstat(memory, &status) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot look at the memory of a tree", errno));
  }
  // A huge page is mapped whole or not at all.
  const auto size = static_cast<std::size_t>(status.st_size);
  const std::size_t huge = std::max(kPage, static_cast<std::size_t>(status.st_blksize));
  const std::size_t bytes = size < huge ? kPage : huge;
  if (size < bytes) {
    return fail(ErrorCode::kInvalidArgument, "the memory of a tree is less than a page");
  }
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (at == MAP_FAILED) {
    return fail(errno_error(ErrorCode::kIo, "cannot map the root of a tree", errno));
  }
  return LifePage({static_cast<std::byte*>(at), bytes}, word);
}

LifePage::LifePage(LifePage&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), word_(other.word_) {}

LifePage& LifePage::operator=(LifePage&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(word_, other.word_);
  return *this;
}

LifePage::~LifePage() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

void LifePage::end_life() {
  if (bytes_.empty()) return;
  // seq_cst: pairs with the copies of this line that readers make, by processor or card. They take
  // no part in the order of C++; what counts is that the store is done when this returns, before
  // the successor is told that it may serve.
  ended(bytes_, word_).fetch_or(1, std::memory_order_seq_cst);
}

bool LifePage::has_ended() const {
  // acquire: pairs with end_life().
  return !bytes_.empty() && ended(bytes_, word_).load(std::memory_order_acquire) % 2 != 0;
}

}  // namespace silurus::server::keeper
