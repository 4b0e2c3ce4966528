// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>

#include "client/core.h"
#include "common/clock.h"
#include "tests/unit/client/quiet_fabric.h"

// What may rightly take long has no deadline: it ends when the server shows no sign of life.

namespace silurus::client {
namespace {

using ::testing::HasSubstr;

class PatienceTest : public testing::Test {
 protected:
  static constexpr Nanoseconds kPatience = 2 * kSecond;

  void SetUp() override {
    const ClientOptions options{
        .mode = Mode::kMessaging, .deadline = kSecond, .patience = kPatience};
    auto made = ClientCore<2>::connect("sim://server:1", network_, clock_, options);
    ASSERT_TRUE(made) << made.error().message;
    core_ = std::move(*made);
  }
  void ask_history() {
    ASSERT_TRUE(core_->submit(
        request::Task{.kind = protocol::TaskKind::kHistory},
        [this](Result<TextAnswer*> answer) { ended_ = answer ? Error{} : answer.error(); }));
  }
  /// Lets time go by, as a caller that has nothing else to do sees it.
  void pass(Nanoseconds time, bool beating) {
    for (Nanoseconds gone = 0; gone < time; gone += QuietConnection::kBeat) {
      clock_.advance(QuietConnection::kBeat);
      if (beating) fabric_.server->beat();
      core_->settle(true);
    }
  }

  ManualClock clock_;
  QuietFabric fabric_;
  MemoryPoller poller_;
  OneFabric network_{fabric_, poller_};
  std::optional<Error> ended_;  ///< outlives the client, which ends its calls at its own end
  std::unique_ptr<ClientCore<2>> core_;
};

TEST_F(PatienceTest, ATaskLastsAsLongAsTheServerBeats) {
  ask_history();
  pass(100 * kPatience, true);
  EXPECT_FALSE(ended_);
}

TEST_F(PatienceTest, ATaskEndsSoonAfterTheLastSignOfLife) {
  ask_history();
  pass(10 * kPatience, true);
  pass(kPatience / 2, false);
  EXPECT_FALSE(ended_);
  pass(kPatience, false);
  ASSERT_TRUE(ended_);
  EXPECT_EQ(ended_->code, ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(ended_->message, HasSubstr("no sign of life from quiet://server for 2 s"));
}

TEST_F(PatienceTest, OtherAnswersAreSignsOfLifeToo) {
  ask_history();
  for (int i = 0; i < 10; ++i) {
    fabric_.server->count_message();
    pass(kPatience / 2, false);
  }
  EXPECT_FALSE(ended_);
}

TEST_F(PatienceTest, AStepOfALoadIsWaitedForWithPatienceToo) {
  const rtree::Entry<2> entry{1, {{0, 0}, {1, 1}}};
  ASSERT_TRUE(core_->submit(request::LoadBegin(), [](const Result<LoadAnswer*>&) {}));
  fabric_.server->answer(protocol::AnswerEncoder::count({fabric_.server->last_request_id(), 1}, 0));
  ASSERT_TRUE(core_->submit(
      request::LoadEntries<2>{{&entry, 1}},
      [this](Result<LoadAnswer*> answer) { ended_ = answer ? Error{} : answer.error(); }));
  pass(5 * kPatience, true);
  EXPECT_FALSE(ended_);
  pass(2 * kPatience, false);
  EXPECT_TRUE(ended_);
}

TEST_F(PatienceTest, AStatisticsRequestHasItsDeadlineWhateverBeats) {
  ASSERT_TRUE(core_->submit(request::Statistics(), [this](Result<TextAnswer*> answer) {
    ended_ = answer ? Error{} : answer.error();
  }));
  pass(2 * kSecond, true);
  ASSERT_TRUE(ended_);
  EXPECT_THAT(ended_->message, HasSubstr("within 1 s"));
}

}  // namespace
}  // namespace silurus::client
