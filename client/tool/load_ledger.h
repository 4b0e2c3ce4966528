// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "client/tool/arguments.h"
#include "silurus/answers.h"

namespace silurus::tool {

/// Which entries of a source a load by inserts has put into the tree, as far as the answers tell.
/// Entries are counted from the first one of the source. Pure; one thread.
class LoadLedger {
 public:
  /// `skip`: entries at the front of the source that are left out, since they are in.
  explicit LoadLedger(std::uint64_t skip = 0) : next_(skip), first_open_(UINT64_MAX) {}

  /// The next entries of the source have been sent; where they begin.
  std::uint64_t send(std::size_t entries) {
    const std::uint64_t first = next_;
    next_ += entries;
    return first;
  }
  /// The next entries of the source were found in the tree.
  void find(std::size_t entries) {
    next_ += entries;
    found_ += entries;
  }
  /// The answer to what was sent.
  void answer(std::uint64_t first, std::size_t entries, std::span<const FailedWrite> failed) {
    inserted_ += entries - failed.size();
    for (const FailedWrite& one : failed) open(first + one.index);
  }
  /// There was no answer, but an error: whether these entries are in is not known.
  void lose(std::uint64_t first, std::size_t entries) {
    unknown_ += entries;
    open(first);
  }

  /// Where the entries begin that are neither sent nor found yet.
  std::uint64_t sent() const { return next_; }
  /// Known to be in, by this load.
  std::uint64_t inserted() const { return inserted_; }
  /// Entries that were in the tree before.
  std::uint64_t found() const { return found_; }
  /// Entries that were sent, without an answer.
  std::uint64_t unknown() const { return unknown_; }
  /// All entries of the source before this one are in, once there is an answer to all sent ones.
  std::uint64_t whole() const { return std::min(first_open_, next_); }
  /// How many from there on may be in or not. None, if nothing failed.
  std::uint64_t mixed() const { return next_ - whole(); }

 private:
  void open(std::uint64_t entry) { first_open_ = std::min(first_open_, entry); }

  std::uint64_t next_;        ///< not sent yet, nor left out
  std::uint64_t first_open_;  ///< the first one that is not known to be in
  std::uint64_t inserted_ = 0;
  std::uint64_t found_ = 0;
  std::uint64_t unknown_ = 0;
};

/// What to tell of a load by inserts that failed: what is in the tree, and the command that goes on
/// from there: "120 entries of this load are in the tree, and stay there; to go on: silurus load
/// points.csv --skip 100 --check 40".
std::string left_by_load(const LoadLedger& ledger, const LoadCommand& command,
                         const Settings& settings);

/// A word as a shell reads it.
std::string shell_word(std::string_view word);

}  // namespace silurus::tool
