// SPDX-License-Identifier: Apache-2.0

#include "datasets/records.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace silurus::datasets {
namespace {

constexpr std::size_t kBlockBytes = 1 << 18;  // about; a record at least

}  // namespace

BinaryFile::BinaryFile(std::string path, int fd, std::uint64_t size)
    : path_(std::move(path)), fd_(fd), size_(size) {}

BinaryFile::BinaryFile(BinaryFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

BinaryFile::~BinaryFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<BinaryFile> BinaryFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const ErrorCode code = errno == ENOENT   ? ErrorCode::kNotFound
                           : errno == EACCES ? ErrorCode::kPermission
                                             : ErrorCode::kIo;
    return fail(errno_error(code, "cannot open " + path, errno));
  }
  struct stat info = {};
  const bool is_regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  BinaryFile file(path, fd, is_regular ? static_cast<std::uint64_t>(info.st_size) : 0);
  if (!is_regular) return fail(ErrorCode::kInvalidArgument, path + " is not a regular file");
  return file;
}

Status BinaryFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t count = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(ErrorCode::kIo, "cannot read " + path_, errno));
    if (count == 0) {
      return fail(ErrorCode::kProtocol, path_ + ": the file ends at byte " +
                                            std::to_string(offset) + ", within its data");
    }
    offset += static_cast<std::uint64_t>(count);
    into = into.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Records::Records(const BinaryFile& file, std::uint64_t offset, std::size_t size,
                 std::uint64_t count)
    : file_(&file), offset_(offset), size_(size), count_(count) {}

Result<std::span<const std::byte>> Records::next() {
  if (at_ == block_.size()) {
    const std::uint64_t left = count_ - done_;
    if (left == 0) return std::span<const std::byte>();
    const std::uint64_t records = std::max<std::uint64_t>(kBlockBytes / size_, 1);
    block_.resize(static_cast<std::size_t>(std::min(records, left)) * size_);
    at_ = 0;
    if (auto ok = file_->read(offset_, block_); !ok) {
      done_ = count_;
      block_.clear();
      return fail(ok.error());
    }
    offset_ += block_.size();
  }
  const std::span record(block_.data() + at_, size_);
  at_ += size_;
  ++done_;
  return record;
}

template <typename T>
T number_at(const std::byte* at, bool is_swapped) {
  std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), at, sizeof(T));
  if (is_swapped) std::ranges::reverse(bytes);
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template std::int8_t number_at<std::int8_t>(const std::byte*, bool);
template std::int16_t number_at<std::int16_t>(const std::byte*, bool);
template std::int32_t number_at<std::int32_t>(const std::byte*, bool);
template std::int64_t number_at<std::int64_t>(const std::byte*, bool);
template std::uint8_t number_at<std::uint8_t>(const std::byte*, bool);
template std::uint16_t number_at<std::uint16_t>(const std::byte*, bool);
template std::uint32_t number_at<std::uint32_t>(const std::byte*, bool);
template std::uint64_t number_at<std::uint64_t>(const std::byte*, bool);
template float number_at<float>(const std::byte*, bool);
template double number_at<double>(const std::byte*, bool);

}  // namespace silurus::datasets
