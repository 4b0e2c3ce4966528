// SPDX-License-Identifier: Apache-2.0

#include "replication/group/assembler.h"

#include "fuzz/target.h"

// A log that is put together from datagrams: pieces of an honest log in any order come out as that
// log; pieces that someone else made up never come out as records that are not intact.
//
// An input: Step after Step.

namespace silurus::fuzz {
namespace {

using namespace replication;
using group::Assembler;
constexpr std::size_t kRecords = 40;
constexpr std::size_t kMaxSteps = 256;
// What a step does; else it offers a piece of the honest log, or, every eighth, takes batches.
constexpr std::uint8_t kForgedAnywhere = 254;
constexpr std::uint8_t kForgedHere = 253;

struct Step {
  std::uint8_t what;
  std::uint8_t words;    ///< words of 8 bytes in the piece
  std::uint16_t offset;  ///< in words
};
static_assert(sizeof(Step) == 4);

constexpr LogPosition kStart{.lsn = 64, .chain = 7};

/// Batches of one to three records.
std::vector<std::byte> honest_log() {
  std::vector<std::byte> log(kRecords * kMaxRecordBytes);
  LogPosition at = kStart;
  for (std::size_t i = 0; i < kRecords; ++i) {
    const std::vector<std::byte> payload(i % 5 * 8, static_cast<std::byte>(i));
    const RecordHeader header{
        .epoch = 1,
        .type = RecordType::kInsert,
        .flags = i % 3 == 2 || i + 1 == kRecords ? kBatchEnd : std::uint8_t{0}};
    at = encode_record(at, header, payload, std::span(log).subspan(at.lsn - kStart.lsn));
  }
  log.resize(at.lsn - kStart.lsn);
  return log;
}

/// Whole batches: every record intact, the last one an end.
LogPosition check_batches(LogPosition at, std::span<const std::byte> batches) {
  std::uint8_t flags = kBatchEnd;
  while (!batches.empty()) {
    const auto record = decode_record(at, batches);
    SILURUS_CHECK(record.has_value());
    at = after(*record);
    flags = record->header.flags;
    batches = batches.subspan(sizeof(RecordHeader) + record->payload.size());
  }
  SILURUS_CHECK((flags & kBatchEnd) != 0);
  return at;
}

class Run {
 public:
  Run() { assembler_.begin(at_); }

  void offer(const Step& step, std::span<const std::byte> log) {
    const std::size_t offset = step.offset * 8 % log.size();
    const auto piece = log.subspan(offset);
    const std::size_t size = std::min<std::size_t>(piece.size(), std::size_t{step.words} * 8);
    assembler_.offer(kStart.lsn + offset, AlignedCopy(piece.first(size)).bytes());
    SILURUS_CHECK(is_forged_ || !assembler_.broken());
  }
  void forge(Lsn lsn, std::span<const std::byte> bytes) {
    is_forged_ = true;
    assembler_.offer(lsn, AlignedCopy(bytes).bytes());
  }
  void take() {
    at_ = check_batches(at_, assembler_.whole());
    assembler_.take();
    SILURUS_CHECK(assembler_.whole().empty() && assembler_.received() >= at_.lsn);
  }
  /// What is missing of the log in between, again and again, makes it whole.
  void finish(std::span<const std::byte> log) {
    if (is_forged_) return;
    const std::size_t received = assembler_.received() - kStart.lsn;
    SILURUS_CHECK(!assembler_.gap_end() || *assembler_.gap_end() > assembler_.received());
    assembler_.offer(assembler_.received(), log.subspan(received));
    take();
    SILURUS_CHECK(at_.lsn == kStart.lsn + log.size());
  }

 private:
  Assembler assembler_;
  LogPosition at_ = kStart;
  bool is_forged_ = false;
};

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  static const std::vector<std::byte> log = honest_log();
  Input input(bytes);
  Run run;
  for (std::size_t i = 0; i < kMaxSteps && !input.rest().empty(); ++i) {
    const auto step = input.take<Step>();
    if (step.what % 8 == 7) {
      run.take();
    } else if (step.what == kForgedAnywhere) {
      const auto lsn = input.take<Lsn>();
      run.forge(lsn, input.take_bytes(step.words));
    } else if (step.what == kForgedHere) {
      run.forge(kStart.lsn + step.offset, input.take_bytes(step.words));
    } else {
      run.offer(step, log);
    }
  }
  run.take();
  run.finish(log);
}

std::vector<std::string> seeds() {
  std::string in_order;
  std::string backwards;
  for (std::uint16_t i = 0; i < 12; ++i) {
    in_order += bytes_of(Step{0, 20, static_cast<std::uint16_t>(i * 20)}, Step{7, 0, 0});
    backwards += bytes_of(Step{0, 22, static_cast<std::uint16_t>(220 - i * 20)});
  }
  return {in_order, backwards, in_order + bytes_of(Step{kForgedHere, 8, 0}) + "forged!!",
          bytes_of(Step{kForgedAnywhere, 8, 0}, Lsn{72}) + "forged!!" + in_order};
}

}  // namespace silurus::fuzz
