// SPDX-License-Identifier: Apache-2.0

#include "server/export.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "rtree/diff.h"

namespace silurus::server {
namespace {

using Json = nlohmann::ordered_json;
using protocol::Operation;
using protocol::OperationKind;
using protocol::TaskKind;

template <int D>
std::string as_bytes_of(std::span<const Operation<D>> operations) {
  const auto bytes = std::as_bytes(operations);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

template <int D>
Result<std::string> Export<D>::run(const protocol::TaskMessage& task) {
  if (task.kind == TaskKind::kExportPage) return page(task.to);
  return task.kind == TaskKind::kExport ? Result<std::string>(begin()) : changes();
}

template <int D>
std::size_t Export<D>::pages() const {
  return changes_listed_ ? (operations_.size() + kOperationsOfAPage - 1) / kOperationsOfAPage
                         : (leaves_.size() + kLeavesOfAPage - 1) / kLeavesOfAPage;
}

template <int D>
std::string Export<D>::begin() {
  leaves_ = {pinned_.root().ref};
  for (std::uint32_t level = pinned_.root().level; level > 0; --level) {
    std::vector<rtree::NodeRef> children;
    for (const rtree::NodeRef ref : leaves_) {
      const rtree::Node<D>& node = pinned_.node(ref);
      for (std::uint32_t i = 0; i < node.count(); ++i) children.push_back(node.child(i));
    }
    leaves_ = std::move(children);
  }
  return Json{{"version", pinned_.version()}, {"entries", pinned_.size()}, {"pages", pages()}}
      .dump();
}

template <int D>
Result<std::string> Export<D>::changes() {
  rtree::Snapshot<D> now = collection_->tree().snapshot();
  if (collection_->goes()) return fail(gone_error(collection_->info.name));
  const auto found = rtree::difference(pinned_, now, kMaxExportedChanges);
  if (!found) return fail(found.error());
  changes_listed_ = true;
  leaves_.clear();
  operations_.clear();
  for (const auto& entry : found->inserted) {
    operations_.push_back({entry.id, OperationKind::kInsert, 0, entry.box, {}});
  }
  for (const auto& entry : found->erased) {
    operations_.push_back({entry.id, OperationKind::kErase, 0, entry.box, {}});
  }
  for (const auto& move : found->moved) {
    operations_.push_back({move.id, OperationKind::kUpdate, 0, move.from, {move.to}});
  }
  pinned_ = std::move(now);
  return Json{{"version", pinned_.version()},
              {"entries", pinned_.size()},
              {"operations", operations_.size()},
              {"pages", pages()}}
      .dump();
}

template <int D>
Result<std::string> Export<D>::page(std::uint64_t index) const {
  if (index >= pages()) {
    return fail(ErrorCode::kInvalidArgument, "page " + std::to_string(index) + " of " +
                                                 std::to_string(pages()) + " is asked for");
  }
  const std::size_t page_size = changes_listed_ ? kOperationsOfAPage : kLeavesOfAPage;
  const std::size_t first = index * page_size;
  if (changes_listed_) {
    const std::size_t count = std::min(page_size, operations_.size() - first);
    return as_bytes_of<D>(std::span(operations_).subspan(first, count));
  }
  std::vector<Operation<D>> entries;
  for (std::size_t i = first; i < std::min(first + page_size, leaves_.size()); ++i) {
    const rtree::Node<D>& leaf = pinned_.node(leaves_[i]);
    for (std::uint32_t j = 0; j < leaf.count(); ++j) {
      const rtree::Entry<D> entry = leaf.entry(j);
      entries.push_back({entry.id, OperationKind::kInsert, 0, entry.box, {}});
    }
  }
  return as_bytes_of<D>(std::span<const Operation<D>>(entries));
}

template class Export<2>;
template class Export<3>;

}  // namespace silurus::server
