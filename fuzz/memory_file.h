// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "common/check.h"

namespace silurus::fuzz {

/// A file that has a name and no place on a disk, for parsers that open what they read. One thread.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) { SILURUS_CHECK(fd_ >= 0); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(fd_); }

  /// Replaces what it holds.
  void hold(std::string_view text) const {
    SILURUS_CHECK(::ftruncate(fd_, 0) == 0);
    SILURUS_CHECK(::pwrite(fd_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  /// As other processes of this user open it, too, as long as it lives.
  std::string path() const {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_);
  }

 private:
  int fd_;
};

}  // namespace silurus::fuzz
