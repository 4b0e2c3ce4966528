// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace silurus {

/// Buckets of values: exact below 2^(kFractionBits + 1), from there 2^kFractionBits buckets to each
/// power of two, up to 2^kMaxBits; values beyond count as that.
template <int kFractionBits, int kMaxBits>
struct LogLinearBuckets {
  static constexpr std::size_t kCount = (std::size_t{kMaxBits - kFractionBits} + 1)
                                        << kFractionBits;

  static constexpr std::size_t of(std::uint64_t value) {
    if (std::bit_width(value) > kMaxBits) return kCount - 1;
    // The top kFractionBits + 1 bits of the value, and how far they were shifted.
    const auto shift = static_cast<int>(std::bit_width(value >> (kFractionBits + 1)));
    return (static_cast<std::size_t>(shift) << kFractionBits) +
           static_cast<std::size_t>(value >> shift);
  }

  /// The value in the middle of the bucket.
  static constexpr std::uint64_t middle(std::size_t bucket) {
    const int shift = std::max(static_cast<int>(bucket >> kFractionBits) - 1, 0);
    const std::uint64_t top = bucket - (static_cast<std::size_t>(shift) << kFractionBits);
    return (top << shift) + (std::uint64_t{1} << shift) / 2;
  }
};

/// Counts values (latencies in ns, sizes, ...) in log-linear buckets: exact below 128, from there
/// 64 buckets to each power of two, so that a percentile is off by less than 0.8 %. Adding is a few
/// instructions; the first value of a power of two allocates the counts of that (512 bytes; 20 KB
/// if there are values of every size). Mergeable. Not thread-safe: one for each thread, to be
/// merged for a report.
class Histogram {
 public:
  Histogram() = default;
  Histogram(const Histogram& other) { merge(other); }
  Histogram(Histogram&&) noexcept = default;
  Histogram& operator=(const Histogram& other) { return *this = Histogram(other); }
  Histogram& operator=(Histogram&&) noexcept = default;
  ~Histogram() = default;

  void add(std::uint64_t value) {
    const std::size_t bucket = Buckets::of(value);
    page(bucket / kPageBuckets)[bucket % kPageBuckets] += 1;
    ++count_;
    sum_ += value;
    if (value > max_) max_ = value;
    if (value < min_) min_ = value;
  }

  void merge(const Histogram& other) {
    for (std::size_t i = 0; i < kPages; ++i) {
      if (other.pages_[i] == nullptr) continue;
      Page& mine = page(i);
      for (std::size_t k = 0; k < kPageBuckets; ++k) mine[k] += (*other.pages_[i])[k];
    }
    count_ += other.count_;
    sum_ += other.sum_;
    if (other.max_ > max_) max_ = other.max_;
    if (other.min_ < min_) min_ = other.min_;
  }

  void clear() { *this = Histogram(); }

  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  std::uint64_t min() const { return count_ == 0 ? 0 : min_; }
  double mean() const {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }

  /// Calls f(value, how many) for each bucket that is not empty, smallest first; the value stands
  /// for its bucket as in percentile().
  template <typename F>
  void for_each(F&& f) const {
    for (std::size_t i = 0; i < Buckets::kCount; ++i) {
      if (const std::uint64_t times = count_of(i); times != 0) {
        f(within(Buckets::middle(i)), times);
      }
    }
  }

  /// The smallest value that at least `percent` (0 to 100) of the values do not exceed, to the
  /// resolution of the buckets; 0 if there are none.
  std::uint64_t percentile(double percent) const {
    if (count_ == 0) return 0;
    const double wanted = percent / 100 * static_cast<double>(count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < Buckets::kCount; ++i) {
      const std::uint64_t times = count_of(i);
      seen += times;
      if (times != 0 && static_cast<double>(seen) >= wanted) return within(Buckets::middle(i));
    }
    return max_;
  }

 private:
  using Buckets = LogLinearBuckets<6, 44>;  // 2^44 ns are 4.9 hours; what is above counts as that
  static constexpr std::size_t kPageBuckets = 64;
  static constexpr std::size_t kPages = Buckets::kCount / kPageBuckets;
  static_assert(kPages * kPageBuckets == Buckets::kCount);
  using Page = std::array<std::uint64_t, kPageBuckets>;

  Page& page(std::size_t index) {
    if (pages_[index] == nullptr) [[unlikely]]
      pages_[index] = std::make_unique<Page>();
    return *pages_[index];
  }
  std::uint64_t count_of(std::size_t bucket) const {
    const auto& page = pages_[bucket / kPageBuckets];
    return page == nullptr ? 0 : (*page)[bucket % kPageBuckets];
  }
  std::uint64_t within(std::uint64_t value) const {
    return value > max_ ? max_ : (value < min_ ? min_ : value);
  }

  std::array<std::unique_ptr<Page>, kPages> pages_;  ///< null: no value so far
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
  std::uint64_t min_ = UINT64_MAX;
};

}  // namespace silurus
