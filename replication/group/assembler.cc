// SPDX-License-Identifier: Apache-2.0

#include "replication/group/assembler.h"

#include <cstring>
#include <utility>

namespace silurus::replication::group {

void Assembler::begin(LogPosition at) {
  at_ = verified_ = whole_end_ = at;
  tail_.clear();
  whole_bytes_ = 0;
  broken_ = false;
  held_.clear();
  held_bytes_ = 0;
}

void Assembler::offer(Lsn lsn, std::span<const std::byte> bytes) {
  if (broken_ || bytes.empty() || lsn + bytes.size() <= received()) return;
  if (lsn > received()) {
    const auto there = held_.find(lsn);
    if (there != held_.end() && there->second.size() >= bytes.size()) return;
    if (held_bytes_ + bytes.size() > kMaxHeldBytes) return;
    auto& piece = held_[lsn];
    held_bytes_ += bytes.size() - piece.size();
    piece.assign(bytes.begin(), bytes.end());
    return;
  }
  extend(bytes.subspan(received() - lsn));
  while (!held_.empty() && held_.begin()->first <= received()) {
    const auto piece = held_.extract(held_.begin());
    held_bytes_ -= piece.mapped().size();
    const std::uint64_t known = received() - piece.key();
    if (known < piece.mapped().size()) extend(std::span(piece.mapped()).subspan(known));
  }
  verify();
}

void Assembler::extend(std::span<const std::byte> bytes) {
  if (tail_.size() + bytes.size() > kMaxTailBytes) {
    broken_ = true;  // it is longer than any batch
    return;
  }
  tail_.insert(tail_.end(), bytes.begin(), bytes.end());
}

void Assembler::verify() {
  while (!broken_) {
    const std::span rest = std::span<const std::byte>(tail_).subspan(verified_.lsn - at_.lsn);
    if (rest.size() < sizeof(RecordHeader)) return;
    const auto record = decode_record(verified_, rest);
    if (!record) {
      RecordHeader header;
      std::memcpy(&header, rest.data(), sizeof header);
      const bool may_be_cut = header.lsn == verified_.lsn && header.length <= kMaxPayloadBytes &&
                              rest.size() < sizeof header + header.length;
      broken_ = !may_be_cut;
      return;
    }
    verified_ = after(*record);
    if ((record->header.flags & kBatchEnd) != 0) {
      whole_end_ = verified_;
      whole_bytes_ = whole_end_.lsn - at_.lsn;
    }
  }
}

std::optional<Lsn> Assembler::gap_end() const {
  return held_.empty() ? std::nullopt : std::optional(held_.begin()->first);
}

void Assembler::take() {
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(whole_bytes_));
  at_ = whole_end_;
  whole_bytes_ = 0;
}

}  // namespace silurus::replication::group
