// SPDX-License-Identifier: Apache-2.0

#include "geometry/wkt.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "common/units.h"
#include "geometry/check.h"

namespace silurus::geometry {
namespace {

bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

std::string upper_case(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return upper;
}

class WktReader {
 public:
  explicit WktReader(std::string_view text) : text_(text) {}

  Result<Shape> read() {
    Shape shape;
    if (auto ok = read_shape(shape, 1); !ok) return fail(ok.error());
    skip_spaces();
    if (at_ == text_.size()) return shape;
    return expected("the end");
  }

 private:
  Status read_shape(Shape& shape, int depth) {
    if (depth > kMaxDepth) {
      return fail(ErrorCode::kTooLarge,
                  here() + "the geometry is nested deeper than " + std::to_string(kMaxDepth));
    }
    skip_spaces();
    const std::size_t begin = at_;
    std::string word = take_word();
    const auto* type = std::ranges::find_if(
        kAllTypes, [&](Type each) { return word.starts_with(upper_case(to_string(each))); });
    if (type == std::end(kAllTypes)) {
      at_ = begin;
      return expected("POINT, LINESTRING, POLYGON, one of these with MULTI, or GEOMETRYCOLLECTION");
    }
    shape.type = *type;
    std::string suffix = word.substr(to_string(*type).size());  // "POINTZ"
    if (suffix.empty() && !is_word("EMPTY")) suffix = take_word();
    if (suffix == "M" || suffix == "ZM") {
      return fail(ErrorCode::kUnsupported, here() + "M is not kept: leave it out");
    }
    if (!suffix.empty() && suffix != "Z") return expected("Z, EMPTY or (");
    has_z_ = suffix.empty() ? std::nullopt : std::optional(true);
    const bool is_tagged = has_z_.has_value();
    if (auto ok = read_body(shape, depth); !ok) return ok;
    shape.has_z = is_tagged || has_z_.value_or(false);
    if (type_of_parts(shape.type)) {
      for (Shape& part : shape.parts) part.has_z = shape.has_z;
    } else if (shape.type == Type::kCollection && !is_tagged && !shape.parts.empty()) {
      shape.has_z = shape.parts.front().has_z;
    }
    return {};
  }

  Status read_body(Shape& shape, int depth) {
    if (take_empty()) return {};
    switch (shape.type) {
      case Type::kPoint:
        return read_list([&] { return read_coordinate(only_line(shape)); });
      case Type::kLineString:
        return read_line(shape.lines.emplace_back());
      case Type::kPolygon:
        return read_list([&] { return read_line(shape.lines.emplace_back()); });
      case Type::kCollection:
        return read_list([&] { return read_shape(shape.parts.emplace_back(), depth + 1); });
      default:
        return read_list([&] { return read_part(shape); });
    }
  }

  /// A part of several geometries of one type, which has no name.
  Status read_part(Shape& shape) {
    Shape& part = shape.parts.emplace_back();
    part.type = *type_of_parts(shape.type);
    skip_spaces();
    const bool has_parentheses = at_ < text_.size() && text_[at_] == '(';
    if (part.type != Type::kPoint || has_parentheses || is_word("EMPTY")) return read_body(part, 0);
    return read_coordinate(only_line(part));  // MULTIPOINT (1 2, 3 4)
  }

  static Line& only_line(Shape& shape) {
    return shape.lines.empty() ? shape.lines.emplace_back() : shape.lines.front();
  }

  Status read_line(Line& line) {
    return read_list([&] { return read_coordinate(line); });
  }

  template <typename F>
  Status read_list(F&& read_item) {
    if (!take('(')) return expected("(");
    do {
      if (auto ok = read_item(); !ok) return ok;
    } while (take(','));
    if (!take(')')) return expected(", or )");
    return {};
  }

  Status read_coordinate(Line& line) {
    Coordinate at;
    if (auto ok = read_number(at.x); !ok) return ok;
    if (auto ok = read_number(at.y); !ok) return ok;
    skip_spaces();
    const bool has_third = at_ < text_.size() && text_[at_] != ',' && text_[at_] != ')';
    if (has_z_.value_or(has_third) != has_third) {
      return expected(has_third ? "two numbers, as before" : "three numbers");
    }
    has_z_ = has_third;
    if (has_third) {
      if (auto ok = read_number(at.z); !ok) return ok;
    }
    line.push_back(at);
    return {};
  }

  Status read_number(double& number) {
    skip_spaces();
    if (at_ < text_.size() && text_[at_] == '+') ++at_;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), number);
    if (error == std::errc::result_out_of_range) return expected("a number that a double can hold");
    if (error != std::errc()) return expected("a number");
    at_ += static_cast<std::size_t>(end - begin);
    return {};
  }

  void skip_spaces() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || (text_[at_] >= '\t' && text_[at_] <= '\r'))) {
      ++at_;
    }
  }
  bool take(char c) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string take_word() {
    skip_spaces();
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_letter(text_[at_])) ++at_;
    return upper_case(text_.substr(begin, at_ - begin));
  }
  bool is_word(std::string_view word) {
    const std::size_t begin = at_;
    const bool is_word = take_word() == word;
    at_ = begin;
    return is_word;
  }
  bool take_empty() {
    if (!is_word("EMPTY")) return false;
    take_word();
    return true;
  }

  std::string here() const { return "column " + std::to_string(at_ + 1) + ": "; }
  tl::unexpected<Error> expected(std::string_view what) const {
    return fail(ErrorCode::kInvalidArgument,
                here() + "expected " + std::string(what) + ", got " +
                    (at_ == text_.size() ? "the end" : printable(text_.substr(at_, 16))));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::optional<bool> has_z_;  // whether the geometry being read has z, once that is known
};

void append_line_text(std::string& text, const Line& line, bool has_z) {
  text += '(';
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (i > 0) text += ", ";
    text += format_number(line[i].x) + ' ' + format_number(line[i].y);
    if (has_z) text += ' ' + format_number(line[i].z);
  }
  text += ')';
}

void append_wkt(std::string& text, const Shape& shape);

/// What follows the name.
void append_wkt_body(std::string& text, const Shape& shape) {
  if (shape.lines.empty() && shape.parts.empty()) {
    text += "EMPTY";
    return;
  }
  const bool is_one_line = shape.type == Type::kPoint || shape.type == Type::kLineString;
  if (is_one_line) return append_line_text(text, shape.lines.front(), shape.has_z);
  std::string_view comma = "(";
  for (const Line& ring : shape.lines) {
    text += comma;
    append_line_text(text, ring, shape.has_z);
    comma = ", ";
  }
  for (const Shape& part : shape.parts) {
    text += comma;
    shape.type == Type::kCollection ? append_wkt(text, part) : append_wkt_body(text, part);
    comma = ", ";
  }
  text += ')';
}

void append_wkt(std::string& text, const Shape& shape) {
  text += upper_case(to_string(shape.type)) + (shape.has_z ? " Z " : " ");
  append_wkt_body(text, shape);
}

}  // namespace

Result<Geometry> read_wkt(std::string_view text) {
  if (text.size() > kMaxText) {
    return fail(ErrorCode::kTooLarge, "the text has " + std::to_string(text.size()) +
                                          " bytes: at most " + std::to_string(kMaxText) +
                                          " are taken");
  }
  auto shape = WktReader(text).read();
  if (!shape) return fail(shape.error());
  return Geometry::create(std::move(*shape));
}

std::string write_wkt(const Geometry& geometry) {
  std::string text;
  append_wkt(text, geometry.shape());
  return text;
}

}  // namespace silurus::geometry
