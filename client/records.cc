// SPDX-License-Identifier: Apache-2.0

#include "client/records.h"

#include <utility>

#include "geometry/record.h"
#include "geometry/wkb.h"

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

template Result<std::string> encode_record<2>(const Record&, const Box<2>&);
template Result<std::string> encode_record<3>(const Record&, const Box<3>&);

}  // namespace silurus::client
