// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "client/tool/arguments.h"
#include "client/tool/progress.h"
#include "common/result.h"
#include "silurus/client.h"

namespace silurus::tool {

/// Writes all entries of a collection, as one version has them, to a new file or to standard
/// output, some thousand at a time; what to tell, which is nothing if they went to standard output.
/// kUnsupported: GeoJSON of three dimensions; kConflict: the server gave the version up.
template <int D>
Result<std::string> export_collection(Client<D>& client, const ExportCommand& command,
                                      bool ids_as_strings, Progress& progress);

}  // namespace silurus::tool
