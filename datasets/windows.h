// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "common/random.h"
#include "common/result.h"
#include "rtree/geometry.h"

namespace silurus::datasets {

/// What windows to ask for. Edges are fractions of the extent of `bounds`; with min_edge ==
/// max_edge all windows are of that size, else their density is proportional to edge^-exponent:
/// the defaults are a power-law mix of query scales like that of Catfish's evaluation (Xiao et al.,
/// ICDCS 2019).
template <int D>
struct WindowOptions {
  std::uint64_t seed = 1;
  double min_edge = 0.00001;  ///< 1e-9 <= min_edge <= max_edge <= 1
  double max_edge = 0.01;
  double exponent = 0.99;  ///< within [-10, 10]
  rtree::Box<D> bounds = unit();

  static constexpr rtree::Box<D> unit() {
    rtree::Box<D> box;
    box.max.fill(1);
    return box;
  }
};

/// An endless stream of query windows within bounds, anywhere with equal probability. The same on
/// every machine. Not thread-safe: one for each client, with a seed of its own.
template <int D>
class WindowGenerator {
 public:
  static Result<WindowGenerator> create(const WindowOptions<D>& options);
  rtree::Box<D> next();

 private:
  explicit WindowGenerator(const WindowOptions<D>& options)
      : options_(options), random_(options.seed) {}

  WindowOptions<D> options_;
  Random random_;
};

}  // namespace silurus::datasets
