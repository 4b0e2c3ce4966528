// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bench/plot.h"

// What all pictures have in common.

namespace silurus::bench {

/// Markers, dashes and hatchings that can be told apart without colour.
struct Look {
  const char* colour;
  int point;
  const char* dashes;
  int hatching;
};
inline constexpr Look kLooks[] = {
    {"#000000", 7, "solid", 0},       {"#0072b2", 5, "'-'", 4},    {"#d55e00", 9, "solid", 1},
    {"#009e73", 4, "'.'", 5},         {"#8a4b83", 6, "'_.'", 2},   {"#7a5c00", 8, "'-..'", 6},
    {"#404040", 11, "(12,4,2,4)", 7}, {"#56709e", 13, "(2,6)", 3},
};
inline constexpr std::size_t kMaxSeries = std::size(kLooks);
inline constexpr std::size_t kMaxPanels = 24;

/// As gnuplot's constant text: within single quotes nothing has a meaning but the quote itself.
std::string quoted(const std::string& text);

/// "a/b/c" as its parts, and some of them joined again.
std::vector<std::string> parts_of(const std::string& name);
std::string join(const std::vector<std::string>& parts, std::size_t from, std::size_t to,
                 const char* between);

/// Which of the known it is; a new one is added at the end.
std::size_t index_of(std::vector<std::string>& known, const std::string& name);

struct Size {
  std::size_t width, height;  ///< pixels
};

/// The terminal, the file, and what is common to all axes.
std::string head(PictureFormat format, Size size, const std::string& output);

inline constexpr std::size_t kCaptionLine = 16;  ///< pixels

/// The command, the commit and the machine, in lines, and as labels at the bottom.
std::vector<std::string> caption_of(const Recorded& recorded, Size size);
std::string caption_script(const std::vector<std::string>& lines, Size size);

/// The legend, in as many rows as its titles need.
struct Key {
  std::size_t rows = 0;
  std::size_t pixels() const { return rows * 18 + 14; }
  /// Below the upper edge of the picture.
  std::string script(Size size) const;
};
Key key_of(const std::vector<std::string>& titles, std::size_t width);

/// Lines in panels with common axes, in a grid that is filled column by column.
struct Curves {
  std::vector<std::string> panels;  ///< "0.01, search"
  std::vector<std::string> lines;   ///< "messaging"; the legend has all, though a panel may not
  std::map<std::pair<std::size_t, std::size_t>, std::string> points = {};  ///< by panel and line
  std::size_t down = 1;                                                    ///< panels in a column
  const char* style = "";  ///< style of a line, as gnuplot has it: "using 1:2 with linespoints"
  std::string axes = {};   ///< commands that set ranges, scales and tics
  const char* x_label = "";
  const char* y_label = "";
};

/// Draws them. kTooLarge if there are more lines than looks, or more panels than fit.
Result<std::string> curves_script(const Curves& curves, const Recorded& recorded,
                                  PictureFormat format, const std::string& output);

}  // namespace silurus::bench
