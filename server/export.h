// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "protocol/decode.h"
#include "rtree/tree.h"
#include "server/limits.h"
#include "server/served_collections.h"

namespace silurus::server {

/// What one connection copies of the tree: a version that is pinned, page by page, then what has
/// changed since, as often as it asks. Tasks of one connection, one after the other.
class Exporting {
 public:
  virtual ~Exporting() = default;
  /// Answers kExport, kExportChanges and kExportPage.
  virtual Result<std::string> run(const protocol::TaskMessage& task) = 0;
};

/// kExport: {"version", "entries", "pages"}; each page the entries of some leaves, as inserts.
/// kExportChanges: {"version", "entries", "operations", "pages"}: what leads from the version
/// listed before to this one, in any order. Published nodes never change, so a list of leaves is
/// all that a copy needs, and changes are where two versions' nodes differ (rtree/diff.h).
template <int D>
class Export final : public Exporting {
 public:
  /// Counted by `all` (begin_export()), which must outlive it.
  Export(const ServedCollections<D>& all, CollectionPtr<D> collection)
      : all_(all), collection_(std::move(collection)), pinned_(collection_->tree().snapshot()) {}
  ~Export() override { all_.end_export(); }
  Result<std::string> run(const protocol::TaskMessage& task) override;
  /// That it pins; not while run() is at work.
  rtree::Version version() const { return pinned_.version(); }

 private:
  std::string begin();
  Result<std::string> changes();
  Result<std::string> page(std::uint64_t index) const;
  std::size_t pages() const;

  const ServedCollections<D>& all_;
  const CollectionPtr<D> collection_;
  rtree::Snapshot<D> pinned_;
  bool changes_listed_ = false;
  std::vector<rtree::NodeRef> leaves_;
  std::vector<protocol::Operation<D>> operations_;
};

}  // namespace silurus::server
