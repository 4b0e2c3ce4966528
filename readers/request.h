// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace silurus::readers {

/// What becomes of a feature that is not a point: a box about all of it; a box for each of its
/// vertices, without extent; a box for each segment between two vertices of its lines and rings.
enum class As : std::uint8_t { kBoxes, kPoints, kSegments };

/// What a helper program is asked for: the arguments of its command line. Immutable value.
struct Request {
  std::string path;
  int dimensions = 2;
  std::string layer = {};  ///< layer, variable or table; empty: the file has one
  std::string where = {};  ///< condition that the format's library understands; empty: none
  std::string id = {};     ///< column that ids are read from; empty: the reader's choice
  As as = As::kBoxes;
  bool skip_bad = false;  ///< leave bad features out and count them

  bool operator==(const Request&) const = default;
};

/// FILE and "name=value" for each member that is not at its default, and back. kInvalidArgument
/// names an argument that makes no sense.
std::vector<std::string> to_arguments(const Request& request);
Result<Request> parse_request(const std::vector<std::string>& arguments);

/// "boxes", "points" or "segments", and back.
std::string_view name_of(As as);
Result<As> parse_as(std::string_view name);

}  // namespace silurus::readers
