// SPDX-License-Identifier: Apache-2.0

#include <geos/geom/Envelope.h>
#include <geos/index/strtree/TemplateSTRtree.h>
#include <geos/version.h>

#include "bench/peers/library_session.h"

namespace silurus::bench {
namespace {

geos::geom::Envelope envelope(const rtree::Box<2>& box) {
  return {box.min[0], box.max[0], box.min[1], box.max[1]};
}

/// GEOS's STRtree, through its C++ interface with envelopes: no geometry is made for an entry, as
/// the C interface would. It finds the nearest item of a point, but not the k nearest.
class Geos final : public Peer {
 public:
  const PeerTraits& traits() const override { return traits_; }

  Status load(std::span<const rtree::Entry<2>> entries) override {
    tree_ = std::make_unique<Tree>(kNodeCapacity, entries.size());
    for (const auto& entry : entries) tree_->insert(envelope(entry.box), std::uint64_t{entry.id});
    tree_->build();
    return {};
  }

  Result<std::unique_ptr<PeerSession>> connect() override {
    return std::make_unique<LibrarySession>([this](const PeerQuery& query, PeerAnswer& answer) {
      tree_->query(envelope(query.window), [&](std::uint64_t id) { answer.push_back(id); });
      return Status();
    });
  }

 private:
  using Tree = geos::index::strtree::TemplateSTRtree<std::uint64_t>;
  static constexpr std::size_t kNodeCapacity = 10;  // GEOS's default

  const PeerTraits traits_{.title = "GEOS STRtree " GEOS_VERSION,
                           .embedded = true,
                           .pipelines = false,
                           .nearest = false};
  std::unique_ptr<Tree> tree_;
};

}  // namespace

Result<std::unique_ptr<Peer>> start_geos(const PeerPlace&) { return std::make_unique<Geos>(); }

}  // namespace silurus::bench
