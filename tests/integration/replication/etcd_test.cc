// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "replication/group/etcd_view_store.h"
#include "tests/support/etcd_process.h"
#include "tests/support/patience.h"

// The view store against a real etcd.

namespace silurus::replication::group {
namespace {

using testing_support::EtcdProcess;
using testing_support::patient;
using testing_support::wait_until;

class EtcdTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed())
      GTEST_SKIP() << "no etcd here: scripts/setup --test installs it";
    etcd_ = std::make_unique<EtcdProcess>();
    ASSERT_TRUE(etcd_->wait_until_ready());
  }

  std::unique_ptr<ViewStore> open(const std::string& name = "test", std::uint32_t shard = 0,
                                  Nanoseconds lease = 30 * kSecond) {
    auto store = make_etcd_view_store({.address = EtcdAddress::parse(etcd_->address(name)).value(),
                                       .shard = shard,
                                       .lease = lease,
                                       .timeout = patient(5 * kSecond),
                                       .wake = {}});
    EXPECT_TRUE(store);
    return std::move(*store);
  }
  /// Waits for the one call that is under way.
  template <typename Answer>
  static Answer wait(ViewStore& store, const std::optional<Answer>& answer) {
    wait_until([&] {
      EXPECT_TRUE(store.progress());
      return answer.has_value();
    });
    return answer.value_or(fail(ErrorCode::kDeadlineExceeded, "the store said nothing"));
  }
  static Result<ViewStore::State> read(ViewStore& store) {
    std::optional<Result<ViewStore::State>> answer;
    store.read([&](auto state) { answer = std::move(state); });
    return wait(store, answer);
  }
  static Result<std::uint64_t> replace(ViewStore& store, std::uint64_t revision, const View& view) {
    std::optional<Result<std::uint64_t>> answer;
    store.replace(revision, view, [&](auto replaced) { answer = std::move(replaced); });
    return wait(store, answer);
  }
  static Status announce(ViewStore& store, const Registration& registration) {
    std::optional<Status> answer;
    store.announce(registration, [&](auto announced) { answer = std::move(announced); });
    return wait(store, answer);
  }
  static View view_of(Epoch epoch) {
    return {.epoch = epoch,
            .members = {{1, "tcp://127.0.0.1:1", ""}, {2, "tcp://127.0.0.1:2", ""}},
            .primary = 2,
            .incarnation = UINT64_MAX,
            .since = 1};
  }

  std::unique_ptr<EtcdProcess> etcd_;
};

TEST_F(EtcdTest, ReplacesAViewOnlyByTheOneThatFollowsIt) {
  const auto store = open();
  const auto other = open();
  EXPECT_FALSE(read(*store).value().view);
  const auto first = replace(*store, 0, view_of(1)).value();
  EXPECT_NE(first, 0u);
  EXPECT_EQ(replace(*other, 0, view_of(1)).value(), 0u) << "another one founds the group too";
  const auto seen = read(*other).value();
  EXPECT_EQ(seen.view, view_of(1));
  EXPECT_EQ(seen.revision, first);
  const auto second = replace(*other, first, view_of(2)).value();
  EXPECT_GT(second, first);
  EXPECT_EQ(replace(*store, first, view_of(3)).value(), 0u)
      << "of a view that is not there any more";
  EXPECT_EQ(read(*store).value().view, view_of(2));
}

TEST_F(EtcdTest, KeepsShardsAndClustersApart) {
  EXPECT_NE(replace(*open("one", 1), 0, view_of(1)).value(), 0u);
  EXPECT_FALSE(read(*open("one", 11)).value().view);
  EXPECT_FALSE(read(*open("two", 1)).value().view);
  EXPECT_TRUE(read(*open("one", 1)).value().view);
}

TEST_F(EtcdTest, TellsOfRegistrationsUntilTheirLeasesEnd) {
  const auto lasting = open();
  const auto brief = open("test", 0, patient(2 * kSecond));  // unless it is heard of
  Registration registration{.member = {1, "tcp://127.0.0.1:1", "x"}, .incarnation = 5};
  ASSERT_TRUE(announce(*lasting, registration));
  registration.candidate_for = 9;
  registration.durable = 1234;
  ASSERT_TRUE(announce(*lasting, registration));
  registration.member.id = 2;
  ASSERT_TRUE(announce(*brief, registration));
  const auto two = read(*lasting).value().registrations;
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].member.clients, "x");
  EXPECT_EQ(two[0].candidate_for, 9u);
  EXPECT_EQ(two[0].durable, 1234u);
  EXPECT_TRUE(wait_until([&] { return read(*lasting).value().registrations.size() == 1; }));
}

TEST_F(EtcdTest, SaysThatItIsAwayAndGoesOnWhenItIsBack) {
  const auto store = open();
  ASSERT_NE(replace(*store, 0, view_of(1)).value(), 0u);
  etcd_->stop();
  EXPECT_EQ(read(*store).error().code, ErrorCode::kUnavailable);
  etcd_->start();
  ASSERT_TRUE(etcd_->wait_until_ready());
  EXPECT_EQ(read(*store).value().view, view_of(1));
}

TEST(EtcdAddress, IsCheckedBeforeItIsUsed) {
  EXPECT_EQ(EtcdAddress::parse("etcd://a:1,b:2/name").value().endpoints.size(), 2u);
  for (const char* const text : {"", "http://a:1/n", "etcd://a:1", "etcd://a:1/", "etcd:///n",
                                 "etcd://a/n", "etcd://a:1/n/m", "etcd://u@a:1/n"}) {
    EXPECT_FALSE(EtcdAddress::parse(text)) << text;
  }
}

}  // namespace
}  // namespace silurus::replication::group
