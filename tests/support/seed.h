#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace silurus::testing_support {

/// The seed of a random test: the one given, or that of the environment variable SILURUS_SEED, to
/// run a failure again or to look for others. Printed, so that a failure can be repeated.
inline std::uint64_t seed(std::uint64_t usual) {
  const char* text = std::getenv("SILURUS_SEED");
  const std::uint64_t chosen = text != nullptr ? std::strtoull(text, nullptr, 10) : usual;
  std::cout << "SILURUS_SEED=" << chosen << "\n";
  return chosen;
}

}  // namespace silurus::testing_support
