// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>

#include "datasets/source.h"

// Synthetic entries in the unit square (or cube), ids 0, 1, 2, ... in the order generated. Same
// options, same entries, bit for bit, on every machine: tests/unit/datasets holds their checksums.
// kInvalidArgument for options out of range.

namespace silurus::datasets {

/// Limit of every generator.
constexpr std::uint64_t kMaxGenerated = std::uint64_t{1} << 32;

/// Boxes with edge lengths uniform in (0, edge], independent in each dimension, anywhere in the
/// unit square with equal probability.
struct UniformOptions {
  std::uint64_t count = 0;
  std::uint64_t seed = 1;
  double edge = 0.0001;  ///< in (0, 1]
};
template <int D>
Result<std::unique_ptr<Source<D>>> generate_uniform(const UniformOptions& options);

/// Boxes with equal edges whose length has a density proportional to length^-exponent between two
/// limits, anywhere with equal probability: few large ones among many small ones.
struct PowerLawOptions {
  std::uint64_t count = 0;
  std::uint64_t seed = 1;
  double min_edge = 0.00001;  ///< 0 < min_edge <= max_edge <= 1, and min_edge >= 1e-9
  double max_edge = 0.01;
  double exponent = 0.99;  ///< within [-10, 10]
};
template <int D>
Result<std::unique_ptr<Source<D>>> generate_power_law(const PowerLawOptions& options);

/// Boxes as in UniformOptions whose centres are normally distributed about cluster centres, which
/// are anywhere in the unit square with equal probability. What would fall outside is drawn again.
struct ClusterOptions {
  std::uint64_t count = 0;
  std::uint64_t seed = 1;
  double edge = 0.0001;          ///< in (0, 0.1]
  std::uint64_t clusters = 100;  ///< 1 to 1,000,000
  double sigma = 0.01;           ///< standard deviation, in (0, 0.25]
};
template <int D>
Result<std::unique_ptr<Source<D>>> generate_clusters(const ClusterOptions& options);

/// The boxes of the short segments of road-like chains. Roads start in towns, big ones more often
/// than small ones, and keep their heading but for small turns: streets stay about their town,
/// highways lead to another. Consecutive boxes of one road share a corner.
struct RoadOptions {
  std::uint64_t count = 0;
  std::uint64_t seed = 1;
  std::uint64_t towns = 0;  ///< up to 1,000,000; 0: one for 5,000 entries, within [8, 2000]
  double step = 0;          ///< mean segment of a highway, up to 0.1; 0: 0.25 / sqrt(count)
};
template <int D>
Result<std::unique_ptr<Source<D>>> generate_roads(const RoadOptions& options);

}  // namespace silurus::datasets
