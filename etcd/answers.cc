// SPDX-License-Identifier: Apache-2.0

#include "etcd/answers.h"

#include <utility>

namespace silurus::etcd {
namespace {

using nlohmann::json;

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A 64-bit number as the gateway writes it: text, or left out if it is 0.
std::uint64_t number(const json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end()) return 0;
  if (found->is_number_unsigned()) return found->get<std::uint64_t>();
  if (!found->is_string()) return 0;
  const auto& digits = found->get_ref<const std::string&>();
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9' || __builtin_mul_overflow(value, std::uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<std::uint64_t>(c - '0'), &value)) {
      return 0;
    }
  }
  return value;
}

std::optional<std::string> text(const json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_string()) return std::nullopt;
  return from_base64(found->get_ref<const std::string&>());
}

}  // namespace

std::string to_base64(std::string_view text) {
  std::string encoded;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (i + j < text.size() ? static_cast<unsigned char>(text[i + j]) : 0u);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      encoded += i + j > text.size() ? '=' : kAlphabet[bits >> (18 - 6 * j) & 63];
    }
  }
  return encoded;
}

std::optional<std::string> from_base64(std::string_view encoded) {
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;
  while (!encoded.empty() && encoded.back() == '=') encoded.remove_suffix(1);
  for (const char c : encoded) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    text += static_cast<char>(bits >> count & 255);
  }
  return text;
}

std::optional<json> parse_answer(std::string_view answer) {
  json parsed = json::parse(answer, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  return parsed;
}

Result<std::vector<KeyValue>> key_values_of(const json& answer, std::string_view prefix) {
  std::vector<KeyValue> all;
  const auto found = answer.find("kvs");
  if (found == answer.end() || found->is_null()) return all;
  if (!found->is_array()) return fail(ErrorCode::kProtocol, "etcd answers with no list of keys");
  for (const json& one : *found) {
    auto key = text(one, "key");
    auto value = text(one, "value");
    if (!key || !value || !key->starts_with(prefix)) {
      return fail(ErrorCode::kProtocol, "etcd answers with no key or value");
    }
    all.push_back({std::move(*key), std::move(*value), number(one, "mod_revision")});
  }
  return all;
}

Result<std::uint64_t> revision_of(const json& answer) {
  const auto succeeded = answer.find("succeeded");
  if (succeeded == answer.end() || !succeeded->is_boolean() || !succeeded->get<bool>()) {
    return std::uint64_t{0};
  }
  const auto header = answer.find("header");
  const std::uint64_t now = header == answer.end() ? 0 : number(*header, "revision");
  if (now == 0) return fail(ErrorCode::kProtocol, "etcd answers with no revision");
  return now;
}

Result<std::uint64_t> lease_of(const json& answer) {
  const std::uint64_t lease = number(answer, "ID");
  if (lease == 0) return fail(ErrorCode::kProtocol, "etcd grants no lease");
  return lease;
}

bool is_renewed(const json& answer) {
  const auto result = answer.find("result");
  return result != answer.end() && number(*result, "TTL") != 0;
}

}  // namespace silurus::etcd
