// SPDX-License-Identifier: Apache-2.0

#include <spatialindex/SpatialIndex.h>
#include <spatialindex/Version.h>

#include "bench/peers/library_session.h"

namespace silurus::bench {
namespace {

namespace si = SpatialIndex;

constexpr std::uint32_t kDimensions = 2;
constexpr std::uint32_t kCapacity = 32;  // entries a node: faster here than the default of 100
constexpr double kFill = 0.95;

/// Gives the bulk loader one entry after the other.
class Stream final : public si::IDataStream {
 public:
  explicit Stream(std::span<const rtree::Entry<2>> entries) : entries_(entries) {}
  si::IData* getNext() override {
    if (!hasNext()) return nullptr;
    const auto& entry = entries_[next_++];
    si::Region region(entry.box.min.data(), entry.box.max.data(), kDimensions);
    return new si::RTree::Data(0, nullptr, region, static_cast<si::id_type>(entry.id));
  }
  bool hasNext() override { return next_ < entries_.size(); }
  std::uint32_t size() override { return static_cast<std::uint32_t>(entries_.size()); }
  void rewind() override { next_ = 0; }

 private:
  std::span<const rtree::Entry<2>> entries_;
  std::size_t next_ = 0;
};

/// Collects the ids of what is found.
class Collect final : public si::IVisitor {
 public:
  explicit Collect(PeerAnswer& answer) : answer_(answer) {}
  void visitNode(const si::INode&) override {}
  void visitData(const si::IData& data) override {
    answer_.push_back(static_cast<std::uint64_t>(data.getIdentifier()));
  }
  void visitData(std::vector<const si::IData*>&) override {}

 private:
  PeerAnswer& answer_;
};

/// libspatialindex: its R*-tree, bulk-loaded (STR), in memory.
class LibSpatialIndex final : public Peer {
 public:
  const PeerTraits& traits() const override { return traits_; }

  Status load(std::span<const rtree::Entry<2>> entries) override {
    try {
      Stream stream(entries);
      storage_.reset(si::StorageManager::createNewMemoryStorageManager());
      si::id_type index = 0;
      tree_.reset(si::RTree::createAndBulkLoadNewRTree(si::RTree::BLM_STR, stream, *storage_, kFill,
                                                       kCapacity, kCapacity, kDimensions,
                                                       si::RTree::RV_RSTAR, index));
      return {};
    } catch (Tools::Exception& error) {
      return fail(ErrorCode::kIo, "libspatialindex: " + error.what());
    }
  }

  Result<std::unique_ptr<PeerSession>> connect() override {
    return std::make_unique<LibrarySession>([this](const PeerQuery& query, PeerAnswer& answer) {
      try {
        Collect collect(answer);
        if (query.k == 0) {
          tree_->intersectsWithQuery(
              si::Region(query.window.min.data(), query.window.max.data(), kDimensions), collect);
        } else {
          tree_->nearestNeighborQuery(query.k, si::Point(query.window.min.data(), kDimensions),
                                      collect);
          // Those at the same distance as the last one come too.
          if (answer.size() > query.k) answer.resize(query.k);
        }
        return Status();
      } catch (Tools::Exception& error) {
        return Status(fail(ErrorCode::kIo, "libspatialindex: " + error.what()));
      }
    });
  }

 private:
  const PeerTraits traits_{
      .title = "libspatialindex " SIDX_RELEASE_NAME, .embedded = true, .pipelines = false};
  std::unique_ptr<si::IStorageManager> storage_;
  std::unique_ptr<si::ISpatialIndex> tree_;
};

}  // namespace

Result<std::unique_ptr<Peer>> start_spatialindex(const PeerPlace&) {
  return std::make_unique<LibSpatialIndex>();
}

}  // namespace silurus::bench
