#include "client/cluster_info.h"

#include "fuzz/target.h"

// What a server tells a client of its group: JSON.

namespace silurus::fuzz {

void try_input(std::span<const std::byte> bytes) {
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
          R"({"self": 2, "role": "backup", "members": [{"id": 1, "url": "", "in_view": false}]})"};
}

}  // namespace silurus::fuzz
