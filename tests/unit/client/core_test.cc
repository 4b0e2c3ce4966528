// SPDX-License-Identifier: Apache-2.0

#include "client/core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "protocol/encode.h"
#include "rtree/tree.h"
#include "tests/unit/client/quiet_fabric.h"

// A client's state machine against a server that is the test: what it sends and when, what it
// makes of answers that come late or in pieces, and what it knows of a lease.

namespace silurus::client {
namespace {

constexpr const char* kUrl = "sim://server:1";
constexpr Nanoseconds kTreeGrace = 50 * kMillisecond;
const rtree::RangeQuery<2> kWholePlane{.window = {{0, 0}, {2, 2}}};

class ClientCoreTest : public testing::Test {
 protected:
  struct Outcome {
    std::optional<ErrorCode> error;
    std::vector<std::uint64_t> ids;
    rtree::Version version = 0;
    Access access = Access::kMessaging;
    bool has_ended = false;
  };

  /// `epoch`: of the group; 0: the server is in none.
  void connect(std::uint64_t epoch, const ClientOptions& options = {.mode = Mode::kMessaging}) {
    fabric_.hello.epoch = epoch;
    auto made = ClientCore<2>::connect(kUrl, network_, clock_, options);
    ASSERT_TRUE(made) << made.error().message;
    core_ = std::move(*made);
  }
  /// The same by a client that connects again when the connection is lost.
  void connect_for_ever(const ClientOptions& options) {
    auto made = ClientCore<2>::create({kUrl}, nullptr, network_, clock_, options);
    ASSERT_TRUE(made) << made.error().message;
    core_ = std::move(*made);
    core_->settle(true);
    ASSERT_TRUE(core_->ready());
  }
  /// The same to a server whose tree of that number of entries can be read one-sidedly.
  void connect_to_tree(std::uint64_t epoch, std::size_t count, const ClientOptions& options) {
    make_tree(count);
    connect(epoch, options);
    ASSERT_TRUE(core_->can_offload());
  }
  void make_tree(std::size_t count) {
    tree_ = *rtree::Tree<2>::create({.grace = kTreeGrace}, slabs_, clock_);
    std::vector<rtree::Entry<2>> entries;
    for (std::uint64_t id = 0; id < count; ++id) {
      const double x = random_.uniform();
      const double y = random_.uniform();
      entries.push_back({id, {{x, y}, {x + 0.01, y + 0.01}}});
      all_ids_.push_back(id);
    }
    ASSERT_TRUE(tree_->bulk_load(std::move(entries), {.threads = 1}));
    protocol::ServerHello& hello = fabric_.hello;
    hello.node_format = rtree::kNodeFormat<2>;
    hello.grace_ns = kTreeGrace;
    hello.chunk_bytes = rtree::kChunkBytes<2>;
    hello.chunks_per_region = rtree::kChunksPerSlab;
    hello.one_sided = 1;
    fabric_.slabs = &slabs_;
  }

  /// Begins a search of everything; its place in outcomes_.
  std::size_t search(Moment as_of = 0) {
    const std::size_t i = outcomes_.size();
    outcomes_.emplace_back();
    const Status begun = core_->submit(request::Range<2>{.query = kWholePlane, .as_of = as_of},
                                       [this, i](Result<RangeAnswer<2>*> answer) {
                                         Outcome& outcome = outcomes_[i];
                                         EXPECT_FALSE(outcome.has_ended);
                                         outcome.has_ended = true;
                                         if (!answer) {
                                           outcome.error = answer.error().code;
                                           return;
                                         }
                                         outcome.ids = (*answer)->ids;
                                         std::ranges::sort(outcome.ids);
                                         outcome.version = (*answer)->version;
                                         outcome.access = (*answer)->access;
                                       });
    EXPECT_TRUE(begun) << begun.error().message;
    return i;
  }
  void write() {
    const protocol::Operation<2> operation{
        1, protocol::OperationKind::kInsert, 0, {{0, 0}, {1, 1}}, {}};
    ASSERT_TRUE(core_->submit(request::Write<2>{{&operation, 1}}, [](Result<WriteAnswer*>) {}));
  }
  /// Answers the request sent last with these ids, in messages of at most that number of bytes.
  void answer(const std::vector<std::uint64_t>& ids, std::size_t message_bytes = 4096,
              std::size_t messages = SIZE_MAX) {
    answer(server().last_request_id(), ids, message_bytes, messages);
  }
  void answer(std::uint32_t request_id, const std::vector<std::uint64_t>& ids,
              std::size_t message_bytes = 4096, std::size_t messages = SIZE_MAX) {
    rtree::RangeResult<2> result;
    result.count = ids.size();
    result.ids = ids;
    server().answer(
        protocol::AnswerEncoder::range<2>({request_id, 7}, rtree::ResultShape::kIds, result),
        message_bytes, messages);
  }
  /// Posts reads and completes them until there are none, or for that number of steps.
  void read(int most = 1'000'000) {
    for (int steps = 0; steps < most; ++steps) {
      core_->flush();
      if (!server().step_read(random_)) return;
    }
  }
  /// Lets the deadline of all that is under way pass.
  void pass_deadline(Nanoseconds deadline) {
    clock_.advance(deadline);
    core_->settle(true);
  }
  /// What a server with that lease says when it has got that number of our messages.
  static protocol::Heartbeat promise(rtree::Version version, Nanoseconds lease,
                                     std::uint64_t received) {
    protocol::Heartbeat heartbeat{};
    heartbeat.version = version;
    heartbeat.lease_ns = static_cast<std::uint64_t>(lease);
    heartbeat.epoch = 1;
    heartbeat.received = received;
    return heartbeat;
  }
  QuietConnection& server() { return *fabric_.server; }

  Random random_{1};
  ManualClock clock_;
  RegionSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  std::vector<std::uint64_t> all_ids_;
  QuietFabric fabric_;
  MemoryPoller poller_;
  OneFabric network_{fabric_, poller_};
  std::deque<Outcome> outcomes_;  ///< outlives the client, which ends its calls at its own end
  std::unique_ptr<ClientCore<2>> core_;
};

// --- leases --------------------------------------------------------------------------------------

TEST_F(ClientCoreTest, ALeaseCountsFromWhenTheMessageThatItKnowsOfWent) {
  connect(1);
  const Nanoseconds sent = clock_.now();
  search();
  clock_.advance(kSecond);
  constexpr Nanoseconds lease = 5 * kSecond;
  server().beat(promise(9, lease, 1));
  const HeartbeatState& heartbeat = core_->primary()->look_at_heartbeat(clock_.now());
  EXPECT_EQ(heartbeat.since, sent);
  EXPECT_EQ(heartbeat.lease_until, sent + lease - lease / 500);
  EXPECT_EQ(heartbeat.seen, clock_.now());
  EXPECT_EQ(heartbeat.version, 9u);
}

TEST_F(ClientCoreTest, AHeartbeatThatKnowsOfNoMessageOfOursDatesNoLease) {
  connect(1);
  search();
  clock_.advance(kSecond);
  server().beat(promise(9, 5 * kSecond, 0));
  const HeartbeatState& heartbeat = core_->primary()->look_at_heartbeat(clock_.now());
  EXPECT_EQ(heartbeat.since, 0);
  EXPECT_EQ(heartbeat.lease_until, 0);
  EXPECT_EQ(heartbeat.staleness_at(clock_.now()), protocol::kNoEnd);
  EXPECT_EQ(heartbeat.seen, clock_.now()) << "it is a sign of life all the same";
}

TEST_F(ClientCoreTest, WhatWasReadOneSidedlyCountsOnlyIfTheLeaseLastsUntilItIsDelivered) {
  connect_to_tree(1, 2'000, {.mode = Mode::kOffload});
  search();  // by message, since there is no lease yet
  answer({1, 2});
  clock_.advance(kMillisecond);
  server().beat(promise(1, 20 * kMillisecond, 1));
  const std::size_t in_time = search();
  read();
  core_->settle();
  ASSERT_TRUE(outcomes_[in_time].has_ended);
  EXPECT_EQ(outcomes_[in_time].access, Access::kOffload);
  EXPECT_EQ(outcomes_[in_time].ids, all_ids_);
  const std::size_t late = search();
  read();  // all of it
  clock_.advance(20 * kMillisecond);
  const std::size_t before = server().messages_sent();
  core_->settle();
  EXPECT_FALSE(outcomes_[late].has_ended);
  ASSERT_EQ(server().messages_sent(), before + 1) << "it is asked by message instead";
  answer({3, 4});
  ASSERT_TRUE(outcomes_[late].has_ended);
  EXPECT_EQ(outcomes_[late].access, Access::kMessaging);
  EXPECT_EQ(outcomes_[late].ids, (std::vector<std::uint64_t>{3, 4}));
}

TEST_F(ClientCoreTest, AHoldCountsFromTheQuestionNotFromTheAnswer) {
  connect_to_tree(0, 2'000, {.mode = Mode::kOffload, .deadline = 60 * kSecond});
  const auto snapshot = tree_->snapshot();
  const std::size_t old = search(snapshot.version());
  ASSERT_EQ(server().sent<protocol::HoldRequest>(protocol::MessageType::kHold).size(), 1u);
  clock_.advance(kSecond);
  const protocol::VersionLease held{snapshot.root().ref.word(), 10'000'000'000};
  server().answer(
      protocol::AnswerEncoder::held({server().last_request_id(), snapshot.version()}, held));
  core_->flush();
  server().reads().copy([](const transport::ReadRequest&) { return true; });
  // The hold ends 10 s after the question, less 2 %: this is between that and 1 s later.
  clock_.advance(9 * kSecond);
  read();
  core_->settle();
  EXPECT_FALSE(outcomes_[old].has_ended);
  const auto asked = server().sent<protocol::AtRequest>(protocol::MessageType::kAt);
  ASSERT_EQ(asked.size(), 1u) << "it is asked by message instead";
  EXPECT_EQ(asked[0].moment, snapshot.version());
  answer(all_ids_);
  ASSERT_TRUE(outcomes_[old].has_ended);
  EXPECT_EQ(outcomes_[old].access, Access::kMessaging);
}

// --- answers that come too late ------------------------------------------------------------------

TEST_F(ClientCoreTest, ALateAnswerInSeveralSegmentsIsTakenToItsEnd) {
  connect(0, {.mode = Mode::kMessaging, .deadline = kSecond});
  const std::size_t late = search();
  pass_deadline(kSecond);
  EXPECT_EQ(outcomes_[late].error, ErrorCode::kDeadlineExceeded);
  const std::vector<std::uint64_t> ids(70, 5);  // in three messages of 29 at most
  answer(ids, protocol::kMinMessageBytes);
  ASSERT_TRUE(core_->ready()) << core_->failure()->message;
  const std::size_t next = search();
  answer({8});
  EXPECT_FALSE(outcomes_[next].error);
  EXPECT_EQ(outcomes_[next].ids, std::vector<std::uint64_t>{8});
}

TEST_F(ClientCoreTest, BetweenTheSegmentsOfALateAnswerItsPlaceIsNotUsedAgain) {
  connect(0, {.mode = Mode::kMessaging, .deadline = kSecond});
  search();
  const std::uint32_t late = server().last_request_id();
  pass_deadline(kSecond);
  const std::vector<std::uint64_t> ids(70, 5);
  answer(late, ids, protocol::kMinMessageBytes, 1);
  const std::size_t next = search();
  EXPECT_NE(server().last_request_id(), late);
  answer({8});
  EXPECT_EQ(outcomes_[next].ids, std::vector<std::uint64_t>{8});
  EXPECT_TRUE(core_->ready());
}

TEST_F(ClientCoreTest, LateAnswersMakeRoomForFurtherRequests) {
  connect(0, {.mode = Mode::kMessaging, .deadline = kSecond});
  for (int i = 0; i < 11; ++i) {
    std::vector<std::uint32_t> requests;
    for (int j = 0; j < 100; ++j) {
      search();
      requests.push_back(server().last_request_id());
    }
    pass_deadline(kSecond);
    for (const std::uint32_t request : requests) answer(request, {1});
  }
  ASSERT_EQ(server().messages_sent(), 1'100u);
  static_assert(protocol::kMaxRequestsInFlight < 1'100);
  const std::size_t last = search();
  core_->flush();
  ASSERT_EQ(server().messages_sent(), 1'101u);
  answer({1});
  EXPECT_FALSE(outcomes_[last].error);
}

TEST_F(ClientCoreTest, AnOffloadedSearchPastItsDeadlineLeavesNothingBehind) {
  connect_to_tree(0, 20'000, {.mode = Mode::kOffload, .deadline = kSecond});
  const std::size_t late = search();
  read(100);
  ASSERT_FALSE(outcomes_[late].has_ended);
  pass_deadline(kSecond);
  EXPECT_EQ(outcomes_[late].error, ErrorCode::kDeadlineExceeded);
  ASSERT_GT(server().reads().in_flight(), 0u) << "its reads are under way still";
  const std::size_t next = search();  // in the place that became free
  read();
  core_->settle();
  ASSERT_TRUE(outcomes_[next].has_ended);
  EXPECT_EQ(outcomes_[next].access, Access::kOffload);
  EXPECT_EQ(outcomes_[next].ids, all_ids_);
}

// --- a server that is silent ---------------------------------------------------------------------

/// For all searches the same way.
class OneWay final : public AccessPolicy {
 public:
  Access choose(std::uint8_t) override { return Access::kMessaging; }
  void on_search(const SearchOutcome&) override {}
  void on_heartbeat(const ServerLoad&) override {}
};

class SilentServer : public ClientCoreTest {
 protected:
  /// A client that would send each search as a message.
  void connect_in_default_mode(std::uint64_t epoch = 0) {
    connect_to_tree(epoch, 2'000, {.shared_policy = std::make_shared<OneWay>()});
  }
  /// Nothing comes until that counts as silence.
  void pass_silence() {
    for (int i = 0; i < 20; ++i) {
      clock_.advance(QuietConnection::kBeat / 2);
      core_->settle(true);
    }
  }
};

TEST_F(SilentServer, HasItsSearchesHandedOverToOneSidedReads) {
  connect_in_default_mode();
  const std::size_t asked = search();
  ASSERT_EQ(server().messages_sent(), 1u);
  pass_silence();
  read();
  core_->settle();
  ASSERT_TRUE(outcomes_[asked].has_ended);
  EXPECT_EQ(outcomes_[asked].access, Access::kOffload);
  EXPECT_EQ(outcomes_[asked].ids, all_ids_);
  EXPECT_EQ(core_->statistics().handed_over, 1u);
}

TEST_F(SilentServer, IsNotAskedByMessageAnyMore) {
  connect_in_default_mode();
  search();
  pass_silence();
  const std::size_t next = search();
  read();
  core_->settle();
  ASSERT_TRUE(outcomes_[next].has_ended);
  EXPECT_EQ(outcomes_[next].access, Access::kOffload);
  EXPECT_EQ(server().messages_sent(), 1u);
}

TEST_F(SilentServer, MayAnswerLateAndIsNotHeard) {
  connect_in_default_mode();
  search();
  const std::uint32_t request = server().last_request_id();
  pass_silence();
  read();
  core_->settle();
  answer(request, {7});
  EXPECT_EQ(outcomes_[0].ids, all_ids_);
  EXPECT_TRUE(core_->ready());
}

TEST_F(SilentServer, GetsNoWriteBeforeItShowsLife) {
  connect_in_default_mode();
  search();
  pass_silence();
  write();
  core_->flush();
  EXPECT_EQ(server().messages_sent(), 1u);
  server().beat(promise(1, 0, 1));
  clock_.advance(QuietConnection::kBeat / 2);
  core_->settle(true);
  core_->flush();
  EXPECT_EQ(server().messages_sent(), 2u);
}

TEST_F(SilentServer, OfAGroupIsNotReadWithoutALease) {
  connect_in_default_mode(1);
  const std::size_t asked = search();
  pass_silence();
  read();
  core_->settle();
  EXPECT_FALSE(outcomes_[asked].has_ended);
}

TEST_F(SilentServer, WithHeartbeatsIsNone) {
  connect_in_default_mode();
  search();
  for (int i = 0; i < 20; ++i) {
    clock_.advance(QuietConnection::kBeat);
    server().beat(promise(1, 0, 1));
    core_->settle(true);
  }
  read();
  EXPECT_FALSE(outcomes_[0].has_ended);
  EXPECT_EQ(core_->statistics().handed_over, 0u);
}

// --- a connection that is lost -------------------------------------------------------------------

TEST_F(ClientCoreTest, WhatALostConnectionHadAnsweredIsForgotten) {
  connect_for_ever({.mode = Mode::kMessaging});
  search();
  const std::vector<std::uint64_t> ids(70, 5);
  answer(server().last_request_id(), ids, protocol::kMinMessageBytes, 1);
  server().lose();
  core_->settle(true);  // connects again
  core_->flush();
  ASSERT_EQ(server().messages_sent(), 1u) << "it is asked again";
  EXPECT_FALSE(outcomes_[0].has_ended);
  answer({8});
  ASSERT_TRUE(outcomes_[0].has_ended);
  EXPECT_EQ(outcomes_[0].ids, std::vector<std::uint64_t>{8});
}

TEST_F(ClientCoreTest, WhatALostConnectionHadReadIsForgotten) {
  make_tree(20'000);
  connect_for_ever({.mode = Mode::kOffload});
  search();
  read(300);
  server().lose();
  core_->settle(true);
  EXPECT_FALSE(outcomes_[0].has_ended);
  read();
  core_->settle();
  ASSERT_TRUE(outcomes_[0].has_ended);
  EXPECT_EQ(outcomes_[0].access, Access::kOffload);
  EXPECT_EQ(outcomes_[0].ids, all_ids_);
}

/// A slot whose late answer can't come any more is used again: else they would all be lost.
TEST_F(ClientCoreTest, LostConnectionsGiveBackThePlacesOfLateAnswers) {
  connect_for_ever({.mode = Mode::kMessaging, .deadline = kSecond, .reconnect_for = 60 * kSecond});
  constexpr std::size_t kAtOnce = 1'000;
  for (std::size_t i = 0; i < 2 * PendingCalls<2>::kMaxInFlight / kAtOnce; ++i) {
    for (std::size_t j = 0; j < kAtOnce; ++j) search();
    pass_deadline(kSecond);
    server().lose();
    core_->settle(true);
    ASSERT_TRUE(core_->ready());
  }
  EXPECT_EQ(core_->in_flight(), 0u);
  const std::size_t last = search();
  answer({8});
  EXPECT_FALSE(outcomes_[last].error);
}

// --- room ----------------------------------------------------------------------------------------

TEST_F(ClientCoreTest, NoMessageOvertakesOneThatWaitsForRoom) {
  connect(0);
  server().room = 2;
  for (int i = 0; i < 3; ++i) write();
  EXPECT_EQ(server().messages_sent(), 2u);
  server().room = 10;  // the third one is not sent yet, when there is room for the fourth
  for (int i = 0; i < 2; ++i) write();
  core_->flush();
  const auto sent = server().sent<protocol::WriteRequest>(protocol::MessageType::kWrite);
  ASSERT_EQ(sent.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(sent[i].sequence, i + 1);
}

}  // namespace
}  // namespace silurus::client
