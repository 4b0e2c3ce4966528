// SPDX-License-Identifier: Apache-2.0

#include "client/compaction.h"

#include <algorithm>
#include <cmath>

#include "common/json.h"
#include "common/units.h"

namespace silurus::client {

Result<std::uint64_t> compaction_fill(double fill) {
  if (!(fill >= 0 && fill <= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                "fill is " + format_number(fill) + ": it must be above 0 and at most 1");
  }
  return fill == 0 ? 0 : std::max<std::uint64_t>(std::llround(fill * 10'000), 1);
}

Result<CompactAnswer> parse_compaction(const std::string& text) {
  const auto json = parse_json(text);
  const auto& share = json_field(json, "share");
  if (!json_field(json, "next").is_number_unsigned() || !share.is_number()) {
    return fail(ErrorCode::kProtocol, "the server's answer to a step of a compaction is none");
  }
  const auto says = [&](const char* name) {
    const auto& field = json_field(json, name);
    return field.is_boolean() && field.get<bool>();
  };
  return CompactAnswer{.next = json_number(json, "next"),
                       .is_done = says("done"),
                       .must_wait = says("must_wait"),
                       .share = share.get<double>(),
                       .saved_nodes = json_number(json, "saved_nodes"),
                       .saved_bytes = json_number(json, "saved_bytes"),
                       .version = json_number(json, "version"),
                       .nodes = json_number(json, "nodes"),
                       .bytes = json_number(json, "bytes"),
                       .bytes_retired = json_number(json, "bytes_retired"),
                       .bytes_held = json_number(json, "bytes_held")};
}

}  // namespace silurus::client
