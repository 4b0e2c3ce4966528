// SPDX-License-Identifier: Apache-2.0

#include "datasets/generators.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "common/units.h"
#include "datasets/portable_math.h"
#include "datasets/windows.h"

namespace silurus::datasets {
namespace {

using rtree::Box;
using rtree::Entry;

template <int D>
using Vector = std::array<double, D>;

Status check_range(const char* name, double value, double low, double high) {
  if (value > low && value <= high) return {};
  return fail(ErrorCode::kInvalidArgument, std::string(name) + " is " + format_number(value) +
                                               ": must be above " + format_number(low) +
                                               " and at most " + format_number(high));
}

Status check_count(const char* name, std::uint64_t value, std::uint64_t low, std::uint64_t high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::kInvalidArgument, std::string(name) + " is " + std::to_string(value) +
                                               ": must be within [" + std::to_string(low) + ", " +
                                               std::to_string(high) + "]");
}

/// A source of `count` boxes, each made by the next call of `make`.
template <int D, typename Make>
class Generated final : public Source<D> {
 public:
  Generated(std::uint64_t count, Make make) : count_(count), make_(std::move(make)) {}

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    const std::uint64_t count = std::min<std::uint64_t>(batch.size(), count_ - next_);
    for (std::size_t i = 0; i < count; ++i) batch[i] = {next_++, make_()};
    return static_cast<std::size_t>(count);
  }
  std::optional<std::uint64_t> total_entries() const override { return count_; }
  Progress progress() const override { return {next_, count_}; }

 private:
  std::uint64_t count_;
  std::uint64_t next_ = 0;
  Make make_;
};

template <int D, typename Make>
std::unique_ptr<Source<D>> generated(std::uint64_t count, Make make) {
  return std::make_unique<Generated<D, Make>>(count, std::move(make));
}

/// Normally distributed about clusters.
template <int D>
class ClusterMaker {
 public:
  explicit ClusterMaker(const ClusterOptions& options)
      : random_(options.seed), edge_(options.edge), sigma_(options.sigma) {
    centres_.resize(options.clusters);
    for (auto& centre : centres_) {
      for (double& x : centre) x = random_.uniform();
    }
  }

  Box<D> operator()() {
    const auto& centre = centres_[random_.below(centres_.size())];
    Box<D> box;
    for (int d = 0; d < D; ++d) {
      const double edge = edge_ * (1 - random_.uniform());
      do {
        box.min[d] = centre[d] + sigma_ * normal(random_) - edge / 2;
        box.max[d] = box.min[d] + edge;
      } while (box.min[d] < 0 || box.max[d] > 1);
    }
    return box;
  }

 private:
  Random random_;
  double edge_;
  double sigma_;
  std::vector<Vector<D>> centres_;
};

/// Walks one road after the other.
template <int D>
class RoadMaker {
 public:
  RoadMaker(const RoadOptions& options, std::uint64_t towns, double step)
      : random_(options.seed), step_(step) {
    towns_.resize(towns);
    for (auto& town : towns_) {
      for (double& x : town.at) x = random_.uniform();
      town.radius = random_.uniform(0.002, 0.02);
    }
  }

  Box<D> operator()() {
    if (segments_left_ == 0) start_road();
    --segments_left_;
    turn();
    const double length = road_step_ * random_.uniform(0.5, 1.5);
    Box<D> box;
    for (int d = 0; d < D; ++d) {
      const double from = at_[d];
      double to = from + heading_[d] * length;
      if (to < 0 || to > 1) {  // turn back at the edge of the world
        heading_[d] = -heading_[d];
        to = std::clamp(to, 0.0, 1.0);
      }
      at_[d] = to;
      box.min[d] = std::min(from, to);
      box.max[d] = std::max(from, to);
    }
    return box;
  }

 private:
  struct Town {
    Vector<D> at;
    double radius;
  };

  /// Town 0 most often: the density of ranks falls with their square root.
  const Town& draw_town() {
    const double u = random_.uniform();
    return towns_[static_cast<std::size_t>(u * u * static_cast<double>(towns_.size()))];
  }

  void start_road() {
    const Town& town = draw_town();
    const bool is_highway = random_.below(10) == 0;
    for (int d = 0; d < D; ++d) {
      const double offset = is_highway ? 0 : town.radius * normal(random_);
      at_[d] = std::clamp(town.at[d] + offset, 0.0, 1.0);
      heading_[d] = 0;
    }
    target_ = is_highway ? draw_town().at : town.at;
    pull_ = is_highway ? 0.1 : 0.01;
    road_step_ = is_highway ? step_ : step_ / 2;
    segments_left_ = is_highway ? 100 + random_.below(400) : 8 + random_.below(56);
    for (double& h : heading_) h = random_.uniform(-1, 1);
    normalise(heading_);
  }

  /// Keeps the heading, but for a small random turn and the pull of where the road leads.
  void turn() {
    Vector<D> towards;
    for (int d = 0; d < D; ++d) towards[d] = target_[d] - at_[d];
    normalise(towards);
    for (int d = 0; d < D; ++d) {
      heading_[d] += random_.uniform(-0.25, 0.25) + pull_ * towards[d];
    }
    normalise(heading_);
  }

  static void normalise(Vector<D>& v) {
    double square = 0;
    for (const double x : v) square += x * x;
    if (square < 1e-20) {  // no direction: any will do
      v.fill(0);
      v[0] = 1;
      return;
    }
    const double length = std::sqrt(square);
    for (double& x : v) x /= length;
  }

  Random random_;
  double step_;
  std::vector<Town> towns_;
  std::uint64_t segments_left_ = 0;
  double road_step_ = 0;
  double pull_ = 0;
  Vector<D> at_{};
  Vector<D> heading_{};
  Vector<D> target_{};
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> generate_uniform(const UniformOptions& options) {
  if (auto ok = check_count("count", options.count, 0, kMaxGenerated); !ok) return fail(ok.error());
  if (auto ok = check_range("edge", options.edge, 0, 1); !ok) return fail(ok.error());
  return generated<D>(options.count,
                      [random = Random(options.seed), edge = options.edge]() mutable {
                        Box<D> box;
                        for (int d = 0; d < D; ++d) {
                          const double length = edge * (1 - random.uniform());
                          box.min[d] = random.uniform() * (1 - length);
                          box.max[d] = std::min(box.min[d] + length, 1.0);
                        }
                        return box;
                      });
}

template <int D>
Result<std::unique_ptr<Source<D>>> generate_power_law(const PowerLawOptions& options) {
  if (auto ok = check_count("count", options.count, 0, kMaxGenerated); !ok) return fail(ok.error());
  WindowOptions<D> window_options;
  window_options.seed = options.seed;
  window_options.min_edge = options.min_edge;
  window_options.max_edge = options.max_edge;
  window_options.exponent = options.exponent;
  auto windows = WindowGenerator<D>::create(window_options);
  if (!windows) return fail(windows.error());
  return generated<D>(options.count, [boxes = *windows]() mutable { return boxes.next(); });
}

template <int D>
Result<std::unique_ptr<Source<D>>> generate_clusters(const ClusterOptions& options) {
  if (auto ok = check_count("count", options.count, 0, kMaxGenerated); !ok) return fail(ok.error());
  if (auto ok = check_range("edge", options.edge, 0, 0.1); !ok) return fail(ok.error());
  if (auto ok = check_range("sigma", options.sigma, 0, 0.25); !ok) return fail(ok.error());
  if (auto ok = check_count("clusters", options.clusters, 1, 1'000'000); !ok) {
    return fail(ok.error());
  }
  return generated<D>(options.count, ClusterMaker<D>(options));
}

template <int D>
Result<std::unique_ptr<Source<D>>> generate_roads(const RoadOptions& options) {
  if (auto ok = check_count("count", options.count, 0, kMaxGenerated); !ok) return fail(ok.error());
  if (auto ok = check_count("towns", options.towns, 0, 1'000'000); !ok) return fail(ok.error());
  std::uint64_t towns = options.towns;
  if (towns == 0) towns = std::clamp<std::uint64_t>(options.count / 5000, 8, 2000);
  double step = options.step;
  if (step == 0) {
    step = std::min(0.25 / std::sqrt(static_cast<double>(options.count) + 1), 0.01);
  }
  if (auto ok = check_range("step", step, 0, 0.1); !ok) return fail(ok.error());
  return generated<D>(options.count, RoadMaker<D>(options, towns, step));
}

#define SILURUS_INSTANTIATE(D)                                                               \
  template Result<std::unique_ptr<Source<D>>> generate_uniform<D>(const UniformOptions&);    \
  template Result<std::unique_ptr<Source<D>>> generate_power_law<D>(const PowerLawOptions&); \
  template Result<std::unique_ptr<Source<D>>> generate_clusters<D>(const ClusterOptions&);   \
  template Result<std::unique_ptr<Source<D>>> generate_roads<D>(const RoadOptions&);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::datasets
