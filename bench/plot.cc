// SPDX-License-Identifier: Apache-2.0

#include "bench/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <sstream>

#include "bench/plot_grid.h"
#include "bench/plot_latency.h"
#include "bench/plot_parts.h"

namespace silurus::bench {
namespace {

constexpr std::size_t kMaxBars = 400;
constexpr std::size_t kMaxClients = 10'000'000;

// --- throughput or latency against clients

struct Point {
  double clients, value, lowest, highest;
};

struct Panels {
  std::vector<std::string> names;  ///< in order of appearance: "0.01, search"
  std::vector<std::string> last;   ///< different last parts of names: "search", "mixed90"
  std::vector<std::string> ways;
  std::map<std::pair<std::size_t, std::size_t>, std::vector<Point>> lines;  ///< by panel and way
};

/// The number of clients that a row says, if that is all that its last part is.
std::optional<double> clients_of(const std::string& part) {
  constexpr std::string_view kPrefix = "clients=";
  if (part.rfind(kPrefix, 0) != 0) return {};
  const std::string digits = part.substr(kPrefix.size());
  if (digits.empty() || digits.size() > 8 ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    return {};
  }
  const auto clients = std::stoul(digits);
  if (clients == 0 || clients > kMaxClients) return {};
  return static_cast<double>(clients);
}

/// Where a row .../WAY/clients=N belongs (`parts`), if it is one.
std::vector<Point>* line_of(Panels& panels, const std::vector<std::string>& parts) {
  if (parts.size() < 4 || !clients_of(parts.back())) return nullptr;
  const std::size_t way_at = parts.size() - 2;
  const std::size_t panel = index_of(panels.names, join(parts, 1, way_at, ", "));
  index_of(panels.last, parts[way_at - 1]);
  return &panels.lines[{panel, index_of(panels.ways, parts[way_at])}];
}

/// Throughputs, each with its slowest and fastest run; or, of rows .../clients=N/p50 and .../p99,
/// medians of latencies with what most operations stay below.
Panels panels_of(const Recorded& recorded, PictureKind kind) {
  Panels panels;
  for (const Row& row : recorded.rows) {
    std::vector<std::string> parts = parts_of(row.name);
    std::string percentile;
    if (kind == PictureKind::kLatency && !parts.empty()) {
      percentile = parts.back();
      parts.pop_back();
      if (row.unit != "us" || (percentile != "p50" && percentile != "p99")) continue;
    } else if (row.unit != "ops/s") {
      continue;
    }
    if (!(row.value > 0)) continue;
    std::vector<Point>* line = line_of(panels, parts);
    if (line == nullptr) continue;
    const double clients = *clients_of(parts.back());
    if (percentile == "p99") {  // follows its median
      if (!line->empty() && line->back().clients == clients) line->back().highest = row.value;
      continue;
    }
    const bool runs = !row.spread.empty() && row.spread.front() > 0;
    line->push_back({clients, row.value, runs ? row.spread.front() : row.value,
                     runs ? row.spread.back() : row.value});
  }
  std::erase_if(panels.lines, [](const auto& line) { return line.second.empty(); });
  for (auto& [key, points] : panels.lines) {
    std::sort(points.begin(), points.end(),
              [](const Point& a, const Point& b) { return a.clients < b.clients; });
  }
  return panels;
}

std::string points_of(const std::vector<Point>& points) {
  std::ostringstream out;
  for (const Point& p : points) {
    out << p.clients << " " << p.value << " " << p.lowest << " " << p.highest << "\n";
  }
  return out.str();
}

/// The same axes in all panels, so that these can be compared.
std::string axes_of(const Panels& panels, PictureKind kind) {
  std::vector<double> clients;
  double lowest = panels.lines.begin()->second.front().lowest, highest = lowest;
  for (const auto& [key, points] : panels.lines) {
    for (const Point& point : points) {
      clients.push_back(point.clients);
      lowest = std::min(lowest, point.lowest);
      highest = std::max(highest, point.highest);
    }
  }
  std::sort(clients.begin(), clients.end());
  clients.erase(std::unique(clients.begin(), clients.end()), clients.end());
  std::ostringstream out;
  out << "set logscale xy\nset mxtics 1\nset format y "
      << (kind == PictureKind::kLatency ? "'%g'" : "'%.0s%c'") << "\n"
      << "set xrange [" << clients.front() * 0.8 << ":" << clients.back() * 1.25 << "]\n"
      << "set yrange [" << lowest * 0.7 << ":" << highest * 1.4 << "]\nset xtics (";
  for (std::size_t i = 0; i < clients.size(); ++i) out << (i == 0 ? "" : ", ") << clients[i];
  out << ")\n";
  return out.str();
}

Result<std::string> lines_script(const Recorded& recorded, const Panels& panels,
                                 PictureFormat format, const std::string& output,
                                 PictureKind kind) {
  const bool is_latency = kind == PictureKind::kLatency;
  if (panels.lines.empty()) {
    return fail(
        ErrorCode::kInvalidArgument,
        std::string("no rows of ") +
            (is_latency ? "latency against clients (named .../WAY/clients=N/p50, in us)"
                        : "throughput against clients (named .../WAY/clients=N, in ops/s)"));
  }
  Curves curves{.panels = panels.names,
                .lines = panels.ways,
                .down = std::min(panels.last.size(), panels.names.size()),
                .style = "using 1:2:3:4 with yerrorlines",
                .axes = axes_of(panels, kind),
                .x_label = "clients",
                .y_label = is_latency ? "median latency, to the 99th percentile, us"
                                      : "operations per second"};
  for (const auto& [where, points] : panels.lines) curves.points[where] = points_of(points);
  return curves_script(curves, recorded, format, output);
}

// --- bars of ratios

struct Bar {
  double ratio;
  std::optional<double> must_reach;
};

struct Bars {
  std::vector<std::string> groups;
  std::vector<std::string> series;
  std::map<std::pair<std::size_t, std::size_t>, Bar> bars;  ///< by group and series
};

/// Where a row stands: what is told by its place, and what by its hatching.
std::pair<std::string, std::string> place_of(const Recorded& recorded, const Row& row) {
  const std::vector<std::string> parts = parts_of(row.name);
  // .../vs-PEER: one group of bars for each query and load.
  if (recorded.bench == "peers") return {join(parts, 1, parts.size() - 1, ", "), row.baseline};
  if (recorded.bench == "load" && parts.size() == 4) {
    return {parts[2] + " of full load", parts[1]};
  }
  const std::string against = " : " + row.baseline;
  if (recorded.bench == "tree" && parts.size() > 2) {
    return {join(parts, 2, parts.size(), ", ") + against, parts[1]};
  }
  if (parts.size() > 2 && parts.back().find('=') != std::string::npos) {
    return {join(parts, 1, parts.size() - 1, ", ") + against, parts.back()};
  }
  return {join(parts, 1, parts.size(), ", ") + against, ""};
}

Result<Bars> bars_of(const Recorded& recorded) {
  Bars bars;
  for (const Row& row : recorded.rows) {
    if (!row.ratio || row.baseline.empty()) continue;
    if (!(*row.ratio > 0) || (row.bar && !(*row.bar > 0))) {
      return fail(ErrorCode::kInvalidArgument,
                  row.name + ": a ratio or bar of zero or less has no place on a logarithmic axis");
    }
    const auto [group, series] = place_of(recorded, row);
    const std::size_t at = index_of(bars.groups, group);
    bars.bars[{at, index_of(bars.series, series)}] = {*row.ratio, row.bar};
  }
  if (bars.bars.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "no rows of '" + recorded.bench + "' have a ratio: there is nothing to draw");
  }
  if (bars.series.size() > kMaxSeries || bars.bars.size() > kMaxBars) {
    return fail(ErrorCode::kTooLarge, "more than " + std::to_string(kMaxSeries) + " series or " +
                                          std::to_string(kMaxBars) + " bars in one picture");
  }
  return bars;
}

/// 1, 2 and 5 times the powers of ten between the two.
std::string ratio_tics(double lowest, double highest) {
  std::ostringstream out;
  for (int exponent = -9; exponent <= 9; ++exponent) {
    for (const double step : {1.0, 2.0, 5.0}) {
      const double tic = step * std::pow(10.0, exponent);
      if (tic >= lowest && tic <= highest) out << (out.tellp() > 0 ? ", " : "") << tic;
    }
  }
  return out.str();
}

std::string ratio_text(double ratio) {
  char text[32];
  std::snprintf(text, sizeof text, ratio < 100 ? "%.3g" : "%.0f", ratio);
  return text;
}

/// The label of a tic, in which gnuplot takes % for a format.
std::string tic_label(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '%' ? "%%" : std::string(1, c);
  return out;
}

/// The data of all bars, from the top down, and the names of groups; returns the lowest place.
double bars_data(const Bars& bars, std::ostringstream& out) {
  std::vector<std::string> data(bars.series.size());
  std::string marks, tics;
  double y = 0;
  for (std::size_t group = 0; group < bars.groups.size(); ++group) {
    const double top = y;
    for (std::size_t series = 0; series < bars.series.size(); ++series) {
      const auto found = bars.bars.find({group, series});
      if (found == bars.bars.end()) continue;
      std::ostringstream line;
      const double ratio = found->second.ratio;
      line << ratio << " " << y << " " << std::min(1.0, ratio) << " " << std::max(1.0, ratio) << " "
           << y - 0.42 << " " << y + 0.42 << " " << ratio_text(ratio) << "\n";
      data[series] += line.str();
      if (const auto bar = found->second.must_reach) {
        std::ostringstream mark;
        mark << *bar << " " << y - 0.5 << " 0 1\n";
        marks += mark.str();
      }
      y -= 1;
    }
    std::ostringstream tic;
    tic << (group == 0 ? "" : ", ") << quoted(tic_label(bars.groups[group])) << " "
        << (top + y + 1) / 2;
    tics += tic.str();
    y -= 0.5;
  }
  for (std::size_t i = 0; i < data.size(); ++i)
    out << "$b" << i << " << EOD\n" << data[i] << "EOD\n";
  out << "$marks << EOD\n" << (marks.empty() ? "NaN NaN NaN NaN\n" : marks) << "EOD\n";
  out << "set ytics (" << tics << ")\n";
  return y;
}

/// What the ratios of most benches mean, and those of CPU time.
struct Meaning {
  const char* axis;
  const char* mark;
};
Meaning meaning_of(const Recorded& recorded) {
  if (recorded.bench == "load") {
    return {"times what is in proportion to the load (1 is best)", "must not exceed"};
  }
  return {"times the baseline, in the same run (right of 1 is better)", "must reach"};
}

std::string bars_plot(const Bars& bars, const Meaning& meaning) {
  std::ostringstream out;
  out << "plot ";
  for (std::size_t i = 0; i < bars.series.size(); ++i) {
    const Look& look = kLooks[i];
    out << "$b" << i << " using 1:2:3:4:5:6 with boxxyerror lc rgb '" << look.colour
        << "' fs pattern " << look.hatching << " border lc rgb '#000000' "
        << (bars.series[i].empty() ? "notitle" : "title " + quoted(bars.series[i])) << ", \\\n  $b"
        << i << " using 4:2:7 with labels left offset 0.5,0 notitle, \\\n  ";
  }
  out << "$marks using 1:2:3:4 with vectors nohead lw 3 lc rgb '#cc0000' "
      << "title " << quoted(meaning.mark) << ", \\\n  1 with lines lc rgb '#000000' notitle\n";
  return out.str();
}

Result<std::string> bars_script(const Recorded& recorded, PictureFormat format,
                                const std::string& output) {
  const auto bars = bars_of(recorded);
  if (!bars) return fail(bars.error());
  double lowest = 1, highest = 1;
  std::size_t longest = 0;
  for (const auto& [key, bar] : bars->bars) {
    lowest = std::min({lowest, bar.ratio, bar.must_reach.value_or(1)});
    highest = std::max({highest, bar.ratio, bar.must_reach.value_or(1)});
  }
  for (const std::string& group : bars->groups) longest = std::max(longest, group.size());
  const std::size_t left = std::min<std::size_t>(longest, 70) * 7 + 20;
  std::ostringstream body;
  const double bottom = bars_data(*bars, body);
  Size size{left + 620, 0};
  const auto caption = caption_of(recorded, size);
  std::vector<std::string> titles = bars->series;
  const Meaning meaning = meaning_of(recorded);
  titles.emplace_back(meaning.mark);
  const Key legend = key_of(titles, size.width);
  const std::size_t below = caption.size() * kCaptionLine + 60, above = legend.pixels() + 30;
  size.height = below + above + static_cast<std::size_t>(-bottom * 17) + 10;
  const double height = static_cast<double>(size.height);
  std::ostringstream out;
  out << head(format, size, output) << caption_script(caption, size) << body.str()
      << "set lmargin at screen " << static_cast<double>(left) / static_cast<double>(size.width)
      << "\nset rmargin at screen " << 1 - 25 / static_cast<double>(size.width)
      << "\nset bmargin at screen " << static_cast<double>(below) / height
      << "\nset tmargin at screen " << 1 - static_cast<double>(above) / height << "\n"
      << "set logscale x\nset xrange [" << lowest * 0.7 << ":" << highest * 1.6 << "]\n"
      << "set yrange [" << bottom << ":1]\nset format x '%g'\nset grid noytics\n"
      << "set ytics scale 0\nset xtics (" << ratio_tics(lowest * 0.7, highest * 1.6) << ")\n"
      << "set xlabel " << quoted(meaning.axis) << "\n"
      << legend.script(size) << bars_plot(*bars, meaning) << "unset output\n";
  return out.str();
}

}  // namespace

Result<std::string> gnuplot_script(const Recorded& recorded, PictureFormat format,
                                   const std::string& output, PictureKind kind) {
  const bool is_plan = recorded.bench == "plan";
  if (kind == PictureKind::kLatency && !is_plan) return latency_script(recorded, format, output);
  if (is_plan && kind == PictureKind::kUsual && has_grid(recorded)) {
    return grid_script(recorded, format, output);
  }
  const Panels panels = panels_of(recorded, kind);
  const bool has_lines = kind == PictureKind::kLatency || !panels.lines.empty();
  if (recorded.bench == "modes" || (is_plan && has_lines)) {
    return lines_script(recorded, panels, format, output, kind);
  }
  return bars_script(recorded, format, output);
}

}  // namespace silurus::bench
