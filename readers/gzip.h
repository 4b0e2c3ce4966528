// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "readers/serve.h"

namespace silurus::readers {

/// Unpacks a gzip file (RFC 1952) with zlib: one member, or several one after the other, as
/// `cat a.gz b.gz`, bgzip and pigz leave them. What is truncated or damaged, or has something else
/// behind its end than zeros, is a kProtocol error that names the file and the place.
Result<std::unique_ptr<Unpacker>> open_gzip(const std::string& path);

}  // namespace silurus::readers
