// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "rtree/arena.h"
#include "transport/fabric.h"

// One-sided reads of this process's own memory that take as long, come in as bad an order, and are
// as torn as a test wants: each copies its bytes piece by piece at times that a Random picks.

namespace silurus::client {

/// Slabs that are also regions.
class RegionSlabs final : public rtree::SlabSource {
 public:
  Result<std::span<std::byte>> allocate(std::size_t bytes) override {
    auto slab = slabs_.allocate(bytes);
    if (slab) regions_.push_back(*slab);
    return slab;
  }
  const std::vector<std::span<std::byte>>& regions() const { return regions_; }

 private:
  rtree::AnonymousSlabs slabs_;
  std::vector<std::span<std::byte>> regions_;
};

class MemoryBuffer final : public transport::Buffer {
 public:
  explicit MemoryBuffer(std::size_t bytes)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)),
                &std::free) {
    bytes_ = {memory_.get(), bytes};
  }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
};

class MemoryPoller final : public transport::Poller {
 public:
  std::size_t progress() override { return 0; }
  bool arm() override { return true; }
  int fd() const override { return -1; }
  Result<std::unique_ptr<transport::Buffer>> allocate_buffer(std::size_t bytes) override {
    return std::make_unique<MemoryBuffer>(bytes);
  }
};

class MemoryConnection final : public transport::Connection {
 public:
  MemoryConnection(const RegionSlabs& slabs, std::uint32_t max_reads)
      : slabs_(slabs),
        limits_{.max_message_bytes = 4096,
                .max_reads_in_flight = max_reads,
                .max_read_bytes = 1 << 16} {}

  /// Lets one of the reads under way get further; returns the cookie of one that is complete, or
  /// nothing.
  std::optional<std::uint64_t> step(Random& random) {
    if (reads_.empty()) return std::nullopt;
    Read& read = reads_[random.below(reads_.size())];
    const std::uint32_t left = read.request.length - read.copied;
    if (left > 0) {
      // An aligned word is atomic, and often enough the rest comes whole.
      const auto words = static_cast<std::uint32_t>(1 + random.below(left / 8));
      const std::uint32_t bytes = random.below(2) == 0 ? left : words * 8;
      copy(read, bytes);
      return std::nullopt;
    }
    return remove(read);
  }
  /// Copies at once what is left of the reads under way that `which` chooses, by their ReadRequest;
  /// step() returns them later.
  template <typename Which>
  void copy(Which&& which) {
    for (Read& read : reads_) {
      if (which(read.request)) copy(read, read.request.length - read.copied);
    }
  }
  std::size_t in_flight() const { return reads_.size(); }

  void set_handler(transport::ConnectionHandler*) override {}
  const transport::ConnectionLimits& limits() const override { return limits_; }
  std::span<const std::byte> peer_hello() const override { return {}; }
  std::string peer() const override { return "memory"; }
  std::span<std::byte> reserve(std::size_t) override { return {}; }
  void commit(std::size_t) override {}
  void flush() override {}
  PostResult post_reads(std::span<const transport::ReadRequest> requests) override {
    ++counters_.doorbells;
    std::size_t posted = 0;
    for (const auto& request : requests) {
      if (reads_.size() >= limits_.max_reads_in_flight) {
        return {posted, transport::PostStatus::kWouldBlock};
      }
      if (request.region >= slabs_.regions().size()) {
        return {posted, transport::PostStatus::kUnknownRegion};
      }
      if (request.offset + request.length > slabs_.regions()[request.region].size()) {
        return {posted, transport::PostStatus::kInvalid};
      }
      reads_.push_back({request, 0});
      ++posted;
      ++counters_.reads;
    }
    return {posted, transport::PostStatus::kPosted};
  }
  void write_mailbox(std::span<const std::byte>) override {}
  bool read_mailbox(std::array<std::byte, transport::kMailboxBytes>&) override { return false; }
  void set_paused(bool) override {}
  void close() override {}
  const transport::ConnectionCounters& counters() const override { return counters_; }

 private:
  struct Read {
    transport::ReadRequest request;
    std::uint32_t copied;
  };
  void copy(Read& read, std::uint32_t bytes) {
    const auto from =
        slabs_.regions()[read.request.region].subspan(read.request.offset + read.copied, bytes);
    std::memcpy(read.request.buffer->bytes().data() + read.request.buffer_offset + read.copied,
                from.data(), bytes);
    read.copied += bytes;
  }
  std::uint64_t remove(Read& read) {
    const std::uint64_t cookie = read.request.cookie;
    std::swap(read, reads_.back());
    reads_.pop_back();
    return cookie;
  }

  const RegionSlabs& slabs_;
  transport::ConnectionLimits limits_;
  transport::ConnectionCounters counters_;
  std::vector<Read> reads_;
};

}  // namespace silurus::client
