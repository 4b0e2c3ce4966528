// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/state_transfer.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "tests/support/received_tree.h"
#include "tests/unit/server/replica_fixture.h"

namespace silurus::replication {
namespace {

using group::test::kGroupOfOne;

TEST(StateTransfer, TakeThePlaceOfATreeThatLacksWhatTheyHave) {
  EXPECT_TRUE(may_replace_tree(100, true, 100));
  EXPECT_TRUE(may_replace_tree(101, true, 100));
}

TEST(StateTransfer, NeverTakeThePlaceOfATreeThatHasMoreOfWhatWasCommitted) {
  EXPECT_FALSE(may_replace_tree(99, true, 100));
}

TEST(StateTransfer, AreDroppedIfTheMemberNeedsNoneAnyMore) {
  EXPECT_FALSE(may_replace_tree(100, false, 0));
  EXPECT_FALSE(may_replace_tree(100, false, 100));
}

/// What became of the copies of another one's tree.
struct Fetched {
  std::optional<Status> outcome;
  Lsn log = 0;
  int arrivals = 0;
};

class FakeFetch final : public StateFetch {
 public:
  explicit FakeFetch(const Fetched& fetched) : fetched_(fetched) {}
  void begin(const std::string&, const TransferOptions&) override {}
  Lsn log() const override { return fetched_.log; }
  std::uint64_t nodes() const override { return 0; }
  std::optional<Status> outcome() const override { return fetched_.outcome; }
  void cancel() override {}

 private:
  const Fetched& fetched_;
};

class FakePlace final : public IncomingPlace {
 public:
  explicit FakePlace(Fetched& fetched) : fetched_(fetched) {}
  Result<Volume> make() override { return fail(ErrorCode::kUnsupported, "nothing comes here"); }
  Status arrive() override {
    ++fetched_.arrivals;
    return {};
  }

 private:
  Fetched& fetched_;
};

/// A member with its part in copies.
class StateTransferOfAMember : public server::test::ReplicaTest {
 protected:
  void take_part() {
    copies_ = std::make_unique<StateTransfer<2>>(
        StateTransfer<2>::Parts{*opened_.store, *opened_.tree, *member_, *links_, kGroupOfOne, 1},
        TransferHost<2>{
            .hold = [this] { return replica_->hold(); },
            .hold_load = {},
            .on_copied = [](const TransferSourceCounters&) {},
            .on_obstacle = [](const std::string&) {},
            .make_fetch = [this](auto&) { return std::make_unique<FakeFetch>(fetched_); },
            .make_place = [this] { return std::make_unique<FakePlace>(fetched_); }},
        StateTransferOptions{});
  }
  void TearDown() override { copies_.reset(); }

  Fetched fetched_;
  std::unique_ptr<StateTransfer<2>> copies_;
};

TEST_F(StateTransferOfAMember, WaitWithACopyThatIsWholeForTheViewStore) {
  start(view_of(5, {1, 2}, group::Ack::kAll, 2));
  ASSERT_EQ(member_->role(), group::Role::kBackup);
  take_part();
  replicator_.wants_copy = true;
  ASSERT_TRUE(copies_->step(now()));
  ASSERT_TRUE(copies_->is_fetching());
  store_.is_away = true;
  run(2 * group::test::kTestTiming.poll);
  ASSERT_TRUE(member_->store_is_away());
  fetched_.outcome = Status();
  fetched_.log = 100;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(copies_->step(now()));
  EXPECT_EQ(fetched_.arrivals, 0) << "no member starts without the store";
  EXPECT_FALSE(copies_->has_arrived());
  EXPECT_EQ(copies_->counters().waits, 1u);
  store_.is_away = false;
  run(2 * group::test::kTestTiming.poll);
  ASSERT_TRUE(copies_->step(now()));
  EXPECT_EQ(fetched_.arrivals, 1);
  EXPECT_TRUE(copies_->has_arrived());
}

TEST_F(StateTransferOfAMember, KeepTheLogBehindACopyUnderWayThroughCheckpoints) {
  lead({1});
  take_part();
  opened_.store->keep_log(0, UINT64_MAX);
  testing_support::ReceivedTree<2> received;
  TransferReceiver<2> copier({.group = kGroupOfOne}, *other_.poller, received);
  other_.fabric.connect_later(*transport::Address::parse(info(1).peers), {.timeout = kSecond},
                              *other_.poller, copier.hello(), copier, [&](auto connection) {
                                ASSERT_TRUE(connection) << connection.error().message;
                                copier.begin(std::move(*connection));
                              });
  for (int i = 0; i < 10'000 && copies_->source().holds() == 0; ++i) {
    world_.run_for(10 * kMicrosecond);
    step();
  }
  // From here on the copier does nothing.
  ASSERT_EQ(copies_->source().holds(), 1u);
  const Lsn held = log().end().lsn;
  ASSERT_EQ(copies_->source().oldest(), std::optional(held));
  ASSERT_TRUE(copies_->step(now()));
  const auto checkpoint = [&] {
    for (int i = 0; i < 10; ++i) append(log(), 5, next_id_++);
    const auto snapshot = opened_.tree->snapshot();
    ASSERT_TRUE(opened_.store->checkpoint(
        *opened_.tree, only_tree(*opened_.tree, snapshot.root().ref), log().end(), 1));
  };
  checkpoint();
  EXPECT_EQ(log().start(), held) << "the copier asks for it as soon as it has the tree";
  copies_.reset();
  opened_.store->hold_log(Store<2>::kNobody);
  checkpoint();
  EXPECT_EQ(log().start(), log().end().lsn);
}

}  // namespace
}  // namespace silurus::replication
