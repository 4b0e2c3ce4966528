// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>

#include "common/result.h"
#include "rtree/tree.h"

namespace silurus::replication {
struct TreePlace;
}
namespace silurus::transport {
class Listener;
}

namespace silurus::server {

template <int D>
class Membership;

/// Lets the clients of a listener read the tree's memory: slab 0, 1, ... behind the regions that
/// are there already.
using ExposeTree = std::function<Status(transport::Listener& listener)>;

/// A server's part in a group, not yet joined, and the tree that it had.
template <int D>
struct OpenedMembership {
  std::unique_ptr<Membership<D>> membership;
  std::unique_ptr<rtree::Tree<D>> tree;
};

template <int D>
using MembershipOpener =
    std::function<Result<OpenedMembership<D>>(const replication::TreePlace& place)>;

}  // namespace silurus::server
