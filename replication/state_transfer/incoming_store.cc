// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/incoming_store.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "common/durable_file.h"
#include "replication/group/tree_machine.h"

namespace silurus::replication {

// --- the directory

template <int D>
IncomingDirectory<D>::~IncomingDirectory() {
  std::error_code ignored;  // the next open_directory() removes it too
  if (lock_ && !has_arrived_) std::filesystem::remove_all(path_ + "/" + kIncomingName, ignored);
}

template <int D>
Result<Volume> IncomingDirectory<D>::make() {
  const std::string draft = path_ + "/" + kIncomingName;
  lock_.reset();
  std::error_code ignored;  // what cannot be removed is in the way of what follows
  std::filesystem::remove_all(draft, ignored);
  auto directory = open_directory<D>(draft, options_);
  if (!directory) return fail(directory.error());
  lock_ = std::move(directory->lock);
  return std::move(directory->volume);
}

template <int D>
Status IncomingDirectory<D>::arrive() {
  const std::string draft = path_ + "/" + kIncomingName;
  const std::string arrived = path_ + "/" + kArrivedName;
  if (Status synced = sync_directory(draft); !synced) return synced;
  if (std::rename(draft.c_str(), arrived.c_str()) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot name " + arrived, errno));
  }
  has_arrived_ = true;
  return sync_directory(path_);
}

// --- the store

template <int D>
struct IncomingStore<D>::Draft {
  Draft(Volume memory, const Superblock& superblock, const RootRecord& empty)
      : volume(std::move(memory)), checkpointer(volume, superblock, empty, AreaMap()) {
    checkpointer.begin();
  }
  Volume volume;
  Checkpointer<D> checkpointer;
  rtree::NodeRef root;
  std::optional<rtree::NodeHeader> root_header;  ///< nothing: no node has come
};

template <int D>
IncomingStore<D>::IncomingStore(std::unique_ptr<IncomingPlace> place) : place_(std::move(place)) {}
template <int D>
IncomingStore<D>::~IncomingStore() = default;

template <int D>
Status IncomingStore<D>::begin() {
  if (draft_ != nullptr && !draft_->root_header) return {};  // it is empty
  draft_.reset();
  auto volume = place_->make();
  if (!volume) return fail(volume.error());
  const std::span super = volume->super->bytes();
  const auto superblock = read_superblock(super, D, rtree::kNodeFormat<D>, volume->name);
  if (!superblock) return fail(superblock.error());
  const auto empty = newest_root(super, superblock->id, volume->name);
  if (!empty) return fail(empty.error());
  draft_ = std::make_unique<Draft>(std::move(*volume), *superblock, *empty);
  return {};
}

template <int D>
Status IncomingStore<D>::take(rtree::NodeRef ref, const rtree::Node<D>& node) {
  if (!draft_->root_header) {
    if (node.birth() == 0) {
      return fail(ErrorCode::kProtocol, "a tree of version 0 is none: nothing was written to it");
    }
    draft_->root = ref;
    draft_->root_header = node.header;
  }
  return draft_->checkpointer.take(ref, node);
}

template <int D>
Status IncomingStore<D>::finish(const TreeFacts& facts) {
  if (!draft_->root_header) return fail(ErrorCode::kProtocol, "a tree without a root");
  // What a start would refuse must not arrive.
  const auto state = group::MachineState::decode(facts.extra);
  if (!state) return fail(state.error());
  StoredForest forest{.roots = {}, .catalogue = Catalogue(D)};
  forest.roots = {.version = draft_->root_header->birth,
                  .entries = draft_->root_header->entries,
                  .trees = {rtree::StoredTree{.root = draft_->root}}};
  return draft_->checkpointer.finish(forest, facts.log, facts.stamp, facts.extra);
}

template class IncomingDirectory<2>;
template class IncomingDirectory<3>;
template class IncomingStore<2>;
template class IncomingStore<3>;

}  // namespace silurus::replication
