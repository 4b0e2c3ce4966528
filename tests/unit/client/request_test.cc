// SPDX-License-Identifier: Apache-2.0

#include "client/request.h"

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "client/policy.h"
#include "protocol/decode.h"

// What the server makes of each request, and what is refused before it is sent.

namespace silurus::client {
namespace {

constexpr request::Limits kLimits{.operations = 10, .entries = 10};
constexpr std::uint32_t kId = 0x12345678;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
const rtree::Box<2> kBox{{0, 0}, {1, 2}};
const rtree::Box<2> kBad{{0, 0}, {kNaN, 1}};

std::vector<std::byte> message_of(const Request<2>& request, request::Envelope envelope = {}) {
  envelope.id = kId;
  std::vector<std::byte> message(message_bytes(request));
  encode(request, envelope, message);
  return message;
}

/// Nothing: it is fine.
std::optional<ErrorCode> refusal(const Request<2>& request) {
  const Status checked = check<2>(request, kLimits);
  return checked ? std::nullopt : std::optional(checked.error().code);
}

protocol::Operation<2> insertion(const rtree::Box<2>& box) {
  return {1, protocol::OperationKind::kInsert, 0, box, {}};
}

TEST(Request, ARangeSearchIsWhatTheServerReads) {
  const request::Range<2> request{.query = {.window = kBox,
                                            .predicate = rtree::Predicate::kWithin,
                                            .shape = rtree::ResultShape::kEntries,
                                            .limit = 7}};
  EXPECT_EQ(refusal(request), std::nullopt);
  const auto message = message_of(request, {.flags = protocol::kAnyMember});
  const auto read = protocol::decode_range<2>(message);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->header.request_id, kId);
  EXPECT_EQ(read->header.flags, protocol::kAnyMember);
  EXPECT_EQ(read->query.window, kBox);
  EXPECT_EQ(read->query.predicate, rtree::Predicate::kWithin);
  EXPECT_EQ(read->query.shape, rtree::ResultShape::kEntries);
  EXPECT_EQ(read->query.limit, 7u);
}

TEST(Request, ASearchOfAnOlderVersionHasItsMomentInFront) {
  const auto message =
      message_of(request::Nearest<2>{.query = {.point = {{3, 4}}, .k = 5}, .as_of = 99});
  const auto at = protocol::decode_at(message);
  ASSERT_TRUE(at) << at.error().message;
  EXPECT_EQ(at->moment, 99u);
  ASSERT_EQ(at->search.header.type, protocol::MessageType::kNearest);
  const auto read = protocol::decode_nearest<2>(at->search);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->header.request_id, kId);
  EXPECT_EQ(read->query.k, 5u);
}

TEST(Request, AWriteHasItsNumberAndHowFarBackTheOldestWithoutOutcomeLies) {
  const std::vector<protocol::Operation<2>> operations{insertion(kBox), insertion(kBox)};
  const auto message =
      message_of(request::Write<2>{operations}, {.sequence = 40, .outstanding = 3});
  const auto read = protocol::decode_write<2>(message, 10);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->sequence, 40u);
  EXPECT_EQ(read->oldest, 37u);
  EXPECT_EQ(read->operations.size(), 2u);
}

TEST(Request, ATaskHasItsNumbersAndItsText) {
  const auto message = message_of(
      request::Task{.kind = protocol::TaskKind::kDiff, .from = 5, .to = 9, .text = "a text"});
  const auto read = protocol::decode_task(message);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->kind, protocol::TaskKind::kDiff);
  EXPECT_EQ(read->from, 5u);
  EXPECT_EQ(read->to, 9u);
  EXPECT_EQ(read->text, "a text");
}

TEST(Request, ALoadsStepsAreWhatTheServerReads) {
  const std::vector<rtree::Entry<2>> entries{{7, kBox}, {8, kBox}, {9, kBox}};
  const auto batch = message_of(request::LoadEntries<2>{entries});
  const auto read = protocol::decode_load_entries<2>(batch);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->entries.size(), 3u);
  const auto end = message_of(request::LoadCommit{.fill = 0.5, .entries = 3});
  const auto commit = protocol::decode_load_commit(end);
  ASSERT_TRUE(commit) << commit.error().message;
  EXPECT_EQ(commit->entries, 3u);
}

TEST(Request, WhatSaysNoMoreThanItsTypeIsABareHeader) {
  const auto type_of = [](const Request<2>& request) {
    const auto message = message_of(request);
    const auto read = protocol::decode_bare(message);
    EXPECT_TRUE(read) << read.error().message;
    return read->type;
  };
  EXPECT_EQ(type_of(request::Statistics()), protocol::MessageType::kStats);
  EXPECT_EQ(type_of(request::Cluster()), protocol::MessageType::kCluster);
  EXPECT_EQ(type_of(request::LoadBegin()), protocol::MessageType::kLoadBegin);
  EXPECT_EQ(type_of(request::LoadAbort()), protocol::MessageType::kLoadAbort);
}

TEST(Request, WhatMakesNoSenseIsRefusedBeforeItIsSent) {
  EXPECT_EQ(refusal(request::Range<2>{.query = {.window = kBad}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(request::Nearest<2>{.query = {.point = {{kNaN, 0}}, .k = 1}}),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(request::Nearest<2>{.query = {.point = {{0, 0}}, .k = 0}}),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(request::Write<2>{}), ErrorCode::kInvalidArgument);
  const std::vector<protocol::Operation<2>> bad{insertion(kBox), insertion(kBad)};
  EXPECT_EQ(refusal(request::Write<2>{bad}), ErrorCode::kInvalidArgument);
  const rtree::Entry<2> entry{1, kBad};
  EXPECT_EQ(refusal(request::LoadEntries<2>{{&entry, 1}}), ErrorCode::kInvalidArgument);
  for (const double fill : {-0.1, 1.1, kNaN}) {
    EXPECT_EQ(refusal(request::LoadCommit{.fill = fill, .entries = 1}),
              ErrorCode::kInvalidArgument);
  }
}

TEST(Request, WhatIsTooMuchForOneMessageIsRefusedAndNoLess) {
  const std::vector<protocol::Operation<2>> operations(kLimits.operations + 1, insertion(kBox));
  const std::span<const protocol::Operation<2>> all(operations);
  EXPECT_EQ(refusal(request::Write<2>{all}), ErrorCode::kTooLarge);
  EXPECT_EQ(refusal(request::Write<2>{all.first(kLimits.operations)}), std::nullopt);
  const std::vector<rtree::Entry<2>> entries(kLimits.entries + 1, {1, kBox});
  const std::span<const rtree::Entry<2>> loaded(entries);
  EXPECT_EQ(refusal(request::LoadEntries<2>{loaded}), ErrorCode::kTooLarge);
  EXPECT_EQ(refusal(request::LoadEntries<2>{loaded.first(kLimits.entries)}), std::nullopt);
  const std::string text(protocol::kMaxTaskText + 1, 'x');
  request::Task task{.kind = protocol::TaskKind::kBackup, .text = text};
  EXPECT_EQ(refusal(task), ErrorCode::kTooLarge);
  task.text.remove_suffix(1);
  EXPECT_EQ(refusal(task), std::nullopt);
}

TEST(Request, ABackupIsTheOneTaskThatIsNotAskedTwice) {
  const auto how = [](protocol::TaskKind kind) {
    return treatment<2>(request::Task{.kind = kind});
  };
  EXPECT_TRUE(how(protocol::TaskKind::kHistory).is_repeatable);
  EXPECT_FALSE(how(protocol::TaskKind::kBackup).is_repeatable);
  EXPECT_TRUE(how(protocol::TaskKind::kBackup).is_patient);
}

TEST(Request, OnlyTheBeginningOfALoadMayGoToAnotherServer) {
  EXPECT_TRUE(treatment<2>(request::LoadBegin()).is_repeatable);
  EXPECT_TRUE(treatment<2>(request::LoadEntries<2>()).continues_load);
  EXPECT_TRUE(treatment<2>(request::LoadCommit{}).continues_load);
  EXPECT_FALSE(treatment<2>(request::LoadCommit{}).is_repeatable);
  EXPECT_FALSE(treatment<2>(request::LoadAbort()).is_repeatable);
}

TEST(Request, LikeSearchesAreOfOneClassAndAllClassesAreKnown) {
  const auto range_class = [](double edge) {
    return search_class<2>(
        Search<2>(request::Range<2>{.query = {.window = {{0, 0}, {edge, edge}}}}));
  };
  EXPECT_EQ(range_class(0.010), range_class(0.011));
  EXPECT_NE(range_class(0.010), range_class(0.1));
  for (const double edge : {0.0, 1e-300, 1.0, 1e300}) EXPECT_LT(range_class(edge), kSearchClasses);
  const auto nearest_class = [](std::uint32_t k) {
    return search_class<2>(Search<2>(request::Nearest<2>{.query = {.point = {{0, 0}}, .k = k}}));
  };
  EXPECT_NE(nearest_class(1), nearest_class(100));
  EXPECT_LT(nearest_class(UINT32_MAX), kSearchClasses);
  EXPECT_NE(nearest_class(1), range_class(1e300));
  const auto get_class = [](std::size_t count) {
    const std::vector<std::uint64_t> ids(count);
    return search_class<2>(Search<2>(request::Get<2>{.ids = ids}));
  };
  EXPECT_EQ(get_class(1), range_class(0)) << "one entry is a small search";
  EXPECT_LT(get_class(1), get_class(100));
  EXPECT_LT(get_class(protocol::kMaxGetIds), range_class(1e-6));
}

TEST(Request, ForEntriesIsWhatTheServerReads) {
  const std::vector<std::uint64_t> ids{7, 3, 9};
  const auto message = message_of(request::Get<2>{.ids = ids});
  const auto whole = message_of(request::Get<2>{.ids = ids, .as_of = 5});
  Search<2> kept = request::Get<2>{.ids = ids, .as_of = 5};
  ASSERT_TRUE(fit<2>(kept, true)) << "degrees are nothing to it";
  ASSERT_EQ(message_bytes(kept), whole.size());
  EXPECT_EQ(whole.size(), message.size() + sizeof(protocol::AtRequest));
  const auto at = protocol::decode_at(whole);
  ASSERT_TRUE(at) << at.error().message;
  EXPECT_EQ(at->moment, 5u);
  EXPECT_EQ(at->search.header.type, protocol::MessageType::kGet);
}

}  // namespace
}  // namespace silurus::client
