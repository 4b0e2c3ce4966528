// SPDX-License-Identifier: Apache-2.0

#include "replication/backup.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "common/durable_file.h"
#include "replication/checkpoint.h"

namespace silurus::replication {
namespace {

template <int D>
Status fill(const std::string& path, const rtree::Tree<D>& tree, const StoredForest& forest,
            Stamp stamp, const DirectoryOptions& options, const std::stop_token& cancel) {
  auto directory = open_directory<D>(path, options);
  if (!directory) return fail(directory.error());
  Volume& volume = directory->volume;
  const auto superblock =
      read_superblock(volume.super->bytes(), D, rtree::kNodeFormat<D>, volume.name);
  if (!superblock) return fail(superblock.error());
  const auto empty = newest_root(volume.super->bytes(), superblock->id, volume.name);
  if (!empty) return fail(empty.error());
  Checkpointer<D> checkpointer(volume, *superblock, *empty, AreaMap());
  if (Status room = checkpointer.make_room(tree, forest); !room) return room;
  return checkpointer.write(tree, forest, empty->log, stamp, cancel);
}

}  // namespace

template <int D>
Status write_backup(const std::string& path, const rtree::Tree<D>& tree,
                    const typename Collections<D>::Held& held, Stamp stamp,
                    const DirectoryOptions& options, const std::stop_token& cancel) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path target = fs::path(path).lexically_normal();
  const fs::path draft = target.string() + ".partial";
  if (!target.is_absolute() || !target.has_filename()) {
    return fail(ErrorCode::kInvalidArgument, "'" + path +
                                                 "' is not the absolute path of a new "
                                                 "directory");
  }
  if (fs::exists(fs::symlink_status(target, error))) {
    return fail(ErrorCode::kConflict, path + " exists: name a directory that is not there yet");
  }
  // Made by us, or not there: another file of that name is not ours to remove.
  if (::mkdir(draft.c_str(), 0700) != 0) {
    if (errno == EEXIST) {
      return fail(ErrorCode::kConflict, draft.string() +
                                            " exists: another backup writes it, or one was cut "
                                            "short; then remove it");
    }
    const std::string what = "cannot make " + draft.string();
    return fail(is_no_space(errno) ? no_space_error(what, target.parent_path(), errno)
                                   : errno_error(ErrorCode::kIo, what, errno));
  }
  Status filled = fill(draft.string(), tree, held.forest, stamp, options, cancel);
  if (filled) filled = sync_directory(draft.string());
  if (filled && std::rename(draft.c_str(), target.c_str()) != 0) {
    filled = fail(errno_error(ErrorCode::kIo, "cannot name the backup " + path, errno));
  }
  if (!filled) {
    fs::remove_all(draft, error);
    return filled;
  }
  return sync_directory(target.parent_path().string());
}

template Status write_backup(const std::string&, const rtree::Tree<2>&, const Collections<2>::Held&,
                             Stamp, const DirectoryOptions&, const std::stop_token&);
template Status write_backup(const std::string&, const rtree::Tree<3>&, const Collections<3>::Held&,
                             Stamp, const DirectoryOptions&, const std::stop_token&);

}  // namespace silurus::replication
