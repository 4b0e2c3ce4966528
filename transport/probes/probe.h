// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>
#include <string>

#include "common/result.h"
#include "transport/fabric.h"

// What the contract assumes of an RDMA card (transport/CONTRACT.md), tried on one of this host's.

namespace silurus::transport::probes {

/// One assumption. `run` connects this host to itself through the card that has the address `host`,
/// and takes at most some seconds; its error says what was seen instead.
struct Probe {
  const char* name;
  const char* assumption;
  Status (*run)(Fabric& fabric, const std::string& host);
};

/// All of them, in the order of CONTRACT.md.
std::span<const Probe> all();

}  // namespace silurus::transport::probes
