#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace silurus::testing_support {

/// The seed of a test that looks for something new in each run: that of the environment variable
/// SEED, to repeat a failure, or a fresh one. Printed.
inline std::uint64_t fresh_seed() {
  const char* text = std::getenv("SEED");
  const std::uint64_t seed =
      text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  std::cout << "SEED=" << seed << std::endl;
  return seed;
}

}  // namespace silurus::testing_support
