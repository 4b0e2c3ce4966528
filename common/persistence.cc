// SPDX-License-Identifier: Apache-2.0

#include "common/persistence.h"

namespace silurus {
namespace {

/// The part of a path that ends with the folder whose name begins so; empty if there is none.
std::string up_to(const std::string& path, const std::string& beginning) {
  const auto at = path.find("/" + beginning);
  return at == std::string::npos ? "" : path.substr(0, path.find('/', at + 1));
}

}  // namespace

MemoryKind memory_kind(const SystemTree& tree, const std::string& device) {
  if (device.find("e820_pmem") != std::string::npos) {
    return {Persistence::kEmulated, "memory that the kernel was told to call persistent (memmap=)"};
  }
  const std::string region = up_to(device, "region");
  if (device.find("/ndbus") != std::string::npos) {
    if (tree.text(region + "/devtype").value_or("") == "nd_volatile") {
      return {Persistence::kVolatile, "a volatile region of NVDIMMs"};
    }
    const auto domain = tree.text(region + "/persistence_domain").value_or("");
    return {Persistence::kPersistent,
            domain.empty() ? "NVDIMM" : "NVDIMM, persistence domain " + domain};
  }
  if (device.find("/dax_region") != std::string::npos) {
    return {tree.text(region + "/mode").value_or("") == "pmem" ? Persistence::kPersistent
                                                               : Persistence::kVolatile,
            "CXL memory"};
  }
  if (device.find("/hmem") != std::string::npos) {
    return {Persistence::kVolatile, "memory set aside by the firmware (high-bandwidth or CXL)"};
  }
  return {Persistence::kUnknown, "of an unknown bus"};
}

}  // namespace silurus
