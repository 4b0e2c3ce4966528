// SPDX-License-Identifier: Apache-2.0

#include "readers/gdal/arrow.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

namespace silurus::readers {
namespace {

constexpr double kExactWholes = 9007199254740992.0;  // 2^53: doubles below are exact
constexpr std::string_view kIdFormats = "csilgfuU";  // 8 to 64 bits, both reals, both texts

std::string error_of(ArrowArrayStream& stream) {
  const char* text = stream.get_last_error(&stream);
  return text == nullptr ? "GDAL does not say why" : text;
}

template <typename T>
const T* buffer(const ArrowArray& column, std::int64_t number) {
  return static_cast<const T*>(column.buffers[number]);
}

bool is_null(const ArrowArray& column, std::size_t at) {
  if (column.null_count == 0 || column.buffers[0] == nullptr) return false;
  return (buffer<std::uint8_t>(column, 0)[at / 8] >> (at % 8) & 1) == 0;
}

/// A text or bytes; Offset: std::int32_t, or std::int64_t in the large forms.
template <typename Offset>
std::string_view bytes_at(const ArrowArray& column, std::size_t at) {
  const auto* offsets = buffer<Offset>(column, 1);
  return {buffer<char>(column, 2) + offsets[at],
          static_cast<std::size_t>(offsets[at + 1] - offsets[at])};
}

std::optional<std::uint64_t> whole(std::int64_t value) {
  if (value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}
std::optional<std::uint64_t> whole(double value) {
  if (!(value >= 0 && value <= kExactWholes) || std::trunc(value) != value) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}
std::optional<std::uint64_t> whole(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> id_at(const ArrowArray& column, char format, std::size_t at) {
  switch (format) {
    case 'c':
      return whole(std::int64_t{buffer<std::int8_t>(column, 1)[at]});
    case 's':
      return whole(std::int64_t{buffer<std::int16_t>(column, 1)[at]});
    case 'i':
      return whole(std::int64_t{buffer<std::int32_t>(column, 1)[at]});
    case 'l':
      return whole(buffer<std::int64_t>(column, 1)[at]);
    case 'f':
      return whole(double{buffer<float>(column, 1)[at]});
    case 'g':
      return whole(buffer<double>(column, 1)[at]);
    case 'u':
      return whole(bytes_at<std::int32_t>(column, at));
    default:
      return whole(bytes_at<std::int64_t>(column, at));
  }
}

}  // namespace

Result<ArrowBatches> ArrowBatches::create(ArrowArrayStream stream, const Columns& columns) {
  ArrowBatches batches(stream);
  if (batches.stream_.get_schema(&batches.stream_, &batches.schema_) != 0) {
    return fail(ErrorCode::kProtocol, error_of(batches.stream_));
  }
  if (auto ok = batches.find(columns); !ok) return fail(ok.error());
  return batches;
}

ArrowBatches::ArrowBatches(ArrowBatches&& other) noexcept
    : stream_(std::exchange(other.stream_, {})),
      schema_(std::exchange(other.schema_, {})),
      batch_(std::exchange(other.batch_, {})),
      geometry_(other.geometry_),
      fid_(other.fid_),
      id_(other.id_),
      geometry_format_(other.geometry_format_),
      id_format_(other.id_format_) {}

ArrowBatches::~ArrowBatches() {
  if (batch_.release != nullptr) batch_.release(&batch_);
  if (schema_.release != nullptr) schema_.release(&schema_);
  if (stream_.release != nullptr) stream_.release(&stream_);
}

std::optional<std::size_t> ArrowBatches::column_named(const std::string& name) const {
  for (std::int64_t i = 0; i < schema_.n_children; ++i) {
    if (schema_.children[i]->name == name) return static_cast<std::size_t>(i);
  }
  return std::nullopt;
}

Status ArrowBatches::find(const Columns& columns) {
  const auto geometry = column_named(columns.geometry);
  const auto fid = column_named(columns.fid);
  if (!geometry || !fid) {
    return fail(ErrorCode::kUnsupported,
                "GDAL hands on no column " + (geometry ? columns.fid : columns.geometry));
  }
  geometry_ = *geometry;
  fid_ = *fid;
  geometry_format_ = schema_.children[geometry_]->format[0];
  if (geometry_format_ != 'z' && geometry_format_ != 'Z') {
    return fail(ErrorCode::kUnsupported, "GDAL hands on geometries in a form that is not known");
  }
  const auto id = columns.id.empty() ? fid : column_named(columns.id);
  if (!id) return fail(ErrorCode::kInvalidArgument, "there is no column " + columns.id);
  id_ = *id;
  const std::string_view format = schema_.children[id_]->format;
  if (format.size() != 1 || kIdFormats.find(format[0]) == std::string_view::npos) {
    return fail(ErrorCode::kInvalidArgument, "the column " + columns.id + " has no numbers");
  }
  id_format_ = format[0];
  return {};
}

Result<bool> ArrowBatches::next() {
  if (batch_.release != nullptr) batch_.release(&batch_);
  batch_ = {};
  if (stream_.get_next(&stream_, &batch_) != 0) {
    return fail(ErrorCode::kProtocol, error_of(stream_));
  }
  return batch_.release != nullptr;
}

std::optional<std::span<const std::byte>> ArrowBatches::geometry(std::size_t feature) const {
  const ArrowArray& column = *batch_.children[geometry_];
  const std::size_t at = feature + static_cast<std::size_t>(column.offset);
  if (is_null(column, at)) return std::nullopt;
  const std::string_view bytes = geometry_format_ == 'z' ? bytes_at<std::int32_t>(column, at)
                                                         : bytes_at<std::int64_t>(column, at);
  return std::as_bytes(std::span(bytes.data(), bytes.size()));
}

std::int64_t ArrowBatches::fid(std::size_t feature) const {
  const ArrowArray& column = *batch_.children[fid_];
  return buffer<std::int64_t>(column, 1)[feature + static_cast<std::size_t>(column.offset)];
}

std::optional<std::uint64_t> ArrowBatches::id(std::size_t feature) const {
  const ArrowArray& column = *batch_.children[id_];
  const std::size_t at = feature + static_cast<std::size_t>(column.offset);
  if (is_null(column, at)) return std::nullopt;
  return id_at(column, id_format_, at);
}

}  // namespace silurus::readers
