// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/result.h"

namespace silurus::server::keeper {

/// The first page of a server's tree, mapped by its keeper: the root block is there, with the word
/// that turns readers away (rtree::RootBlock::ended), which each reader reads with the root. So
/// the life of a server that has died ends for readers without a word from it. One thread.
class LifePage {
 public:
  /// Where this release has the word.
  static const std::uint64_t kWord;

  /// `memory`: a memfd that may still be mapped to be written.
  /// `word`: the offset of the word that turns readers away, which a server of another release may
  /// have elsewhere.
  static Result<LifePage> map(int memory, std::uint64_t word = kWord);
  LifePage(LifePage&& other) noexcept;
  LifePage& operator=(LifePage&& other) noexcept;
  ~LifePage();

  /// Ends the life of a server that has ended: no read of its root that begins from now on is
  /// believed.
  void end_life();
  bool has_ended() const;

 private:
  LifePage(std::span<std::byte> bytes, std::uint64_t word) : bytes_(bytes), word_(word) {}
  std::span<std::byte> bytes_;
  std::uint64_t word_;
};

}  // namespace silurus::server::keeper
