// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "datasets/source.h"

namespace silurus::datasets {

/// The first entries of another source, which it owns.
template <int D>
class LimitedSource final : public Source<D> {
 public:
  LimitedSource(std::unique_ptr<Source<D>> source, std::uint64_t limit)
      : source_(std::move(source)), limit_(limit), left_(limit) {}

  Result<std::size_t> read(std::span<rtree::Entry<D>> batch) override {
    const std::size_t most = std::min<std::uint64_t>(batch.size(), left_);
    if (most == 0) return 0;
    auto count = source_->read(batch.first(most));
    left_ = count && *count > 0 ? left_ - *count : 0;
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override {
    const auto total = source_->total_entries();
    return total ? std::min(*total, limit_) : total;
  }
  /// Counts up to the limit, unless the source is known to end before it.
  Progress progress() const override {
    return {limit_ - left_, std::min(source_->total_entries().value_or(limit_), limit_)};
  }
  std::uint64_t skipped() const override { return source_->skipped(); }
  std::string first_skipped() const override { return source_->first_skipped(); }
  std::string description() const override { return source_->description(); }
  std::vector<std::string> notes() const override { return source_->notes(); }

 private:
  std::unique_ptr<Source<D>> source_;
  std::uint64_t limit_;
  std::uint64_t left_;
};

}  // namespace silurus::datasets
