// SPDX-License-Identifier: Apache-2.0

#include "access/key.h"

#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "access/private_file.h"
#include "common/check.h"

namespace silurus::access {
namespace {

constexpr std::string_view kFileWord = "silurus-key";
constexpr std::size_t kMaxKeyFileBytes = 4096;
/// What the id of a key is computed with besides the secret, so that no tag of a proof is one.
constexpr std::string_view kIdLabel = "silurus key id";

/// Before the first random byte is asked for. Any thread, any number of times.
void start_sodium() { SILURUS_CHECK(sodium_init() >= 0); }

bool is_name(std::string_view name) {
  const auto is_letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= Key::kMaxNameBytes && is_letter_or_digit(name.front()) &&
         std::ranges::all_of(name, [&](char c) {
           return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

std::string_view next_word(std::string_view& line) {
  constexpr std::string_view kSpace = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(kSpace), line.size()));
  const std::size_t length = std::min(line.find_first_of(kSpace), line.size());
  const std::string_view word = line.substr(0, length);
  line.remove_prefix(length);
  return word;
}

std::optional<Key::Secret> secret_of(std::string_view hex) {
  Key::Secret secret{};
  std::size_t length = 0;
  const char* end = nullptr;
  if (sodium_hex2bin(reinterpret_cast<unsigned char*>(secret.data()), secret.size(), hex.data(),
                     hex.size(), nullptr, &length, &end) != 0 ||
      length != secret.size() || end != hex.data() + hex.size()) {
    return std::nullopt;
  }
  return secret;
}

KeyId id_of(const Key::Secret& secret) {
  KeyId id = 0;
  static_assert(sizeof(id) <= crypto_generichash_BYTES_MIN);
  std::array<unsigned char, crypto_generichash_BYTES_MIN> hash{};
  crypto_generichash(hash.data(), hash.size(),
                     reinterpret_cast<const unsigned char*>(kIdLabel.data()), kIdLabel.size(),
                     reinterpret_cast<const unsigned char*>(secret.data()), secret.size());
  std::memcpy(&id, hash.data(), sizeof(id));
  return id;
}

}  // namespace

std::string KeyLabel::to_string() const {
  std::array<unsigned char, sizeof(id)> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(id >> (8 * (bytes.size() - 1 - i)));
  }
  std::array<char, 2 * sizeof(id) + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), bytes.data(), bytes.size());
  return name + " (" + hex.data() + ")";
}

Key::Key(std::string name, const Secret& secret)
    : label_{id_of(secret), std::move(name)}, secret_(secret) {}

Key::~Key() { sodium_memzero(secret_.data(), secret_.size()); }

Result<Key> Key::make(std::string name) {
  if (!is_name(name)) {
    return fail(ErrorCode::kInvalidArgument,
                "\"" + printable(name) +
                    "\" is no name of a key: it has 1 to 64 letters, digits, '.', '_' and '-', and "
                    "begins with a letter or digit");
  }
  start_sodium();
  Secret secret;
  randombytes_buf(secret.data(), secret.size());
  Key key(std::move(name), secret);
  sodium_memzero(secret.data(), secret.size());
  return key;
}

Result<Key> Key::parse(std::string_view text, const std::string& file) {
  const auto bad = [&] {
    return fail(ErrorCode::kInvalidArgument,
                file +
                    " is no file of a key: it has one line \"silurus-key NAME SECRET\", where "
                    "the secret is 64 hexadecimal digits (silurus key new)");
  };
  std::optional<Key> found;
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    const std::string_view word = next_word(line);
    if (word.empty() || word.front() == '#') continue;
    const std::string_view name = next_word(line);
    const std::string_view hex = next_word(line);
    if (found || word != kFileWord || !is_name(name) || !next_word(line).empty()) return bad();
    auto secret = secret_of(hex);
    if (!secret) return bad();
    found = Key(std::string(name), *secret);
    sodium_memzero(secret->data(), secret->size());
  }
  if (!found) return bad();
  return std::move(*found);
}

Result<Key> Key::read(const std::string& path, uid_t own) {
  auto text = read_private_file(path, {"the key", kMaxKeyFileBytes, true}, own);
  if (!text) return fail(text.error());
  auto key = parse(*text, path);
  sodium_memzero(text->data(), text->size());
  return key;
}

std::string Key::text() const {
  std::array<char, 2 * kBytes + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), reinterpret_cast<const unsigned char*>(secret_.data()),
                 secret_.size());
  std::string text =
      "# A key of Silurus. Programs that can read this file are what its name says: keep it "
      "secret.\n";
  text += std::string(kFileWord) + " " + label_.name + " " + hex.data() + "\n";
  sodium_memzero(hex.data(), hex.size());
  return text;
}

Status Key::write(const std::string& path) const {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) {
    const auto code = errno == EEXIST ? ErrorCode::kConflict : ErrorCode::kIo;
    return fail(errno_error(code, "cannot make the file " + path, errno));
  }
  std::string content = text();
  const ssize_t written = ::write(file, content.data(), content.size());
  const int error = errno;
  const bool whole = written == static_cast<ssize_t>(content.size()) && fsync(file) == 0;
  close(file);
  sodium_memzero(content.data(), content.size());
  if (whole) return {};
  unlink(path.c_str());
  return fail(errno_error(ErrorCode::kIo, "cannot write the file " + path, error));
}

}  // namespace silurus::access
