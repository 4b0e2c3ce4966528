// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "common/system_tree.h"

namespace silurus {

/// What becomes of the content of memory that looks persistent when the power goes.
enum class Persistence : std::uint8_t {
  kPersistent,
  kEmulated,  ///< ordinary memory that was called persistent at boot (memmap=): lost
  kVolatile,  ///< memory of another speed or place: high-bandwidth, CXL
  kUnknown,
};

struct MemoryKind {
  Persistence persistence = Persistence::kUnknown;
  std::string origin;  ///< for people: "NVDIMM", "CXL memory"
};

/// What the memory of a DAX or block device is, by the bus that the device hangs on. `device`: its
/// real path in /sys, as SystemTree::real_path gives it, with a slash in front.
MemoryKind memory_kind(const SystemTree& tree, const std::string& device);

}  // namespace silurus
