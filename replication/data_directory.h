// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/result.h"
#include "replication/checkpoint.h"
#include "replication/log_size.h"

namespace silurus::replication {

/// Whose store it is, if it is that of a member of a group.
struct MemberStore {
  std::string cluster;
  std::uint32_t shard = 0;
  std::uint64_t log_chain = 0;  ///< what the logs of all members begin with
  friend bool operator==(const MemberStore& a, const MemberStore& b) {
    return a.cluster == b.cluster && a.shard == b.shard;
  }
};

struct DirectoryOptions {
  std::uint64_t log_bytes =
      kDefaultLogBytes;          ///< size of a new store's log; an old one keeps its size
  std::uint64_t tree_bytes = 0;  ///< what the nodes of the tree may take at most: its budget
  bool read_only = false;        ///< to look at, not to serve: nothing is changed
  /// For a member of a group; nothing: for a server of its own. With `read_only` either will do.
  std::optional<MemberStore> member = {};
  std::optional<std::uint64_t> id = {};  ///< id of a new store; nothing: a random one
};

/// Beside a member's store: one that is to take its place (IncomingDirectory), as it is being made,
/// and once it is whole.
constexpr const char* kIncomingName = "incoming";
constexpr const char* kArrivedName = "arrived";

/// Holds a data directory or device against other servers, until destroyed or the process ends.
class DirectoryLock {
 public:
  /// Locks the directory or device itself. kConflict if another server holds it, with its process
  /// if that can be told.
  static Result<DirectoryLock> take(const std::string& path);
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

/// The memory of one store, mapped and locked.
struct OpenDirectory {
  DirectoryLock lock;
  Volume volume;
  bool created = false;                    ///< a new, empty store was made
  std::optional<MemberStore> member = {};  ///< without the chain
};

/// Opens what `--data` names, and makes it if it is not there yet:
/// * a directory: files `root` (superblock, roots, maps), `log`, `nodes.0`, `nodes.1`, `lock`, and
///   of a member of a group `member` and `extra.0`, `extra.1`; its parent must exist;
/// * a devdax device, or a file of at least kMinDeviceBytes that exists: all of that in one, side
/// by
///   side; a file of zeros, or a device with zeros at its start, is a new one. Not for members of a
///   group. A file that holds something else is not touched; nor is a device whose memory is
///   volatile.
/// What has arrived in a directory (kArrivedName) takes the place of the store in it first.
/// kConflict if it is the store of another group's member, or of none though it should be.
/// The errors say what is wrong with which file and what to do. Set-up only.
template <int D>
Result<OpenDirectory> open_directory(const std::string& path, const DirectoryOptions& options);

constexpr std::uint64_t kMinDeviceBytes = std::uint64_t{16} << 20;

}  // namespace silurus::replication
