// SPDX-License-Identifier: Apache-2.0

#include "access/proof.h"

#include <gtest/gtest.h>

#include <span>
#include <string_view>

namespace silurus::access {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

Transcript transcript(std::string_view hello, const Nonce& nonce) {
  Transcript said("tcp");
  return said.add(bytes(hello)).add(nonce);
}

class Proof : public testing::Test {
 protected:
  const Key key_ = *Key::make("alice");
  const Nonce nonce_ = make_nonce();
  const Transcript said_ = transcript("hello", nonce_);
  const Tag tag_ = said_.tag(key_, Side::kClient);
};

TEST_F(Proof, OfTheSameSetUpIsGood) {
  EXPECT_TRUE(transcript("hello", nonce_).is_proved_by(tag_, key_, Side::kClient));
}

TEST_F(Proof, OfAnotherNonceIsNone) {
  EXPECT_FALSE(transcript("hello", make_nonce()).is_proved_by(tag_, key_, Side::kClient));
}

TEST_F(Proof, OfTheOtherSideIsNone) { EXPECT_FALSE(said_.is_proved_by(tag_, key_, Side::kServer)); }

TEST_F(Proof, OfAnotherKeyOfThatNameIsNone) {
  EXPECT_FALSE(said_.is_proved_by(tag_, *Key::make("alice"), Side::kClient));
}

TEST_F(Proof, OfAnotherHelloIsNone) {
  EXPECT_FALSE(transcript("hallo", nonce_).is_proved_by(tag_, key_, Side::kClient));
}

TEST_F(Proof, OfAnotherFabricIsNone) {
  Transcript said("rdma");
  said.add(bytes("hello")).add(nonce_);
  EXPECT_FALSE(said.is_proved_by(tag_, key_, Side::kClient));
}

TEST_F(Proof, DependsOnWhereOneThingEndsAndTheNextBegins) {
  Transcript one("tcp");
  Transcript other("tcp");
  one.add(bytes("ab")).add(bytes("c"));
  other.add(bytes("a")).add(bytes("bc"));
  EXPECT_FALSE(other.is_proved_by(one.tag(key_, Side::kClient), key_, Side::kClient));
}

TEST_F(Proof, IsSpoiltByEachBit) {
  for (std::size_t bit = 0; bit < 8 * tag_.size(); ++bit) {
    Tag spoilt = tag_;
    spoilt[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(said_.is_proved_by(spoilt, key_, Side::kClient)) << bit;
  }
}

}  // namespace
}  // namespace silurus::access
