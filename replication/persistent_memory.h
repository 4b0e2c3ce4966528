// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/result.h"

// Memory that outlives the process: what the log and the checkpoints are written to. The interface
// is that of a cache in front of a durable medium: what was stored is readable at once, may reach
// the medium at any moment and in any order, and has surely reached it when drain() succeeds after
// a flush() of it. No write of 8 aligned bytes is ever torn; anything larger may be.

namespace silurus::replication {

/// A range of persistent memory. One thread at a time stores, flushes and drains; any thread may
/// read bytes() that no thread is storing to. Different objects over the same file are independent.
///
///   memory.store(0, bytes);        // readable, but a crash may lose all or part of it
///   memory.flush(0, bytes.size());
///   if (auto done = memory.drain(); !done) return done;   // durable from here
class PersistentMemory {
 public:
  virtual ~PersistentMemory() = default;

  /// All of it, readable.
  std::span<const std::byte> bytes() const { return bytes_; }
  std::uint64_t size() const { return bytes_.size(); }

  /// Copies `data` to `offset`. The range must lie within size() and, for a sparse file, have been
  /// reserved.
  virtual void store(std::uint64_t offset, std::span<const std::byte> data) = 0;
  /// Starts writing the range back.
  virtual void flush(std::uint64_t offset, std::uint64_t length) = 0;
  /// Returns when all that was flushed is durable. After an error nothing is known of what was
  /// flushed since the last success. kNoSpace: the medium had no room for some of it; once all of
  /// that is stored and flushed again, a drain() may succeed. After any other error no later
  /// drain() may be believed.
  virtual Status drain() = 0;
  /// Whether the medium has taken all that was stored since this was asked last. kNoSpace: it had
  /// no room for some of it (in a range that was reserved, this happens where a limit of file sizes
  /// was lowered, or where the file system writes to another place each time); all but those ranges
  /// is as it was. drain() tells it, too, if this was not asked. Any other error is final.
  virtual Status check_stores() { return {}; }
  /// Makes sure that the medium has room for the range, so that storing to it cannot fail. kNoSpace
  /// if it has none.
  virtual Status reserve(std::uint64_t offset, std::uint64_t length) = 0;
  /// Whether something may ever have been stored in the range; being reserved is not that.
  virtual bool holds_data(std::uint64_t /*offset*/, std::uint64_t /*length*/) const { return true; }
  /// Gives back the room of a reserved range that holds no data.
  virtual void release(std::uint64_t /*offset*/, std::uint64_t /*length*/) {}
  /// Bytes that the medium can still give to reserve(), at most, and bytes that it has given to the
  /// file of this memory; where that isn't known, UINT64_MAX and 0.
  virtual std::uint64_t free_bytes() const { return UINT64_MAX; }
  virtual std::uint64_t reserved_bytes() const { return 0; }
  /// Whether flushes are CPU instructions (devdax, fsdax) and not system calls.
  virtual bool is_pmem() const = 0;
  /// Whether drain() waits for a device: an ordinary file on a disk. Not persistent memory, nor a
  /// file in memory (tmpfs), which outlives its process but not its machine.
  virtual bool waits_for_device() const = 0;

 protected:
  std::span<const std::byte> bytes_;
};

struct MapOptions {
  bool create = false;     ///< make the file if it isn't there; never shortens one
  std::uint64_t size = 0;  ///< bytes it must have at least; created or grown sparse to that
  bool read_only = false;  ///< nothing may be stored
};

/// A file or device mapped by libpmem. The views keep the mapping alive. Any thread.
class PersistentFile {
 public:
  /// Maps a file or a devdax device. Errors say which file, why, and what to do.
  static Result<std::shared_ptr<PersistentFile>> map(const std::string& path,
                                                     const MapOptions& options);
  /// Takes over what map() made.
  PersistentFile(std::string path, std::span<std::byte> bytes, int fd, bool is_pmem, bool is_device,
                 bool is_in_memory);
  PersistentFile(const PersistentFile&) = delete;
  PersistentFile& operator=(const PersistentFile&) = delete;
  ~PersistentFile();

  std::uint64_t size() const { return bytes_.size(); }
  bool is_pmem() const { return is_pmem_; }
  const std::string& path() const { return path_; }

  /// The range [offset, offset + length) as a memory of its own; it must lie within the file.
  static std::unique_ptr<PersistentMemory> view(const std::shared_ptr<PersistentFile>& file,
                                                std::uint64_t offset, std::uint64_t length);

 private:
  friend class MappedMemory;

  std::string path_;
  std::span<std::byte> bytes_;
  int fd_;  ///< -1 for a device
  bool is_pmem_;
  bool is_device_;
  bool is_in_memory_;
};

}  // namespace silurus::replication
