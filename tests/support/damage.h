// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/random.h"

namespace silurus::testing_support {

/// The text with one to five things done to it: a byte changed or put in, a piece taken out or
/// doubled. Never empty. `bytes`: those that changed ones become; empty: any.
inline std::string damaged(Random& random, std::string text, std::string_view bytes = {}) {
  const auto any_byte = [&] {
    return bytes.empty() ? static_cast<char>(random.below(256)) : bytes[random.below(bytes.size())];
  };
  const std::uint64_t changes = 1 + random.below(5);
  for (std::uint64_t i = 0; i < changes; ++i) {
    const std::size_t at = random.below(text.size());
    switch (random.below(4)) {
      case 0:
        text[at] = any_byte();
        break;
      case 1:
        text.insert(at, 1, any_byte());
        break;
      case 2:
        text.erase(at, 1 + random.below(30));
        break;
      default:
        text.insert(at, text.substr(random.below(text.size()), random.below(40)));
    }
    if (text.empty()) text = "\n";
  }
  return text;
}

}  // namespace silurus::testing_support
