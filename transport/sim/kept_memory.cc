// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/kept_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/check.h"

namespace silurus::transport::sim {

KeptMemory::KeptMemory(std::span<const std::byte> original) {
  void* const at = ::mmap(nullptr, original.size(), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  SILURUS_CHECK(at != MAP_FAILED);
  bytes_ = {static_cast<std::byte*>(at), original.size()};
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(original.data());
  const std::uintptr_t first = begin / page * page;
  const std::uintptr_t end = begin + original.size();
  std::vector<unsigned char> exists((end - first + page - 1) / page);
  SILURUS_CHECK(::mincore(reinterpret_cast<void*>(first), end - first, exists.data()) == 0);
  for (std::size_t i = 0; i < exists.size(); ++i) {
    if ((exists[i] & 1) == 0) continue;
    const std::uintptr_t from = std::max(begin, first + i * page);
    const std::uintptr_t until = std::min(end, first + (i + 1) * page);
    std::memcpy(bytes_.data() + (from - begin), original.data() + (from - begin), until - from);
  }
}

KeptMemory::~KeptMemory() { ::munmap(bytes_.data(), bytes_.size()); }

}  // namespace silurus::transport::sim
