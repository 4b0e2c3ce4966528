// SPDX-License-Identifier: Apache-2.0

#include "transport/shm/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace silurus::transport::shm {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

constexpr std::size_t round_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

Result<UniqueFd> create_memfd(const std::string& name, std::size_t bytes, unsigned flags) {
  UniqueFd fd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
  if (!fd) return fail(errno_error(ErrorCode::kIo, "cannot create memfd " + name, errno));
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail(errno_error(
        ErrorCode::kOutOfMemory,
        "cannot make memfd " + name + " " + std::to_string(bytes) + " bytes long", errno));
  }
  return fd;
}

Status seal(int fd, int seals) {
  if (fcntl(fd, F_ADD_SEALS, seals) == 0) return {};
  return fail(errno_error(ErrorCode::kIo, "cannot seal a memfd", errno));
}

}  // namespace

Result<Mapping> Mapping::create(int fd, std::size_t bytes, bool writable) {
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* at = mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) {
    return fail(errno_error(ErrorCode::kOutOfMemory,
                            "cannot map " + std::to_string(bytes) + " bytes of shared memory",
                            errno));
  }
  return Mapping({static_cast<std::byte*>(at), bytes});
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

Result<SharedSlab> SharedSlab::create(std::size_t bytes, const std::string& name, bool huge_pages,
                                      const std::function<Status(int fd)>& before_seal) {
  if (bytes == 0) return fail(ErrorCode::kInvalidArgument, "a slab of 0 bytes");
  const auto make = [&](std::size_t size, unsigned flags) -> Result<SharedSlab> {
    auto fd = create_memfd(name, size, flags);
    if (!fd) return fail(std::move(fd.error()));
    auto mapping = Mapping::create(fd->get(), size, true);
    if (!mapping) return fail(std::move(mapping.error()));
    if (before_seal) {
      if (auto status = before_seal(fd->get()); !status) return fail(std::move(status.error()));
    }
    // Mappings older than the seal stay writable; no other ever will be.
    if (auto status =
            seal(fd->get(), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
        !status) {
      return fail(std::move(status.error()));
    }
    return SharedSlab(std::move(*fd), std::move(*mapping), flags != 0);
  };
  if (huge_pages) {
    if (auto slab = make(round_up(bytes, kHugePage), MFD_HUGETLB)) return slab;
  }
  auto slab = make(round_up(bytes, kPage), 0);
  if (slab && huge_pages) madvise(slab->bytes().data(), slab->bytes().size(), MADV_HUGEPAGE);
  return slab;
}

Result<UniqueFd> create_ring_memory(std::size_t bytes) {
  auto fd = create_memfd("silurus-rings", bytes, 0);
  if (!fd) return fd;
  if (auto status = seal(fd->get(), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL); !status) {
    return fail(std::move(status.error()));
  }
  return fd;
}

Result<std::size_t> check_sealed(int fd, std::uint64_t bytes, bool against_writing) {
  const int seals = fcntl(fd, F_GET_SEALS);
  const int wanted = F_SEAL_SHRINK | (against_writing ? F_SEAL_FUTURE_WRITE : 0);
  if (seals < 0 || (seals & wanted) != wanted) {
    return fail(ErrorCode::kInvalidArgument,
                "not a memfd sealed as SharedSlab seals it (shrink, future write)");
  }
  struct stat status {};
  if (fstat(fd, &status) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot stat shared memory", errno));
  }
  if (bytes > static_cast<std::uint64_t>(status.st_size)) {
    return fail(ErrorCode::kInvalidArgument, "shared memory of " + std::to_string(status.st_size) +
                                                 " bytes, not the " + std::to_string(bytes) +
                                                 " announced");
  }
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace silurus::transport::shm
