#include <gtest/gtest.h>

#include "replication/group/lease.h"
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
  EXPECT_EQ(lease.until(view_of({1}), 1), INT64_MAX) << "alone there is nobody to ask";
  lease.promised(2, lease.beat(kSecond));
  EXPECT_GT(lease.until(view_of({1, 2}), 1), kSecond);
  EXPECT_EQ(lease.until(view_of({1, 2, 3}), 1), 0);
}

TEST(ReadLease, BelievesNoPromiseForAHeartbeatThatWasNeverSent) {
  ReadLease lease(kLease);
  lease.promised(2, lease.beat(kSecond) + 1);
  EXPECT_EQ(lease.until(view_of({1, 2}), 1), 0);
}

TEST(Promise, HoldsFromTheStartForWhatAnEarlierLifeMayHavePromised) {
  EXPECT_GT(Promise(kLease, 7 * kSecond).until(), 7 * kSecond + kLease);
}

TEST(View, SurvivesTheStore) {
  const View view = view_of({1, UINT64_MAX, 3});
  EXPECT_EQ(decode_view(encode(view)).value(), view);
  const Registration registration{
      .member = view.members[1], .incarnation = 8, .candidate_for = 4, .durable = UINT64_MAX - 7};
  const auto decoded = decode_registration(encode(registration)).value();
  EXPECT_EQ(decoded.member, registration.member);
  EXPECT_EQ(decoded.candidate_for, 4u);
  EXPECT_EQ(decoded.durable, registration.durable);
}

TEST(View, IsRefusedIfNoMemberWroteIt) {
  for (
      const char* const text :
      {"", "7", "{}", "[]", R"({"epoch":"1"})", R"({"epoch":1,"primary":"1"})",
       R"({"epoch":"1","primary":"1","incarnation":"1","since":"1","members":[]})",
       R"({"epoch":"1","primary":"1","incarnation":"1","since":"2","members":[{"id":"1","peers":"","clients":""}]})",
       R"({"epoch":"99999999999","primary":"1","incarnation":"1","since":"1","members":[{"id":"1","peers":"","clients":""}]})",
       R"({"epoch":"1","primary":"1","incarnation":"1","since":"1","members":[{"id":"1","peers":"","clients":""},{"id":"1","peers":"","clients":""}]})"}) {
    EXPECT_EQ(decode_view(text).error().code, ErrorCode::kProtocol) << text;
  }
}

Record request(const RequestPayload& payload, Lsn lsn) {
  return {.header = {.checksum = 0,
                     .lsn = lsn,
                     .stamp = 1,
                     .epoch = 1,
                     .length = sizeof payload,
                     .type = RecordType::kRequest,
                     .flags = 0},
          .payload = std::as_bytes(std::span(&payload, 1))};
}

TEST(RequestTable, RemembersTheNewestWriteOfEachClient) {
  RequestTable table;
  const RequestPayload first{7, 1};
  const RequestPayload second{7, 2};
  table.take(request(first, 100));
  table.take(request(second, 200));
  table.take(request(first, 300));
  ASSERT_TRUE(table.find(7));
  EXPECT_EQ(table.find(7)->sequence, 2u);
  EXPECT_EQ(table.find(7)->lsn, 200u);
  EXPECT_FALSE(table.find(8));
}

TEST(RequestTable, ForgetsTheClientsThatHaveNotWrittenForTheLongestTime) {
  RequestTable table(2);
  const RequestPayload a{1, 1};
  const RequestPayload b{2, 1};
  const RequestPayload c{3, 1};
  const RequestPayload again{1, 2};
  for (const RequestPayload* one : {&a, &b, &again, &c}) table.take(request(*one, 8));
  EXPECT_EQ(table.size(), 2u);
  EXPECT_TRUE(table.find(1));
  EXPECT_FALSE(table.find(2));
  EXPECT_TRUE(table.find(3));
}

}  // namespace
}  // namespace silurus::replication::group
