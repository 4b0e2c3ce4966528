// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "readers/serve.h"

namespace silurus::readers {

/// Reads a binned file of GSHHG with libnetcdf; datasets/gshhg.h says what comes out. Everything
/// read is checked before it is used: a file that is truncated, damaged or of another kind is a
/// kProtocol error that names the file and what to do.
Result<std::unique_ptr<Reader<2>>> open_gshhg(const Request& request);

}  // namespace silurus::readers
