// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/clock.h"

// Whether a history of operations on one object could have been made by doing them one after the
// other, each at some moment between its call and its return (Wing and Gong, "Testing and verifying
// concurrent objects", JPDC 17, 1993; with Lowe's memory of what was tried, "Testing for
// linearizability", 2017).

namespace silurus::testing_support {

/// An operation on a set of up to 64 values, numbered 0 to 63.
struct SetOperation {
  enum class Kind : std::uint8_t { kAdd, kRemove, kRead };
  Kind kind = Kind::kRead;
  unsigned value = 0;       ///< kAdd, kRemove: every value is added once, and removed once at most
  std::uint64_t found = 0;  ///< kRead: a bit for each value that was there
  std::uint64_t looked_for = ~std::uint64_t{0};  ///< kRead: it says nothing of other values
  Nanoseconds called = 0;
  Nanoseconds returned = kNever;  ///< kNever: whether it happened at all is unknown
  std::string whose;
  static constexpr Nanoseconds kNever = INT64_MAX;
};

/// A history of at most 64 operations.
class SetHistory {
 public:
  static constexpr std::size_t kMaxOperations = 64;

  std::vector<SetOperation> operations;

  /// Whether there is such an order.
  bool is_linearizable() const {
    Search search{operations, 0, {}};
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (operations[i].returned != SetOperation::kNever) search.must |= std::uint64_t{1} << i;
    }
    return search.run(0, 0);
  }
  std::string to_string() const {
    std::string text;
    for (const SetOperation& one : operations) {
      const char* const names[] = {"add ", "remove ", "read "};
      text += one.whose + ": " + names[static_cast<int>(one.kind)] +
              std::to_string(one.kind == SetOperation::Kind::kRead ? one.found : one.value) + " [" +
              std::to_string(one.called) + ", " +
              (one.returned == SetOperation::kNever ? "?" : std::to_string(one.returned)) + "]\n";
    }
    return text;
  }

 private:
  struct Tried {
    std::uint64_t done;
    std::uint64_t state;
    bool operator==(const Tried&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Tried& tried) const {
      return (tried.done * 0x9e3779b97f4a7c15u) ^ (tried.state * 0xc2b2ae3d27d4eb4fu);
    }
  };
  struct Search {
    const std::vector<SetOperation>& operations;
    std::uint64_t must;
    std::unordered_set<Tried, Hash> tried;

    bool run(std::uint64_t done, std::uint64_t state) {
      if ((done & must) == must) return true;
      if (!tried.insert({done, state}).second) return false;
      // What has returned before another one was called comes before it.
      Nanoseconds first_return = SetOperation::kNever;
      for (std::size_t i = 0; i < operations.size(); ++i) {
        if ((done >> i & 1) == 0) first_return = std::min(first_return, operations[i].returned);
      }
      for (std::size_t i = 0; i < operations.size(); ++i) {
        const SetOperation& next = operations[i];
        if ((done >> i & 1) != 0 || next.called > first_return) continue;
        const std::uint64_t bit = std::uint64_t{1} << next.value;
        const bool is_there = (state & bit) != 0;
        std::uint64_t after = state;
        switch (next.kind) {
          case SetOperation::Kind::kAdd:
            if (is_there) continue;
            after |= bit;
            break;
          case SetOperation::Kind::kRemove:
            if (!is_there) continue;
            after &= ~bit;
            break;
          case SetOperation::Kind::kRead:
            if (next.found != (state & next.looked_for)) continue;
            break;
        }
        if (run(done | std::uint64_t{1} << i, after)) return true;
      }
      return false;
    }
  };
};

}  // namespace silurus::testing_support
