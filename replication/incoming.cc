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

// --- the store

template <int D>
IncomingStore<D>::IncomingStore(Volume volume, const Superblock& superblock,
                                const RootRecord& empty)
    : volume_(std::move(volume)), checkpointer_(volume_, superblock, empty, AreaMap()) {
  checkpointer_.begin();
}

template <int D>
Result<std::unique_ptr<IncomingStore<D>>> IncomingStore<D>::create(Volume volume) {
  const std::span super = volume.super->bytes();
  const auto superblock = read_superblock(super, D, rtree::kNodeFormat<D>, volume.name);
  if (!superblock) return fail(superblock.error());
  const auto empty = newest_root(super, superblock->id, volume.name);
  if (!empty) return fail(empty.error());
  return std::unique_ptr<IncomingStore>(new IncomingStore(std::move(volume), *superblock, *empty));
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
  StoredForest forest{.roots = {}, .catalogue = Catalogue(D)};
  forest.roots = {.version = root_header_->birth,
                  .entries = root_header_->entries,
                  .trees = {rtree::StoredTree{.root = root_}}};
  return checkpointer_.finish(forest, log, stamp, extra);
}

// --- the directory

template <int D>
Result<std::unique_ptr<IncomingDirectory<D>>> IncomingDirectory<D>::create(
    const std::string& path, const DirectoryOptions& options) {
  const std::string draft = beside(path, kIncomingName);
  std::error_code ignored;  // what cannot be removed is in the way of what follows
  std::filesystem::remove_all(draft, ignored);
  auto directory = open_directory<D>(draft, options);
  if (!directory) return fail(directory.error());
  auto store = IncomingStore<D>::create(std::move(directory->volume));
  if (!store) return fail(store.error());
  return std::unique_ptr<IncomingDirectory>(
      new IncomingDirectory(path, std::move(directory->lock), std::move(*store)));
}

template <int D>
IncomingDirectory<D>::~IncomingDirectory() {
  std::error_code ignored;  // the next open_directory() removes it too
  if (!has_arrived_) std::filesystem::remove_all(beside(path_, kIncomingName), ignored);
}

template <int D>
Status IncomingDirectory<D>::arrive() {
  const std::string draft = beside(path_, kIncomingName);
  if (Status synced = sync_directory(draft); !synced) return synced;
  if (std::rename(draft.c_str(), beside(path_, kArrivedName).c_str()) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot name " + beside(path_, kArrivedName), errno));
  }
  has_arrived_ = true;
  return sync_directory(path_);
}

template class IncomingStore<2>;
template class IncomingStore<3>;
template class IncomingDirectory<2>;
template class IncomingDirectory<3>;

}  // namespace silurus::replication
