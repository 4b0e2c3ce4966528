#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <random>

// Seeds of random tests. The environment variable SEED overrides them all, to run a failure again
// or to look for others; whichever is used is printed.

namespace silurus::testing_support {

inline std::uint64_t announce_seed(std::optional<std::uint64_t> usual) {
  const char* text = std::getenv("SEED");
  const std::uint64_t chosen = text != nullptr ? std::strtoull(text, nullptr, 10)
                               : usual         ? *usual
                                               : std::random_device{}();
  std::cout << "SEED=" << chosen << std::endl;
  return chosen;
}

/// For a test that does the same in each run.
inline std::uint64_t seed(std::uint64_t usual) { return announce_seed(usual); }

/// For a test that looks for something new in each run.
inline std::uint64_t fresh_seed() { return announce_seed(std::nullopt); }

}  // namespace silurus::testing_support
