// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/check.h"

// What a fuzz target consists of: one file each, which defines the two functions below. main.cc
// makes a libFuzzer program of it; scripts/fuzz builds and runs them all.
//
// A target that finds something aborts: by a sanitizer, by a check of the code, or by one of its
// own (SILURUS_CHECK). What it checks of its own is, above all, that what a parser takes is what
// the encoder writes: decode(encode(decode(x))) == decode(x).

namespace silurus::fuzz {

/// One execution: gives `bytes` to the code under test. Deterministic.
void try_input(std::span<const std::byte> bytes);

/// Inputs to begin with, a few and small: what a peer or file that keeps to the format would send.
std::vector<std::string> seeds();

// --- for both

/// Reads numbers off the front of an input. At its end they are 0.
class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const std::size_t size = rest_.size() < sizeof(T) ? rest_.size() : sizeof(T);
    if (size != 0) std::memcpy(static_cast<void*>(&value), rest_.data(), size);
    rest_ = rest_.subspan(size);
    return value;
  }
  /// The next `size` bytes, or as many as are left.
  std::span<const std::byte> take_bytes(std::size_t size) {
    const auto taken = rest_.first(size < rest_.size() ? size : rest_.size());
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
};

/// A copy of exactly `size` bytes (0 where `from` ends before), which begins at a cache line: the
/// address sanitizer sees every access beyond it.
class AlignedCopy {
 public:
  AlignedCopy(std::span<const std::byte> from, std::size_t size)
      : data_(static_cast<std::byte*>(::operator new(size, kAlignment))), size_(size) {
    std::memset(data_, 0, size);
    if (!from.empty()) std::memcpy(data_, from.data(), from.size() < size ? from.size() : size);
  }
  explicit AlignedCopy(std::span<const std::byte> from) : AlignedCopy(from, from.size()) {}
  AlignedCopy(const AlignedCopy&) = delete;
  AlignedCopy& operator=(const AlignedCopy&) = delete;
  ~AlignedCopy() { ::operator delete(data_, kAlignment); }

  std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  std::byte* data_;
  std::size_t size_;
};

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::string as_seed(std::span<const std::byte> bytes) { return std::string(as_text(bytes)); }

/// The bytes of a value, of several one after the other.
template <typename... T>
std::string bytes_of(const T&... values) {
  static_assert((std::is_trivially_copyable_v<T> && ...));
  std::string bytes;
  (bytes.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
  return bytes;
}

inline bool is_equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return as_text(a) == as_text(b);
}

}  // namespace silurus::fuzz
