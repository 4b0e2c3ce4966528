#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace silurus {

/// Counts values (latencies in ns, sizes, ...) in log-linear buckets: exact below 128, from there
/// 64 buckets to each power of two, so that a percentile is off by less than 0.8 %. Fixed size (20
/// KB), no allocation; adding is a few instructions. Mergeable. Not thread-safe: one for each
/// thread, merged by whoever reports.
class Histogram {
 public:
  void add(std::uint64_t value) {
    ++counts_[bucket(value)];
    ++count_;
    sum_ += value;
    if (value > max_) max_ = value;
    if (value < min_) min_ = value;
  }

  void merge(const Histogram& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
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
    for (std::size_t i = 0; i < kBuckets; ++i) {
      if (counts_[i] != 0) f(within(middle_of(i)), counts_[i]);
    }
  }

  /// The smallest value that at least `percent` (0 to 100) of the values do not exceed, to the
  /// resolution of the buckets; 0 if there are none.
  std::uint64_t percentile(double percent) const {
    if (count_ == 0) return 0;
    const double wanted = percent / 100 * static_cast<double>(count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (counts_[i] != 0 && static_cast<double>(seen) >= wanted) return within(middle_of(i));
    }
    return max_;
  }

 private:
  static constexpr int kSubBits = 6;   // 64 buckets to an octave
  static constexpr int kMaxBits = 44;  // 2^44 ns are 4.9 hours; what is above counts as that
  static constexpr std::size_t kBuckets = (std::size_t{kMaxBits - kSubBits} + 1) << kSubBits;

  static std::size_t bucket(std::uint64_t value) {
    if (value >= (std::uint64_t{1} << kMaxBits)) return kBuckets - 1;
    if (value < (1u << (kSubBits + 1))) return static_cast<std::size_t>(value);
    // The top kSubBits + 1 bits of the value, and how far they were shifted.
    const int shift = std::bit_width(value) - (kSubBits + 1);
    return (static_cast<std::size_t>(shift) << kSubBits) + static_cast<std::size_t>(value >> shift);
  }

  std::uint64_t within(std::uint64_t value) const {
    return value > max_ ? max_ : (value < min_ ? min_ : value);
  }

  static std::uint64_t middle_of(std::size_t i) {
    if (i < (1u << (kSubBits + 1))) return i;
    const int shift = static_cast<int>(i >> kSubBits) - 1;
    const std::uint64_t top = i - (static_cast<std::size_t>(shift) << kSubBits);
    return (top << shift) + (std::uint64_t{1} << shift) / 2;
  }

  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
  std::uint64_t min_ = UINT64_MAX;
};

}  // namespace silurus
