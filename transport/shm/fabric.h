// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "transport/fabric.h"

namespace silurus::transport::shm {

/// The fabric "shm": client and server on one host, in memory that both map.
Result<std::unique_ptr<Fabric>> make_fabric();

}  // namespace silurus::transport::shm
