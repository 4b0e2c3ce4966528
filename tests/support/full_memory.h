// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "common/check.h"
#include "replication/persistent_memory.h"

namespace silurus::testing_support {

/// A disk that several memories share, and that is full when a test says so.
struct FullDisk {
  std::uint64_t free_bytes = UINT64_MAX;  ///< that reserve() may still take
  bool takes_stores = true;               ///< else a store that fails is told for want of room,
  bool stores_nevertheless = false;       ///< though its bytes may have been taken all the same
  bool drains = true;                     ///< else they fail with ...
  ErrorCode drain_error = ErrorCode::kNoSpace;
  std::uint64_t stores_left = UINT64_MAX;  ///< that it still takes, if it takes any
  std::uint64_t drains_left = UINT64_MAX;  ///< that still succeed, if any do
};

/// A memory on such a disk: what is stored is there at once, and outlives it in `content`. If it is
/// sparse, nothing is stored to what was not reserved.
class FullMemory final : public replication::PersistentMemory {
 public:
  static constexpr std::uint64_t kPage = 4096;

  FullMemory(FullDisk& disk, std::vector<std::byte>& content, bool is_sparse = false)
      : disk_(disk),
        content_(content),
        reserved_(content.size() / kPage + 1),
        is_sparse_(is_sparse) {
    bytes_ = content;
  }

  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    SILURUS_CHECK(offset + data.size() <= size());
    for (std::uint64_t page = offset / kPage; page * kPage < offset + data.size(); ++page) {
      SILURUS_CHECK(!is_sparse_ || reserved_[page]);
    }
    const bool is_taken = disk_.takes_stores && takes_one(disk_.stores_left);
    has_failed_ |= !is_taken;
    if (!is_taken && !disk_.stores_nevertheless) return;
    std::ranges::copy(data, content_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void flush(std::uint64_t, std::uint64_t) override {}
  Status drain() override {
    if (Status stored = check_stores(); !stored) return stored;
    if (disk_.drains && takes_one(disk_.drains_left)) return {};
    return fail(disk_.drain_error, "the disk of the test is full or broken");
  }
  Status check_stores() override { return std::exchange(has_failed_, false) ? full() : Status{}; }
  Status reserve(std::uint64_t offset, std::uint64_t length) override {
    for (std::uint64_t page = offset / kPage; page * kPage < offset + length; ++page) {
      if (reserved_[page]) continue;
      if (disk_.free_bytes < kPage) return full();
      if (disk_.free_bytes != UINT64_MAX) disk_.free_bytes -= kPage;
      reserved_[page] = true;
    }
    return {};
  }
  bool holds_data(std::uint64_t offset, std::uint64_t length) const override {
    for (std::uint64_t i = offset; i < offset + length; ++i) {
      if (content_[i] != std::byte{0}) return true;
    }
    return false;
  }
  void release(std::uint64_t offset, std::uint64_t length) override {
    SILURUS_CHECK(!holds_data(offset, length));
    for (std::uint64_t page = offset / kPage; page * kPage < offset + length; ++page) {
      if (reserved_[page] && disk_.free_bytes != UINT64_MAX) disk_.free_bytes += kPage;
      reserved_[page] = false;
    }
  }
  bool is_pmem() const override { return false; }
  bool waits_for_device() const override { return true; }

 private:
  static Status full() { return fail(ErrorCode::kNoSpace, "the disk of the test is full"); }

  static bool takes_one(std::uint64_t& left) {
    if (left == 0) return false;
    if (left != UINT64_MAX) --left;
    return true;
  }

  FullDisk& disk_;
  std::vector<std::byte>& content_;
  std::vector<bool> reserved_;
  const bool is_sparse_;
  bool has_failed_ = false;
};

}  // namespace silurus::testing_support
