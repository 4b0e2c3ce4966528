// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "common/check.h"
#include "common/random.h"
#include "replication/persistent_memory.h"

// A double of persistent memory and of the power that feeds it. Stored cache lines reach the
// medium when they like, in any order and only in part (never less than an aligned word), until
// they are flushed and drained. The power fails at a given store, flush or drain.

namespace silurus::testing_support {

class CrashMemory;

/// What several memories of one machine share: one seed, one power failure.
class Power {
 public:
  enum class Failure : std::uint8_t { kPowerCut, kProcessDies };

  /// Fails at the step of that number (a cache line stored, a flush, a drain); never: UINT64_MAX.
  Power(std::uint64_t seed, std::uint64_t fails_at, Failure failure = Failure::kPowerCut)
      : random_(seed), fails_at_(fails_at), failure_(failure) {}

  /// Whether it has failed: nothing is stored any more.
  bool is_off() const { return is_off_; }
  Failure failure() const { return failure_; }
  std::uint64_t steps() const { return steps_; }
  Random& random() { return random_; }
  /// One step; false if the power is off or fails right now.
  inline bool step();
  /// The power fails now.
  inline void cut();
  /// It will, at the step of that number from now on.
  void cut_after(std::uint64_t steps) { fails_at_ = steps_ + steps; }
  bool will_fail() const { return !is_off_ && fails_at_ != UINT64_MAX; }
  /// Called when it does.
  void set_on_cut(std::function<void()> on_cut) { on_cut_ = std::move(on_cut); }
  /// Called at each drain of any of its memories: what a flush takes, for a simulated clock.
  void set_on_drain(std::function<void()> on_drain) { on_drain_ = std::move(on_drain); }

 private:
  friend class CrashMemory;
  Random random_;
  std::uint64_t fails_at_;
  Failure failure_;
  std::uint64_t steps_ = 0;
  bool is_off_ = false;
  std::function<void()> on_cut_;
  std::function<void()> on_drain_;
  std::vector<CrashMemory*> memories_;
};

/// One memory. medium() is what a crash leaves, image() what the running machine sees: a process
/// that dies alone leaves that.
class CrashMemory final : public replication::PersistentMemory {
 public:
  static constexpr std::size_t kLine = 64;
  static constexpr std::size_t kWord = 8;

  /// What one life of a machine leaves to the next.
  struct Content {
    std::vector<std::byte> image;   ///< what the processor sees
    std::vector<std::byte> medium;  ///< what is durable
  };

  CrashMemory(Power& power, Content& content) : power_(power), content_(content) {
    SILURUS_CHECK(content.image.size() == content.medium.size() &&
                  content.image.size() % kLine == 0);
    bytes_ = content.image;
    state_.resize(content.image.size() / kLine, State::kClean);
    for (std::size_t line = 0; line < state_.size(); ++line) {
      if (std::memcmp(content.image.data() + line * kLine, content.medium.data() + line * kLine,
                      kLine) != 0) {
        mark_dirty(line);
      }
    }
    power.memories_.push_back(this);
  }
  ~CrashMemory() override { std::erase(power_.memories_, this); }

  /// What the next life finds, however this one ended.
  static void end_life(const Power& power, Content& content) {
    if (power.failure() == Power::Failure::kPowerCut) content.image = content.medium;
  }

  static Content fresh(std::size_t size) {
    return {std::vector<std::byte>(size), std::vector<std::byte>(size)};
  }

  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    SILURUS_CHECK(offset + data.size() <= size());
    while (!data.empty()) {
      const std::size_t part = std::min<std::size_t>(data.size(), kLine - offset % kLine);
      if (!power_.step()) return;
      std::memcpy(content_.image.data() + offset, data.data(), part);
      mark_dirty(offset / kLine);
      if (power_.random().below(4) == 0) write_back_some(dirty_[pick(dirty_.size())]);
      offset += part;
      data = data.subspan(part);
    }
  }

  void flush(std::uint64_t offset, std::uint64_t length) override {
    SILURUS_CHECK(offset + length <= size());
    if (length == 0 || !power_.step()) return;
    for (std::size_t line = offset / kLine; line <= (offset + length - 1) / kLine; ++line) {
      if (state_[line] == State::kDirty) state_[line] = State::kFlushing;
    }
  }

  Status drain() override {
    if (!power_.step()) return fail(ErrorCode::kIo, "the power is off");
    if (power_.on_drain_) power_.on_drain_();
    std::vector<std::size_t> still;
    for (const std::size_t line : dirty_) {
      if (state_[line] == State::kFlushing) {
        std::memcpy(content_.medium.data() + line * kLine, content_.image.data() + line * kLine,
                    kLine);
        state_[line] = State::kClean;
      } else {
        still.push_back(line);
      }
    }
    dirty_ = std::move(still);
    return {};
  }

  Status reserve(std::uint64_t, std::uint64_t) override { return {}; }
  bool is_pmem() const override { return true; }
  bool waits_for_device() const override { return false; }

 private:
  friend class Power;
  enum class State : std::uint8_t { kClean, kDirty, kFlushing };

  std::size_t pick(std::size_t bound) { return power_.random().below(bound); }

  void mark_dirty(std::size_t line) {
    // A line that is stored to again after its flush is in doubt again until the next flush; the
    // drain would make it durable, but nothing may rely on that.
    if (state_[line] == State::kClean) dirty_.push_back(line);
    state_[line] = State::kDirty;
  }

  /// Writes back any words of a line that is not durable.
  void write_back_some(std::size_t line) {
    const bool whole = power_.random().below(2) == 0;
    for (std::size_t word = line * kLine; word < (line + 1) * kLine; word += kWord) {
      if (whole || power_.random().below(2) == 0) {
        std::memcpy(content_.medium.data() + word, content_.image.data() + word, kWord);
      }
    }
  }

  /// The power is gone: what wasn't written back is lost.
  void lose_power() {
    for (const std::size_t line : dirty_) {
      if (power_.random().below(3) != 0) write_back_some(line);
    }
    dirty_.clear();
    content_.image = content_.medium;
  }

  Power& power_;
  Content& content_;
  std::vector<State> state_;
  std::vector<std::size_t> dirty_;
};

inline void Power::cut() {
  if (is_off_) return;
  is_off_ = true;
  if (on_cut_) on_cut_();
  if (failure_ == Failure::kProcessDies) return;
  for (CrashMemory* memory : memories_) memory->lose_power();
}

inline bool Power::step() {
  if (!is_off_ && steps_++ == fails_at_) cut();
  return !is_off_;
}

}  // namespace silurus::testing_support
