#include "bench/plot_latency.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "bench/plot_parts.h"

namespace silurus::bench {
namespace {

struct Distributions {
  std::vector<std::string> panels;  ///< "small, clients=1, in-flight=1"
  std::vector<std::string> lines;   ///< "redis"
  std::map<std::pair<std::size_t, std::size_t>, const std::vector<LatencyStep>*> of = {};
  double shortest = HUGE_VAL, longest = 0;  ///< us
};

/// The part of a row's name that its line is called by: the last one, or, where that says how many
/// clients there are, the one before.
std::size_t line_part(const std::vector<std::string>& parts) {
  const std::size_t last = parts.size() - 1;
  return last > 1 && parts[last].rfind("clients=", 0) == 0 ? last - 1 : last;
}

Distributions distributions_of(const Recorded& recorded) {
  Distributions all;
  for (const Row& row : recorded.rows) {
    std::vector<std::string> parts = parts_of(row.name);
    if (row.latency.empty() || parts.size() < 2) continue;
    const std::size_t at = line_part(parts);
    const std::string line = parts[at];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at));
    const std::size_t panel = index_of(all.panels, join(parts, 1, parts.size(), ", "));
    all.of[{panel, index_of(all.lines, line)}] = &row.latency;
    all.shortest = std::min(all.shortest, std::max(row.latency.front().us, 1e-3));
    all.longest = std::max(all.longest, row.latency.back().us);
  }
  return all;
}

/// One panel; lines that it does not have still stand in the legend, which all panels share.
std::string panel_script(const Distributions& all, std::size_t panel) {
  std::ostringstream out;
  std::string plot;
  for (std::size_t line = 0; line < all.lines.size(); ++line) {
    const auto found = all.of.find({panel, line});
    const std::string data = "$d" + std::to_string(panel) + "_" + std::to_string(line);
    out << data << " << EOD\n";
    if (found == all.of.end()) {
      out << "NaN NaN\n";
    } else {
      for (const LatencyStep& step : *found->second) {
        out << std::max(step.us, 1e-3) << " " << step.share * 100 << "\n";
      }
    }
    out << "EOD\n";
    const Look& look = kLooks[line];
    plot += std::string(plot.empty() ? "plot " : ", \\\n  ") + data +
            " using 1:2 with linespoints pointinterval 12 lw 1.6 lc rgb '" + look.colour + "' pt " +
            std::to_string(look.point) + " ps 0.7 dt " + look.dashes + " title " +
            quoted(all.lines[line]);
  }
  out << "set title " << quoted(all.panels[panel]) << "\n" << plot << "\n";
  return out.str();
}

}  // namespace

Result<std::string> latency_script(const Recorded& recorded, PictureFormat format,
                                   const std::string& output) {
  const Distributions all = distributions_of(recorded);
  if (all.panels.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "no rows of '" + recorded.bench + "' hold latencies: there is nothing to draw");
  }
  if (all.lines.size() > kMaxSeries || all.panels.size() > kMaxPanels) {
    return fail(ErrorCode::kTooLarge, "more than " + std::to_string(kMaxSeries) + " lines or " +
                                          std::to_string(kMaxPanels) + " panels in one picture");
  }
  const auto down =
      static_cast<std::size_t>(std::round(std::sqrt(static_cast<double>(all.panels.size()))));
  const Key key = key_of(all.lines, std::max<std::size_t>(700, 340 * all.panels.size() / down));
  const Grid grid = grid_of(all.panels.size(), down, recorded, key);
  std::ostringstream out;
  out << grid.begin(format, recorded, key, output) << "set logscale x\nset format x '%g'\n"
      << "set xrange [" << all.shortest * 0.8 << ":" << all.longest * 1.25 << "]\n"
      << "set yrange [0:102]\n";
  for (std::size_t panel = 0; panel < all.panels.size(); ++panel) {
    const bool lowest = panel % down == down - 1 || panel + 1 == all.panels.size();
    out << "set ylabel " << (panel < down ? "'% of operations within'" : "''") << "\n"
        << "set xlabel " << (lowest ? "'microseconds'" : "''") << "\n"
        << panel_script(all, panel);
    if (panel == 0) out << "unset key\nunset label\n";
  }
  out << "unset multiplot\nunset output\n";
  return out.str();
}

}  // namespace silurus::bench
