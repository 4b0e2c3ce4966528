// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "client/tool/arguments.h"
#include "common/result.h"
#include "silurus/answers.h"

namespace silurus::tool {

// Records on the command line, and as they are printed.

/// The record that the words say: a geometry as WKT or GeoJSON, a JSON object; either may be empty,
/// or "@FILE" for what is in a file. kInvalidArgument, kNotFound and so on, with the word.
Result<Record> record_of(const std::string& geometry, const std::string& properties);

/// {"geometry": {...} or null, "properties": {...} or null}; null if the record is empty.
std::string record_as_json(const Record& record);

/// Entries as features of GeoJSON, not kNone. The geometry is that of the record, else the box, of
/// which z is left out.
template <int D>
std::string format_features(const GetAnswer<D>& found, Features features);

/// What the record is in a line of text, with a space before each part: WKT, and JSON.
std::string record_as_text(const Record& record);

}  // namespace silurus::tool
