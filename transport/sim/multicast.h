// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "transport/fabric.h"
#include "transport/sim/poller.h"

namespace silurus::transport::sim {

/// A member of a group: datagrams travel over the links' loss, jitter (and so overtake each other)
/// and duplication, and to crashed hosts and over cut links not at all.
std::unique_ptr<MulticastGroup> join_group(const std::string& key, SimPoller& poller,
                                           MulticastHandler& handler);

}  // namespace silurus::transport::sim
