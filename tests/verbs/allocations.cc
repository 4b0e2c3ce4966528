// SPDX-License-Identifier: Apache-2.0

#include "tests/verbs/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
thread_local std::uint64_t count = 0;
std::atomic<std::uint64_t> count_of_all{0};  // relaxed: a counter that stands alone
}  // namespace

namespace silurus::transport::verbs::testing {
std::uint64_t allocations() { return count; }
std::uint64_t allocations_of_all_threads() { return count_of_all.load(std::memory_order_relaxed); }
}  // namespace silurus::transport::verbs::testing

void* operator new(std::size_t bytes) {
  ++count;
  count_of_all.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
