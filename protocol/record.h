// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "silurus/types.h"

// The record of an entry as it travels, and as it lies in the tree and in the log: a head, the
// geometry, the properties. Trees know nothing of what is in it.

namespace silurus::protocol {

using silurus::Record;

struct RecordHead {
  std::uint32_t format;  ///< kRecordFormat
  std::uint32_t geometry_bytes;
};
constexpr std::uint32_t kRecordFormat = 1;
/// Bytes of a record of that many bytes of geometry and properties.
constexpr std::size_t record_bytes(std::size_t content) {
  return content == 0 ? 0 : sizeof(RecordHead) + content;
}

/// Appends a record; nothing of an empty one. At most kMaxRecordBytes in both parts.
void append_record(const Record& record, std::vector<std::byte>& to);
/// kProtocol: the bytes are none.
Result<Record> decode_record(std::span<const std::byte> bytes);

}  // namespace silurus::protocol
