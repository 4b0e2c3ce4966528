// SPDX-License-Identifier: Apache-2.0

#include "replication/log.h"

#include "fuzz/target.h"
#include "replication/admission_state.h"

// The operation log: a ring of records that were written, then damaged, with checksums right or
// wrong. What a reader takes it writes again, byte for byte; the end that it finds is one.
//
// An input: operations of Step and its payload, which write records or change bytes.

namespace silurus::fuzz {
namespace {

using namespace replication;
constexpr std::size_t kRingBytes = 4096;
constexpr std::size_t kMaxSteps = 512;

struct Step {
  std::uint8_t what;  ///< 0: changes the ring; 1: goes on elsewhere; else writes a record
  std::uint8_t type;
  std::uint8_t flags;
  std::uint8_t words;  ///< words of 8 bytes in the payload
  std::uint32_t number;
};
static_assert(sizeof(Step) == 8);

/// Writes a record at its place, around the ring's end if need be.
LogPosition write(std::span<std::byte> ring, LogPosition at, const RecordHeader& header,
                  std::span<const std::byte> payload) {
  std::byte bytes[kMaxRecordBytes];
  const LogPosition next = encode_record(at, header, payload, bytes);
  for (std::size_t i = 0; i < next.lsn - at.lsn; ++i) {
    ring[(at.lsn + i) % ring.size()] = bytes[i];
  }
  return next;
}

template <typename Payload>
void try_payload(const Record& record) {
  if (const auto payload = payload_as<Payload>(record)) {
    SILURUS_CHECK(bytes_of(*payload) == as_text(record.payload));
  }
}

void try_record(LogPosition at, const Record& record) {
  SILURUS_CHECK(record.header.lsn == at.lsn && record.header.length == record.payload.size());
  std::byte again[kMaxRecordBytes];
  SILURUS_CHECK(encode_record(at, record.header, record.payload, again) == after(record));
  SILURUS_CHECK(is_equal(std::span(again).subspan(sizeof(RecordHeader), record.payload.size()),
                         record.payload));
  try_payload<EntryPayload<2>>(record);
  try_payload<EntryPayload<3>>(record);
  try_payload<UpdatePayload<2>>(record);
  try_payload<LoadPayload>(record);
  if (const auto order = payload_as<AdmissionOrder>(record)) {
    const auto admission = transition({}, *order);
    SILURUS_CHECK(!admission || admission->is_sound());
  }
}

void try_ring(std::span<const std::byte> ring, LogPosition start) {
  LogReader reader(ring, start);
  for (LogPosition at = start; const auto record = reader.next(); at = reader.position()) {
    try_record(at, *record);
    if (reader.position().lsn - start.lsn > ring.size()) break;
  }
  const auto tail = Log::find_tail(ring, start);
  SILURUS_CHECK(tail.end.lsn >= start.lsn && tail.end.lsn - start.lsn <= ring.size());
  SILURUS_CHECK(tail.proof_of_damage == 0 || tail.proof_of_damage > tail.end.lsn);
  if (tail.proof_of_damage != 0) SILURUS_CHECK(!damage_of(tail, start).empty());
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const AlignedCopy ring({}, kRingBytes);
  LogPosition start{.lsn = input.take<std::uint32_t>() / 8 * 8,
                    .chain = input.take<std::uint32_t>()};
  LogPosition at = start;
  for (std::size_t i = 0; i < kMaxSteps && !input.rest().empty(); ++i) {
    const auto step = input.take<Step>();
    if (step.what == 0) {
      ring.bytes()[step.number % kRingBytes] = std::byte{step.flags};
    } else if (step.what == 1) {
      start = at;
    } else {
      const auto payload = input.take_bytes(step.words % (kMaxPayloadBytes / 8 + 1) * 8);
      at = write(ring.bytes(), at,
                 {.stamp = step.number,
                  .epoch = 1,
                  .type = static_cast<RecordType>(step.type),
                  .flags = step.flags},
                 payload.first(payload.size() / 8 * 8));
    }
  }
  try_ring(ring.bytes(), start);
  try_ring(bytes.size() >= kMaxRecordBytes ? bytes.first(bytes.size() / 8 * 8) : ring.bytes(), {});
}

std::vector<std::string> seeds() {
  const auto record = [](RecordType type, std::uint8_t flags, const std::string& payload) {
    return bytes_of(Step{2, static_cast<std::uint8_t>(type), flags,
                         static_cast<std::uint8_t>(payload.size() / 8), 7}) +
           payload;
  };
  std::string batches = bytes_of(std::uint64_t{0});
  for (int i = 0; i < 30; ++i) {
    batches +=
        record(RecordType::kInsert, i % 3 == 0 ? kAfterFlush : 0, bytes_of(EntryPayload<2>{1, {}}));
    batches += record(RecordType::kUpdate, kBatchEnd, bytes_of(UpdatePayload<2>{1, {}, {}}));
  }
  const std::string order = record(RecordType::kAdmission, kBatchEnd,
                                   bytes_of(AdmissionOrder{AdmissionAction::kFreeze, 1, 1}));
  std::byte plain[kMaxRecordBytes];
  const RecordHeader header{.type = RecordType::kRestart, .flags = kBatchEnd};
  const RestartPayload restart{.nonce = 5};
  const auto end = encode_record({}, header, std::as_bytes(std::span(&restart, 1)), plain);
  const std::string whole = as_seed(std::span(plain).first(end.lsn));
  return {batches, batches + order, batches + bytes_of(Step{0, 0, 9, 0, 100}),
          batches + bytes_of(Step{1, 0, 0, 0, 0}) + order, whole + std::string(256, '\0')};
}

}  // namespace silurus::fuzz
