#pragma once

#include <cstdint>
#include <cstring>
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
  bool drains = true;                     ///< else for want of room, too
};

/// A memory on such a disk: what is stored is there at once, and outlives it in `content`.
class FullMemory final : public replication::PersistentMemory {
 public:
  static constexpr std::uint64_t kPage = 4096;

  FullMemory(FullDisk& disk, std::vector<std::byte>& content)
      : disk_(disk), content_(content), reserved_(content.size() / kPage + 1) {
    bytes_ = content;
  }

  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    SILURUS_CHECK(offset + data.size() <= size());
    has_failed_ |= !disk_.takes_stores;
    if (!disk_.takes_stores && !disk_.stores_nevertheless) return;
    std::memcpy(content_.data() + offset, data.data(), data.size());
  }
  void flush(std::uint64_t, std::uint64_t) override {}
  Status drain() override {
    if (Status stored = check_stores(); !stored) return stored;
    return disk_.drains ? Status{} : full();
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

  FullDisk& disk_;
  std::vector<std::byte>& content_;
  std::vector<bool> reserved_;
  bool has_failed_ = false;
};

}  // namespace silurus::testing_support
