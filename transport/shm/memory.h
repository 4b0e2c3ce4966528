// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "common/result.h"
#include "transport/fabric.h"
#include "transport/unique_fd.h"

namespace silurus::transport::shm {

/// A mapping of shared memory; unmapped at the end.
class Mapping {
 public:
  Mapping() = default;
  /// Maps the first `bytes` of `fd`, shared.
  static Result<Mapping> create(int fd, std::size_t bytes, bool writable);
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit Mapping(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

/// Memory that this process writes and others, given its descriptor, can read but never write, map
/// writable, shrink or grow: a sealed memfd, mapped before it was sealed. Zeroed at first. What a
/// server's arena grows by, to be passed to Listener::expose as region().
///
///   auto slab = shm::SharedSlab::create(64 << 20, "arena", true);
///   listener->expose(slab->region());
class SharedSlab {
 public:
  /// `bytes` is rounded up to whole pages; `name` is seen in /proc. With huge_pages, takes them
  /// from the system's pool if there are enough, else asks for transparent ones.
  /// `before_seal`: given the descriptor while it can still be mapped to be written, by a process
  /// that shall be able to; an error of it is one of create(). May be empty.
  static Result<SharedSlab> create(std::size_t bytes, const std::string& name, bool huge_pages,
                                   const std::function<Status(int fd)>& before_seal = {});

  std::span<std::byte> bytes() const { return mapping_.bytes(); }
  int fd() const { return fd_.get(); }
  Region region() const { return {bytes(), fd()}; }
  /// Whether the pages come from the system's pool of huge ones.
  bool huge() const { return huge_; }

 private:
  SharedSlab(UniqueFd fd, Mapping mapping, bool huge)
      : fd_(std::move(fd)), mapping_(std::move(mapping)), huge_(huge) {}

  UniqueFd fd_;
  Mapping mapping_;
  bool huge_;
};

/// A memfd of `bytes` zeros that cannot be shrunk, grown or sealed further; both sides may write.
Result<UniqueFd> create_ring_memory(std::size_t bytes);

/// Whether a received descriptor is a memfd of at least `bytes` that can never shrink (so that
/// reading it can't end in SIGBUS); the size of the whole file.
Result<std::size_t> check_sealed(int fd, std::uint64_t bytes, bool against_writing);

}  // namespace silurus::transport::shm
