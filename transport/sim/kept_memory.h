// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>

namespace silurus::transport::sim {

/// A copy of memory as it is now. Copies those pages only that exist, for a tree's memory is mostly
/// address space.
class KeptMemory {
 public:
  explicit KeptMemory(std::span<const std::byte> original);
  ~KeptMemory();
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace silurus::transport::sim
