// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"

namespace silurus::datasets {

/// A regular file of binary data that is read at any place, as often as one likes. Not mapped: a
/// file that becomes shorter meanwhile ends a process that has it mapped. One owner, one thread.
class BinaryFile {
 public:
  /// kNotFound, kPermission, kIo, kInvalidArgument (no regular file).
  static Result<BinaryFile> open(const std::string& path);

  BinaryFile(BinaryFile&& other) noexcept;
  BinaryFile& operator=(BinaryFile&&) = delete;
  ~BinaryFile();

  /// When it was opened.
  std::uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// Fills all of `into`; kProtocol if the file ends before.
  Status read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  BinaryFile(std::string path, int fd, std::uint64_t size);

  std::string path_;
  int fd_;
  std::uint64_t size_;
};

/// Records of one size that lie in a file one behind the other, read in blocks.
class Records {
 public:
  /// The file must be as long as that, and outlive this. Records have at least one byte.
  Records(const BinaryFile& file, std::uint64_t offset, std::size_t size, std::uint64_t count);

  /// The next record, valid until the next call; nothing (data() is null) at the end.
  Result<std::span<const std::byte>> next();
  /// Records handed out.
  std::uint64_t done() const { return done_; }
  std::uint64_t count() const { return count_; }

 private:
  const BinaryFile* file_;
  std::uint64_t offset_;  // offset of what is read next
  std::size_t size_;
  std::uint64_t count_;
  std::uint64_t done_ = 0;
  std::vector<std::byte> block_;
  std::size_t at_ = 0;  // in the block
};

/// A number as it lies in a file.
template <typename T>
T number_at(const std::byte* at, bool is_swapped = false);

}  // namespace silurus::datasets
