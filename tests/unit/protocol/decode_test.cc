// SPDX-License-Identifier: Apache-2.0

#include "protocol/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/random.h"
#include "protocol/encode.h"

namespace silurus::protocol {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint32_t kMaxBatch = 64;

rtree::Box<2> box2(double xmin, double ymin, double xmax, double ymax) {
  return {{xmin, ymin}, {xmax, ymax}};
}

template <typename T>
Bytes bytes_of(const T& value) {
  Bytes bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

template <typename T>
void poke(Bytes& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

Bytes range_message(const rtree::RangeQuery<2>& query) {
  Bytes out(sizeof(RangeRequest<2>));
  EXPECT_EQ(encode_range<2>(out, 7, query), out.size());
  return out;
}

Bytes nearest_message(const rtree::NearestQuery<2>& query) {
  Bytes out(nearest_bytes(query));
  EXPECT_EQ(encode_nearest<2>(out, 7, query), out.size());
  return out;
}

std::vector<Operation<2>> some_operations() {
  return {{1, OperationKind::kInsert, 0, box2(0, 0, 1, 1), {}},
          {2, OperationKind::kErase, 0, box2(-1, -1, 1, 1), {}},
          {3, OperationKind::kUpdate, 0, box2(0, 0, 1, 1), {box2(5, 5, 6, 6)}}};
}

Bytes write_message(std::span<const Operation<2>> operations) {
  Bytes out(write_bytes<2>(operations.size()));
  EXPECT_EQ(encode_write<2>(out, 7, 42, operations), out.size());
  return out;
}

Bytes load_message(std::span<const rtree::Entry<2>> entries) {
  Bytes out(load_entries_bytes<2>(entries.size()));
  EXPECT_EQ(encode_load_entries<2>(out, 7, entries), out.size());
  return out;
}

Bytes commit_message(double fill) {
  Bytes out(sizeof(LoadCommit));
  EXPECT_EQ(encode_load_commit(out, 7, fill, 10), out.size());
  return out;
}

Bytes bare_message(MessageType type) {
  Bytes out(sizeof(Header));
  EXPECT_EQ(encode_bare(out, type, 7), out.size());
  return out;
}

/// Every decoder of requests, as a server would call them: by the header's type. Touches all that
/// it is given, so that a sanitizer sees reads beyond the message.
bool decode_any(std::span<const std::byte> message) {
  const auto header = decode_header(message);
  if (!header) return false;
  switch (header->type) {
    case MessageType::kAnswer: {
      const auto answer = decode_answer(message);
      if (!answer) return false;
      if (answer->is_error()) return !answer_error(*answer).message.empty();
      const auto ids = answer_array<std::uint64_t>(*answer);
      if (!ids) return false;
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < ids->size(); ++i) sum += (*ids)[i];
      return sum != 1;
    }
    case MessageType::kRange: {
      const auto range = decode_range<2>(message);
      EXPECT_TRUE(!range || rtree::check_box(range->query.window));
      return range.has_value();
    }
    case MessageType::kNearest: {
      const auto nearest = decode_nearest<2>(message);
      EXPECT_TRUE(!nearest || nearest->query.k >= 1);
      return nearest.has_value();
    }
    case MessageType::kWrite: {
      const auto write = decode_write<2>(message, kMaxBatch);
      if (!write) return false;
      bool all_good = true;
      for (std::size_t i = 0; i < write->operations.size(); ++i) {
        all_good &= check_operation<2>(write->operations[i]).has_value();
      }
      return all_good;
    }
    case MessageType::kLoadEntries: {
      const auto load = decode_load_entries<2>(message);
      std::vector<rtree::Entry<2>> entries;
      return load && append_entries<2>(load->entries, entries);
    }
    case MessageType::kLoadCommit:
      return decode_load_commit(message).has_value();
    default:
      return decode_bare(message).has_value();
  }
}

std::vector<Bytes> one_of_each() {
  const std::vector<rtree::Entry<2>> entries{{1, box2(0, 0, 1, 1)}, {2, box2(2, 2, 2, 2)}};
  const std::vector<std::uint64_t> ids{1, 2, 3};
  rtree::RangeResult<2> result{.count = 3, .ids = ids, .boxes = {}};
  auto answer = AnswerEncoder::range<2>({7, 3}, rtree::ResultShape::kIds, result);
  Bytes answer_bytes(answer.next_bytes(kMinMessageBytes));
  answer.encode_next(answer_bytes);
  return {range_message({.window = box2(0, 0, 1, 1)}),
          nearest_message({.point = {{1, 2}}, .k = 3}),
          write_message(some_operations()),
          load_message(entries),
          commit_message(0.7),
          bare_message(MessageType::kStats),
          bare_message(MessageType::kCluster),
          bare_message(MessageType::kLoadBegin),
          bare_message(MessageType::kLoadAbort),
          answer_bytes};
}

TEST(Decode, ARangeRequestArrivesAsItWasSent) {
  const rtree::RangeQuery<2> query{.window = box2(-25, 63, -13, 67),
                                   .predicate = rtree::Predicate::kWithin,
                                   .shape = rtree::ResultShape::kEntries,
                                   .limit = 17};
  const auto decoded = decode_range<2>(range_message(query));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->header.request_id, 7u);
  EXPECT_EQ(decoded->query.window, query.window);
  EXPECT_EQ(decoded->query.predicate, query.predicate);
  EXPECT_EQ(decoded->query.shape, query.shape);
  EXPECT_EQ(decoded->query.limit, 17u);
}

TEST(Decode, NoLimitStaysNoLimit) {
  const auto decoded = decode_range<2>(range_message({.window = box2(0, 0, 1, 1)}));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->query.limit, UINT64_MAX);
}

TEST(Decode, ALimitBeyondWhatARequestHoldsIsNoLimit) {
  const std::uint64_t beyond = (std::uint64_t{1} << 32) + 5;
  const auto decoded =
      decode_range<2>(range_message({.window = box2(0, 0, 1, 1), .limit = beyond}));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->query.limit, UINT64_MAX);
}

TEST(Decode, ARangeOfUnknownPredicateOrShapeIsRefused) {
  const Bytes good = range_message({.window = box2(0, 0, 1, 1)});
  for (const std::size_t field :
       {offsetof(RangeRequest<2>, predicate), offsetof(RangeRequest<2>, shape)}) {
    Bytes message = good;
    poke<std::uint8_t>(message, field, 2);
    EXPECT_TRUE(decode_range<2>(message)) << field;
    poke<std::uint8_t>(message, field, 3);
    const auto refused = decode_range<2>(message);
    ASSERT_FALSE(refused) << field;
    EXPECT_EQ(refused.error().code, ErrorCode::kProtocol);
  }
}

TEST(Decode, AWriteBatchArrivesAsItWasSent) {
  const auto operations = some_operations();
  const auto message = write_message(operations);
  const auto decoded = decode_write<2>(message, kMaxBatch);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->sequence, 42u);
  ASSERT_EQ(decoded->operations.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto operation = decoded->operations[i];
    EXPECT_EQ(operation.id, operations[i].id);
    EXPECT_EQ(operation.kind, operations[i].kind);
    EXPECT_EQ(operation.box, operations[i].box);
    EXPECT_EQ(operation.to, operations[i].to);
    EXPECT_TRUE(check_operation<2>(operation));
  }
}

TEST(Decode, AWriteTellsWhichOutcomesItsClientKnows) {
  const auto operations = some_operations();
  Bytes message(write_bytes<2>(operations.size()));
  encode_write<2>(message, 7, 42, operations, 41);
  EXPECT_EQ(decode_write<2>(message, kMaxBatch)->oldest, 1u);
  encode_write<2>(message, 7, 42, operations);
  EXPECT_EQ(decode_write<2>(message, kMaxBatch)->oldest, 42u);
}

TEST(Decode, AWriteHasNoMoreOutstandingThanWereSentAndAreRemembered) {
  const auto operations = some_operations();
  Bytes message(write_bytes<2>(operations.size()));
  encode_write<2>(message, 7, 42, operations, 42);
  EXPECT_EQ(decode_write<2>(message, kMaxBatch).error().code, ErrorCode::kProtocol);
  encode_write<2>(message, 7, 1'000'000, operations, kMaxOutstandingWrites);
  EXPECT_EQ(decode_write<2>(message, kMaxBatch).error().code, ErrorCode::kTooLarge);
  encode_write<2>(message, 7, 1'000'000, operations, kMaxOutstandingWrites - 1);
  EXPECT_TRUE(decode_write<2>(message, kMaxBatch));
}

TEST(Decode, OnlyWhatReadsMayAskAnyMember) {
  Bytes message(sizeof(RangeRequest<2>));
  encode_range<2>(message, 7, {.window = box2(0, 0, 1, 1)}, kAnyMember);
  EXPECT_EQ(decode_range<2>(message)->header.flags, kAnyMember);
  Bytes stats(sizeof(Header));
  encode_bare(stats, MessageType::kStats, 7, kAnyMember);
  EXPECT_TRUE(decode_bare(stats));
  encode_bare(stats, MessageType::kLoadBegin, 7, kAnyMember);
  EXPECT_FALSE(decode_bare(stats));
  auto write = write_message(some_operations());
  poke<std::uint8_t>(write, offsetof(Header, flags), kAnyMember);
  EXPECT_FALSE(decode_write<2>(write, kMaxBatch));
  poke<std::uint8_t>(message, offsetof(Header, flags), kMore);
  EXPECT_FALSE(decode_range<2>(message));
}

TEST(Decode, ABatchOverTheLimitIsTooLarge) {
  const std::vector<Operation<2>> operations(kMaxBatch + 1);
  const auto decoded = decode_write<2>(write_message(operations), kMaxBatch);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, ErrorCode::kTooLarge);
}

TEST(Decode, ABatchOfNothingIsRefused) {
  const auto write = decode_write<2>(write_message({}), kMaxBatch);
  ASSERT_FALSE(write);
  EXPECT_EQ(write.error().code, ErrorCode::kProtocol);
  const auto load = decode_load_entries<2>(load_message({}));
  ASSERT_FALSE(load);
  EXPECT_EQ(load.error().code, ErrorCode::kProtocol);
}

TEST(Decode, IdsOfEntriesAreAsTheyWereSent) {
  const std::vector<std::uint64_t> ids{7, 0, UINT64_MAX};
  std::vector<std::byte> message(get_bytes(ids.size()));
  ASSERT_EQ(encode_get(message, 5, ids, kAnyMember), message.size());
  const auto get = decode_get(message);
  ASSERT_TRUE(get) << get.error().message;
  EXPECT_EQ(get->header.request_id, 5u);
  ASSERT_EQ(get->ids.size(), ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(get->ids[i], ids[i]);
  message.pop_back();
  EXPECT_FALSE(decode_get(message)) << "too short";
  for (const std::uint32_t count : {0u, kMaxGetIds + 1}) {
    std::vector<std::byte> other(get_bytes(count));
    encode_get(other, 5, std::vector<std::uint64_t>(count));
    EXPECT_FALSE(decode_get(other)) << count;
  }
}

TEST(Decode, AnOperationOfUnknownKindIsRefused) {
  auto operation = some_operations()[0];
  EXPECT_TRUE(check_operation<2>(operation));
  constexpr auto kFirstUnknown = static_cast<std::uint32_t>(kLastOperationKind) + 1;
  for (const std::uint32_t kind : {kFirstUnknown, 99u}) {
    operation.kind = static_cast<OperationKind>(kind);
    const auto refused = check_operation<2>(operation);
    ASSERT_FALSE(refused) << kind;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(Decode, AnAnswerWhoseCountOverflowsIsRefused) {
  Bytes message = one_of_each().back();
  ASSERT_EQ(answer_array<std::uint64_t>(*decode_answer(message))->size(), 3u);
  poke<std::uint64_t>(message, offsetof(AnswerHeader, count), 3 + (std::uint64_t{1} << 61));
  const auto refused = answer_array<std::uint64_t>(*decode_answer(message));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kProtocol);
}

TEST(Decode, ACountThatOverflowsIsRefused) {
  auto message = write_message(some_operations());
  poke<std::uint32_t>(message, offsetof(WriteRequest, count), UINT32_MAX);
  EXPECT_FALSE(decode_write<2>(message, UINT32_MAX));
}

TEST(Decode, BadCoordinatesAreTheCallersFaultAndNamed) {
  auto message = range_message({.window = box2(0, 0, 1, 1)});
  poke(message, offsetof(RangeRequest<2>, window) + 8, std::numeric_limits<double>::quiet_NaN());
  const auto nan = decode_range<2>(message);
  ASSERT_FALSE(nan);
  EXPECT_EQ(nan.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(nan.error().message.find("window.min[1]"), std::string::npos) << nan.error().message;

  auto operation = some_operations()[2];
  operation.to.min[0] = 9;
  const auto inverted = check_operation<2>(operation);
  ASSERT_FALSE(inverted);
  EXPECT_NE(inverted.error().message.find("to.min[0]"), std::string::npos);
}

TEST(Decode, NearestOfNoneIsTheCallersFault) {
  const auto decoded = decode_nearest<2>(nearest_message({.point = {{1, 2}}, .k = 0}));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, ErrorCode::kInvalidArgument);
}

TEST(Decode, NearestCarriesItsGreatestDistance) {
  const auto decoded =
      decode_nearest<2>(nearest_message({.point = {{1, 2}}, .k = 3, .max_distance = 4.5}));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->query.max_distance, 4.5);
}

TEST(Decode, NearestWithoutAGreatestDistanceIsOfTheLengthThatItHad) {
  const Bytes message = nearest_message({.point = {{1, 2}}, .k = 3});
  EXPECT_EQ(message.size(), sizeof(NearestRequest<2>));
  EXPECT_EQ(decode_nearest<2>(message)->query.max_distance,
            std::numeric_limits<double>::infinity());
}

TEST(Decode, AGreatestDistanceThatIsNoneIsRefused) {
  for (const double bad : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    Bytes message = nearest_message({.point = {{1, 2}}, .k = 3, .max_distance = 4.5});
    poke(message, sizeof(NearestRequest<2>), bad);
    EXPECT_FALSE(decode_nearest<2>(message)) << bad;
  }
  Bytes short_one = nearest_message({.point = {{1, 2}}, .k = 3});
  poke(short_one, offsetof(NearestRequest<2>, is_bounded), 1u);
  EXPECT_FALSE(decode_nearest<2>(short_one));
}

TEST(Decode, AWindowAcrossTheAntimeridianIsForDegreesAlone) {
  const Bytes message = range_message({.window = box2(170, -5, -170, 5)});
  EXPECT_FALSE(decode_range<2>(message));
  const auto decoded = decode_range<2>(message, true);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_TRUE(decoded->query.lonlat);
  EXPECT_FALSE(decode_range<2>(range_message({.window = box2(0, 0, 181, 5)}), true));
}

TEST(Decode, EntriesOfDegreesAreStagedAsATreeHoldsThem) {
  const std::vector<rtree::Entry<2>> entries{
      {1, box2(170, 0, -170, 1)}, {2, box2(-180, 0, 180, 1)}, {3, box2(1, 0, 2, 1)}};
  const auto message = load_message(entries);
  const auto decoded = decode_load_entries<2>(message);
  ASSERT_TRUE(decoded);
  std::vector<rtree::Entry<2>> into;
  ASSERT_TRUE(append_entries<2>(decoded->entries, into, true));
  ASSERT_EQ(into.size(), 3u);
  EXPECT_EQ(into[0].box, box2(170, 0, 190, 1));
  EXPECT_EQ(into[1].box, box2(-180, 0, 540, 1));
  EXPECT_EQ(into[2].box, box2(1, 0, 2, 1));
}

TEST(Decode, ABadEntryLeavesNothingOfItsMessage) {
  std::vector<rtree::Entry<2>> entries{{1, box2(0, 0, 1, 1)}, {2, box2(3, 0, 1, 1)}};
  const auto message = load_message(entries);
  const auto decoded = decode_load_entries<2>(message);
  ASSERT_TRUE(decoded);
  std::vector<rtree::Entry<2>> into{{9, box2(0, 0, 1, 1)}};
  const auto appended = append_entries<2>(decoded->entries, into);
  ASSERT_FALSE(appended);
  EXPECT_NE(appended.error().message.find("entry 1"), std::string::npos);
  EXPECT_EQ(into.size(), 1u);
}

TEST(Decode, AFillBeyondOneIsRefused) {
  EXPECT_TRUE(decode_load_commit(commit_message(0)));
  EXPECT_TRUE(decode_load_commit(commit_message(1)));
  EXPECT_FALSE(decode_load_commit(commit_message(1.01)));
  EXPECT_FALSE(decode_load_commit(commit_message(-0.5)));
  EXPECT_FALSE(decode_load_commit(commit_message(std::nan(""))));
}

TEST(Decode, EveryTruncationAndExtensionIsRefused) {
  for (const Bytes& whole : one_of_each()) {
    ASSERT_TRUE(decode_any(whole));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(decode_any(part)) << "type " << int(whole[0]) << " cut to " << size;
    }
    Bytes longer = whole;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_any(longer)) << "type " << int(whole[0]);
  }
}

TEST(Decode, RandomCorruptionIsRefusedOrHarmless) {
  constexpr std::uint64_t kSeed = 20261121;
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  const auto messages = one_of_each();
  std::size_t refused = 0;
  for (int round = 0; round < 50'000; ++round) {
    Bytes message = messages[random.below(messages.size())];
    const auto flips = 1 + random.below(8);
    for (std::uint64_t i = 0; i < flips; ++i) {
      message[random.below(message.size())] = static_cast<std::byte>(random());
    }
    message.resize(random.below(4) == 0 ? random.below(message.size() + 1) : message.size());
    message.shrink_to_fit();
    refused += decode_any(message) ? 0 : 1;
  }
  EXPECT_GT(refused, 10'000u);
}

TEST(Decode, RandomBytesAreRefusedOrHarmless) {
  constexpr std::uint64_t kSeed = 11;
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  for (int round = 0; round < 20'000; ++round) {
    Bytes message(random.below(200));
    for (auto& byte : message) byte = static_cast<std::byte>(random());
    if (!message.empty()) message[0] = static_cast<std::byte>(random.below(10));
    decode_any(message);
  }
}

/// All segments of an answer as messages of at most `max` bytes.
std::vector<Bytes> segments(AnswerEncoder answer, std::size_t max) {
  std::vector<Bytes> messages;
  while (!answer.done()) {
    messages.emplace_back(answer.next_bytes(max));
    EXPECT_LE(messages.back().size(), max);
    answer.encode_next(messages.back());
  }
  return messages;
}

TEST(Encode, ALargeAnswerIsCutAndEveryPartButTheLastSaysMore) {
  rtree::RangeResult<2> result;
  for (std::uint64_t i = 0; i < 100; ++i) {
    result.ids.push_back(i);
    result.boxes.push_back(box2(double(i), 0, double(i) + 1, 1));
  }
  result.count = 100;
  const auto messages =
      segments(AnswerEncoder::range<2>({9, 5}, rtree::ResultShape::kEntries, result), 300);
  ASSERT_GT(messages.size(), 1u);
  std::uint64_t next = 0;
  for (std::size_t m = 0; m < messages.size(); ++m) {
    const auto answer = decode_answer(messages[m]);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->header.request_id, 9u);
    EXPECT_EQ(answer->version, 5u);
    EXPECT_EQ(answer->more(), m + 1 < messages.size());
    const auto entries = answer_array<rtree::Entry<2>>(*answer);
    ASSERT_TRUE(entries);
    for (std::size_t i = 0; i < entries->size(); ++i, ++next) {
      EXPECT_EQ((*entries)[i], (rtree::Entry<2>{next, result.boxes[next]}));
    }
  }
  EXPECT_EQ(next, 100u);
}

TEST(Encode, AnEmptyAnswerIsOneMessage) {
  const rtree::RangeResult<2> result;
  const auto messages =
      segments(AnswerEncoder::range<2>({9, 5}, rtree::ResultShape::kIds, result), 256);
  ASSERT_EQ(messages.size(), 1u);
  const auto answer = decode_answer(messages[0]);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->more());
  EXPECT_EQ(answer->count, 0u);
}

TEST(Encode, ACountIsOneMessageHoweverLarge) {
  const auto messages = segments(AnswerEncoder::count({9, 5}, 10'000'000), 256);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(decode_answer(messages[0])->count, 10'000'000u);
}

TEST(Encode, AnErrorArrivesWithItsCodeAndText) {
  const Error error{ErrorCode::kConflict, std::string(600, 'x') + "\n"};
  std::string text;
  ErrorCode code{};
  for (const auto& message : segments(AnswerEncoder::error({9, 5}, error), 256)) {
    const auto answer = decode_answer(message);
    ASSERT_TRUE(answer);
    ASSERT_TRUE(answer->is_error());
    code = answer_error(*answer).code;
    text += answer_error(*answer).message;
  }
  EXPECT_EQ(code, ErrorCode::kConflict);
  EXPECT_EQ(text, std::string(600, 'x') + "?");
}

Bytes at_message(const Bytes& search) {
  Bytes out(sizeof(AtRequest) + search.size());
  EXPECT_EQ(encode_at(out, 7, 812), sizeof(AtRequest));
  std::copy(search.begin(), search.end(), out.begin() + sizeof(AtRequest));
  return out;
}

TEST(Decode, ASearchAtAMomentComesBack) {
  const Bytes search = nearest_message({.point = {{1, 2}}, .k = 3});
  const Bytes message = at_message(search);
  const auto at = decode_at(message);
  ASSERT_TRUE(at);
  EXPECT_EQ(at->moment, 812u);
  EXPECT_EQ(at->search.header.type, MessageType::kNearest);
  EXPECT_EQ(decode_nearest<2>(at->search)->query.k, 3u);
}

TEST(Decode, AMomentGoesWithASearchAndNothingElse) {
  EXPECT_FALSE(decode_at(at_message(write_message(some_operations()))));
  EXPECT_FALSE(decode_at(at_message(at_message(nearest_message({.point = {{1, 2}}, .k = 3})))));
  EXPECT_FALSE(decode_at(at_message({})));
  Bytes other = nearest_message({.point = {{1, 2}}, .k = 3});
  poke<std::uint32_t>(other, offsetof(Header, request_id), 8);
  EXPECT_FALSE(decode_at(at_message(other)));
}

TEST(Decode, AJoinComesBackUnlessItsDistanceIsNone) {
  const auto decode = [](double within) {
    Bytes out(sizeof(JoinRequest));
    EXPECT_EQ(encode_join(out, 7, 99, {within}), out.size());
    return decode_join(out);
  };
  const auto join = decode(2.5);
  ASSERT_TRUE(join);
  EXPECT_EQ(join->other, 99u);
  EXPECT_EQ(join->query.within, 2.5);
  EXPECT_TRUE(decode(0));
  for (const double bad : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    const auto refused = decode(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(Decode, AHeldVersionHasARootAndAnEnd) {
  const auto decode = [](const VersionLease& held) {
    AnswerEncoder encoder = AnswerEncoder::held({7, 812}, held);
    Bytes out(encoder.next_bytes(256));
    encoder.encode_next(out);
    return decode_version_lease(*decode_answer(out));
  };
  EXPECT_EQ(decode({.root = 5, .lease_ns = 1000})->root, 5u);
  EXPECT_FALSE(decode({.root = 0, .lease_ns = 1000}));
  EXPECT_FALSE(decode({.root = 5, .lease_ns = UINT64_MAX}));
  Bytes request(sizeof(HoldRequest));
  EXPECT_EQ(encode_hold(request, 7, 812), request.size());
  EXPECT_EQ(decode_hold(request)->moment, 812u);
  request.push_back(std::byte{0});
  EXPECT_FALSE(decode_hold(request));
}

Bytes task_message(std::string_view text) {
  Bytes out(sizeof(TaskRequest) + text.size());
  EXPECT_EQ(encode_task(out, 7, TaskKind::kBackup, 1, 2, text), out.size());
  return out;
}

TEST(Decode, ATaskComesBackAndOfNoOtherLength) {
  const Bytes message = task_message("/backups/monday");
  const auto task = decode_task(message);
  ASSERT_TRUE(task);
  EXPECT_EQ(task->kind, TaskKind::kBackup);
  EXPECT_EQ(task->from, 1u);
  EXPECT_EQ(task->to, 2u);
  EXPECT_EQ(task->text, "/backups/monday");
  for (std::size_t length = 0; length < message.size(); ++length) {
    EXPECT_FALSE(decode_task(std::span(message).first(length))) << length;
  }
}

TEST(Decode, ATaskOfUnknownKindOrWithAnEndlessTextIsRefused) {
  Bytes unknown = task_message("x");
  for (const std::uint32_t kind : {0u, static_cast<std::uint32_t>(kLastTaskKind) + 1, 99u}) {
    poke<std::uint32_t>(unknown, offsetof(TaskRequest, kind), kind);
    EXPECT_FALSE(decode_task(unknown)) << kind;
  }
  const auto endless = decode_task(task_message(std::string(kMaxTaskText + 1, 'x')));
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().code, ErrorCode::kTooLarge);
}

TEST(Encode, EveryErrorCodeArrivesAsItself) {
  for (std::uint16_t number = 1; number <= 16; ++number) {
    const Error error{static_cast<ErrorCode>(number), "text"};
    const auto messages = segments(AnswerEncoder::error({9, 5}, error), 256);
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(answer_error(*decode_answer(messages[0])).code, error.code) << number;
  }
  EXPECT_EQ(static_cast<int>(ErrorCode::kNoSpace), 16) << "the last one";
}

TEST(Encode, AnUnknownErrorCodeIsAProtocolError) {
  auto messages = segments(AnswerEncoder::error({9, 5}, {ErrorCode::kIo, "?"}), 256);
  poke<std::uint16_t>(messages[0], offsetof(Header, code), 999);
  EXPECT_EQ(answer_error(*decode_answer(messages[0])).code, ErrorCode::kProtocol);
}

TEST(Encode, ThatAnotherMemberIsThePrimaryArrivesAsItWasSaid) {
  const auto messages = segments(
      AnswerEncoder::error({9, 5}, {ErrorCode::kNotPrimary, "tcp://b:7470 is the primary"}), 256);
  const Error error = answer_error(*decode_answer(messages[0]));
  EXPECT_EQ(error.code, ErrorCode::kNotPrimary);
  EXPECT_EQ(error.message, "tcp://b:7470 is the primary");
}

TEST(Hello, AnotherVersionIsNamedOnBothSides) {
  ClientHello client;
  client.version = 77;
  const auto refused = decode_client_hello(bytes_of(client), 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message.find("77"), std::string::npos);

  ServerHello server;
  server.version = 78;
  const auto server_refused = decode_server_hello(bytes_of(server), 2);
  ASSERT_FALSE(server_refused);
  EXPECT_NE(server_refused.error().message.find("78"), std::string::npos);
}

TEST(Hello, AnotherDimensionIsRefusedUnlessTheClientDoesNotCare) {
  ClientHello client;
  client.dimensions = 3;
  EXPECT_FALSE(decode_client_hello(bytes_of(client), 2));
  client.dimensions = 0;
  EXPECT_TRUE(decode_client_hello(bytes_of(client), 2));
}

TEST(Hello, AServerOfAnotherDimensionIsRefusedUnlessTheClientDoesNotCare) {
  ServerHello server;
  server.dimensions = 3;
  server.max_batch = 128;
  EXPECT_TRUE(decode_server_hello(bytes_of(server), 3));
  EXPECT_TRUE(decode_server_hello(bytes_of(server), 0));
  const auto refused = decode_server_hello(bytes_of(server), 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
}

TEST(Hello, AServerThatTakesNoOperationsIsRefused) {
  ServerHello server;
  server.dimensions = 2;
  server.max_batch = 1;
  EXPECT_TRUE(decode_server_hello(bytes_of(server), 2));
  server.max_batch = 0;
  EXPECT_FALSE(decode_server_hello(bytes_of(server), 2));
}

TEST(Hello, GarbageIsNotAHello) {
  EXPECT_FALSE(decode_client_hello(Bytes(3), 2));
  EXPECT_FALSE(decode_client_hello(Bytes(16, std::byte{0x47}), 2));
  EXPECT_FALSE(decode_server_hello(Bytes(64, std::byte{0x47}), 2));
}

TEST(Hello, ExposedMemoryMustBeDescribed) {
  ServerHello server;
  server.dimensions = 2;
  server.max_batch = 128;
  EXPECT_TRUE(decode_server_hello(bytes_of(server), 0));
  server.one_sided = 1;
  EXPECT_FALSE(decode_server_hello(bytes_of(server), 0));
  server.grace_ns = 50'000'000;
  server.chunk_bytes = 4096;
  server.chunks_per_region = 1024;
  EXPECT_TRUE(decode_server_hello(bytes_of(server), 0));
  const auto refused = [&server](auto ServerHello::*field, auto value) {
    ServerHello changed = server;
    changed.*field = value;
    return !decode_server_hello(bytes_of(changed), 0);
  };
  EXPECT_TRUE(refused(&ServerHello::grace_ns, std::uint64_t{0}));
  EXPECT_TRUE(refused(&ServerHello::chunk_bytes, 0u));
  EXPECT_TRUE(refused(&ServerHello::chunk_bytes, 100u));
  EXPECT_TRUE(refused(&ServerHello::chunks_per_region, 0u));
  EXPECT_TRUE(refused(&ServerHello::root_offset, std::uint64_t{32}));
  EXPECT_TRUE(refused(&ServerHello::one_sided, 2u));
}

TEST(Decode, BelievesTheHeaderThatWasReadWhateverThePeerMakesOfItsBytes) {
  std::vector<std::byte> message = nearest_message({.point = {{1, 2}}, .k = 3});
  const Request request(*decode_header(message), message);
  Header other = request.header;
  other.request_id += 1;
  other.type = MessageType::kWrite;
  std::memcpy(message.data(), &other, sizeof other);
  const auto nearest = decode_nearest<2>(request);
  ASSERT_TRUE(nearest);
  EXPECT_EQ(nearest->header.request_id, request.header.request_id);
}

}  // namespace
}  // namespace silurus::protocol
