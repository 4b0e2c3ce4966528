// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "transport/fabric.h"

namespace silurus::transport::verbs {

/// The fabric "rdma": InfiniBand, RoCE and soft-RoCE by libibverbs and librdmacm. kUnsupported,
/// with what to do about it, on a host without an RDMA device.
Result<std::unique_ptr<Fabric>> make_fabric();

}  // namespace silurus::transport::verbs
