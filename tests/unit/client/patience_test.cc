#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/core.h"
#include "common/clock.h"
#include "tests/unit/client/memory_fabric.h"
#include "transport/fabric.h"

// What may rightly take long has no deadline: it ends when the server shows no sign of life.

namespace silurus::client {
namespace {

using ::testing::HasSubstr;

/// The client's end of a connection whose other end is the test.
class QuietConnection final : public transport::Connection {
 public:
  QuietConnection() { hello_.dimensions = 2, hello_.max_batch = 100, hello_.heartbeat_ns = kBeat; }
  static constexpr Nanoseconds kBeat = 10 * kMillisecond;

  void beat() { ++heartbeat_.sequence; }
  void answer() { ++counters_.messages_received; }

  void set_handler(transport::ConnectionHandler*) override {}
  const transport::ConnectionLimits& limits() const override { return limits_; }
  std::span<const std::byte> peer_hello() const override {
    return std::as_bytes(std::span(&hello_, 1));
  }
  std::string peer() const override { return "quiet://server"; }
  std::span<std::byte> reserve(std::size_t bytes) override {
    sent_.resize(bytes);
    return sent_;
  }
  void commit(std::size_t) override {}
  void flush() override {}
  PostResult post_reads(std::span<const transport::ReadRequest>) override {
    return {0, transport::PostStatus::kInvalid};
  }
  void write_mailbox(std::span<const std::byte>) override {}
  bool read_mailbox(std::array<std::byte, transport::kMailboxBytes>& content) override {
    std::memcpy(content.data(), &heartbeat_, sizeof heartbeat_);
    return heartbeat_.sequence > 0;
  }
  void set_paused(bool) override {}
  void close() override {}
  const transport::ConnectionCounters& counters() const override { return counters_; }

 private:
  transport::ConnectionLimits limits_{
      .max_message_bytes = 4096, .max_reads_in_flight = 0, .max_read_bytes = 0};
  transport::ConnectionCounters counters_;
  protocol::ServerHello hello_;
  protocol::Heartbeat heartbeat_{};
  std::vector<std::byte> sent_;
};

class QuietFabric final : public transport::Fabric {
 public:
  std::string_view scheme() const override { return "quiet"; }
  transport::Capabilities capabilities() const override { return 0; }
  Result<std::unique_ptr<transport::Poller>> create_poller() override {
    return std::make_unique<MemoryPoller>();
  }
  Result<std::unique_ptr<transport::Listener>> listen(const transport::Address&,
                                                      const transport::ListenOptions&,
                                                      std::span<transport::Poller* const>,
                                                      transport::AcceptHandler&) override {
    return fail(ErrorCode::kUnsupported, "nothing listens here");
  }
  Result<std::unique_ptr<transport::Connection>> connect(const transport::Address&,
                                                         const transport::ConnectOptions&,
                                                         transport::Poller&,
                                                         std::span<const std::byte>,
                                                         transport::ConnectionHandler&) override {
    auto made = std::make_unique<QuietConnection>();
    server = made.get();
    return made;
  }
  QuietConnection* server = nullptr;
};

class PatienceTest : public testing::Test {
 protected:
  static constexpr Nanoseconds kPatience = 2 * kSecond;

  void SetUp() override {
    const ClientOptions options{
        .mode = Mode::kMessaging, .deadline = kSecond, .patience = kPatience};
    auto made = ClientCore<2>::connect(fabric_, poller_, {}, clock_, options);
    ASSERT_TRUE(made) << made.error().message;
    core_ = std::move(*made);
  }
  void ask_history() {
    ASSERT_TRUE(core_->task(protocol::TaskKind::kHistory, 0, 0, {},
                            Callback<StatsAnswer>([this](Result<StatsAnswer*> answer) {
                              ended_ = answer ? Error{} : answer.error();
                            })));
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
    fabric_.server->answer();
    pass(kPatience / 2, false);
  }
  EXPECT_FALSE(ended_);
}

TEST_F(PatienceTest, AStepOfALoadIsWaitedForWithPatienceToo) {
  const rtree::Entry<2> entry{1, {{0, 0}, {1, 1}}};
  ASSERT_TRUE(core_->load_entries(std::span(&entry, 1),
                                  Callback<LoadAnswer>([this](Result<LoadAnswer*> answer) {
                                    ended_ = answer ? Error{} : answer.error();
                                  })));
  pass(5 * kPatience, true);
  EXPECT_FALSE(ended_);
  pass(2 * kPatience, false);
  EXPECT_TRUE(ended_);
}

TEST_F(PatienceTest, AStatisticsRequestHasItsDeadlineWhateverBeats) {
  ASSERT_TRUE(core_->stats(Callback<StatsAnswer>(
      [this](Result<StatsAnswer*> answer) { ended_ = answer ? Error{} : answer.error(); })));
  pass(2 * kSecond, true);
  ASSERT_TRUE(ended_);
  EXPECT_THAT(ended_->message, HasSubstr("within 1 s"));
}

}  // namespace
}  // namespace silurus::client
