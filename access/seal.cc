// SPDX-License-Identifier: Apache-2.0

#include "access/seal.h"

#include <sodium.h>

#include <string_view>

namespace silurus::access {
namespace {

/// What the secret of a seal is computed with, so that it is neither an id nor a tag of a proof.
constexpr std::string_view kSealLabel = "silurus seal";

const unsigned char* chars(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

Seal::Seal(const Key& key, std::span<const std::byte> context) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, chars(key.secret()), key.secret().size(), secret_.size());
  crypto_generichash_update(&state, chars(std::as_bytes(std::span(kSealLabel))), kSealLabel.size());
  crypto_generichash_update(&state, chars(context), context.size());
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(secret_.data()),
                           secret_.size());
}

Seal::~Seal() { sodium_memzero(secret_.data(), secret_.size()); }

Tag Seal::tag(std::span<const std::byte> message) const {
  Tag tag;
  crypto_generichash(reinterpret_cast<unsigned char*>(tag.data()), tag.size(), chars(message),
                     message.size(), chars(secret_), secret_.size());
  return tag;
}

bool Seal::is_on(std::span<const std::byte> message, const Tag& tag) const {
  const Tag right = this->tag(message);
  return sodium_memcmp(right.data(), tag.data(), right.size()) == 0;
}

}  // namespace silurus::access
