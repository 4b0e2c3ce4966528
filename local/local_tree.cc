// SPDX-License-Identifier: Apache-2.0

#include "silurus/local_tree.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
#include <utility>

#include "common/clock.h"
#include "rtree/tree.h"

namespace silurus {
namespace local {

/// What a tree takes before it asks for huge pages: a program may have thousands of small trees,
/// each of which would otherwise take one.
constexpr std::size_t kSmallTreeBytes = std::size_t{2} << 20;

/// Memory as AnonymousSlabs gives it, but for the beginning of the first slab.
class LocalSlabs final : public rtree::SlabSource {
 public:
  LocalSlabs() = default;
  LocalSlabs(const LocalSlabs&) = delete;
  LocalSlabs& operator=(const LocalSlabs&) = delete;
  ~LocalSlabs() override {
    if (!first_.empty()) munmap(first_.data(), first_.size());
  }

  Result<std::span<std::byte>> allocate(std::size_t bytes) override {
    if (!first_.empty()) return others_.allocate(bytes);
    void* start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
      return fail(errno_error(ErrorCode::kOutOfMemory, "cannot map memory for nodes", errno));
    }
    first_ = {static_cast<std::byte*>(start), bytes};
    // Advice: without huge pages everything works, more slowly. It is for whole pages.
    if (bytes > kSmallTreeBytes) {
      (void)madvise(first_.data() + kSmallTreeBytes, bytes - kSmallTreeBytes, MADV_HUGEPAGE);
    }
    return first_;
  }

 private:
  std::span<std::byte> first_;
  rtree::AnonymousSlabs others_;
};

}  // namespace local

namespace {

/// Distance between two boxes: 0 where they meet. That of the point of one that is nearest to the
/// other, as every search computes it, so that distances which are equal compare equal.
template <int D>
double distance(const Box<D>& a, const Box<D>& b) {
  Point<D> nearest;
  for (int d = 0; d < D; ++d) nearest.at[d] = std::clamp(b.min[d], a.min[d], a.max[d]);
  return rtree::distance(nearest, b);
}

template <int D>
Point<D> centre_of(const Box<D>& box) {
  Point<D> centre;
  for (int d = 0; d < D; ++d) {
    centre.at[d] = std::clamp(box.min[d] / 2 + box.max[d] / 2, box.min[d], box.max[d]);
  }
  return centre;
}

/// The box grown so far that it meets every box at the distance `by`, roundings included.
template <int D>
Box<D> grown(const Box<D>& box, double by) {
  constexpr double kGreatest = std::numeric_limits<double>::max();
  const double more = std::min(by * (1 + 8 * std::numeric_limits<double>::epsilon()), kGreatest);
  Box<D> out;
  for (int d = 0; d < D; ++d) {
    out.min[d] = std::max(std::nextafter(box.min[d] - more, -kGreatest), -kGreatest);
    out.max[d] = std::min(std::nextafter(box.max[d] + more, kGreatest), kGreatest);
  }
  return out;
}

/// Keeps of what was found around a box the k nearest, and all that are as near as the last of
/// them.
template <int D>
void keep_nearest(const NearestBoxQuery<D>& query, const RangeResult<D>& found,
                  NearestBoxResult<D>& result) {
  struct Candidate {
    Neighbor neighbor;
    std::size_t index;
  };
  std::vector<Candidate> all;
  all.reserve(found.ids.size());
  for (std::size_t i = 0; i < found.ids.size(); ++i) {
    all.push_back({{found.ids[i], distance(query.box, found.boxes[i])}, i});
  }
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return std::pair(a.neighbor.distance, a.neighbor.id) <
           std::pair(b.neighbor.distance, b.neighbor.id);
  });
  result.neighbors.clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool is_tied = i > 0 && all[i].neighbor.distance == all[i - 1].neighbor.distance;
    if (i >= query.k && !is_tied) break;
    result.neighbors.push_back(all[i].neighbor);
    if (query.shape == ResultShape::kEntries) result.boxes.push_back(found.boxes[all[i].index]);
  }
}

}  // namespace

template <int D>
struct LocalTree<D>::Impl {
  local::LocalSlabs slabs;
  SystemClock clock;
  std::unique_ptr<rtree::Tree<D>> tree;
};

template <int D>
LocalTree<D>::LocalTree(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <int D>
LocalTree<D>::LocalTree(LocalTree&&) noexcept = default;
template <int D>
LocalTree<D>& LocalTree<D>::operator=(LocalTree&&) noexcept = default;
template <int D>
LocalTree<D>::~LocalTree() = default;

template <int D>
Result<LocalTree<D>> LocalTree<D>::create(const LocalTreeOptions& options) {
  auto impl = std::make_unique<Impl>();
  auto tree = rtree::Tree<D>::create(
      {.memory_budget_bytes = options.memory_budget_bytes, .checksums = false}, impl->slabs,
      impl->clock);
  if (!tree) return fail(tree.error());
  impl->tree = std::move(*tree);
  return LocalTree(std::move(impl));
}

template <int D>
Status LocalTree<D>::insert(std::uint64_t id, const Box<D>& box) {
  return impl_->tree->insert({id, box});
}

template <int D>
Status LocalTree<D>::erase(std::uint64_t id, const Box<D>& box) {
  return impl_->tree->erase({id, box});
}

template <int D>
Status LocalTree<D>::update(std::uint64_t id, const Box<D>& from, const Box<D>& to) {
  return impl_->tree->update(id, from, to);
}

template <int D>
Version LocalTree<D>::publish() {
  return impl_->tree->publish();
}

template <int D>
Result<Version> LocalTree<D>::load(std::vector<Entry<D>> entries, double fill) {
  return impl_->tree->bulk_load(std::move(entries), {.fill = fill});
}

template <int D>
Status LocalTree<D>::range(const RangeQuery<D>& query, RangeResult<D>& result) const {
  return impl_->tree->snapshot().range(query, result);
}

template <int D>
Status LocalTree<D>::nearest(const NearestQuery<D>& query, NearestResult& result) const {
  return impl_->tree->snapshot().nearest(query, result);
}

template <int D>
Status LocalTree<D>::nearest(const NearestBoxQuery<D>& query, NearestBoxResult<D>& result) const {
  if (Status checked = rtree::check_box(query.box); !checked) return checked;
  const rtree::Snapshot<D> snapshot = impl_->tree->snapshot();
  NearestResult& nearest = result.neighbors;
  result.boxes.clear();
  // A point's neighbours are known at once, unless others may be as near as the last: one more
  // says.
  const bool may_be_quick =
      query.box.min == query.box.max && query.shape != ResultShape::kEntries && query.k != 0;
  const std::uint32_t k = query.k + (may_be_quick && query.k != UINT32_MAX ? 1 : 0);
  if (Status searched = snapshot.nearest({.point = centre_of(query.box), .k = k}, nearest);
      !searched) {
    return searched;
  }
  if (nearest.empty()) return {};
  if (may_be_quick) {
    if (nearest.size() <= query.k) return {};
    if (nearest[query.k - 1].distance < nearest[query.k].distance) {
      nearest.pop_back();
      return {};
    }
  }
  // None of the k nearest to the box is farther from it than the k-th nearest to its centre is from
  // that.
  const double reach =
      nearest.size() < query.k ? std::numeric_limits<double>::max() : nearest[query.k - 1].distance;
  RangeResult<D> found;
  const RangeQuery<D> around{.window = grown(query.box, reach), .shape = ResultShape::kEntries};
  if (Status searched = snapshot.range(around, found); !searched) return searched;
  keep_nearest(query, found, result);
  return {};
}

template <int D>
Status LocalTree<D>::range_batch(std::span<const RangeQuery<D>> queries,
                                 std::span<RangeResult<D>> results) const {
  return impl_->tree->snapshot().range_batch(queries, results);
}

template <int D>
Status LocalTree<D>::nearest_batch(std::span<const NearestQuery<D>> queries,
                                   std::span<NearestResult> results) const {
  return impl_->tree->snapshot().nearest_batch(queries, results);
}

template <int D>
Version LocalTree<D>::version() const {
  return impl_->tree->snapshot().version();
}

template <int D>
std::uint64_t LocalTree<D>::size() const {
  return impl_->tree->snapshot().size();
}

template <int D>
std::optional<Box<D>> LocalTree<D>::bounds() const {
  const rtree::Snapshot<D> snapshot = impl_->tree->snapshot();
  if (snapshot.size() == 0) return std::nullopt;
  return snapshot.node(snapshot.root().ref).bounds;
}

template <int D>
std::vector<LeafOfTree<D>> LocalTree<D>::leaves() const {
  const rtree::Snapshot<D> snapshot = impl_->tree->snapshot();
  std::vector<LeafOfTree<D>> leaves;
  if (snapshot.size() == 0) return leaves;
  std::vector<rtree::NodeRef> rest = {snapshot.root().ref};
  while (!rest.empty()) {
    const rtree::NodeRef ref = rest.back();
    rest.pop_back();
    const rtree::Node<D>& node = snapshot.node(ref);
    if (!node.is_leaf()) {
      for (std::uint32_t i = node.count(); i > 0; --i) rest.push_back(node.child(i - 1));
      continue;
    }
    LeafOfTree<D>& leaf = leaves.emplace_back(LeafOfTree<D>{ref.chunk(), node.bounds, {}});
    for (std::uint32_t i = 0; i < node.count(); ++i) leaf.ids.push_back(node.id(i));
  }
  return leaves;
}

template class LocalTree<2>;
template class LocalTree<3>;

}  // namespace silurus
