// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "rtree/node.h"

namespace silurus::rtree {

/// Which child of an inner node should take a box: the rule of the revised R*-tree (Beckmann and
/// Seeger, "A revised R*-tree in comparison with related index structures", SIGMOD 2009, section
/// 4.1). The smallest of those that cover it; otherwise the one whose margin grows least, unless
/// that makes overlap with others grow: then, of those not much farther, the one whose overlap
/// grows least. In float arithmetic: any answer is correct, this is about a good one.
template <int D>
std::uint32_t choose_child(const Node<D>& inner, const Box<D>& box);

}  // namespace silurus::rtree
