// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

/// What a run of a benchmark left in its JSON, checked.
struct Recorded {
  std::string bench;    ///< first part of every row's name: "modes"
  std::string command;  ///< that made it
  std::string commit;
  std::string machine;  ///< "2 cores of AMD EPYC"
  std::vector<Row> rows = {};
};

/// Reads back what Report::write_json wrote. Errors name the file and the row: kNotFound or kIo
/// (cannot be read), kProtocol (not JSON, not of this form), kUnsupported (another version of the
/// form), kInvalidArgument (no rows, or rows of several benches), kTooLarge.
Result<Recorded> read_recorded(const std::string& path);

/// The same of a text; errors say that it is from `source`.
Result<Recorded> parse_recorded(std::string_view text, const std::string& source);

}  // namespace silurus::bench
