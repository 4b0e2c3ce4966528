// SPDX-License-Identifier: Apache-2.0

#include "datasets/windows.h"

#include <algorithm>

#include "common/units.h"
#include "datasets/portable_math.h"

namespace silurus::datasets {

template <int D>
Result<WindowGenerator<D>> WindowGenerator<D>::create(const WindowOptions<D>& options) {
  // Negated, so that a NaN is refused too.
  if (!(options.min_edge >= 1e-9 && options.min_edge <= options.max_edge &&
        options.max_edge <= 1)) {
    return fail(ErrorCode::kInvalidArgument, "window edges " + format_number(options.min_edge) +
                                                 " to " + format_number(options.max_edge) +
                                                 ": must be 1e-9 <= min <= max <= 1");
  }
  if (!(options.exponent >= -10 && options.exponent <= 10)) {
    return fail(ErrorCode::kInvalidArgument, "window exponent " + format_number(options.exponent) +
                                                 ": must be within [-10, 10]");
  }
  if (auto status = rtree::check_box(options.bounds, "bounds"); !status) {
    return fail(status.error());
  }
  return WindowGenerator(options);
}

template <int D>
rtree::Box<D> WindowGenerator<D>::next() {
  double edge = options_.min_edge;
  if (options_.min_edge < options_.max_edge) {
    edge = power_law(random_, options_.min_edge, options_.max_edge, options_.exponent);
  }
  rtree::Box<D> window;
  for (int d = 0; d < D; ++d) {
    const double low = options_.bounds.min[d];
    const double high = options_.bounds.max[d];
    const double start = random_.uniform() * (1 - edge);
    window.min[d] = std::clamp(low + (high - low) * start, low, high);
    window.max[d] = std::clamp(low + (high - low) * (start + edge), window.min[d], high);
  }
  return window;
}

template class WindowGenerator<2>;
template class WindowGenerator<3>;

}  // namespace silurus::datasets
