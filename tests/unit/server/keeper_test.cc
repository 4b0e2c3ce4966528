// SPDX-License-Identifier: Apache-2.0

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "rtree/root_block.h"
#include "server/keeper/channel.h"
#include "server/keeper/hang_watch.h"
#include "server/keeper/holdings.h"
#include "server/keeper/keeper_link.h"
#include "server/keeper/life_page.h"
#include "server/keeper/restart_policy.h"
#include "transport/shm/memory.h"

namespace silurus::server::keeper {
namespace {

constexpr LifeEnd kCrash{.signal = SIGSEGV, .was_ready = true, .ready_for = kSecond};
constexpr LifeEnd kFailedStart{.exit_status = 1};

// --- when a successor is started

TEST(RestartPolicy, ACleanEndIsTheKeepersEnd) {
  const Verdict verdict = RestartPolicy().on_end({.was_ready = true});
  EXPECT_FALSE(verdict.restarts);
  EXPECT_EQ(verdict.exit_status, 0);
}

TEST(RestartPolicy, WrongUsageIsTheKeepersEnd) {
  RestartPolicy policy;
  policy.on_end(kCrash);
  EXPECT_EQ(policy.on_end({.exit_status = 2}).exit_status, 2);
}

TEST(RestartPolicy, AServerThatNeverStartedIsNotStartedAgain) {
  const Verdict verdict = RestartPolicy().on_end(kFailedStart);
  EXPECT_FALSE(verdict.restarts);
  EXPECT_EQ(verdict.exit_status, 1);
}

TEST(RestartPolicy, TheFirstCrashIsFollowedByASuccessorAtOnce) {
  const Verdict verdict = RestartPolicy().on_end(kCrash);
  EXPECT_TRUE(verdict.restarts);
  EXPECT_EQ(verdict.pause, 0);
  EXPECT_FALSE(verdict.lets_go);
}

TEST(RestartPolicy, PausesDoubleUpToALongestOne) {
  RestartPolicy policy;
  policy.on_end(kCrash);
  Nanoseconds expected = RestartPolicy::kFirstPause;
  for (int i = 1; i < RestartPolicy::kMostFailures; ++i) {
    EXPECT_EQ(policy.on_end(kFailedStart).pause, expected);
    expected = std::min(2 * expected, RestartPolicy::kLongestPause);
  }
}

TEST(RestartPolicy, GivesUpAfterManyFailuresInSuccession) {
  RestartPolicy policy;
  for (int i = 0; i < RestartPolicy::kMostFailures; ++i)
    ASSERT_TRUE(policy.on_end(kCrash).restarts);
  const Verdict verdict = policy.on_end(kCrash);
  EXPECT_FALSE(verdict.restarts);
  EXPECT_EQ(verdict.exit_status, 1);
}

TEST(RestartPolicy, AWhileOfServiceForgetsFailures) {
  RestartPolicy policy;
  for (int i = 0; i < RestartPolicy::kMostFailures; ++i) policy.on_end(kCrash);
  LifeEnd late = kCrash;
  late.ready_for = RestartPolicy::kSettledAfter;
  const Verdict verdict = policy.on_end(late);
  EXPECT_TRUE(verdict.restarts);
  EXPECT_EQ(verdict.pause, 0);
}

TEST(RestartPolicy, AnEndThatWasAskedForIsNoFailure) {
  RestartPolicy policy;
  LifeEnd asked{.signal = SIGKILL, .was_ready = true, .was_asked = true};
  for (int i = 0; i <= RestartPolicy::kMostFailures; ++i) {
    const Verdict verdict = policy.on_end(asked);
    ASSERT_TRUE(verdict.restarts);
    ASSERT_EQ(verdict.pause, 0);
  }
}

TEST(RestartPolicy, AnEndThatWasAskedForBeforeAnyServerWasReadyIsFollowedByASuccessor) {
  RestartPolicy policy;
  EXPECT_TRUE(policy.on_end({.signal = SIGKILL, .was_asked = true}).restarts);
  EXPECT_FALSE(policy.on_end(kFailedStart).restarts);
}

TEST(RestartPolicy, ASuccessorWhoseStartHungIsAFailureThatLeavesTheOldLife) {
  RestartPolicy policy;
  policy.on_end(kCrash);
  const Verdict verdict = policy.on_end({.signal = SIGKILL, .has_hung_in_start = true});
  EXPECT_TRUE(verdict.restarts);
  EXPECT_FALSE(verdict.lets_go);
  EXPECT_EQ(verdict.pause, RestartPolicy::kFirstPause);
}

TEST(RestartPolicy, ASuccessorThatWasKilledInItsStartGetsTheMemoryOfTheOldLife) {
  RestartPolicy policy;
  policy.on_end(kCrash);
  EXPECT_TRUE(policy.on_end({.signal = SIGKILL}).lets_go);
}

TEST(RestartPolicy, ASuccessorThatFailsLeavesTheOldLife) {
  RestartPolicy policy;
  policy.on_end(kCrash);
  EXPECT_FALSE(policy.on_end(kFailedStart).lets_go);
  EXPECT_FALSE(policy.on_end({.signal = SIGABRT}).lets_go);
}

TEST(LifeEndText, NamesSignalsAndStatuses) {
  EXPECT_EQ(to_string({.signal = SIGSEGV}), "died of SIGSEGV");
  EXPECT_EQ(to_string({.exit_status = 3}), "ended with status 3");
}

// --- whether a server hangs

class HangWatchTest : public testing::Test {
 protected:
  static constexpr Nanoseconds kLimit = 4 * kSecond;

  /// Looks whenever that is due, up to a moment: when the server was found to hang, if it was.
  std::optional<Nanoseconds> watch_until(Nanoseconds end) {
    while (watch_.due() <= end) {
      now_ = std::max(now_, watch_.due());
      if (watch_.look(now_)) return now_;
    }
    now_ = end;
    return std::nullopt;
  }
  void be_ready() {
    watch_.on_start(false, now_);
    watch_.on_ready(now_);
  }

  HangWatch watch_{kLimit};
  Nanoseconds now_ = kSecond;
};

TEST_F(HangWatchTest, FindsAServerWithoutASignOfLifeInItsLimit) {
  be_ready();
  const Nanoseconds begin = now_;
  EXPECT_EQ(watch_until(begin + 10 * kLimit), begin + kLimit);
}

TEST_F(HangWatchTest, LeavesAServerThatShowsLife) {
  be_ready();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(watch_until(now_ + kLimit - 1), std::nullopt);
    watch_.on_sign_of_life(now_);
  }
}

TEST_F(HangWatchTest, LeavesAServerThatStopsThoughItTakesLong) {
  be_ready();
  watch_.stop();
  watch_.on_sign_of_life(now_);
  EXPECT_EQ(watch_.due(), HangWatch::kNever);
  EXPECT_FALSE(watch_.look(now_ + 100 * kLimit));
}

TEST_F(HangWatchTest, CountsAnewAfterItStoodStillItself) {
  be_ready();
  now_ += 100 * kLimit;
  const Nanoseconds thawed = now_;
  EXPECT_FALSE(watch_.look(thawed));
  EXPECT_EQ(watch_until(thawed + 10 * kLimit), thawed + kLimit);
}

TEST_F(HangWatchTest, GivesTheStartOfASuccessorMoreTime) {
  watch_.on_start(true, now_);
  const Nanoseconds begin = now_;
  EXPECT_EQ(watch_until(begin + 10 * HangWatch::kStartLimit), begin + HangWatch::kStartLimit);
}

TEST_F(HangWatchTest, LeavesTheStartOfAFirstServer) {
  watch_.on_start(false, now_);
  EXPECT_EQ(watch_.due(), HangWatch::kNever);
}

TEST_F(HangWatchTest, WithoutALimitWatchesNothing) {
  watch_ = HangWatch();
  watch_.on_start(true, now_);
  EXPECT_EQ(watch_.due(), HangWatch::kNever);
  watch_.on_ready(now_);
  EXPECT_EQ(watch_.due(), HangWatch::kNever);
}

// --- the page where a life ends

class LifePageTest : public testing::Test {
 protected:
  /// The memory of a tree, of which a page was mapped before it was sealed.
  void SetUp() override {
    auto slab = transport::shm::SharedSlab::create(1 << 20, "life-page-test", false, [&](int fd) {
      auto page = LifePage::map(fd);
      if (!page) return Status(fail(page.error()));
      page_.emplace(std::move(*page));
      return Status();
    });
    ASSERT_TRUE(slab) << slab.error().message;
    slab_.emplace(std::move(*slab));
  }
  std::uint64_t ended() const {
    return reinterpret_cast<const rtree::RootBlock<3>*>(slab_->bytes().data())->ended.load();
  }

  std::optional<LifePage> page_;
  std::optional<transport::shm::SharedSlab> slab_;
};

TEST_F(LifePageTest, LeavesALivingTreeAlone) {
  EXPECT_FALSE(page_->has_ended());
  EXPECT_EQ(ended(), 0u);
}

TEST_F(LifePageTest, TurnsReadersAwayInTheRootBlock) {
  page_->end_life();
  EXPECT_TRUE(page_->has_ended());
  EXPECT_NE(ended(), 0u);
}

TEST_F(LifePageTest, CannotBeMappedOnceTheMemoryIsSealed) {
  EXPECT_FALSE(LifePage::map(slab_->fd()));
}

TEST_F(LifePageTest, IsTheRootsThoughDescriptorsAreClosed) {
  LifePage moved = std::move(*page_);
  slab_->bytes()[0] = std::byte{1};
  moved.end_life();
  EXPECT_NE(ended(), 0u);
}

TEST(LifePageOffset, IsTakenFromAServerOfAnotherRelease) {
  std::optional<LifePage> page;
  const auto slab = transport::shm::SharedSlab::create(1 << 20, "offset-test", false, [&](int fd) {
    auto mapped = LifePage::map(fd, LifePage::kWord + 8);
    if (!mapped) return Status(fail(mapped.error()));
    page.emplace(std::move(*mapped));
    return Status();
  });
  ASSERT_TRUE(slab) << slab.error().message;
  page->end_life();
  const auto word_at = [&](std::size_t offset) {
    std::uint64_t word = 0;
    std::memcpy(&word, slab->bytes().data() + offset, sizeof word);
    return word;
  };
  EXPECT_EQ(word_at(LifePage::kWord), 0u);
  EXPECT_EQ(word_at(LifePage::kWord + 8), 1u);
}

TEST(LifePageOffset, IsRefusedOutsideOfThePageOrOfWords) {
  const auto slab = transport::shm::SharedSlab::create(1 << 20, "offset-test", false, [&](int fd) {
    EXPECT_FALSE(LifePage::map(fd, 4096));
    EXPECT_FALSE(LifePage::map(fd, 4));
    EXPECT_FALSE(LifePage::map(fd, UINT64_MAX - 7));
    return Status();
  });
  EXPECT_TRUE(slab);
}

// --- what is held

TEST(Holdings, EndTheLifeBeforeTheyCloseWhatIsHeld) {
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK), 0);
  const transport::UniqueFd reading(pipe_ends[0]);
  Holdings holdings;
  holdings.hold(1, transport::UniqueFd(pipe_ends[1]));
  std::optional<LifePage> page;
  auto slab = transport::shm::SharedSlab::create(1 << 20, "holdings-test", false, [&](int fd) {
    auto mapped = LifePage::map(fd);
    if (!mapped) return Status(fail(mapped.error()));
    holdings.set_page(std::move(*mapped));
    return Status();
  });
  ASSERT_TRUE(slab);
  holdings.let_go();
  char byte = 0;
  EXPECT_EQ(read(reading.get(), &byte, 1), 0);  // its only writer is gone
  const auto* block = reinterpret_cast<const rtree::RootBlock<2>*>(slab->bytes().data());
  EXPECT_NE(block->ended.load(), 0u);
}

TEST(Holdings, CloseWhatIsReleased) {
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK), 0);
  const transport::UniqueFd reading(pipe_ends[0]);
  Holdings holdings;
  holdings.hold(5, transport::UniqueFd(pipe_ends[1]));
  ASSERT_EQ(holdings.size(), 1u);
  holdings.release(5);
  EXPECT_EQ(holdings.size(), 0u);
  char byte = 0;
  EXPECT_EQ(read(reading.get(), &byte, 1), 0);
}

// --- what is said

class ChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
  }
  transport::UniqueFd ours_;
  transport::UniqueFd theirs_;
};

TEST_F(ChannelTest, CarriesKindTicketTextAndDescriptor) {
  ASSERT_TRUE(send(ours_.get(), Kind::kHold, 9, "text", theirs_.get(), 0));
  const auto heard = receive(theirs_.get(), 0);
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->packet.kind, static_cast<std::uint32_t>(Kind::kHold));
  EXPECT_EQ(heard->packet.ticket, 9u);
  EXPECT_EQ(heard->packet.said(), "text");
  EXPECT_TRUE(heard->fd);
}

TEST_F(ChannelTest, CutsATextThatIsTooLong) {
  ASSERT_TRUE(send(ours_.get(), Kind::kNotify, 0, std::string(5000, 'x'), -1, 0));
  const auto heard = receive(theirs_.get(), 0);
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->packet.said().size(), kMostText);
}

TEST_F(ChannelTest, RefusesAPacketThatClaimsMoreTextThanItHas) {
  Packet packet{};
  packet.text_bytes = 100;
  ASSERT_EQ(::send(ours_.get(), &packet, kPacketHead + 4, 0),
            static_cast<ssize_t>(kPacketHead + 4));
  EXPECT_FALSE(receive(theirs_.get(), 0));
}

TEST_F(ChannelTest, HearsNothingOfAnEndThatIsClosed) {
  ours_.reset();
  EXPECT_FALSE(receive(theirs_.get(), 0));
}

TEST(Birth, ComesOutOfItsTextAsItWas) {
  Birth birth;
  birth.socket = 7;
  birth.keeper = 4711;
  birth.life = 3;
  birth.lock = 9;
  birth.has_manager = true;
  birth.watchdog = 5 * kSecond;
  const auto again = Birth::decode(birth.encode());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->encode(), birth.encode());
}

TEST(KeeperLinkTest, IsThereOnlyIfAKeeperHasStartedThisProcess) {
  unsetenv(Birth::kVariable);
  const auto link = KeeperLink::from_environment();
  ASSERT_TRUE(link) << link.error().message;
  EXPECT_EQ(*link, nullptr);
}

TEST(KeeperLinkTest, RefusesAVariableThatItCannotRead) {
  setenv(Birth::kVariable, "nonsense", 1);
  const auto link = KeeperLink::from_environment();
  EXPECT_FALSE(link);
  EXPECT_EQ(std::getenv(Birth::kVariable), nullptr);
}

TEST(Birth, IsNotReadFromNonsense) {
  EXPECT_FALSE(Birth::decode(""));
  EXPECT_FALSE(Birth::decode("7"));
  EXPECT_FALSE(Birth::decode("-1 4711 1 -1 0 0"));
  EXPECT_FALSE(Birth::decode("7 x 1 -1 0 0"));
}

}  // namespace
}  // namespace silurus::server::keeper
