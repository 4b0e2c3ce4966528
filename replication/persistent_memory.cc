// SPDX-License-Identifier: Apache-2.0

#include "replication/persistent_memory.h"

#include <fcntl.h>
#include <libpmem.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "common/check.h"
#include "common/units.h"

namespace silurus::replication {
namespace {

/// Bytes from which on stores bypass the cache: they won't be read again soon.
constexpr std::size_t kStreamingBytes = 1024;

/// Ranges that are flushed one by one before a drain gives up and flushes their hull.
constexpr std::size_t kMaxPendingRanges = 64;

ErrorCode code_of(int errno_value) {
  switch (errno_value) {
    case ENOENT:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermission;
    default:
      return is_no_space(errno_value) ? ErrorCode::kNoSpace : ErrorCode::kIo;
  }
}

/// What failed on a file, and what to do if that is for want of room.
Error file_error(std::string what, const std::string& path, int errno_value) {
  return is_no_space(errno_value) ? no_space_error(std::move(what), path, errno_value)
                                  : errno_error(code_of(errno_value), std::move(what), errno_value);
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

bool is_in_memory(int fd) {
  struct statfs status {};
  return ::fstatfs(fd, &status) == 0 &&
         (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

Result<std::shared_ptr<PersistentFile>> map_read_only(const std::string& path, int fd,
                                                      std::uint64_t size) {
  if (size == 0) return fail(ErrorCode::kProtocol, path + " is empty");
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return fail(errno_error(ErrorCode::kIo, "cannot map " + path, errno));
  return std::make_shared<PersistentFile>(path, std::span(static_cast<std::byte*>(at), size), fd,
                                          false, false, false);
}

}  // namespace

/// A view of a mapped file. On an ordinary file, flush() notes ranges and drain() msyncs them; on
/// one that waits for a device, store() writes to the file.
class MappedMemory final : public PersistentMemory {
 public:
  MappedMemory(std::shared_ptr<PersistentFile> file, std::span<std::byte> bytes,
               std::uint64_t offset_in_file)
      : file_(std::move(file)), writable_(bytes), offset_in_file_(offset_in_file) {
    bytes_ = bytes;
    pending_.reserve(kMaxPendingRanges);
  }

  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    SILURUS_CHECK(offset <= writable_.size() && data.size() <= writable_.size() - offset);
    std::byte* to = writable_.data() + offset;
    if (waits_for_device()) {
      write(offset, data);
    } else if (!file_->is_pmem_) {
      std::memcpy(to, data.data(), data.size());
    } else if (data.size() >= kStreamingBytes) {
      ::pmem_memcpy(to, data.data(), data.size(), PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NONTEMPORAL);
    } else {
      ::pmem_memcpy(to, data.data(), data.size(), PMEM_F_MEM_NOFLUSH);
    }
  }

  void flush(std::uint64_t offset, std::uint64_t length) override {
    SILURUS_CHECK(offset <= writable_.size() && length <= writable_.size() - offset);
    if (length == 0) return;
    if (file_->is_pmem_) {
      ::pmem_flush(writable_.data() + offset, length);
      return;
    }
    if (!pending_.empty() && pending_.back().end == offset) {
      pending_.back().end = offset + length;
    } else if (pending_.size() < kMaxPendingRanges) {
      pending_.push_back({offset, offset + length});
    } else {
      pending_[0].begin = std::min(pending_[0].begin, offset);
      pending_[0].end = std::max(pending_[0].end, offset + length);
    }
  }

  Status drain() override {
    if (file_->is_pmem_) {
      ::pmem_drain();
      return {};
    }
    if (Status stored = check_stores(); !stored) return stored;
    for (const Range& range : pending_) {
      if (::pmem_msync(writable_.data() + range.begin, range.end - range.begin) != 0) {
        return fail(
            file_error("cannot write " + file_->path_ + " to its disk", file_->path_, errno));
      }
    }
    pending_.clear();
    return {};
  }

  Status check_stores() override {
    if (write_error_ == 0) return {};
    const int error = is_no_space(write_error_) ? std::exchange(write_error_, 0) : write_error_;
    return fail(file_error("cannot write " + file_->path_, file_->path_, error));
  }

  Status reserve(std::uint64_t offset, std::uint64_t length) override {
    SILURUS_CHECK(offset <= writable_.size() && length <= writable_.size() - offset);
    if (file_->is_device_ || length == 0) return {};
    const int error = ::posix_fallocate(file_->fd_, static_cast<off_t>(offset_in_file_ + offset),
                                        static_cast<off_t>(length));
    if (error == 0) return {};
    return fail(file_error("no room for " + format_size(length) + " in " + file_->path_,
                           file_->path_, error));
  }

  bool holds_data(std::uint64_t offset, std::uint64_t length) const override {
    if (file_->is_device_) return true;
    const auto begin = static_cast<off_t>(offset_in_file_ + offset);
    const off_t data = ::lseek(file_->fd_, begin, SEEK_DATA);
    // ENXIO: from there on there is nothing but holes.
    return data < 0 ? errno != ENXIO : data < begin + static_cast<off_t>(length);
  }

  void release(std::uint64_t offset, std::uint64_t length) override {
    SILURUS_CHECK(offset <= writable_.size() && length <= writable_.size() - offset);
    if (file_->is_device_ || length == 0) return;
    // Where that is not possible, the room is kept for what comes later.
    (void)::fallocate(file_->fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      static_cast<off_t>(offset_in_file_ + offset), static_cast<off_t>(length));
  }

  std::uint64_t free_bytes() const override {
    struct statvfs status {};
    // A tmpfs without a limit has no blocks at all.
    if (file_->is_device_ || ::fstatvfs(file_->fd_, &status) != 0 || status.f_blocks == 0) {
      return UINT64_MAX;
    }
    return std::uint64_t{status.f_bfree} * status.f_frsize;
  }

  std::uint64_t reserved_bytes() const override {
    constexpr std::uint64_t kStatBlock = 512;
    struct stat status {};
    if (file_->is_device_ || ::fstat(file_->fd_, &status) != 0) return 0;
    return static_cast<std::uint64_t>(status.st_blocks) * kStatBlock;
  }

  bool is_pmem() const override { return file_->is_pmem_; }
  bool waits_for_device() const override { return !file_->is_pmem_ && !file_->is_in_memory_; }

 private:
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
  };

  /// Stores through the file and not through the mapping, which shows it at once (both are the page
  /// cache): a page that was flushed is protected against writing, so that the next store to it
  /// through the mapping would be a page fault, and cost more than the flush itself
  /// (docs/decisions/0074). An error is told by check_stores() and drain().
  void write(std::uint64_t offset, std::span<const std::byte> data) {
    while (!data.empty() && write_error_ == 0) {
      const ssize_t written = ::pwrite(file_->fd_, data.data(), data.size(),
                                       static_cast<off_t>(offset_in_file_ + offset));
      if (written > 0) {
        data = data.subspan(static_cast<std::size_t>(written));
        offset += static_cast<std::uint64_t>(written);
      } else if (written == 0 || errno != EINTR) {
        write_error_ = written == 0 ? EIO : errno;
      }
    }
  }

  std::shared_ptr<PersistentFile> file_;
  std::span<std::byte> writable_;
  std::uint64_t offset_in_file_;
  std::vector<Range> pending_;
  int write_error_ = 0;  ///< errno of a store that failed: final, but for want of room
};

Result<std::shared_ptr<PersistentFile>> PersistentFile::map(const std::string& path,
                                                            const MapOptions& options) {
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC |
                    (options.create && !options.read_only ? O_CREAT : 0);
  FileDescriptor fd(::open(path.c_str(), flags, 0600));
  if (fd.get() < 0) return fail(file_error("cannot open " + path, path, errno));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot examine " + path, errno));
  }
  const bool is_device = S_ISCHR(status.st_mode);
  if (!is_device && !S_ISREG(status.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path + " is neither a file nor a devdax device");
  }
  auto size = static_cast<std::uint64_t>(status.st_size);
  if (options.read_only && !is_device) {
    if (size < options.size) {
      return fail(ErrorCode::kProtocol, path + " has " + std::to_string(size) + " bytes, not " +
                                            std::to_string(options.size) + ": it was cut short");
    }
    return map_read_only(path, fd.release(), size);
  }
  if (!is_device && size < options.size) {
    if (::ftruncate(fd.get(), static_cast<off_t>(options.size)) != 0) {
      return fail(
          file_error("cannot make " + path + " " + std::to_string(options.size) + " bytes large",
                     path, errno));
    }
    size = options.size;
  }
  std::size_t mapped = 0;
  int is_pmem = 0;
  void* at = ::pmem_map_file(path.c_str(), 0, 0, 0, &mapped, &is_pmem);
  if (at == nullptr) {
    return fail(errno_error(code_of(errno), "cannot map " + path, errno));
  }
  const bool in_memory = is_in_memory(fd.get());
  auto file = std::make_shared<PersistentFile>(path, std::span(static_cast<std::byte*>(at), mapped),
                                               is_device ? -1 : fd.release(), is_pmem != 0,
                                               is_device, in_memory);
  if (mapped < options.size) {
    return fail(ErrorCode::kTooLarge, path + " has " + std::to_string(mapped) +
                                          " bytes, too few for the " +
                                          std::to_string(options.size) + " needed");
  }
  return file;
}

PersistentFile::PersistentFile(std::string path, std::span<std::byte> bytes, int fd, bool is_pmem,
                               bool is_device, bool is_in_memory)
    : path_(std::move(path)),
      bytes_(bytes),
      fd_(fd),
      is_pmem_(is_pmem),
      is_device_(is_device),
      is_in_memory_(is_in_memory) {}

PersistentFile::~PersistentFile() {
  ::pmem_unmap(bytes_.data(), bytes_.size());
  if (fd_ >= 0) ::close(fd_);
}

std::unique_ptr<PersistentMemory> PersistentFile::view(const std::shared_ptr<PersistentFile>& file,
                                                       std::uint64_t offset, std::uint64_t length) {
  SILURUS_CHECK(offset <= file->size() && length <= file->size() - offset);
  return std::make_unique<MappedMemory>(file, file->bytes_.subspan(offset, length), offset);
}

}  // namespace silurus::replication
