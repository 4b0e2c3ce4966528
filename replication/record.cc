// SPDX-License-Identifier: Apache-2.0

#include "replication/record.h"

#include <xxhash.h>

#include <cstring>

#include "common/check.h"

namespace silurus::replication {

namespace {
constexpr std::size_t kChecksumBytes = sizeof(RecordHeader::checksum);
}

LogPosition encode_record(LogPosition at, RecordHeader header, std::span<const std::byte> payload,
                          std::span<std::byte> to) {
  SILURUS_CHECK(payload.size() <= kMaxPayloadBytes && payload.size() % 8 == 0 &&
                to.size() >= sizeof header + payload.size());
  header.lsn = at.lsn;
  header.length = static_cast<std::uint16_t>(payload.size());
  std::memcpy(to.data(), &header, sizeof header);
  if (!payload.empty()) std::memcpy(to.data() + sizeof header, payload.data(), payload.size());
  header.checksum = XXH3_64bits_withSeed(to.data() + kChecksumBytes,
                                         sizeof header + payload.size() - kChecksumBytes, at.chain);
  std::memcpy(to.data(), &header.checksum, kChecksumBytes);
  return {at.lsn + sizeof header + payload.size(), header.checksum};
}

std::optional<Record> decode_record(LogPosition at, std::span<const std::byte> from) {
  Record record;
  if (from.size() < sizeof record.header) return std::nullopt;
  std::memcpy(&record.header, from.data(), sizeof record.header);
  const RecordHeader& header = record.header;
  if (header.lsn != at.lsn || header.length > kMaxPayloadBytes || header.length % 8 != 0 ||
      from.size() < sizeof header + header.length) {
    return std::nullopt;
  }
  record.payload = from.subspan(sizeof header, header.length);
  const std::uint64_t checksum = XXH3_64bits_withSeed(
      from.data() + kChecksumBytes, sizeof header + header.length - kChecksumBytes, at.chain);
  if (checksum != header.checksum) return std::nullopt;
  return record;
}

}  // namespace silurus::replication
