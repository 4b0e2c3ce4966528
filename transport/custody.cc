// SPDX-License-Identifier: Apache-2.0

#include "transport/custody.h"

namespace silurus::transport {
namespace {

/// Set before there are other threads. What the kernel keeps for a process it keeps by process, so
/// there is one holder for all fabrics.
Custody* the_custody = nullptr;

}  // namespace

Custody* custody() { return the_custody; }
void set_custody(Custody* custody) { the_custody = custody; }

}  // namespace silurus::transport
