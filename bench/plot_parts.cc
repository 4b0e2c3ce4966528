// SPDX-License-Identifier: Apache-2.0

#include "bench/plot_parts.h"

#include <algorithm>
#include <sstream>

namespace silurus::bench {
namespace {

/// At most `width` bytes a line, broken between words where there are any, and never within a
/// UTF-8 character.
std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
  std::vector<std::string> lines(1);
  std::stringstream in(text);
  for (std::string word; in >> word;) {
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width)
      lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    for (const char c : word) {
      const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
      if (starts && lines.back().size() >= width) lines.emplace_back();
      lines.back() += c;
    }
  }
  return lines;
}

/// Begins `count` panels, `down` in each column.
std::string begin_grid(std::size_t count, std::size_t down, PictureFormat format,
                       const Recorded& recorded, const Key& key, const std::string& output) {
  const std::size_t across = (count + down - 1) / down;
  Size size{std::max<std::size_t>(across * 340, 760), 0};
  const auto caption = caption_of(recorded, size);
  size.height = key.pixels() + 70 + caption.size() * kCaptionLine + 60 + down * 270;
  const double height = static_cast<double>(size.height), width = static_cast<double>(size.width);
  const double below = static_cast<double>(caption.size() * kCaptionLine + 60);
  const double above = static_cast<double>(key.pixels() + 40);
  std::ostringstream out;
  out << head(format, size, output) << caption_script(caption, size) << "set multiplot layout "
      << down << "," << across << " columnsfirst margins screen " << 80 / width << ","
      << 1 - 15 / width << "," << below / height << "," << 1 - above / height << " spacing screen "
      << 70 / width << "," << 80 / height << "\n"
      << key.script(size);
  return out.str();
}

std::string panel_script(const Curves& curves, std::size_t panel) {
  std::ostringstream out;
  std::string plot;
  for (std::size_t line = 0; line < curves.lines.size(); ++line) {
    const auto found = curves.points.find({panel, line});
    const std::string data = "$d" + std::to_string(panel) + "_" + std::to_string(line);
    out << data << " << EOD\n"
        << (found == curves.points.end() ? "NaN NaN NaN NaN\n" : found->second) << "EOD\n";
    const Look& look = kLooks[line];
    plot += std::string(plot.empty() ? "plot " : ", \\\n  ") + data + " " + curves.style +
            " lw 1.6 lc rgb '" + look.colour + "' pt " + std::to_string(look.point) +
            " ps 0.7 dt " + look.dashes + " title " + quoted(curves.lines[line]);
  }
  out << "set title " << quoted(curves.panels[panel]) << "\n" << plot << "\n";
  return out.str();
}

}  // namespace

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += ' ';
    } else {
      out += c;
      if (c == '\'') out += c;
    }
  }
  return out + "'";
}

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::stringstream in(name);
  for (std::string part; std::getline(in, part, '/');) parts.push_back(part);
  return parts;
}

std::string join(const std::vector<std::string>& parts, std::size_t from, std::size_t to,
                 const char* between) {
  std::string out;
  for (std::size_t i = from; i < to; ++i) out += (i == from ? "" : between) + parts[i];
  return out;
}

std::size_t index_of(std::vector<std::string>& known, const std::string& name) {
  const auto found = std::find(known.begin(), known.end(), name);
  const auto index = static_cast<std::size_t>(found - known.begin());
  if (found == known.end()) known.push_back(name);
  return index;
}

std::string head(PictureFormat format, Size size, const std::string& output) {
  std::ostringstream out;
  out << "set encoding utf8\n"
      << "set terminal " << (format == PictureFormat::kSvg ? "svg" : "pngcairo") << " size "
      << size.width << "," << size.height << " noenhanced background '#ffffff' font 'DejaVu Sans,"
      << (format == PictureFormat::kSvg ? 12 : 10) << "'\n"
      << "set output " << quoted(output) << "\n"
      << "set border 3 lc rgb '#000000'\nset tics nomirror\nset grid xtics ytics lc rgb '#c0c0c0' "
         "lt 1 lw 0.5\n";
  return out.str();
}

std::vector<std::string> caption_of(const Recorded& recorded, Size size) {
  constexpr std::size_t kMaxLines = 4;
  std::vector<std::string> lines = wrapped(recorded.command, size.width / 7);
  if (lines.size() > kMaxLines) {
    lines.resize(kMaxLines);
    lines.back() = "(the command goes on)";
  }
  lines.push_back("commit " + recorded.commit + ", " + recorded.machine);
  return lines;
}

std::string caption_script(const std::vector<std::string>& lines, Size size) {
  std::ostringstream out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double y = (static_cast<double>(lines.size() - i) - 0.4) * kCaptionLine;
    out << "set label " << i + 1 << " " << quoted(lines[i]) << " at screen 0.5, screen "
        << y / static_cast<double>(size.height) << " center\n";
  }
  return out.str();
}

Key key_of(const std::vector<std::string>& titles, std::size_t width) {
  constexpr std::size_t kLetter = 8, kSample = 60;  // pixels
  std::size_t longest = 0;
  for (const std::string& title : titles) longest = std::max(longest, title.size());
  const std::size_t columns = std::max<std::size_t>(1, width / (longest * kLetter + kSample));
  return {(titles.size() + columns - 1) / columns};
}

std::string Key::script(Size size) const {
  std::ostringstream out;
  out << "set key at screen 0.5, screen " << 1 - 6 / static_cast<double>(size.height)
      << " center top vertical maxrows " << rows << " samplen 4\n";
  return out.str();
}

Result<std::string> curves_script(const Curves& curves, const Recorded& recorded,
                                  PictureFormat format, const std::string& output) {
  const std::size_t count = curves.panels.size(), down = curves.down;
  if (curves.lines.size() > kMaxSeries || count > kMaxPanels) {
    return fail(ErrorCode::kTooLarge, "more than " + std::to_string(kMaxSeries) + " lines or " +
                                          std::to_string(kMaxPanels) + " panels in one picture");
  }
  const Key key = key_of(curves.lines, std::max<std::size_t>(700, 340 * count / down));
  std::ostringstream out;
  out << begin_grid(count, down, format, recorded, key, output) << curves.axes;
  for (std::size_t panel = 0; panel < count; ++panel) {
    const bool is_lowest = panel % down == down - 1 || panel + 1 == count;
    out << "set ylabel " << quoted(panel < down ? curves.y_label : "") << "\n"
        << "set xlabel " << quoted(is_lowest ? curves.x_label : "") << "\n"
        << panel_script(curves, panel);
    if (panel == 0) out << "unset key\nunset label\n";
  }
  out << "unset multiplot\nunset output\n";
  return out.str();
}

}  // namespace silurus::bench
