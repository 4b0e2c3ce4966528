// SPDX-License-Identifier: Apache-2.0

#include "bench/peers/inserts.h"

// Built where SQLite's or PostgreSQL's development files were missing.

namespace silurus::bench {
namespace {

tl::unexpected<Error> missing() {
  return fail(
      ErrorCode::kUnsupported,
      "this silurus-bench was built without SQLite and PostgreSQL: run scripts/setup --peers, "
      "then build it again");
}

}  // namespace

Result<std::unique_ptr<SqlitePeer>> SqlitePeer::create(const std::string&) { return missing(); }

Result<std::unique_ptr<PostgisPeer>> PostgisPeer::start(const std::string&) { return missing(); }

}  // namespace silurus::bench
