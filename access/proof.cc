// SPDX-License-Identifier: Apache-2.0

#include "access/proof.h"

#include <sodium.h>

#include "common/check.h"

namespace silurus::access {
namespace {

const unsigned char* bytes(const void* data) { return static_cast<const unsigned char*>(data); }

}  // namespace

Nonce make_nonce() {
  SILURUS_CHECK(sodium_init() >= 0);
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

Transcript::Transcript(std::string_view what) { add(std::as_bytes(std::span(what))); }

Transcript& Transcript::add(std::span<const std::byte> said) {
  const std::uint64_t length = said.size();
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, digest_.size());
  crypto_generichash_update(&state, bytes(digest_.data()), digest_.size());
  crypto_generichash_update(&state, bytes(&length), sizeof(length));
  crypto_generichash_update(&state, bytes(said.data()), said.size());
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(digest_.data()),
                           digest_.size());
  return *this;
}

Tag Transcript::tag(const Key& key, Side side) const {
  const auto label = static_cast<unsigned char>(side);
  Tag tag;
  crypto_generichash_state state;
  crypto_generichash_init(&state, bytes(key.secret().data()), key.secret().size(), tag.size());
  crypto_generichash_update(&state, &label, sizeof(label));
  crypto_generichash_update(&state, bytes(digest_.data()), digest_.size());
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(tag.data()), tag.size());
  return tag;
}

bool Transcript::is_proved_by(const Tag& tag, const Key& key, Side side) const {
  const Tag right = this->tag(key, side);
  return sodium_memcmp(right.data(), tag.data(), right.size()) == 0;
}

}  // namespace silurus::access
