#include "replication/incoming.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "common/durable_file.h"

namespace silurus::replication {
namespace {

std::string beside(const std::string& path, const char* name) { return path + "/" + name; }

}  // namespace

template <int D>
IncomingStore<D>::IncomingStore(std::string path, OpenDirectory directory,
                                const Superblock& superblock, const RootRecord& empty)
    : path_(std::move(path)),
      directory_(std::move(directory)),
      checkpointer_(directory_.volume, superblock, empty, AreaMap()) {
  checkpointer_.begin();
}

template <int D>
Result<std::unique_ptr<IncomingStore<D>>> IncomingStore<D>::create(
    const std::string& path, const DirectoryOptions& options) {
  const std::string draft = beside(path, kIncomingName);
  std::error_code ignored;  // what cannot be removed is in the way of what follows
  std::filesystem::remove_all(draft, ignored);
  auto directory = open_directory<D>(draft, options);
  if (!directory) return fail(directory.error());
  const std::span super = directory->volume.super->bytes();
  const auto superblock = read_superblock(super, D, rtree::kNodeFormat<D>, draft);
  if (!superblock) return fail(superblock.error());
  const auto empty = newest_root(super, superblock->id, draft);
  if (!empty) return fail(empty.error());
  return std::unique_ptr<IncomingStore>(
      new IncomingStore(path, std::move(*directory), *superblock, *empty));
}

template <int D>
IncomingStore<D>::~IncomingStore() {
  std::error_code ignored;  // the next open_directory() removes it too
  if (!has_arrived_) std::filesystem::remove_all(beside(path_, kIncomingName), ignored);
}

template <int D>
Status IncomingStore<D>::take(rtree::NodeRef ref, const rtree::Node<D>& node) {
  if (!root_header_) {
    if (node.birth() == 0) {
      return fail(ErrorCode::kProtocol, "a tree of version 0 is none: nothing was written to it");
    }
    root_ = ref;
    root_header_ = node.header;
  }
  return checkpointer_.take(ref, node);
}

template <int D>
Status IncomingStore<D>::finish(LogPosition log, Stamp stamp, std::span<const std::byte> extra) {
  if (!root_header_) return fail(ErrorCode::kProtocol, "a tree without a root");
  Status done = checkpointer_.finish(root_, *root_header_, log, stamp, extra);
  return done ? sync_directory(beside(path_, kIncomingName)) : done;
}

template <int D>
Status IncomingStore<D>::arrive() {
  if (std::rename(beside(path_, kIncomingName).c_str(), beside(path_, kArrivedName).c_str()) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot name " + beside(path_, kArrivedName), errno));
  }
  has_arrived_ = true;
  return sync_directory(path_);
}

template class IncomingStore<2>;
template class IncomingStore<3>;

}  // namespace silurus::replication
