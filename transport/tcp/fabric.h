// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "transport/fabric.h"

namespace silurus::transport::tcp {

/// The fabric "tcp": messages alone, over sockets. The baseline, and for clients without RDMA.
Result<std::unique_ptr<Fabric>> make_fabric();

}  // namespace silurus::transport::tcp
