// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <boost/version.hpp>

#include "bench/boost_tree.h"
#include "bench/peers/library_session.h"

namespace silurus::bench {
namespace {

/// Boost.Geometry's rstar<16>, packed.
class Boost final : public Peer {
 public:
  const PeerTraits& traits() const override { return traits_; }

  Status load(std::span<const rtree::Entry<2>> entries) override {
    tree_ = BoostTree::packed({entries.begin(), entries.end()});
    return {};
  }

  Result<std::unique_ptr<PeerSession>> connect() override {
    return std::make_unique<LibrarySession>([this](const PeerQuery& query, PeerAnswer& answer) {
      if (query.k == 0) {
        tree_.intersects(query.window, answer);
      } else {
        tree_.nearest(query.point(), query.k, nearest_);  // in no order
        std::sort(nearest_.begin(), nearest_.end(), [&](const auto& a, const auto& b) {
          return distance(Rounding::kNone, a.box, query.point()) <
                 distance(Rounding::kNone, b.box, query.point());
        });
        for (const auto& entry : nearest_) answer.push_back(entry.id);
      }
      return Status();
    });
  }

 private:
  const PeerTraits traits_{.title = "Boost rtree " + std::to_string(BOOST_VERSION / 100'000) + "." +
                                    std::to_string(BOOST_VERSION / 100 % 1000),
                           .embedded = true,
                           .pipelines = false};
  BoostTree tree_;
  std::vector<rtree::Entry<2>> nearest_;
};

}  // namespace

Result<std::unique_ptr<Peer>> start_boost(const PeerPlace&) { return std::make_unique<Boost>(); }

}  // namespace silurus::bench
