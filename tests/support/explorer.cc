// SPDX-License-Identifier: Apache-2.0

#include "tests/support/explorer.h"

#include <unordered_set>
#include <utility>

#include "common/check.h"

namespace silurus::testing_support {
namespace {

/// Thrown where a step ends in the middle of a body.
struct EndOfStep {};
/// A step that cannot be made now.
struct Blocked {};
struct Violation {
  std::string what;
};

}  // namespace

std::uint64_t Explorer::operate(const char* what, const std::function<bool()>& may,
                                const std::function<std::uint64_t()>& perform) {
  std::vector<std::uint64_t>& results = state_->results[thread_];
  if (position_ < results.size()) return results[position_++];
  if (has_stepped_) throw EndOfStep();
  if (!may()) throw Blocked();
  has_stepped_ = true;
  results.push_back(perform());
  ++position_;
  state_->steps += "  thread " + std::to_string(thread_) + " " + what + " " +
                   std::to_string(results.back()) + "\n";
  return results.back();
}

/// What the thread sees: its own stores first.
std::uint64_t Explorer::seen(const Word& word) const {
  const std::deque<Store>& buffer = state_->buffers[thread_];
  for (auto store = buffer.rbegin(); store != buffer.rend(); ++store) {
    if (store->word == &word) return store->value;
  }
  const auto found = state_->memory.find(&word);
  return found == state_->memory.end() ? word.initial_ : found->second;
}

/// Lets others see all that a thread has stored.
void Explorer::drain(std::size_t thread) {
  for (const Store& store : state_->buffers[thread]) state_->memory[store.word] = store.value;
  state_->buffers[thread].clear();
}

/// Makes the next step of a thread; false if it has to wait.
bool Explorer::step(State& state, std::size_t thread) {
  state_ = &state;
  thread_ = thread;
  position_ = 0;
  has_stepped_ = false;
  try {
    bodies_[thread]();
    state.done[thread] = true;
  } catch (const EndOfStep&) {
  } catch (const Blocked&) {
    return false;
  }
  return true;
}

std::string Explorer::key_of(const State& state) {
  std::string key;
  const auto add = [&key](std::uint64_t value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  for (std::size_t i = 0; i < state.results.size(); ++i) {
    add(state.results[i].size() * 2 + (state.done[i] ? 1 : 0));
    for (const std::uint64_t result : state.results[i]) add(result);
    add(state.buffers[i].size());
    for (const Store& store : state.buffers[i]) {
      add(reinterpret_cast<std::uintptr_t>(store.word));
      add(store.value);
    }
  }
  for (const auto& [word, value] : state.memory) {
    add(reinterpret_cast<std::uintptr_t>(word));
    add(value);
  }
  return key;
}

Explorer::Outcome Explorer::stop(const State& state, const std::string& what) const {
  return {states_, ends_, what + " after\n" + state.steps};
}

Explorer::Outcome Explorer::run() {
  SILURUS_CHECK(running_ == nullptr);
  struct Running {
    explicit Running(Explorer* explorer) { running_ = explorer; }
    ~Running() { running_ = nullptr; }
  } const running(this);
  const std::size_t threads = bodies_.size();
  State first;
  first.results.resize(threads);
  first.buffers.resize(threads);
  first.done.resize(threads);
  std::unordered_set<std::string> visited;
  std::vector<State> to_visit{first};
  while (!to_visit.empty()) {
    const State now = std::move(to_visit.back());
    to_visit.pop_back();
    if (!visited.insert(key_of(now)).second) continue;
    ++states_;
    bool goes_on = false;
    bool all_done = true;
    for (std::size_t thread = 0; thread < threads; ++thread) {
      if (!now.buffers[thread].empty()) {
        goes_on = true;
        to_visit.push_back(now);
        State& next = to_visit.back();
        const Store oldest = next.buffers[thread].front();
        next.buffers[thread].pop_front();
        next.memory[oldest.word] = oldest.value;
        next.steps += "  thread " + std::to_string(thread) + "'s store of " +
                      std::to_string(oldest.value) + " is seen\n";
      }
      if (now.done[thread]) continue;
      all_done = false;
      State next = now;
      try {
        if (!step(next, thread)) continue;
      } catch (const Violation& violation) {
        return stop(next, violation.what);
      }
      goes_on = true;
      to_visit.push_back(std::move(next));
    }
    if (all_done && !goes_on) ++ends_;
    if (!all_done && !goes_on) return stop(now, "threads wait, and no thread will wake them,");
  }
  return {states_, ends_, ""};
}

void Explorer::require(bool holds, const char* what) {
  if (!holds) throw Violation{what};
}

void Explorer::fence() {
  Explorer& explorer = *running_;
  explorer.operate(
      "fences", [] { return true; },
      [&] {
        explorer.drain(explorer.thread_);
        return 0;
      });
}

std::uint64_t Word::load(std::memory_order) const {
  Explorer& explorer = *Explorer::running_;
  return explorer.operate(
      "loads", [] { return true; }, [&] { return explorer.seen(*this); });
}

void Word::store(std::uint64_t value, std::memory_order order) {
  Explorer& explorer = *Explorer::running_;
  explorer.operate(
      "stores", [] { return true; },
      [&] {
        explorer.state_->buffers[explorer.thread_].push_back({this, value});
        if (order == std::memory_order_seq_cst) explorer.drain(explorer.thread_);
        return value;
      });
}

std::uint64_t Word::exchange(std::uint64_t value, std::memory_order) {
  Explorer& explorer = *Explorer::running_;
  return explorer.operate(
      "exchanges", [] { return true; },
      [&] {
        explorer.drain(explorer.thread_);
        const std::uint64_t before = explorer.seen(*this);
        explorer.state_->memory[this] = value;
        return before;
      });
}

std::uint64_t Word::wait_and_clear() {
  Explorer& explorer = *Explorer::running_;
  return explorer.operate(
      "wakes by", [&] { return explorer.seen(*this) != 0; },
      [&] {
        explorer.drain(explorer.thread_);
        const std::uint64_t before = explorer.seen(*this);
        explorer.state_->memory[this] = 0;
        return before;
      });
}

}  // namespace silurus::testing_support
