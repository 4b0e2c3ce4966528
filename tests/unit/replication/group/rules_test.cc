// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "replication/group/lease.h"
#include "replication/group/log_replicator.h"
#include "replication/group/protocol.h"
#include "replication/group/requests.h"
#include "replication/group/view.h"

namespace silurus::replication::group {
namespace {

constexpr Nanoseconds kLease = kSecond;

View view_of(std::vector<MemberId> members) {
  View view{.epoch = 3, .members = {}, .primary = members.front(), .incarnation = 9, .since = 2};
  for (const MemberId id : members) {
    view.members.push_back(
        {id, "tcp://host:" + std::to_string(id), "shm:///" + std::to_string(id)});
  }
  return view;
}

TEST(ReadLease, EndsBeforeAnyMembersPromiseDoesThoughClocksDrift) {
  ReadLease lease(kLease);
  Promise promise(kLease, 0);
  const std::uint64_t heartbeat = lease.beat(5 * kSecond);
  // The member's clock shows something else, and received it at the earliest possible moment.
  promise.give(heartbeat, 90 * kSecond);
  lease.promised(2, promise.heartbeat());
  const Nanoseconds by_primary = lease.until(view_of({1, 2}), 1) - 5 * kSecond;
  const Nanoseconds by_member = promise.until() - 90 * kSecond;
  EXPECT_GT(by_primary, kLease / 2);
  // The primary's clock is slow and the member's fast, each as much as is allowed.
  EXPECT_LT(static_cast<double>(by_primary) * (1 + 1.0 / kDriftDenominator),
            static_cast<double>(by_member) * (1 - 1.0 / kDriftDenominator));
}

TEST(ReadLease, NeedsEveryOtherMember) {
  ReadLease lease(kLease);
  EXPECT_EQ(lease.until(view_of({1}), 1), INT64_MAX) << "a member that is alone has none to ask";
  lease.promised(2, lease.beat(kSecond));
  EXPECT_GT(lease.until(view_of({1, 2}), 1), kSecond);
  EXPECT_EQ(lease.until(view_of({1, 2, 3}), 1), 0);
}

TEST(ReadLease, BelievesNoPromiseForAHeartbeatThatWasNeverSent) {
  ReadLease lease(kLease);
  lease.promised(2, lease.beat(kSecond) + 1);
  EXPECT_EQ(lease.until(view_of({1, 2}), 1), 0);
}

TEST(ReadLease, IsNotMadeLongerByAPromiseForAHeartbeatLongAgo) {
  ReadLease lease(kLease);
  const View view = view_of({1, 2});
  lease.promised(2, lease.beat(kSecond));
  const Nanoseconds until = lease.until(view, 1);
  std::uint64_t last = 0;
  for (int i = 2; i <= 2'000; ++i) last = lease.beat(i * kSecond);
  EXPECT_EQ(last, 2'000u);
  for (const std::uint64_t old : {1u, 2u, 500u}) lease.promised(2, old);
  EXPECT_EQ(lease.until(view, 1), until);
  lease.promised(2, 1'990);
  EXPECT_GT(lease.until(view, 1), 1'990 * kSecond);
  EXPECT_LT(lease.until(view, 1), 1'991 * kSecond);
  lease.promised(2, last);
  EXPECT_GT(lease.until(view, 1), 2'000 * kSecond);
}

TEST(Promise, HoldsFromTheStartForWhatAnEarlierLifeMayHavePromised) {
  EXPECT_GT(Promise(kLease, 7 * kSecond).until(), 7 * kSecond + kLease);
}

TEST(ReadLease, OfAQuorumNeedsThePromisesOfOneLess) {
  ReadLease lease(kLease);
  View view = view_of({1, 2, 3});
  lease.promised(2, lease.beat(kSecond));
  EXPECT_EQ(lease.until(view, 1), 0);
  view.ack = Ack::kQuorum;
  EXPECT_GT(lease.until(view, 1), kSecond);
}

TEST(Names, OfWaysToReplicateAndToAcknowledgeAreReadAsTheyAreWritten) {
  for (const auto one : {ReplicationProtocol::kMulticast, ReplicationProtocol::kLogWrite,
                         ReplicationProtocol::kChain}) {
    EXPECT_EQ(parse_replication_protocol(to_string(one)).value(), one);
  }
  for (const auto one : {Ack::kAll, Ack::kQuorum, Ack::kMetadata}) {
    EXPECT_EQ(parse_ack(to_string(one)).value(), one);
  }
  EXPECT_EQ(parse_ack("some").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(parse_replication_protocol("").error().code, ErrorCode::kInvalidArgument);
}

TEST(View, SurvivesTheStore) {
  View view = view_of({1, UINT64_MAX, 3});
  EXPECT_EQ(decode_view(encode(view)).value(), view);
  view.ack = Ack::kQuorum;
  EXPECT_EQ(decode_view(encode(view)).value(), view);
  const Registration registration{.member = view.members[1],
                                  .incarnation = 8,
                                  .candidate_for = 4,
                                  .durable = UINT64_MAX - 7,
                                  .log_epoch = 3,
                                  .copy_chain = 9};
  const auto decoded = decode_registration(encode(registration)).value();
  EXPECT_EQ(decoded.member, registration.member);
  EXPECT_EQ(decoded.candidate_for, 4u);
  EXPECT_EQ(decoded.durable, registration.durable);
  EXPECT_EQ(decoded.log_epoch, 3u);
  EXPECT_EQ(decoded.copy_chain, 9u);
}

TEST(View, RemembersHowManyMembersThereWereAndHowManyAreNeeded) {
  View view = view_of({1, 2, 3});
  view.count();
  EXPECT_EQ(view.needed(), 2u) << "a majority of three";
  view.members.resize(1);
  view.count();
  EXPECT_EQ(view.needed(), 2u);
  EXPECT_FALSE(view.has_enough());
  EXPECT_NE(too_few_members(view).find("has 1 copy"), std::string::npos) << too_few_members(view);
  EXPECT_NE(too_few_members(view).find("--min-members 1"), std::string::npos);
  view.min_members = 1;
  EXPECT_TRUE(view.has_enough());
  EXPECT_EQ(decode_view(encode(view)).value(), view);
}

TEST(View, OfAnEarlierVersionHasAsManyMembersAsThereEverWere) {
  const auto view = decode_view(
      R"({"epoch":"4","primary":"1","incarnation":"1","since":"1","ack":"all","members":[{"id":"1","peers":"","clients":""},{"id":"2","peers":"","clients":""}]})");
  ASSERT_TRUE(view.has_value()) << view.error().message;
  EXPECT_EQ(view->most_members, 2u);
  EXPECT_EQ(view->min_members, 0u);
}

TEST(View, NumbersOfMembersAreCheckedWhenTheyAreToldAndWhenTheyAreRead) {
  EXPECT_EQ(parse_min_members("majority").value(), 0u);
  EXPECT_EQ(parse_min_members("2").value(), 2u);
  for (const char* const text : {"", "0", "8", "-1", "2 ", "most"}) {
    EXPECT_EQ(parse_min_members(text).error().code, ErrorCode::kInvalidArgument) << text;
  }
  View view = view_of({1});
  view.most_members = 8;
  EXPECT_EQ(decode_view(encode(view)).error().code, ErrorCode::kProtocol);
}

TEST(View, IsRefusedIfNoMemberWroteIt) {
  for (
      const char* const text :
      {R"({"epoch":"1","primary":"1","incarnation":"1","since":"1","ack":"most","members":[{"id":"1","peers":"","clients":""}]})",
       "", "7", "{}", "[]", R"({"epoch":"1"})", R"({"epoch":1,"primary":"1"})",
       R"({"epoch":"1","primary":"1","incarnation":"1","since":"1","ack":"all","members":[]})",
       R"({"epoch":"1","primary":"1","incarnation":"1","since":"2","ack":"all","members":[{"id":"1","peers":"","clients":""}]})",
       R"({"epoch":"99999999999","primary":"1","incarnation":"1","since":"1","ack":"all","members":[{"id":"1","peers":"","clients":""}]})",
       R"({"epoch":"1","primary":"1","incarnation":"1","since":"1","ack":"all","members":[{"id":"1","peers":"","clients":""},{"id":"1","peers":"","clients":""}]})"}) {
    EXPECT_EQ(decode_view(text).error().code, ErrorCode::kProtocol) << text;
  }
}

RequestPayload request(std::uint64_t client, std::uint64_t sequence, std::uint64_t first = 1) {
  return {.client = client, .sequence = sequence, .first = first};
}

TEST(RequestTable, RemembersWhatCameOfEachWriteUntilItsClientKnows) {
  RequestTable table;
  const Outcome second{.version = 8, .failed = {{0, 2}}};
  table.note(request(7, 1), {.version = 5, .failed = {}});
  table.note(request(7, 3), {.version = 9, .failed = {}});
  table.note(request(7, 2), second);
  EXPECT_TRUE(table.is_done(7, 1) && table.is_done(7, 2) && table.is_done(7, 3));
  EXPECT_FALSE(table.is_done(7, 4) || table.is_done(8, 1));
  EXPECT_EQ(*table.find(7, 2), second);
  table.note(request(7, 4, 3), {.version = 10, .failed = {}});
  EXPECT_EQ(table.find(7, 2), nullptr) << "its client knows";
  EXPECT_TRUE(table.is_done(7, 2)) << "and it must not be done again";
  EXPECT_EQ(table.find(7, 3)->version, 9u);
}

TEST(RequestTable, TakesTheFirstWriteOfWhichItsClientHasNotHeardForUndone) {
  RequestTable table;
  table.note(request(7, 6, 5), {.version = 3, .failed = {}});
  EXPECT_TRUE(table.is_done(7, 4)) << "its client knows";
  EXPECT_FALSE(table.is_done(7, 5));
  EXPECT_TRUE(table.is_done(7, 6));
}

TEST(RequestTable, ForgetsTheOldestOfTooManyOutcomesOfAClient) {
  RequestTable table;
  for (std::uint64_t sequence = 1; sequence <= RequestTable::kMaxOutcomes + 1; ++sequence) {
    table.note(request(7, sequence), {.version = sequence, .failed = {}});
  }
  EXPECT_EQ(table.weight(), RequestTable::kMaxOutcomes);
  EXPECT_EQ(table.find(7, 1), nullptr);
  EXPECT_TRUE(table.is_done(7, 1));
  ASSERT_NE(table.find(7, 2), nullptr);
  EXPECT_EQ(table.find(7, 2)->version, 2u);
  const auto read = RequestTable::decode(table.encode());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->weight(), RequestTable::kMaxOutcomes);
  EXPECT_TRUE(read->is_done(7, 1));
}

TEST(RequestTable, BelievesNoNumberOfFailuresThatCannotBeThere) {
  RequestTable table;
  table.note(request(7, 1), {.version = 1, .failed = {{0, 2}, {1, 2}}});
  std::vector<std::byte> bytes = table.encode();
  std::uint64_t failures = 0;
  const std::size_t at = bytes.size() - 2 * sizeof(Failure) - sizeof failures;
  std::memcpy(&failures, bytes.data() + at, sizeof failures);
  ASSERT_EQ(failures, 2u);
  for (const std::uint64_t claimed : {std::uint64_t{3}, std::uint64_t{1} << 60, UINT64_MAX}) {
    std::memcpy(bytes.data() + at, &claimed, sizeof claimed);
    const auto read = RequestTable::decode(bytes);
    ASSERT_FALSE(read) << claimed;
    EXPECT_EQ(read.error().code, ErrorCode::kProtocol);
  }
}

TEST(RequestTable, ForgetsTheClientsThatHaveNotWrittenForTheLongestTime) {
  RequestTable table(2);
  table.note(request(1, 1), {});
  table.note(request(2, 1), {});
  table.note(request(1, 2), {});
  table.note(request(3, 1), {});
  EXPECT_EQ(table.clients(), 2u);
  EXPECT_TRUE(table.is_done(1, 1) && table.is_done(3, 1));
  EXPECT_FALSE(table.is_done(2, 1));
}

TEST(RequestTable, ForgetsOldClientsIfOutcomesAreTooMany) {
  RequestTable table(RequestTable::kMaxClients, 10);
  table.note(request(1, 1), {.version = 1, .failed = {{0, 2}, {1, 2}, {2, 2}}});
  table.note(request(2, 1), {.version = 1, .failed = {{0, 2}, {1, 2}, {2, 2}}});
  EXPECT_EQ(table.weight(), 8u);
  table.note(request(3, 1), {.version = 1, .failed = {{0, 2}, {1, 2}}});
  EXPECT_FALSE(table.is_done(1, 1));
  EXPECT_EQ(table.weight(), 7u);
}

TEST(RequestTable, IsTheSameAfterItWasWrittenAndRead) {
  RequestTable table;
  for (std::uint64_t client = 1; client <= 5; ++client) {
    for (std::uint64_t sequence = 1; sequence <= client; ++sequence) {
      table.note(request(client, sequence, sequence / 2),
                 {.version = sequence, .failed = {{1, 2}}});
    }
  }
  table.note(request(2, 3), {});
  const auto bytes = table.encode();
  const auto read = RequestTable::decode(bytes);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->encode(), bytes);
  EXPECT_EQ(read->weight(), table.weight());
  EXPECT_EQ(*read->find(5, 5), *table.find(5, 5));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(RequestTable::decode(std::span(bytes).first(length))) << length;
  }
}

}  // namespace
}  // namespace silurus::replication::group
