// SPDX-License-Identifier: Apache-2.0

#include "client/cluster_info.h"

#include "client/parse_answers.h"
#include "fuzz/target.h"

// What a server tells a client with JSON: of its group, of itself, of its versions.

namespace silurus::fuzz {

namespace {

/// An answer, or an error of its kind.
template <typename Answer>
void check(const Result<Answer>& answer) {
  SILURUS_CHECK(answer || answer.error().code == ErrorCode::kProtocol);
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  const std::string text(as_text(bytes));
  check(client::parse_history(text));
  check(client::parse_difference(text));
  check(client::parse_backup(text));
  check(client::parse_group(text));
  check(client::parse_statistics(text));
  const auto info = client::parse_cluster_info(as_text(bytes));
  if (!info) {
    SILURUS_CHECK(info.error().code == ErrorCode::kProtocol);
    return;
  }
  SILURUS_CHECK(!(info->is_primary && info->is_backup));
  SILURUS_CHECK(info->others.size() <= client::kMaxClusterMembers);
  for (const std::string& url : info->others) SILURUS_CHECK(!url.empty());
}

std::vector<std::string> seeds() {
  return {R"({"self": "1", "primary": "1", "role": "primary", "members": [
            {"id": "1", "url": "tcp://a:1"}, {"id": "2", "url": "tcp://b:1", "in_view": true}]})",
          R"({"self": 2, "role": "backup", "members": [{"id": 1, "url": "", "in_view": false}]})",
          R"({"versions": [{"version": 3, "unix_ns": 5, "entries": 7}]})",
          R"({"from": 3, "to": 9, "inserted": [1], "erased": [], "moved": [2]})",
          R"({"path": "/copy", "version": 12, "entries": 5})",
          R"({"version": 5, "listeners": [{"clients": 2}], "memory": {"budget_bytes": 9}})"};
}

}  // namespace silurus::fuzz
