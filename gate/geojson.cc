// SPDX-License-Identifier: Apache-2.0

#include "gate/geojson.h"

#include <array>
#include <charconv>

namespace silurus::gate {
namespace {

void append_position(std::string& out, double x, double y, const Area& box, int dimensions) {
  out += '[';
  append_number(out, x);
  out += ',';
  append_number(out, y);
  if (dimensions == 3) {
    out += ',';
    append_number(out, box.min[2]);
  }
  out += ']';
}

void append_polygon(std::string& out, const Area& box, int dimensions) {
  // Counterclockwise, as RFC 7946 (3.1.6) wants the outer ring; the first position is the last one.
  const std::array<std::array<double, 2>, 5> ring = {{{box.min[0], box.min[1]},
                                                      {box.max[0], box.min[1]},
                                                      {box.max[0], box.max[1]},
                                                      {box.min[0], box.max[1]},
                                                      {box.min[0], box.min[1]}}};
  out += R"({"type":"Polygon","coordinates":[[)";
  for (std::size_t i = 0; i < ring.size(); ++i) {
    if (i != 0) out += ',';
    append_position(out, ring[i][0], ring[i][1], box, dimensions);
  }
  out += "]]}";
}

void append_bbox(std::string& out, const Area& box) {
  out += R"(,"bbox":[)";
  for (std::size_t d = 0; d < 6; ++d) {
    if (d != 0) out += ',';
    append_number(out, d < 3 ? box.min[d] : box.max[d - 3]);
  }
  out += ']';
}

}  // namespace

void append_number(std::string& out, double number) {
  std::array<char, 32> text{};
  const auto done = std::to_chars(text.data(), text.data() + text.size(), number);
  out.append(text.data(), done.ptr);
}

void append_feature(std::string& out, const Entry<3>& entry, int dimensions) {
  std::array<char, 24> text{};
  const auto done = std::to_chars(text.data(), text.data() + text.size(), entry.id);
  const std::string_view id(text.data(), static_cast<std::size_t>(done.ptr - text.data()));
  out += R"({"type":"Feature","id":)";
  out += id;
  if (dimensions == 3) append_bbox(out, entry.box);
  out += R"(,"geometry":)";
  if (entry.box.min == entry.box.max) {
    out += R"({"type":"Point","coordinates":)";
    append_position(out, entry.box.min[0], entry.box.min[1], entry.box, dimensions);
    out += '}';
  } else {
    append_polygon(out, entry.box, dimensions);
  }
  out += R"(,"properties":{"entry":)";
  out += id;
  out += "}}";
}

}  // namespace silurus::gate
