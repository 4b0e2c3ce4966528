// SPDX-License-Identifier: Apache-2.0

#include "transport/atomic_copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace silurus::transport {
namespace {

TEST(AtomicCopy, CopiesEveryLengthFromAndToEveryAlignment) {
  constexpr std::size_t kBytes = 400;
  alignas(64) std::array<std::byte, kBytes> source;
  for (std::size_t i = 0; i < kBytes; ++i) source[i] = static_cast<std::byte>(i * 7 + 1);
  for (std::size_t from = 0; from < 17; ++from) {
    for (std::size_t to = 0; to < 9; ++to) {
      for (std::size_t length = 0; length < 300; ++length) {
        alignas(64) std::array<std::byte, kBytes> target{};
        copy_words(std::span(source).subspan(from, length), std::span(target).subspan(to, length));
        ASSERT_TRUE(
            std::equal(source.begin() + from, source.begin() + from + length, target.begin() + to))
            << from << " " << to << " " << length;
        ASSERT_EQ(target[to + length], std::byte{0});
      }
    }
  }
}

}  // namespace
}  // namespace silurus::transport
