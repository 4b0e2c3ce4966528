// SPDX-License-Identifier: Apache-2.0

#include "client/records.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "geometry/geojson.h"
#include "geometry/record.h"
#include "geometry/wkb.h"
#include "geometry/wkt.h"
#include "protocol/messages.h"
#include "silurus/geometry.h"

namespace silurus::client {

template <int D>
Result<std::string> encode_record(const Record& record, const Box<D>& box) {
  geometry::Record checked;
  if (!record.geometry.empty()) {
    auto read = geometry::read_wkb(std::as_bytes(std::span(record.geometry)));
    if (!read) return fail(read.error().code, "the geometry: " + read.error().message);
    if (!geometry::is_held_by(*read, box)) {
      return fail(ErrorCode::kInvalidArgument, "the box does not hold the geometry");
    }
    checked.geometry = std::move(*read);
  }
  if (!record.properties.empty()) {
    auto compact = geometry::compact_properties(record.properties);
    if (!compact) return fail(compact.error());
    checked.properties = std::move(*compact);
  }
  return geometry::encode(checked);
}

namespace {

Result<Record> decode_record(std::span<const std::byte> bytes) {
  const auto parts = geometry::split_record(bytes);
  if (!parts) return fail(parts.error());
  Record record;
  if (parts->wkb) {
    record.geometry.assign(reinterpret_cast<const char*>(parts->wkb->data()), parts->wkb->size());
  }
  if (parts->properties) record.properties = *parts->properties;
  return record;
}

}  // namespace

template <int D>
Status append_got_records(std::span<const std::byte> answer, GetAnswer<D>& to) {
  while (!answer.empty()) {
    protocol::GotRecord<D> one{};
    const bool is_whole = answer.size() >= sizeof one;
    if (is_whole) std::memcpy(static_cast<void*>(&one), answer.data(), sizeof one);
    answer = answer.subspan(std::min(answer.size(), sizeof one));
    if (!is_whole || one.bytes > answer.size() || protocol::padded(one.bytes) > answer.size()) {
      return fail(ErrorCode::kProtocol, "an answer of records that is cut short");
    }
    const auto bytes = answer.first(one.bytes);
    answer = answer.subspan(protocol::padded(one.bytes));
    if (one.entry.version == 0) {
      to.missing.push_back(one.entry.id);
      continue;
    }
    to.entries.push_back(one.entry);
    Record& record = to.records.emplace_back();
    if (bytes.empty()) continue;
    auto decoded = decode_record(bytes);
    if (!decoded) return fail(decoded.error());
    record = std::move(*decoded);
  }
  return {};
}

template Status append_got_records<2>(std::span<const std::byte>, GetAnswer<2>&);
template Status append_got_records<3>(std::span<const std::byte>, GetAnswer<3>&);
template Result<std::string> encode_record<2>(const Record&, const Box<2>&);
template Result<std::string> encode_record<3>(const Record&, const Box<3>&);

}  // namespace silurus::client

namespace silurus {

Result<std::string> geometry_of_text(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && text[first] == '{';
  const auto read = is_json ? geometry::read_geojson(text) : geometry::read_wkt(text);
  if (!read) return fail(read.error());
  return geometry::write_wkb(*read);
}

template <int D>
Result<Box<D>> box_of_geometry(std::string_view wkb) {
  const auto read = geometry::read_wkb(std::as_bytes(std::span(wkb)), geometry::Checks::kForm);
  if (!read) return fail(read.error());
  if (const auto box = geometry::box_of<D>(*read)) return *box;
  return fail(ErrorCode::kInvalidArgument, D == 3 && !read->is_empty()
                                               ? "the geometry has no z: its box is unknown"
                                               : "the geometry is empty, and has no box");
}
template Result<Box<2>> box_of_geometry(std::string_view);
template Result<Box<3>> box_of_geometry(std::string_view);

}  // namespace silurus
