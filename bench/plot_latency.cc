// SPDX-License-Identifier: Apache-2.0

#include "bench/plot_latency.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "bench/plot_parts.h"

namespace silurus::bench {
namespace {

constexpr double kShortest = 1e-3;  ///< us, that is drawn

/// The part of a row's name that its line is called by: the last one, or, where that says how many
/// clients there are, the one before.
std::size_t line_part(const std::vector<std::string>& parts) {
  const std::size_t last = parts.size() - 1;
  return last > 1 && parts[last].rfind("clients=", 0) == 0 ? last - 1 : last;
}

/// The steps as points, in percent. Time is drawn to a logarithmic scale, and so never nothing.
std::string points_of(const std::vector<LatencyStep>& steps) {
  std::ostringstream out;
  for (const LatencyStep& step : steps) {
    out << std::max(step.us, kShortest) << " " << step.share * 100 << "\n";
  }
  return out.str();
}

}  // namespace

Result<std::string> latency_script(const Recorded& recorded, PictureFormat format,
                                   const std::string& output) {
  Curves curves{.panels = {},
                .lines = {},
                .style = "using 1:2 with linespoints pointinterval 12",
                .x_label = "microseconds",
                .y_label = "% of operations within"};
  double shortest = HUGE_VAL, longest = 0;
  for (const Row& row : recorded.rows) {
    std::vector<std::string> parts = parts_of(row.name);
    if (row.latency.empty() || parts.size() < 2) continue;
    const std::size_t at = line_part(parts);
    const std::string line = parts[at];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at));
    const std::size_t panel = index_of(curves.panels, join(parts, 1, parts.size(), ", "));
    curves.points[{panel, index_of(curves.lines, line)}] = points_of(row.latency);
    shortest = std::min(shortest, std::max(row.latency.front().us, kShortest));
    longest = std::max(longest, row.latency.back().us);
  }
  if (curves.panels.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "no rows of '" + recorded.bench + "' hold latencies: there is nothing to draw");
  }
  curves.down =
      static_cast<std::size_t>(std::round(std::sqrt(static_cast<double>(curves.panels.size()))));
  std::ostringstream axes;
  axes << "set logscale x\nset format x '%g'\n"
       << "set xrange [" << shortest * 0.8 << ":" << longest * 1.25 << "]\nset yrange [0:102]\n";
  curves.axes = axes.str();
  return curves_script(curves, recorded, format, output);
}

}  // namespace silurus::bench
