// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "datasets/source.h"

namespace silurus::datasets {

struct SwcOptions {
  /// Leave malformed lines out and count them, instead of failing at the first.
  bool skip_bad = false;
};

/// Reads the shape of a neuron in SWC (Cannon et al., J. Neuroscience Methods 84, 1998): lines of
/// seven numbers (sample, kind, x, y, z, radius, parent), comments begin with "#". One box for each
/// segment from a sample to its parent, about the spheres of both, so that it contains all of the
/// segment's surface; its id is the sample's number. z is left out if D is 2. A parent must stand
/// before its children, as the format has it. A malformed line is a kProtocol error that names file
/// and line.
template <int D>
Result<std::unique_ptr<Source<D>>> open_swc(const std::string& path,
                                            const SwcOptions& options = {});

}  // namespace silurus::datasets
