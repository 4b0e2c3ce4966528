// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "silurus/answers.h"

// What a server answers with JSON, as the structs that a Client returns. Whatever the text is:
// kProtocol names the answer that makes no sense.

namespace silurus::client {

Result<std::vector<KeptVersion>> parse_history(std::string json);
Result<Difference> parse_difference(std::string json);
Result<BackupAnswer> parse_backup(std::string json);
Result<std::vector<CollectionInfo>> parse_collections(std::string json);
Result<GroupInfo> parse_group(std::string json);
Result<ServerStatistics> parse_statistics(std::string json);

}  // namespace silurus::client
