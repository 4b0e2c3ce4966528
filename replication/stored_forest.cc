// SPDX-License-Identifier: Apache-2.0

#include "replication/stored_forest.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace silurus::replication {
namespace {

/// A tree, as encode() writes it. The catalogue's bytes follow the last one.
struct TreeRecord {
  std::uint64_t root;
  std::uint64_t index;
  std::uint64_t number;
  std::uint64_t root_chunk;
};
static_assert(std::has_unique_object_representations_v<TreeRecord>);

/// The first tree may be none of the collections any more.
constexpr std::size_t kMostTrees = Catalogue::kMaxCollections + 1;

Result<StoredForest> damaged() {
  return fail(ErrorCode::kProtocol, "what the checkpoint says of collections is damaged");
}

}  // namespace

std::vector<std::byte> StoredForest::encode() const {
  const std::uint64_t count = roots.trees.size();
  const auto head = std::as_bytes(std::span(&count, 1));
  std::vector<std::byte> bytes(head.begin(), head.end());
  for (const rtree::StoredTree& tree : roots.trees) {
    const TreeRecord record{tree.root.word(), tree.index.word(), tree.number, tree.root_chunk};
    const auto of_tree = std::as_bytes(std::span(&record, 1));
    bytes.insert(bytes.end(), of_tree.begin(), of_tree.end());
  }
  const std::vector<std::byte> of_catalogue = catalogue.encode();
  bytes.insert(bytes.end(), of_catalogue.begin(), of_catalogue.end());
  return bytes;
}

Result<StoredForest> StoredForest::decode(std::span<const std::byte> bytes, rtree::Version version,
                                          std::uint64_t entries) {
  std::uint64_t count = 0;
  if (bytes.size() < sizeof count) return damaged();
  std::memcpy(&count, bytes.data(), sizeof count);
  bytes = bytes.subspan(sizeof count);
  if (count == 0 || count > kMostTrees || bytes.size() < count * sizeof(TreeRecord)) {
    return damaged();
  }
  rtree::ForestRoots roots{.version = version, .entries = entries, .trees = {}};
  for (std::uint64_t i = 0; i < count; ++i) {
    TreeRecord record{};
    std::memcpy(&record, bytes.data() + i * sizeof record, sizeof record);
    const bool is_first = i == 0;
    if ((record.root_chunk == 0) != is_first || (record.number == 0) != is_first ||
        record.root == 0 || record.root_chunk >= rtree::NodeRef::kMaxChunks) {
      return damaged();
    }
    roots.trees.push_back({rtree::NodeRef::from_word(record.root),
                           rtree::NodeRef::from_word(record.index), record.number,
                           static_cast<std::uint32_t>(record.root_chunk)});
  }
  auto catalogue = Catalogue::decode(bytes.subspan(count * sizeof(TreeRecord)));
  if (!catalogue) return fail(catalogue.error());
  for (const CollectionInfo& one : catalogue->collections()) {
    const auto of_one = [&](const rtree::StoredTree& tree) { return tree.number == one.number; };
    const auto tree = std::ranges::find_if(roots.trees, of_one);
    if (std::ranges::count_if(roots.trees, of_one) != 1) return damaged();
    if (bool(tree->index) != ((one.flags & kKeyed) != 0)) return damaged();
  }
  for (std::size_t i = 1; i < roots.trees.size(); ++i) {
    if (catalogue->find(roots.trees[i].number) == nullptr) return damaged();
  }
  return StoredForest{std::move(roots), std::move(*catalogue)};
}

}  // namespace silurus::replication
