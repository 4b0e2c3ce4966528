// SPDX-License-Identifier: Apache-2.0

#include "replication/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "common/durable_file.h"
#include "common/persistence.h"
#include "common/units.h"
#include "replication/log.h"
#include "replication/store.h"
#include "rtree/node.h"
#include "transport/custody.h"

namespace silurus::replication {
namespace {

namespace fs = std::filesystem;

/// A bit for each chunk that a name can name, where files are sparse.
constexpr std::uint64_t kFullMapBytes = rtree::NodeRef::kMaxChunks / 8;
/// What devices align their parts to, a huge page.
constexpr std::uint64_t kDeviceAlignment = std::uint64_t{2} << 20;

std::uint64_t round_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

std::uint64_t random_id() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

/// What a checkpoint holds beside the tree, twice; sparse.
constexpr std::uint64_t kExtraBytes = std::uint64_t{65} << 20;

/// The member that the store belongs to by the file; none if there is no such file.
Result<std::optional<MemberStore>> read_member(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::optional<MemberStore>();
  MemberStore member;
  std::string cluster_word;
  std::string shard_word;
  std::ifstream file(path);
  if (!(file >> cluster_word >> member.cluster >> shard_word >> member.shard) ||
      cluster_word != "cluster" || shard_word != "shard") {
    return fail(ErrorCode::kProtocol, path +
                                          " does not say which cluster and shard: if the "
                                          "directory is a new one, or another member of the "
                                          "group serves, start with an empty one");
  }
  return std::optional(member);
}

/// Writes zeros, so that the file's blocks are there and written: a later msync then has nothing
/// but its own page to write.
Status zero_file(const std::string& path, std::uint64_t bytes) {
  auto file = PersistentFile::map(path, {.create = true, .size = bytes});
  if (!file) return fail(file.error());
  const auto memory = PersistentFile::view(*file, 0, bytes);
  if (Status room = memory->reserve(0, bytes); !room) return room;
  const std::vector<std::byte> zeros(std::uint64_t{1} << 20);
  for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
    const std::uint64_t part = std::min<std::uint64_t>(zeros.size(), bytes - at);
    memory->store(at, std::span(zeros).first(part));
    memory->flush(at, part);
  }
  return memory->drain();
}

/// A directory as the parts of a store.
template <int D>
class Files {
 public:
  Files(const std::string& path, const DirectoryOptions& options) : path_(path), options_(options) {
    area_bytes_ = options.tree_bytes / rtree::kChunkBytes<D> * rtree::kChunkBytes<D>;
  }

  std::string of(const char* name) const { return path_ + "/" + name; }

  Result<OpenDirectory> open() {
    if (Status made = make_directory(); !made) return fail(made.error());
    auto lock = DirectoryLock::take(path_);
    if (!lock) return fail(lock.error());
    OpenDirectory opened{.lock = std::move(*lock), .volume = {}, .created = false};
    if (Status settled = take_over(); !settled) return fail(settled.error());
    auto member = read_member(of("member"));
    if (!member) return fail(member.error());
    opened.member = *member;
    if (Status ok = fs::exists(of("root")) ? check_root(opened) : check_empty(); !ok) {
      return fail(ok.error());
    }
    if (opened.created || !fs::exists(of("root"))) {
      if (options_.read_only) {
        return fail(ErrorCode::kNotFound, path_ + " holds no Silurus tree");
      }
      opened.created = true;
      opened.member = options_.member;
      if (Status created = create(opened.volume); !created) return fail(created.error());
      return opened;
    }
    if (Status ok = check_member(opened.member); !ok) return fail(ok.error());
    if (Status mapped = map_all(opened); !mapped) return fail(mapped.error());
    return opened;
  }

 private:
  Status make_directory() {
    if (fs::is_directory(path_)) return {};
    if (options_.read_only) return fail(ErrorCode::kNotFound, path_ + " is not there");
    if (::mkdir(path_.c_str(), 0700) == 0) return {};
    const std::string what = "cannot make the data directory " + path_;
    return fail(is_no_space(errno)
                    ? no_space_error(what, fs::path(path_).parent_path().string(), errno)
                    : errno_error(ErrorCode::kIo, what, errno));
  }

  /// Puts the files of a store that has arrived in the place of the old ones. Cut short, it is gone
  /// on with the next time, before anything else is looked at. A member's directory has the two
  /// files at any time; in another one, nothing of those names is ours.
  Status take_over() {
    if (!fs::exists(of("member")) || !fs::exists(of("root"))) return {};
    const std::string arrived = of(kArrivedName);
    if (options_.read_only) {
      if (!fs::exists(arrived)) return {};
      return fail(ErrorCode::kUnavailable, path_ + " is about to be replaced by what is in " +
                                               arrived + ": start the server once");
    }
    fs::remove_all(of(kIncomingName));  // cut short
    if (!fs::exists(arrived)) return {};
    for (const char* name : {"log", "nodes.0", "nodes.1", "extra.0", "extra.1", "root"}) {
      if (fs::exists(arrived + "/" + name)) fs::rename(arrived + "/" + name, of(name));
    }
    if (Status synced = sync_directory(path_); !synced) return synced;
    fs::remove_all(arrived);
    return sync_directory(path_);
  }

  Status check_empty() const {
    for (const auto& entry : fs::directory_iterator(path_)) {
      const std::string name = entry.path().filename();
      if (name == "lock" || name == "lost+found" || name.starts_with("member")) continue;
      const bool ours = name == "log" || name.starts_with("nodes.");
      return fail(ours ? ErrorCode::kProtocol : ErrorCode::kConflict,
                  ours ? of("root") + " is missing though " + name + " is there: restore a backup"
                       : path_ + " is not empty and holds no Silurus tree: name another directory");
    }
    return {};
  }

  /// Whether creating the store was cut short.
  Status check_root(OpenDirectory& opened) const {
    if (fs::file_size(of("root")) < kMapsOffset && !fs::exists(of("log"))) {
      opened.created = true;
      return {};
    }
    auto root = PersistentFile::map(of("root"), {.size = kMapsOffset, .read_only = true});
    if (!root) return fail(root.error());
    const auto super = PersistentFile::view(*root, 0, (*root)->size());
    if (!is_blank(super->bytes())) return {};
    if (fs::exists(of("log"))) {
      auto log = PersistentFile::map(of("log"), {.read_only = true});
      if (log &&
          !is_zero(PersistentFile::view(*log, 0, std::min((*log)->size(), kPageBytes))->bytes())) {
        return fail(ErrorCode::kProtocol,
                    of("root") + " is empty though " + of("log") + " is not: restore a backup");
      }
    }
    opened.created = true;
    return {};
  }

  /// A member's store serves its group and no other, nor itself: what the others have would be
  /// missing in it, and what it did alone in theirs.
  Status check_member(const std::optional<MemberStore>& found) const {
    if (options_.read_only || found == options_.member) return {};
    const auto name = [](const MemberStore& member) {
      return "shard " + std::to_string(member.shard) + " of the cluster " + member.cluster;
    };
    const std::string wanted =
        options_.member ? "a member of " + name(*options_.member) : "a server without --cluster";
    return fail(ErrorCode::kConflict,
                path_ + " holds the tree of " +
                    (found ? "a member of " + name(*found) : "a server without --cluster") +
                    ", and not that of " + wanted + ": name another directory");
  }

  Status create(Volume& volume) {
    if (options_.member) {
      const std::string text = "cluster " + options_.member->cluster + "\nshard " +
                               std::to_string(options_.member->shard) + "\n";
      if (Status written = write_durably(of("member"), text); !written) return written;
    }
    // The root comes first: where other files are without it, it was lost.
    if (auto root = PersistentFile::map(of("root"), {.create = true, .size = kMapsOffset}); !root) {
      return fail(root.error());
    }
    if (Status zeroed = zero_file(of("log"), options_.log_bytes); !zeroed) return zeroed;
    for (const char* name : {"nodes.0", "nodes.1"}) {
      auto nodes = PersistentFile::map(of(name), {.create = true, .size = area_bytes_});
      if (!nodes) return fail(nodes.error());
    }
    for (const char* name : {"extra.0", "extra.1"}) {
      if (!options_.member) break;
      auto extra = PersistentFile::map(of(name), {.create = true, .size = kExtraBytes});
      if (!extra) return fail(extra.error());
    }
    if (Status mapped = map_volume(volume, area_bytes_, options_.member.has_value()); !mapped) {
      return mapped;
    }
    const std::uint64_t id = options_.id.value_or(random_id());
    const std::uint64_t chain = options_.member ? options_.member->log_chain : id;
    if (Status formatted = format_store<D>(volume, id, 0, chain); !formatted) return formatted;
    if (Status synced = sync_directory(path_); !synced) return synced;
    // The directory's own entry, which is as new as what is in it.
    return sync_directory(fs::absolute(path_ + "/..").string());
  }

  Status map_all(OpenDirectory& opened) {
    auto root = PersistentFile::map(of("root"), {.size = kMapsOffset, .read_only = true});
    if (!root) return fail(root.error());
    const auto super = PersistentFile::view(*root, 0, (*root)->size());
    const auto superblock = read_superblock(super->bytes(), D, rtree::kNodeFormat<D>, path_);
    if (!superblock) return fail(superblock.error());
    const auto newest = newest_root(super->bytes(), superblock->id, path_);
    if (!newest) return fail(newest.error());
    if ((*root)->size() < super_bytes(superblock->map_bytes)) {
      return fail(ErrorCode::kProtocol, of("root") + " was cut short: restore a backup");
    }
    for (const char* name : {"log", "nodes.0", "nodes.1"}) {
      if (fs::exists(of(name))) continue;
      return fail(ErrorCode::kNotFound, of(name) + " is missing: restore a backup");
    }
    return map_volume(opened.volume, options_.read_only ? 0 : area_bytes_,
                      opened.member.has_value());
  }

  Status map_volume(Volume& volume, std::uint64_t area_bytes, bool of_member) {
    volume.name = path_;
    const std::uint64_t super = options_.read_only ? 0 : super_bytes(kFullMapBytes);
    if (Status ok = map_one("root", super, volume.super); !ok) return ok;
    if (Status ok = map_one("log", 0, volume.log); !ok) return ok;
    if (Status ok = map_one("nodes.0", area_bytes, volume.nodes[0]); !ok) return ok;
    if (Status ok = map_one("nodes.1", area_bytes, volume.nodes[1]); !ok) return ok;
    if (!of_member) return {};
    if (Status ok = map_one("extra.0", 0, volume.extras[0]); !ok) return ok;
    return map_one("extra.1", 0, volume.extras[1]);
  }

  Status map_one(const char* name, std::uint64_t size, std::unique_ptr<PersistentMemory>& memory) {
    auto file = PersistentFile::map(of(name), {.size = size, .read_only = options_.read_only});
    if (!file) return fail(file.error());
    memory = PersistentFile::view(*file, 0, (*file)->size());
    return {};
  }

  const std::string path_;
  const DirectoryOptions options_;
  std::uint64_t area_bytes_;
};

/// Where the parts of a store lie in one device.
struct DeviceLayout {
  std::uint64_t log;
  std::uint64_t nodes[2];

  DeviceLayout(std::uint64_t map_bytes, std::uint64_t log_bytes, std::uint64_t area_bytes) {
    log = round_up(super_bytes(map_bytes), kDeviceAlignment);
    nodes[0] = log + round_up(log_bytes, kDeviceAlignment);
    nodes[1] = nodes[0] + round_up(area_bytes, kDeviceAlignment);
  }
};

void split(const std::shared_ptr<PersistentFile>& file, std::uint64_t map_bytes,
           std::uint64_t log_bytes, std::uint64_t area_bytes, Volume& volume) {
  const DeviceLayout layout(map_bytes, log_bytes, area_bytes);
  volume.name = file->path();
  volume.super = PersistentFile::view(file, 0, super_bytes(map_bytes));
  volume.log = PersistentFile::view(file, layout.log, log_bytes);
  for (int i = 0; i < 2; ++i) {
    volume.nodes[i] = PersistentFile::view(file, layout.nodes[i], area_bytes);
  }
}

template <int D>
Status create_on_device(const std::shared_ptr<PersistentFile>& file,
                        const DirectoryOptions& options, Volume& volume) {
  const std::uint64_t map_bytes =
      round_up(file->size() / rtree::kChunkBytes<D> / 8 / 2, kPageBytes);
  const std::uint64_t before = DeviceLayout(map_bytes, options.log_bytes, 0).nodes[0];
  if (before + 2 * kDeviceAlignment > file->size()) {
    return fail(ErrorCode::kTooLarge,
                file->path() + " has " + format_size(file->size()) + ", too little for a log of " +
                    format_size(options.log_bytes) + " and two copies of the tree");
  }
  const std::uint64_t area_bytes =
      (file->size() - before) / 2 / kDeviceAlignment * kDeviceAlignment;
  split(file, map_bytes, options.log_bytes, area_bytes, volume);
  const std::uint64_t id = random_id();
  return format_store<D>(volume, id, area_bytes, id);
}

/// Whether there is nothing in a file but zeros, from an offset on: holes are not read.
Result<bool> is_blank_file(const std::string& path, std::uint64_t from) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno_error(ErrorCode::kPermission, "cannot open " + path, errno));
  const auto close_it = std::unique_ptr<const int, void (*)(const int*)>(
      &fd, [](const int* open_fd) { ::close(*open_fd); });
  std::vector<std::byte> bytes(1 << 20);
  for (off_t at = ::lseek(fd, static_cast<off_t>(from), SEEK_DATA); at >= 0;
       at = ::lseek(fd, at, SEEK_DATA)) {
    const ssize_t got = ::pread(fd, bytes.data(), bytes.size(), at);
    if (got < 0) return fail(errno_error(ErrorCode::kIo, "cannot read " + path, errno));
    if (!is_zero(std::span(bytes).first(static_cast<std::size_t>(got)))) return false;
    at += got;
  }
  return true;
}

/// Refuses what is not ours to write to, before anything is changed.
Status check_device(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot examine " + path, errno));
  }
  if (S_ISCHR(status.st_mode)) {
    const SystemTree system;
    const std::string device =
        system.real_path("sys/dev/char/" + std::to_string(major(status.st_rdev)) + ":" +
                         std::to_string(minor(status.st_rdev)));
    const MemoryKind kind = memory_kind(system, "/" + device);
    if (kind.persistence != Persistence::kVolatile) return {};
    return fail(ErrorCode::kUnsupported,
                path + " is " + kind.origin +
                    ", which forgets everything without power: name a directory, or a device of "
                    "persistent memory (silurus doctor lists them)");
  }
  std::array<char, kStoreMagic.size()> magic{};
  std::ifstream(path, std::ios::binary).read(magic.data(), magic.size());
  const bool is_large_enough = static_cast<std::uint64_t>(status.st_size) >= kMinDeviceBytes;
  if (magic == kStoreMagic) {
    if (is_large_enough) return {};
    return fail(ErrorCode::kProtocol, path + " was cut short: restore a backup");
  }
  // The superblock may have been torn when the store was made: nothing else was there yet.
  const bool may_be_torn = is_large_enough && magic == std::array<char, kStoreMagic.size()>{};
  const auto blank = is_blank_file(path, may_be_torn ? sizeof(Superblock) : 0);
  if (!blank) return fail(blank.error());
  if (*blank) return {};
  return fail(ErrorCode::kConflict, path +
                                        " holds something else than a Silurus tree: name a "
                                        "directory, or a file of zeros");
}

template <int D>
Result<OpenDirectory> open_device(const std::string& path, const DirectoryOptions& options) {
  if (Status ours = check_device(path); !ours) return fail(ours.error());
  auto lock = DirectoryLock::take(path);
  if (!lock) return fail(lock.error());
  OpenDirectory opened{.lock = std::move(*lock), .volume = {}, .created = false};
  auto file = PersistentFile::map(path, {.size = kMinDeviceBytes, .read_only = options.read_only});
  if (!file) return fail(file.error());
  const auto super = PersistentFile::view(*file, 0, kMapsOffset);
  if (is_blank(super->bytes())) {
    if (options.read_only) return fail(ErrorCode::kNotFound, path + " holds no Silurus tree");
    opened.created = true;
    Status created = create_on_device<D>(*file, options, opened.volume);
    if (!created) return fail(created.error());
    return opened;
  }
  const auto superblock = read_superblock(super->bytes(), D, rtree::kNodeFormat<D>, path);
  if (!superblock) return fail(superblock.error());
  const DeviceLayout layout(superblock->map_bytes, superblock->log_bytes,
                            superblock->node_area_bytes);
  if (layout.nodes[1] + superblock->node_area_bytes > (*file)->size()) {
    return fail(ErrorCode::kProtocol, path + " is smaller than when it was made: restore a backup");
  }
  split(*file, superblock->map_bytes, superblock->log_bytes, superblock->node_area_bytes,
        opened.volume);
  return opened;
}

}  // namespace

Result<DirectoryLock> DirectoryLock::take(const std::string& path) {
  // The directory itself: a file in it could be deleted and made again while it is locked.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return fail(errno_error(errno == EACCES ? ErrorCode::kPermission : ErrorCode::kIo,
                            "cannot open " + path, errno));
  }
  transport::Custody* const custody = transport::custody();
  const int inherited = custody == nullptr ? -1 : custody->inherited_lock(fd);
  if (inherited >= 0) {
    // Locks belong to open files: that of the life before is ours already.
    ::close(fd);
    fd = ::fcntl(inherited, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return fail(errno_error(ErrorCode::kIo, "cannot keep the lock of " + path, errno));
  }
  DirectoryLock lock(fd);
  const std::string holder_path = path + "/lock";
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return fail(errno_error(ErrorCode::kIo, "cannot lock " + path, errno));
    }
    std::string holder;
    std::getline(std::ifstream(holder_path), holder);
    return fail(ErrorCode::kConflict, path + " is in use by another server" +
                                          (holder.empty() ? std::string() : ", process " + holder));
  }
  if (custody != nullptr) {
    if (Status held = custody->hold_lock(fd); !held) return fail(held.error());
  }
  // For people only. Fails on a device or a read-only medium, which does no harm.
  std::ofstream(holder_path) << ::getpid() << "\n";
  return lock;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

template <int D>
Result<OpenDirectory> open_directory(const std::string& path, const DirectoryOptions& options) {
  try {
    std::error_code ignored;
    const auto kind = fs::status(path, ignored).type();
    if (kind == fs::file_type::character || kind == fs::file_type::regular) {
      if (options.member) {
        return fail(ErrorCode::kUnsupported,
                    path + " is no directory: a member of a cluster keeps its tree in one");
      }
      return open_device<D>(path, options);
    }
    return Files<D>(path, options).open();
  } catch (const fs::filesystem_error& error) {
    return fail(
        error.code() == std::errc::permission_denied ? ErrorCode::kPermission : ErrorCode::kIo,
        error.what());
  }
}

template Result<OpenDirectory> open_directory<2>(const std::string&, const DirectoryOptions&);
template Result<OpenDirectory> open_directory<3>(const std::string&, const DirectoryOptions&);

}  // namespace silurus::replication
