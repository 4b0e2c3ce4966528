// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <array>
#include <iostream>

#include "tests/support/explorer.h"
#include "transport/shm/sleeping.h"
#include "transport/wake_flag.h"

// Sleep against what it waits for (a message, credit, a wake-up): every interleaving.

namespace silurus::transport {
namespace {

using shm::kAwake;
using shm::kRingOnCredit;
using shm::kRingOnMessage;
using testing_support::Explorer;
using testing_support::Word;

constexpr std::uint64_t kMessages = 2;

/// One direction of a connection whose ring holds one message: the sender may wait for credit, the
/// receiver for a message, and each rings the other one.
struct Direction {
  Word written;   ///< messages
  Word consumed;  ///< how many of them are consumed
  struct Side {
    Word sleep;
    Word bell;
  };
  Side sender;
  Side receiver;

  /// Sleeps until it is rung, unless there is work by then.
  template <typename HasWork>
  static void sleep(Side& mine, std::uint64_t wants, const HasWork& has_work) {
    bool asleep = true;
    shm::fall_asleep(
        1, Explorer::fence, [&](std::size_t) { shm::say_sleep(mine.sleep, wants); },
        [&](std::size_t) {
          if (!has_work()) return;
          shm::say_sleep(mine.sleep, kAwake);
          asleep = false;
        });
    if (asleep) mine.bell.wait_and_clear();
  }
  static void ring(Side& theirs, std::uint64_t published) {
    shm::look_for_sleepers(Explorer::fence, [&] {
      if (shm::must_ring(theirs.sleep, published)) {
        theirs.bell.store(1, std::memory_order_seq_cst);
      }
    });
  }
  void send() {
    for (std::uint64_t sent = 0; sent < kMessages; ++sent) {
      const auto has_room = [&] { return consumed.load(std::memory_order_acquire) == sent; };
      while (!has_room()) sleep(sender, kRingOnCredit, has_room);
      written.store(sent + 1, std::memory_order_release);
      ring(receiver, kRingOnMessage);
    }
  }
  void receive() {
    for (std::uint64_t taken = 0; taken < kMessages; ++taken) {
      const auto is_there = [&] { return written.load(std::memory_order_acquire) > taken; };
      while (!is_there()) sleep(receiver, kRingOnMessage, is_there);
      consumed.store(taken + 1, std::memory_order_release);
      ring(sender, kRingOnCredit);
    }
  }
};

TEST(SleepSchedules, NoMessageAndNoCreditIsSleptThrough) {
  Direction direction;
  const auto all = Explorer({[&] { direction.send(); }, [&] { direction.receive(); }}).run();
  EXPECT_EQ(all.violation, "");
  EXPECT_GT(all.ends, 0u);
  std::cout << all.states << " states\n";
}

TEST(SleepSchedules, WouldFindALookThatComesBeforeTheWord) {
  Direction direction;
  const auto careless = [&] {
    if (direction.written.load(std::memory_order_acquire) > 0) return;
    shm::say_sleep(direction.receiver.sleep, kRingOnMessage);
    Explorer::fence();
    direction.receiver.bell.wait_and_clear();
  };
  EXPECT_NE(Explorer({[&] { direction.send(); }, careless}).run().violation, "");
}

TEST(SleepSchedules, WouldFindAMissingFence) {
  Direction direction;
  const auto hasty = [&] {
    direction.written.store(1, std::memory_order_release);
    if (shm::must_ring(direction.receiver.sleep, kRingOnMessage)) {
      direction.receiver.bell.store(1, std::memory_order_seq_cst);
    }
  };
  const auto receive_one = [&] {
    const auto is_there = [&] { return direction.written.load(std::memory_order_acquire) > 0; };
    while (!is_there()) Direction::sleep(direction.receiver, kRingOnMessage, is_there);
  };
  EXPECT_NE(Explorer({hasty, receive_one}).run().violation, "");
}

TEST(SleepSchedules, NoWakeUpIsLostAndWhatCameBeforeItIsSeen) {
  WakeFlag<Word> flag;
  Word descriptor;
  Word work;
  const auto owner = [&] {
    for (std::uint64_t done = 0; done < 2;) {
      while (!flag.take()) {
        if (flag.begin_sleep()) descriptor.wait_and_clear();
        flag.end_sleep();
      }
      const std::uint64_t there = work.load(std::memory_order_relaxed);
      Explorer::require(there > done, "it was woken before there was something to do");
      done = there;
    }
  };
  const auto other = [&] {
    for (std::uint64_t done = 0; done < 2; ++done) {
      work.store(done + 1, std::memory_order_relaxed);
      if (flag.raise()) descriptor.store(1, std::memory_order_seq_cst);
    }
  };
  const auto all = Explorer({owner, other}).run();
  EXPECT_EQ(all.violation, "");
  EXPECT_GT(all.ends, 0u);
  std::cout << all.states << " states\n";
}

TEST(SleepSchedules, ManyMayWakeOne) {
  WakeFlag<Word> flag;
  Word descriptor;
  std::array<Word, 2> work;
  const auto owner = [&] {
    bool is_done[2] = {false, false};
    while (!is_done[0] || !is_done[1]) {
      while (!flag.take()) {
        if (flag.begin_sleep()) descriptor.wait_and_clear();
        flag.end_sleep();
      }
      for (std::size_t i = 0; i < 2; ++i) {
        is_done[i] = work[i].load(std::memory_order_relaxed) != 0;
      }
    }
  };
  const auto wake = [&](std::size_t i) {
    work[i].store(1, std::memory_order_relaxed);
    if (flag.raise()) descriptor.store(1, std::memory_order_seq_cst);
  };
  const auto all = Explorer({owner, [&] { wake(0); }, [&] { wake(1); }}).run();
  EXPECT_EQ(all.violation, "");
  EXPECT_GT(all.ends, 0u);
}

}  // namespace
}  // namespace silurus::transport
