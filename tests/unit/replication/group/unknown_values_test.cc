// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/json.h"
#include "replication/group/side_messages.h"
#include "replication/group/view.h"
#include "replication/group/wire.h"

// What another member sends, or the view store holds: kinds, flags and fields that this program
// does not know are refused, however intact the message is.

namespace silurus::replication::group {
namespace {

constexpr GroupId kGroupOfThem = 77;
using Bytes = std::vector<std::byte>;

template <typename Body>
Bytes message_of(Kind kind, std::uint8_t flags, const Body& body, std::size_t payload = 0) {
  const Envelope head{.checksum = 0,
                      .sender = 3,
                      .incarnation = 4,
                      .epoch = 5,
                      .length = 0,
                      .kind = kind,
                      .flags = flags};
  Bytes bytes(kMaxGroupMessageBytes);
  const Bytes content(payload, std::byte{9});
  bytes.resize(
      encode_message(kGroupOfThem, head, std::as_bytes(std::span(&body, 1)), content, bytes));
  return bytes;
}

/// By the decoder of its kind.
bool is_taken(std::span<const std::byte> message) {
  const auto head = decode_envelope(kGroupOfThem, message);
  if (!head) return false;
  switch (head->kind) {
    case Kind::kLog:
      return decode_log(*head, message).has_value();
    case Kind::kRow:
      return decode_row(*head, message).has_value();
    case Kind::kFetch:
    case Kind::kFetched:
      return decode_fetch(*head, message).has_value();
    case Kind::kProbe:
    case Kind::kProbed:
      return decode_probe(*head, message).has_value();
  }
  return true;
}

constexpr LogBody kSomeLog{.lsn = 64, .end = 256, .end_chain = 1, .commit = 8, .heartbeat = 2};
constexpr RowBody kSomeRow{.received = 16, .durable = 8, .applied = 8, .known = 24, .promised = 1};

TEST(UnknownMessages, OfAllFlagsEachKindTakesItsOwn) {
  const std::vector<std::pair<std::string, std::function<Bytes(std::uint8_t)>>> kinds{
      {"log", [](std::uint8_t flags) { return message_of(Kind::kLog, flags, kSomeLog); }},
      {"row", [](std::uint8_t flags) { return message_of(Kind::kRow, flags, kSomeRow); }},
      {"fetch",
       [](std::uint8_t flags) {
         return message_of(Kind::kFetch, flags, FetchBody{.lsn = 8, .bytes = 16});
       }},
      {"fetched",
       [](std::uint8_t flags) {
         return message_of(Kind::kFetched, flags, FetchBody{.lsn = 8, .bytes = 0});
       }},
      {"probe",
       [](std::uint8_t flags) {
         return message_of(Kind::kProbe, flags, ProbeBody{.number = 1, .committed = 8});
       }},
      {"probed", [](std::uint8_t flags) {
         return message_of(Kind::kProbed, flags, ProbeBody{.number = 1, .committed = 8});
       }}};
  const std::vector<std::uint8_t> known{0, kInStep | kReturned | kCopies, 0, kTrimmed | kBeyond, 0,
                                        0};
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    EXPECT_TRUE(is_taken(kinds[i].second(0))) << kinds[i].first;
    for (unsigned bit = 0; bit < 8; ++bit) {
      const auto flag = static_cast<std::uint8_t>(1u << bit);
      EXPECT_EQ(is_taken(kinds[i].second(flag)), (known[i] & flag) != 0)
          << kinds[i].first << " with flag " << int{flag};
    }
  }
}

TEST(UnknownMessages, OfOtherKindsAreNotEvenLookedAt) {
  for (const int kind : {0, 7, 255}) {
    const Bytes bytes = message_of(static_cast<Kind>(kind), 0, kSomeLog);
    EXPECT_FALSE(decode_envelope(kGroupOfThem, bytes)) << kind;
  }
  EXPECT_TRUE(decode_envelope(kGroupOfThem, message_of(static_cast<Kind>(6), 0, kSomeLog)))
      << "the last one";
}

TEST(UnknownMessages, AProbeHasNoPayloadAndAPlaceOfTheLog) {
  EXPECT_TRUE(is_taken(message_of(Kind::kProbe, 0, ProbeBody{.number = 1, .committed = 16})));
  EXPECT_FALSE(is_taken(message_of(Kind::kProbe, 0, ProbeBody{.number = 1, .committed = 4})));
  EXPECT_FALSE(is_taken(message_of(Kind::kProbe, 0, ProbeBody{.number = 1, .committed = 16}, 8)));
}

TEST(UnknownMessages, AWindowIsOfThisGroupAndOfWholeLines) {
  const WindowHello good{.self = {.group = kGroupOfThem, .member = 1, .incarnation = 2},
                         .window_bytes = 128};
  const auto is_hello = [](const WindowHello& hello) {
    return decode_window_hello(kGroupOfThem, std::as_bytes(std::span(&hello, 1))).has_value();
  };
  EXPECT_TRUE(is_hello(good));
  EXPECT_FALSE(decode_window_hello(kGroupOfThem, std::as_bytes(std::span(&good, 1)).first(39)));
  const auto changed = [&](auto change) {
    WindowHello hello = good;
    change(hello);
    return hello;
  };
  EXPECT_FALSE(is_hello(changed([](WindowHello& hello) { hello.window_bytes = 96; })));
  EXPECT_FALSE(is_hello(changed([](WindowHello& hello) { ++hello.self.magic; })));
  EXPECT_FALSE(is_hello(changed([](WindowHello& hello) { ++hello.self.format; })));
  EXPECT_FALSE(is_hello(changed([](WindowHello& hello) { ++hello.self.group; })));
  EXPECT_FALSE(is_hello(changed([](WindowHello& hello) { hello.self.member = 0; })));
  EXPECT_FALSE(is_hello(changed([](WindowHello& hello) { hello.self.incarnation = 0; })));
}

TEST(UnknownMessages, SideMessagesAreBelievedWholeOrNotAtAll) {
  Bytes bytes(sizeof(SideMessageHead) + 16, std::byte{3});
  EXPECT_FALSE(decode_side_message(bytes)) << "a checksum that is another's";
  for (std::size_t size = 0; size < sizeof(SideMessageHead); ++size) {
    EXPECT_FALSE(decode_side_message(std::span(bytes).first(size))) << size;
  }
}

// --- what lies in the view store

const MemberInfo kMember{.id = 1, .peers = "tcp://a:1", .clients = "tcp://a:2"};
const View kView{.epoch = 4,
                 .members = {kMember},
                 .primary = 1,
                 .incarnation = 7,
                 .since = 2,
                 .ack = Ack::kQuorum,
                 .min_members = 1,
                 .most_members = 1};
const Registration kRegistration{.member = kMember,
                                 .incarnation = 8,
                                 .candidate_for = 4,
                                 .durable = 16,
                                 .log_epoch = 3,
                                 .copy_chain = 9};
const PersistedView kKept{.founder = 5, .taken_over_at = 3, .view = kView};

/// Each field in turn is of another kind, is no number, and is missing; those that may be missing,
/// since earlier versions did not write them, are named.
template <typename Decode>
void expect_each_field_matters(const std::string& text, const Decode& decode,
                               const std::vector<std::string>& may_be_missing) {
  const nlohmann::json good = parse_json(text);
  ASSERT_TRUE(decode(json_text(good))) << decode(json_text(good)).error().message;
  for (const auto& [name, value] : good.items()) {
    for (const nlohmann::json& other :
         {nlohmann::json(true), nlohmann::json("99999999999999999999x"), nlohmann::json()}) {
      nlohmann::json changed = good;
      changed[name] = other;
      const auto refused = decode(json_text(changed));
      ASSERT_FALSE(refused) << name << " = " << json_text(other);
      EXPECT_EQ(refused.error().code, ErrorCode::kProtocol) << name;
    }
    nlohmann::json without = good;
    without.erase(name);
    const bool may_be = std::ranges::find(may_be_missing, name) != may_be_missing.end();
    EXPECT_EQ(decode(json_text(without)).has_value(), may_be) << "without " << name;
  }
}

TEST(UnknownFields, OfAViewAreRefused) {
  expect_each_field_matters(encode(kView), decode_view, {"min_members", "most_members"});
}

TEST(UnknownFields, OfARegistrationAreRefused) {
  expect_each_field_matters(encode(kRegistration), decode_registration, {"copy_chain"});
}

TEST(UnknownFields, OfAPersistedViewAreRefused) {
  expect_each_field_matters(encode(kKept), decode_persisted_view, {});
}

TEST(UnknownFields, APersistedViewIsTakenOverBeforeItBegins) {
  PersistedView kept = kKept;
  EXPECT_TRUE(decode_persisted_view(encode(kept)));
  kept.taken_over_at = kept.view.epoch;
  EXPECT_EQ(decode_persisted_view(encode(kept)).error().code, ErrorCode::kProtocol);
}

}  // namespace
}  // namespace silurus::replication::group
