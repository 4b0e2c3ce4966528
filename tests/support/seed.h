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

/// Of a test that goes through many seeds, one after the other: SEED alone, to see that one again;
/// or as many as that variable says, or else as usual.
struct Seeds {
  bool is_again;
  std::uint64_t first;
  std::uint64_t count;
};
inline Seeds seeds(const char* variable, std::uint64_t usual) {
  const std::uint64_t first = seed(1);
  if (std::getenv("SEED") != nullptr) return {true, first, 1};
  const char* const text = std::getenv(variable);
  return {false, first, text == nullptr ? usual : std::strtoull(text, nullptr, 10)};
}

}  // namespace silurus::testing_support
