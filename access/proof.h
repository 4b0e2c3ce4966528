// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "access/key.h"

// The proof that both sides of a connection hold the same key, which is not told. The server sends
// a nonce; the client answers with a nonce of its own and a tag over all that was said until then;
// the server answers with a tag over that and over what it says in the end. Each tag is new, for
// each side has chosen a nonce; the sides' tags differ, so that none can be sent back; and a tag
// proves nothing of another hello, other limits or another fabric, for all of that is in it.

namespace silurus::access {

using Nonce = std::array<std::byte, 16>;
/// 128 bits, of which an attacker can try one guess for each connection.
using Tag = std::array<std::byte, 16>;

/// Random bytes, never the same again.
Nonce make_nonce();

enum class Side : std::uint8_t { kClient = 1, kServer = 2 };

/// What has been said in a set-up, in order. A value.
///
///   Transcript said("tcp");
///   said.add(bytes_of(setup)).add(nonce);
///   const Tag tag = said.tag(key, Side::kClient);
class Transcript {
 public:
  /// `what`: the kind of set-up, so that a tag of one is none of another.
  explicit Transcript(std::string_view what);

  /// One more thing that was said, of any length.
  Transcript& add(std::span<const std::byte> said);
  /// The proof of that side for all that has been added.
  Tag tag(const Key& key, Side side) const;
  /// Whether `tag` is that, told in a time that does not depend on where they differ.
  bool is_proved_by(const Tag& tag, const Key& key, Side side) const;

 private:
  std::array<std::byte, 32> digest_{};  ///< digest of all that was added
};

}  // namespace silurus::access
