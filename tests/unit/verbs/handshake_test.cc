// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/handshake.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "transport/ring.h"

namespace silurus::transport::verbs {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

ConnectRequest request() {
  ConnectRequest made = *make_request(std::vector<std::byte>(7, std::byte{9}));
  made.max_ring_bytes = kMaxRingBytes;
  return made;
}

TEST(VerbsHandshake, CarriesTheHello) {
  const auto parsed = parse_request(bytes_of(request()));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(hello_of(*parsed).size(), 7u);
  EXPECT_EQ(hello_of(*parsed)[6], std::byte{9});
}

TEST(VerbsHandshake, RefusesAHelloThatDoesNotFit) {
  const auto made = make_request(std::vector<std::byte>(kMaxClientHelloBytes + 1));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
}

TEST(VerbsHandshake, NamesBothVersionsWhenTheyDiffer) {
  ConnectRequest other = request();
  other.version = 77;
  const auto parsed = parse_request(bytes_of(other));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, ErrorCode::kProtocol);
  EXPECT_NE(parsed.error().message.find("77"), std::string::npos);
  EXPECT_NE(parsed.error().message.find(std::to_string(kHandshakeVersion)), std::string::npos);
}

TEST(VerbsHandshake, RefusesWhatIsCutShortOrNonsense) {
  const ConnectRequest whole = request();
  EXPECT_FALSE(parse_request(bytes_of(whole).first(55)));
  EXPECT_FALSE(parse_request({}));
  ConnectRequest bad = whole;
  bad.hello_bytes = 33;
  EXPECT_FALSE(parse_request(bytes_of(bad)));
  ConnectReply reply = *make_reply({});
  reply.ring_bytes = kMinRingBytes + 1;
  EXPECT_FALSE(parse_reply(bytes_of(reply), "server"));
}

TEST(VerbsHandshake, CarriesARefusalOfAnyLength) {
  const Refusal refusal = make_refusal({ErrorCode::kTooLarge, std::string(1000, 'x')});
  const Error error = parse_refusal(bytes_of(refusal), "server");
  EXPECT_EQ(error.code, ErrorCode::kTooLarge);
  EXPECT_EQ(error.message, "server: " + std::string(refusal.text.size(), 'x'));
}

TEST(VerbsHandshake, KnowsARefusalThatIsNotOurs) {
  EXPECT_EQ(parse_refusal({}, "server").code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace silurus::transport::verbs
