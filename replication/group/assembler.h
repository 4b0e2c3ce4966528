// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "replication/record.h"

namespace silurus::replication::group {

/// Puts a log together from pieces that come in any order, more than once, or not at all, by the
/// LSN that each one has, and hands out whole batches of verified records. Holds a bounded number
/// of bytes. One thread, no I/O.
///
///   assembler.begin(log.end());
///   assembler.offer(lsn, bytes);
///   if (const auto batches = assembler.whole(); !batches.empty()) {
///     log.append_copied(batches);
///     assembler.take();
///   }
class Assembler {
 public:
  /// Bytes of pieces that came before what they follow. What does not fit is fetched again later.
  static constexpr std::size_t kMaxHeldBytes = std::size_t{1} << 20;
  /// Bytes that were received in order: more than the largest batch.
  static constexpr std::size_t kMaxTailBytes = std::size_t{8} << 20;

  /// Forgets everything and starts at `at`, the end of a batch.
  void begin(LogPosition at);
  void offer(Lsn lsn, std::span<const std::byte> bytes);

  /// All before it has been received.
  Lsn received() const { return at_.lsn + tail_.size(); }
  /// Where the first gap ends, if a piece behind it is here.
  std::optional<Lsn> gap_end() const;
  /// The whole batches received, from where the last take() ended.
  std::span<const std::byte> whole() const { return std::span(tail_).first(whole_bytes_); }
  /// They are done with.
  void take();
  /// What was received is not the log that begin() spoke of; nothing more is taken until then.
  bool broken() const { return broken_; }

 private:
  void extend(std::span<const std::byte> bytes);
  void verify();

  LogPosition at_;               ///< behind the last take()
  std::vector<std::byte> tail_;  ///< received in order since then
  LogPosition verified_;         ///< records of the tail up to there are intact
  LogPosition whole_end_;        ///< the last batch among them ends there
  std::size_t whole_bytes_ = 0;
  bool broken_ = false;
  std::map<Lsn, std::vector<std::byte>> held_;
  std::size_t held_bytes_ = 0;
};

}  // namespace silurus::replication::group
