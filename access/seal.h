// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>

#include "access/key.h"
#include "access/proof.h"

namespace silurus::access {

/// Tells messages that the holders of a key have written from all others: for datagrams, which have
/// no set-up in which the key could be proved. It tells neither old ones nor repeated ones apart;
/// the messages must say what those need. A value; the secret in it is wiped with it.
class Seal {
 public:
  /// `context`: what the messages are of; a tag of one context is none of another.
  Seal(const Key& key, std::span<const std::byte> context);
  Seal(const Seal&) = default;
  Seal& operator=(const Seal&) = default;
  ~Seal();

  /// A keyed BLAKE2b of 128 bits.
  Tag tag(std::span<const std::byte> message) const;
  /// Whether `tag` is that, told in a time that does not depend on where they differ.
  bool is_on(std::span<const std::byte> message, const Tag& tag) const;

 private:
  Key::Secret secret_;
};

}  // namespace silurus::access
