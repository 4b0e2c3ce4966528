// SPDX-License-Identifier: Apache-2.0

#include "fuzz/target.h"
#include "replication/stored_forest.h"

// What a checkpoint says of the trees of a server and of their collections; and orders to them.

namespace silurus::fuzz {

using replication::Catalogue;
using replication::CollectionAction;
using replication::CollectionOrder;
using replication::StoredForest;

/// An order, then a forest: what is decoded is encoded as the same bytes again, and obeys.
void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto order = input.take<CollectionOrder>();
  const std::span rest = bytes.subspan(std::min(bytes.size(), sizeof order));
  auto forest = StoredForest::decode(rest, 7, 3);
  if (!forest) {
    SILURUS_CHECK(forest.error().code == ErrorCode::kProtocol);
    return;
  }
  const auto again = forest->encode();
  SILURUS_CHECK(again.size() == rest.size() &&
                std::equal(again.begin(), again.end(), rest.begin()));
  Catalogue& catalogue = forest->catalogue;
  const bool may = catalogue.check(order).has_value();
  const std::size_t before = catalogue.collections().size();
  SILURUS_CHECK(catalogue.obey(order).has_value() == may);
  SILURUS_CHECK(may || catalogue.collections().size() == before);
  SILURUS_CHECK(catalogue.find(Catalogue::kDefault) != nullptr);
  const auto decoded = Catalogue::decode(catalogue.encode());
  SILURUS_CHECK(decoded && *decoded == catalogue);
}

std::vector<std::string> seeds() {
  StoredForest forest{.roots = {}, .catalogue = Catalogue(2)};
  const auto create =
      *CollectionOrder::make(CollectionAction::kCreate, 0, "roads", 2, replication::kKeyed);
  const auto rename = *CollectionOrder::make(CollectionAction::kReplace, 1, "default");
  forest.roots.trees.push_back({rtree::NodeRef(99, 5), 0, 0});
  const std::string alone = as_seed(forest.encode());
  SILURUS_CHECK(forest.catalogue.obey(create));
  forest.roots.trees.push_back({rtree::NodeRef(77, 6), 1, 500});
  return {bytes_of(create) + alone, bytes_of(rename) + as_seed(forest.encode())};
}

}  // namespace silurus::fuzz
