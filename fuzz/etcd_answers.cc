// SPDX-License-Identifier: Apache-2.0

#include "etcd/answers.h"
#include "fuzz/target.h"

// What etcd's gateway answers, as each kind of answer; and base64, both ways.

namespace silurus::fuzz {
namespace {

constexpr std::string_view kPrefix = "silurus/";

void try_base64(std::string_view text) {
  SILURUS_CHECK(etcd::from_base64(etcd::to_base64(text)) == text);
  if (const auto decoded = etcd::from_base64(text)) {
    SILURUS_CHECK(etcd::from_base64(etcd::to_base64(*decoded)) == decoded);
  }
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  const std::string_view text = as_text(bytes);
  try_base64(text);
  const auto answer = etcd::parse_answer(text);
  if (!answer) return;
  if (const auto all = etcd::key_values_of(*answer, kPrefix)) {
    for (const auto& one : *all) SILURUS_CHECK(one.key.starts_with(kPrefix));
  }
  static_cast<void>(etcd::revision_of(*answer));
  if (const auto lease = etcd::lease_of(*answer)) SILURUS_CHECK(*lease != 0);
  static_cast<void>(etcd::is_renewed(*answer));
}

std::vector<std::string> seeds() {
  const std::string key = etcd::to_base64("silurus/name/0/view");
  return {R"({"kvs": [{"key": ")" + key + R"(", "value": "e30=", "mod_revision": "7"}]})",
          R"({"succeeded": true, "header": {"revision": "9"}})",
          R"({"ID": "7587862", "TTL": "5"})",
          R"({"result": {"ID": 1, "TTL": "5"}})",
          "c2lsdXJ1cw==",
          "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["};
}

}  // namespace silurus::fuzz
