// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/core.h"
#include "common/clock.h"
#include "common/random.h"
#include "protocol/encode.h"
#include "rtree/tree.h"
#include "tests/unit/client/quiet_fabric.h"

// Requests for entries by their ids, of a client whose server is the test: which way they go, and
// what becomes of them when that way ends.

namespace silurus::client {
namespace {

using ::testing::HasSubstr;

class CoreGetTest : public testing::Test {
 protected:
  static constexpr Nanoseconds kTreeGrace = 50 * kMillisecond;
  static constexpr std::uint64_t kNumber = 7;

  struct Outcome {
    bool has_ended = false;
    std::optional<Error> error;
    std::vector<KeyedEntry<2>> entries;
    rtree::Version version = 0;
    Access access = Access::kMessaging;
  };
  /// For all searches the same way.
  class OneWay final : public AccessPolicy {
   public:
    Access choose(std::uint8_t) override { return Access::kMessaging; }
    void on_search(const SearchOutcome&) override {}
    void on_heartbeat(const ServerLoad&) override {}
  };

  CoreGetTest()
      : first_(std::move(*rtree::Tree<2>::create({.grace = kTreeGrace}, slabs_, clock_))),
        tree_(std::move(*first_->add_tree(kNumber, {.is_keyed = true}))) {
    for (std::uint64_t id = 0; id < 2'000; ++id) {
      const double x = random_.uniform();
      EXPECT_TRUE(tree_->insert({id, {{x, x}, {x, x}}}));
    }
    first_->publish();
    protocol::ServerHello& hello = fabric_.hello;
    hello.node_format = rtree::kNodeFormat<2>;
    hello.grace_ns = kTreeGrace;
    hello.chunk_bytes = rtree::kChunkBytes<2>;
    hello.chunks_per_region = rtree::kChunksPerSlab;
    hello.one_sided = 1;
    hello.collection = kNumber;
    hello.collection_flags = protocol::kKeyed;
    hello.root_region = tree_->root_chunk() / rtree::kChunksPerSlab;
    hello.root_offset = rtree::offset_in_slab<2>(tree_->root_chunk());
    fabric_.slabs = &slabs_;
  }

  void connect(const ClientOptions& options) {
    auto made = ClientCore<2>::create({"sim://server:1"}, nullptr, network_, clock_, options);
    ASSERT_TRUE(made) << made.error().message;
    core_ = std::move(*made);
    core_->settle(true);
    ASSERT_TRUE(core_->ready());
  }
  /// Asks for these entries; its place in outcomes_.
  std::size_t get(const std::vector<std::uint64_t>& ids, Moment as_of = 0) {
    const std::size_t i = outcomes_.size();
    outcomes_.emplace_back();
    const Status begun =
        core_->submit(request::Get<2>{ids, as_of}, [this, i](Result<GetAnswer<2>*> answer) {
          Outcome& outcome = outcomes_[i];
          EXPECT_FALSE(outcome.has_ended);
          outcome.has_ended = true;
          if (!answer) {
            outcome.error = answer.error();
            return;
          }
          outcome.entries = (*answer)->entries;
          outcome.version = (*answer)->version;
          outcome.access = (*answer)->access;
        });
    EXPECT_TRUE(begun) << begun.error().message;
    return i;
  }
  std::vector<KeyedEntry<2>> entries_of(const std::vector<std::uint64_t>& ids) const {
    std::vector<KeyedEntry<2>> entries;
    for (const std::uint64_t id : ids) {
      if (const auto entry = tree_->find_id(id)) entries.push_back(*entry);
    }
    return entries;
  }
  /// Posts reads and completes them until there are none.
  void read() {
    do {
      core_->flush();
    } while (server().step_read(random_));
    core_->settle();
  }
  void answer(const std::vector<KeyedEntry<2>>& entries) {
    server().answer(protocol::AnswerEncoder::get<2>({server().last_request_id(), 99}, entries));
  }
  void answer(ErrorCode code) {
    server().answer(protocol::AnswerEncoder::error({server().last_request_id(), 0},
                                                   {code, "the test says so"}));
  }
  /// Nothing comes until that counts as silence.
  void pass_silence() {
    for (int i = 0; i < 20; ++i) {
      clock_.advance(QuietConnection::kBeat / 2);
      core_->settle(true);
    }
  }
  QuietConnection& server() { return *fabric_.server; }

  Random random_{1};
  ManualClock clock_;
  RegionSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> first_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  QuietFabric fabric_;
  MemoryPoller poller_;
  OneFabric network_{fabric_, poller_};
  std::deque<Outcome> outcomes_;  ///< outlives the client, which ends its calls at its own end
  std::unique_ptr<ClientCore<2>> core_;
};

TEST_F(CoreGetTest, IsReadOneSidedlyInModeOffload) {
  connect({.mode = Mode::kOffload});
  const std::size_t i = get({3, 9'999, 1'999});
  read();
  ASSERT_TRUE(outcomes_[i].has_ended);
  EXPECT_FALSE(outcomes_[i].error);
  EXPECT_EQ(outcomes_[i].access, Access::kOffload);
  EXPECT_EQ(outcomes_[i].entries, entries_of({3, 1'999}));
  EXPECT_EQ(outcomes_[i].version, tree_->snapshot().version());
  EXPECT_EQ(server().messages_sent(), 0u);
  EXPECT_EQ(core_->statistics().offload.completed, 1u);
}

TEST_F(CoreGetTest, GoesByMessageInModeMessagingAndWhereThePolicySaysSo) {
  for (const bool is_adaptive : {false, true}) {
    connect(is_adaptive ? ClientOptions{.shared_policy = std::make_shared<OneWay>()}
                        : ClientOptions{.mode = Mode::kMessaging});
    const std::size_t i = get({3});
    core_->flush();
    ASSERT_EQ(server().messages_sent(), 1u);
    answer(entries_of({3}));
    ASSERT_TRUE(outcomes_[i].has_ended);
    EXPECT_EQ(outcomes_[i].entries, entries_of({3}));
    EXPECT_EQ(outcomes_[i].version, 99u);
    EXPECT_EQ(outcomes_[i].access, Access::kMessaging);
  }
}

TEST_F(CoreGetTest, OfAnOlderVersionGoesByMessageInEveryMode) {
  connect({.mode = Mode::kOffload});
  const std::size_t i = get({3}, 5);
  core_->flush();
  const auto asked = server().sent<protocol::AtRequest>(protocol::MessageType::kAt);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].moment, 5u);
  answer(entries_of({3}));
  EXPECT_EQ(outcomes_[i].entries, entries_of({3}));
}

TEST_F(CoreGetTest, OfACollectionWithoutKeysGoesByMessage) {
  fabric_.hello.collection_flags = 0;
  connect({.mode = Mode::kOffload});
  const std::size_t i = get({3});
  core_->flush();
  ASSERT_EQ(server().messages_sent(), 1u);
  answer(ErrorCode::kUnsupported);
  ASSERT_TRUE(outcomes_[i].error);
  EXPECT_EQ(outcomes_[i].error->code, ErrorCode::kUnsupported);
}

TEST_F(CoreGetTest, OfASilentServerIsHandedOver) {
  connect({.shared_policy = std::make_shared<OneWay>()});
  const std::size_t i = get({3, 4});
  ASSERT_EQ(server().messages_sent(), 1u);
  pass_silence();
  read();
  ASSERT_TRUE(outcomes_[i].has_ended);
  EXPECT_EQ(outcomes_[i].access, Access::kOffload);
  EXPECT_EQ(outcomes_[i].entries, entries_of({3, 4}));
  EXPECT_EQ(core_->statistics().handed_over, 1u);
  answer(entries_of({5}));  // too late: it is not heard
  EXPECT_EQ(outcomes_[i].entries, entries_of({3, 4}));
  EXPECT_TRUE(core_->ready());
}

TEST_F(CoreGetTest, OfAnOlderVersionWaitsForASilentServer) {
  connect({.shared_policy = std::make_shared<OneWay>(), .deadline = 60 * kSecond});
  const std::size_t i = get({3}, 5);
  pass_silence();
  read();
  EXPECT_FALSE(outcomes_[i].has_ended);
  EXPECT_EQ(core_->statistics().handed_over, 0u);
}

TEST_F(CoreGetTest, IsAskedByMessageWhenItIsGivenBack) {
  connect({.mode = Mode::kOffload});
  tree_->renumber(8);  // as if another one had taken the collection's place
  const std::size_t i = get({3, 4});
  read();
  core_->flush();
  EXPECT_FALSE(outcomes_[i].has_ended);
  ASSERT_EQ(server().messages_sent(), 1u);
  EXPECT_EQ(core_->statistics().offload.given_back, 1u);
  answer(entries_of({3, 4}));
  ASSERT_TRUE(outcomes_[i].has_ended);
  EXPECT_EQ(outcomes_[i].access, Access::kMessaging);
  EXPECT_EQ(outcomes_[i].entries, entries_of({3, 4}));
}

TEST_F(CoreGetTest, OfACollectionThatWasDroppedEndsWithThat) {
  connect({.mode = Mode::kOffload, .reconnect_for = 0});
  tree_->set_retired(true);
  const std::size_t i = get({3});
  read();
  core_->flush();
  ASSERT_EQ(server().messages_sent(), 1u);
  answer(ErrorCode::kNoCollection);
  ASSERT_TRUE(outcomes_[i].error);
  EXPECT_EQ(outcomes_[i].error->code, ErrorCode::kNoCollection);
}

TEST_F(CoreGetTest, ThatIsTooLongForTheNextConnectionEndsWithThatError) {
  connect({.mode = Mode::kMessaging});
  std::vector<std::uint64_t> ids(200);
  const std::size_t i = get(ids);
  core_->flush();
  ASSERT_EQ(server().messages_sent(), 1u);
  fabric_.message_bytes = protocol::kMinMessageBytes;
  server().lose();
  core_->settle(true);  // connects again
  core_->flush();
  ASSERT_TRUE(outcomes_[i].has_ended);
  ASSERT_TRUE(outcomes_[i].error);
  EXPECT_EQ(outcomes_[i].error->code, ErrorCode::kTooLarge);
  EXPECT_THAT(outcomes_[i].error->message, HasSubstr("takes no messages of"));
  const std::size_t next = get({3});
  core_->flush();
  answer(entries_of({3}));
  EXPECT_EQ(outcomes_[next].entries, entries_of({3}));
}

TEST_F(CoreGetTest, ThatIsTooLongForTheNextConnectionIsReadThereOneSidedly) {
  connect({.mode = Mode::kOffload});
  std::vector<std::uint64_t> ids(200);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = 7 * i;
  const std::size_t i = get(ids);
  fabric_.message_bytes = protocol::kMinMessageBytes;
  server().lose();
  core_->settle(true);
  read();
  ASSERT_TRUE(outcomes_[i].has_ended);
  EXPECT_FALSE(outcomes_[i].error);
  EXPECT_EQ(outcomes_[i].entries, entries_of(ids));
}

TEST_F(CoreGetTest, ThatIsGivenBackAndTooLongForAMessageEndsWithThatError) {
  connect({.mode = Mode::kOffload});
  std::vector<std::uint64_t> ids(200);
  const std::size_t i = get(ids);
  fabric_.message_bytes = protocol::kMinMessageBytes;
  tree_->renumber(8);
  server().lose();
  core_->settle(true);
  read();
  ASSERT_TRUE(outcomes_[i].has_ended);
  ASSERT_TRUE(outcomes_[i].error);
  EXPECT_EQ(outcomes_[i].error->code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace silurus::client
