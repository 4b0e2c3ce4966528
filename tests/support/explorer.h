// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

// Visits all interleavings of a handful of steps, instead of threads that run and hope.
//
//   Word flag, data;
//   Explorer explorer({[&] { data.store(1, relaxed); flag.store(1, release); },
//                      [&] { if (flag.load(acquire)) Explorer::require(data.load(relaxed), "...");
//                      }});
//   EXPECT_EQ(explorer.run().violation, "");
//
// Code under test takes the type of its atomic words as a template parameter; here it is Word. Each
// operation on a Word is a step. A store that is not sequentially consistent waits in its thread's
// buffer, as on x86, until the explorer decides that it is seen by others: that is what a missing
// fence shows in. Loads are not reordered with loads, nor stores with stores (other processors do
// that; it is what the thread sanitizer looks for).
//
// A thread has no stack that outlives a step: to make its next one, its body is run again from the
// start, and is handed the results that its earlier steps had. So a body must be a function of
// these results: what it changes is a Word, or its own local variable. A state is visited once.

namespace silurus::testing_support {

/// What std::atomic<std::uint64_t> is elsewhere. Its value belongs to the explorer's state.
class Word {
 public:
  explicit Word(std::uint64_t initial = 0) : initial_(initial) {}
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

  std::uint64_t load(std::memory_order order) const;
  void store(std::uint64_t value, std::memory_order order);
  std::uint64_t exchange(std::uint64_t value, std::memory_order order);
  /// Blocks while it is 0; then sets it to 0. A semaphore, or what sleeps on a descriptor.
  std::uint64_t wait_and_clear();

 private:
  friend class Explorer;
  const std::uint64_t initial_;
};

class Explorer {
 public:
  using Body = std::function<void()>;
  struct Outcome {
    std::uint64_t states = 0;  ///< that were different
    std::uint64_t ends = 0;    ///< those among them at which all threads were through
    /// What was wrong first, and the steps that led there; empty: nothing.
    std::string violation;
  };

  /// Bodies are run again and again; Words that they use outlive the explorer.
  explicit Explorer(std::vector<Body> threads) : bodies_(std::move(threads)) {}
  /// All interleavings, or up to the first violation: a requirement that does not hold, or threads
  /// that wait and that no thread will wake.
  Outcome run();

  // --- within a body
  static void require(bool holds, const char* what);
  /// A full fence.
  static void fence();

 private:
  friend class Word;
  struct Store {
    const Word* word;
    std::uint64_t value;
  };
  struct State {
    std::vector<std::vector<std::uint64_t>> results;  ///< results of each thread's steps
    std::vector<std::deque<Store>> buffers;           ///< stores that others do not see yet
    std::vector<bool> done;
    std::map<const Word*, std::uint64_t> memory;  ///< words not as they were at first
    std::string steps;
  };

  std::uint64_t operate(const char* what, const std::function<bool()>& may,
                        const std::function<std::uint64_t()>& perform);
  std::uint64_t seen(const Word& word) const;
  void drain(std::size_t thread);
  bool step(State& state, std::size_t thread);
  static std::string key_of(const State& state);
  Outcome stop(const State& state, const std::string& what) const;

  static inline thread_local Explorer* running_ = nullptr;
  const std::vector<Body> bodies_;
  State* state_ = nullptr;
  std::size_t thread_ = 0;    ///< that makes a step
  std::size_t position_ = 0;  ///< among the results of its steps
  bool has_stepped_ = false;
  std::uint64_t states_ = 0;
  std::uint64_t ends_ = 0;
};

}  // namespace silurus::testing_support
