// SPDX-License-Identifier: Apache-2.0

#include "geometry/wkb.h"

#include <cmath>
#include <cstring>

#include "common/wkb_cursor.h"
#include "geometry/check.h"

namespace silurus::geometry {
namespace {

constexpr std::size_t kLeastOfPart = 9;  // bytes: a head and a count
constexpr std::size_t kLeastOfLine = 4;

class WkbReader {
 public:
  explicit WkbReader(std::span<const std::byte> bytes) : cursor_(bytes) {}

  Result<Shape> read() {
    Shape shape;
    if (auto ok = read_shape(shape, kWhole, 1); !ok) return fail(ok.error());
    if (cursor_.left() == 0) return shape;
    return fail(ErrorCode::kInvalidArgument,
                std::to_string(cursor_.left()) + " bytes are left behind the geometry");
  }

 private:
  Status read_shape(Shape& shape, const Place& place, int depth) {
    if (depth > kMaxDepth) {
      return fail(ErrorCode::kTooLarge, place.text() + " is nested deeper than " +
                                            std::to_string(kMaxDepth) + " geometries");
    }
    if (cursor_.left() == 0) return cut_off(place);
    const auto head = cursor_.head();
    if (!head) return fail_at(place, "is no well-known binary");
    if (head->has_m) {
      return fail(ErrorCode::kUnsupported,
                  place.text() + " has M, which is not kept: leave it out");
    }
    if (head->type < kWkbPoint || head->type > kWkbCollection) {
      return fail(ErrorCode::kUnsupported,
                  place.text() + " is of type " + std::to_string(head->type) +
                      ": points, lines, polygons and collections of them are taken (1 to 7)");
    }
    shape.type = static_cast<Type>(head->type);
    shape.has_z = head->has_z;
    if (has_parts(shape.type)) return read_parts(shape, *head, place, depth);
    if (shape.type == Type::kPoint) return read_point(shape, *head, place);
    if (shape.type == Type::kPolygon) return read_rings(shape, *head, place);
    return read_line(shape.lines.emplace_back(), *head, place);
  }

  Status read_parts(Shape& shape, const WkbHead& head, const Place& place, int depth) {
    auto count = read_count(head, kLeastOfPart, place);
    if (!count) return fail(count.error());
    shape.parts.resize(*count);
    for (std::size_t i = 0; i < *count; ++i) {
      const Place part{noun_of_parts(shape.type), i, &place};
      if (auto ok = read_shape(shape.parts[i], part, depth + 1); !ok) return ok;
    }
    return {};
  }

  Status read_rings(Shape& shape, const WkbHead& head, const Place& place) {
    auto count = read_count(head, kLeastOfLine, place);
    if (!count) return fail(count.error());
    shape.lines.resize(*count);
    for (std::size_t i = 0; i < *count; ++i) {
      if (auto ok = read_line(shape.lines[i], head, Place{"ring", i, &place}); !ok) return ok;
    }
    return {};
  }

  Status read_line(Line& line, const WkbHead& head, const Place& place) {
    auto count = read_count(head, head.ordinates() * sizeof(double), place);
    if (!count) return fail(count.error());
    line.reserve(*count);
    for (std::size_t i = 0; i < *count; ++i) line.push_back(read_coordinate(head));
    return {};
  }

  Status read_point(Shape& shape, const WkbHead& head, const Place& place) {
    if (cursor_.left() < head.ordinates() * sizeof(double)) return cut_off(place);
    const Coordinate at = read_coordinate(head);
    const bool is_empty = std::isnan(at.x) && std::isnan(at.y) && (!head.has_z || std::isnan(at.z));
    if (!is_empty) shape.lines.push_back({at});
    return {};
  }

  /// A count of what has at least `least` bytes each.
  Result<std::uint32_t> read_count(const WkbHead& head, std::size_t least, const Place& place) {
    const auto count = cursor_.count(head.is_swapped);
    if (!count || *count > cursor_.left() / least) return cut_off(place);
    return *count;
  }

  Coordinate read_coordinate(const WkbHead& head) {
    const std::byte* at = cursor_.take(head.ordinates() * sizeof(double));
    const auto number = [&](std::size_t i) {
      return WkbCursor::number_at(at + i * sizeof(double), head.is_swapped);
    };
    return {number(0), number(1), head.has_z ? number(2) : 0};
  }

  static tl::unexpected<Error> cut_off(const Place& place) { return fail_at(place, "is cut off"); }

  WkbCursor cursor_;
};

template <typename T>
void append_little_endian(std::string& bytes, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    bytes += static_cast<char>((value >> (8 * i)) & 0xff);
  }
}

void append_coordinate(std::string& bytes, const Coordinate& at, bool has_z) {
  append_little_endian(bytes, std::bit_cast<std::uint64_t>(at.x));
  append_little_endian(bytes, std::bit_cast<std::uint64_t>(at.y));
  if (has_z) append_little_endian(bytes, std::bit_cast<std::uint64_t>(at.z));
}

void append_wkb(std::string& bytes, const Shape& shape) {
  const auto append_count = [&](std::size_t count) {
    append_little_endian(bytes, static_cast<std::uint32_t>(count));
  };
  bytes += '\x01';
  append_count(static_cast<std::uint32_t>(shape.type) + (shape.has_z ? kWkbStep : 0));
  switch (shape.type) {
    case Type::kPoint: {
      constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
      const Coordinate empty{kNone, kNone, kNone};
      append_coordinate(bytes, shape.lines.empty() ? empty : shape.lines[0][0], shape.has_z);
      return;
    }
    case Type::kLineString:
      if (shape.lines.empty()) append_count(0);
      break;
    case Type::kPolygon:
      append_count(shape.lines.size());
      break;
    default:
      append_count(shape.parts.size());
  }
  for (const Line& line : shape.lines) {
    append_count(line.size());
    for (const Coordinate& at : line) append_coordinate(bytes, at, shape.has_z);
  }
  for (const Shape& part : shape.parts) append_wkb(bytes, part);
}

}  // namespace

Result<Geometry> read_wkb(std::span<const std::byte> bytes, Checks checks) {
  if (bytes.size() > kMaxBytes) {
    return fail(ErrorCode::kTooLarge, "the geometry has " + std::to_string(bytes.size()) +
                                          " bytes: at most " + std::to_string(kMaxBytes) +
                                          " are taken");
  }
  auto shape = WkbReader(bytes).read();
  if (!shape) return fail(shape.error());
  return Geometry::create(std::move(*shape), checks);
}

std::string write_wkb(const Geometry& geometry) {
  std::string bytes;
  bytes.reserve(wkb_bytes(geometry.shape()));
  append_wkb(bytes, geometry.shape());
  return bytes;
}

}  // namespace silurus::geometry
