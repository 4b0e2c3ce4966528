// SPDX-License-Identifier: Apache-2.0

#include "protocol/record.h"

#include <cstring>
#include <string>

namespace silurus::protocol {

void append_record(const Record& record, std::vector<std::byte>& to) {
  if (record.empty()) return;
  const RecordHead head{kRecordFormat, static_cast<std::uint32_t>(record.geometry.size())};
  const auto append = [&](std::span<const std::byte> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span(&head, 1)));
  append(std::as_bytes(std::span(record.geometry)));
  append(std::as_bytes(std::span(record.properties)));
}

Result<Record> decode_record(std::span<const std::byte> bytes) {
  RecordHead head{};
  const auto broken = [](const char* why) {
    return fail(ErrorCode::kProtocol, std::string("a record ") + why);
  };
  if (bytes.size() <= sizeof head) return broken("without content");
  std::memcpy(&head, bytes.data(), sizeof head);
  const auto content = bytes.subspan(sizeof head);
  if (head.format != kRecordFormat) return broken("of a form that is not known");
  if (head.geometry_bytes > content.size()) return broken("that is cut short");
  if (content.size() > kMaxRecordBytes) return broken("that is too long");
  const auto text_of = [](std::span<const std::byte> part) {
    return std::string(reinterpret_cast<const char*>(part.data()), part.size());
  };
  return Record{text_of(content.first(head.geometry_bytes)),
                text_of(content.subspan(head.geometry_bytes))};
}

}  // namespace silurus::protocol
