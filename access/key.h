// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"

namespace silurus::access {

/// Which key it is: computed from the secret, of which it tells nothing.
using KeyId = std::uint64_t;

/// What may be told of a key.
struct KeyLabel {
  KeyId id = 0;
  std::string name;
  /// For messages: "alice (52f1a9e07c31b3d4)".
  std::string to_string() const;
  bool operator==(const KeyLabel&) const = default;
};

/// A secret of 32 bytes that client and server share, and its name. A client that holds it is the
/// principal of that name. A value; the secret is wiped from memory with it.
class Key {
 public:
  static constexpr std::size_t kBytes = 32;
  static constexpr std::size_t kMaxNameBytes = 64;
  using Secret = std::array<std::byte, kBytes>;

  /// A new one, of random bytes. kInvalidArgument: a name has 1 to 64 letters, digits, '.', '_' and
  /// '-', of ASCII, and begins with a letter or digit.
  static Result<Key> make(std::string name);
  /// Parses a file's text: lines that begin with '#', and one "silurus-key NAME SECRET", where the
  /// secret is 64 hexadecimal digits. kInvalidArgument names `file`; it never repeats the text.
  static Result<Key> parse(std::string_view text, const std::string& file);
  /// Reads a file (private_file.h says whose it must be).
  static Result<Key> read(const std::string& path, uid_t own);
  /// The text of its file.
  std::string text() const;
  /// Writes a new file, mode 0600. kConflict if there is something of that name.
  Status write(const std::string& path) const;

  Key(const Key&) = default;
  Key& operator=(const Key&) = default;
  ~Key();

  const KeyLabel& label() const { return label_; }
  std::span<const std::byte, kBytes> secret() const { return secret_; }

 private:
  Key(std::string name, const Secret& secret);

  KeyLabel label_;
  Secret secret_;
};

}  // namespace silurus::access
