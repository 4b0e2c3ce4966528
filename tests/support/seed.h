// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
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

/// The seeds of a test that goes through many, one after the other: SEED alone, to see that one
/// again; else fresh ones, from one that is printed, for as many seconds as the variable
/// SEED_SECONDS says (60), at least one.
///
///   for (Seeds seeds; seeds.next();) run(seeds.current());
class Seeds {
 public:
  Seeds() : current_(fresh_seed()), ends_(Clock::now() + budget()) { --current_; }

  /// Goes on to the next seed; false if there is none.
  bool next() {
    if (count_ != 0 && (is_again() || Clock::now() >= ends_)) return false;
    ++current_;
    ++count_;
    return true;
  }
  std::uint64_t current() const { return current_; }
  /// The number of seeds so far.
  std::uint64_t count() const { return count_; }
  /// True if SEED asks for one seed again.
  static bool is_again() { return std::getenv("SEED") != nullptr; }
  /// True if there were enough seeds for all kinds of faults to have happened.
  bool are_many() const { return !is_again() && count_ >= 500; }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kSeconds = 60;

  static std::chrono::seconds budget() {
    const char* const text = std::getenv("SEED_SECONDS");
    return std::chrono::seconds(text == nullptr ? kSeconds : std::atoi(text));
  }

  std::uint64_t current_;
  std::uint64_t count_ = 0;
  Clock::time_point ends_;
};

}  // namespace silurus::testing_support
