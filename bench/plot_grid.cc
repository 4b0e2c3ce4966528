// SPDX-License-Identifier: Apache-2.0

#include "bench/plot_grid.h"

#include <cstdio>
#include <sstream>
#include <vector>

#include "bench/plot_parts.h"

namespace silurus::bench {
namespace {

constexpr std::size_t kParts = 8;

/// From which ratio on a square has which shade.
struct Shade {
  double from;
  unsigned colour;
};
constexpr Shade kShades[] = {
    {0, 0xf4b6a6}, {0.97, 0xffffff}, {1.1, 0xd9efd9}, {1.5, 0x9fd49f}, {2, 0x55b26b}};

unsigned shade_of(double ratio) {
  unsigned colour = kShades[0].colour;
  for (const Shade& shade : kShades) {
    if (ratio >= shade.from) colour = shade.colour;
  }
  return colour;
}

struct Square {
  std::size_t panel, row, column;
  double ratio;
  bool is_messaging;  ///< the better fixed way
};

struct Squares {
  std::vector<std::string> windows, loads, rows, columns;  ///< loads: mix and request
  std::vector<Square> all;
};

std::string value_of(const std::string& part) { return part.substr(part.find('=') + 1); }

bool is_square(const Row& row, const std::vector<std::string>& parts) {
  return parts.size() == kParts && parts[1] == "grid" && row.ratio && !row.baseline.empty() &&
         parts[6].rfind("card=", 0) == 0 && parts[7].rfind("cores=", 0) == 0;
}

Squares squares_of(const Recorded& recorded) {
  Squares squares;
  for (const Row& row : recorded.rows) {
    const std::vector<std::string> parts = parts_of(row.name);
    if (!is_square(row, parts)) continue;
    const std::size_t window = index_of(squares.windows, parts[2]);
    const std::size_t load = index_of(squares.loads, parts[3] + ", " + parts[4]);
    squares.all.push_back({.panel = window * kMaxPanels + load,
                           .row = index_of(squares.rows, parts[5] + ", " + value_of(parts[6])),
                           .column = index_of(squares.columns, value_of(parts[7])),
                           .ratio = *row.ratio,
                           .is_messaging = row.baseline == "messaging"});
  }
  return squares;
}

std::string tics_of(const std::vector<std::string>& names) {
  std::string out = "(";
  for (std::size_t i = 0; i < names.size(); ++i) {
    out += (i == 0 ? "" : ", ") + quoted(names[i]) + " " + std::to_string(i);
  }
  return out + ")";
}

/// The rows of a panel as they are sorted: by cache, then by card.
std::string panel_data(const Squares& squares, std::size_t panel) {
  std::ostringstream out;
  for (const Square& square : squares.all) {
    if (square.panel != panel) continue;
    char text[32];
    std::snprintf(text, sizeof text, "%s%.2g", square.is_messaging ? "m" : "o", square.ratio);
    out << square.column << " " << square.row << " " << shade_of(square.ratio) << " " << text
        << "\n";
  }
  return out.str();
}

std::string legend_of(Size size) {
  std::ostringstream out;
  const std::string lines[] = {
      "number: operations a second of the best mixture of both ways, times the better one of the "
      "two "
      "(m: messages, o: offloading)",
      "darker from 1.1 on, and from 1.5, and from 2; red below 0.97",
      "rows: what clients cache, and Gb/s of the card; columns: cores of the server"};
  for (std::size_t i = 0; i < std::size(lines); ++i) {
    out << "set label " << 100 + i << " " << quoted(lines[i]) << " at screen 0.5, screen "
        << 1 - (static_cast<double>(i) + 0.8) * 18 / static_cast<double>(size.height)
        << " center\n";
  }
  return out.str();
}

}  // namespace

bool has_grid(const Recorded& recorded) {
  for (const Row& row : recorded.rows) {
    if (is_square(row, parts_of(row.name))) return true;
  }
  return false;
}

Result<std::string> grid_script(const Recorded& recorded, PictureFormat format,
                                const std::string& output) {
  const Squares squares = squares_of(recorded);
  if (squares.windows.size() * squares.loads.size() > kMaxPanels) {
    return fail(ErrorCode::kTooLarge,
                "more than " + std::to_string(kMaxPanels) + " panels in one picture");
  }
  const std::size_t across = squares.windows.size(), down = squares.loads.size();
  Size size{across * 400 + 40, 0};
  const auto caption = caption_of(recorded, size);
  const std::size_t below = caption.size() * kCaptionLine + 40, above = 100;
  size.height = below + above + down * (squares.rows.size() * 20 + 60);
  const auto width = static_cast<double>(size.width), height = static_cast<double>(size.height);
  std::ostringstream out;
  out << head(format, size, output) << caption_script(caption, size) << legend_of(size)
      << "set multiplot layout " << down << "," << across << " columnsfirst margins screen "
      << 120 / width << "," << 1 - 15 / width << "," << static_cast<double>(below) / height << ","
      << 1 - static_cast<double>(above) / height << " spacing screen " << 125 / width << ","
      << 60 / height << "\nunset key\nset grid noxtics noytics\nset tics scale 0\n"
      << "set style fill solid 1 border lc rgb '#808080'\nset xrange [-0.5:"
      << static_cast<double>(squares.columns.size()) - 0.5 << "]\nset yrange ["
      << static_cast<double>(squares.rows.size()) - 0.5 << ":-0.5]\nset xtics "
      << tics_of(squares.columns) << "\nset ytics " << tics_of(squares.rows) << "\n";
  for (std::size_t window = 0; window < across; ++window) {
    for (std::size_t load = 0; load < down; ++load) {
      const std::size_t panel = window * kMaxPanels + load;
      out << "$d" << panel << " << EOD\n"
          << panel_data(squares, panel) << "EOD\nset title "
          << quoted(squares.windows[window] + ", " + squares.loads[load]) << "\nplot $d" << panel
          << " using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror lc rgb variable, $d"
          << panel << " using 1:2:4 with labels\n";
      if (panel == 0) out << "unset label\n";
    }
  }
  out << "unset multiplot\nunset output\n";
  return out.str();
}

}  // namespace silurus::bench
