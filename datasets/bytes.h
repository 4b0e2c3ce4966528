// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/result.h"
#include "datasets/formats.h"
#include "datasets/source.h"

namespace silurus::datasets {

/// The bytes of a file, in their order. One owner, one thread.
class Bytes {
 public:
  virtual ~Bytes() = default;
  /// Fills the front of `into` (not empty); returns how many bytes, 0 at the end.
  virtual Result<std::size_t> read(std::span<char> into) = 0;
  virtual Progress progress() const = 0;
};

/// Opens a file, or standard input ("-"). A file that is packed by gzip is unpacked by a helper
/// program (helper.h, whose errors it may have), a pipe is read as it is. kNotFound, kPermission,
/// kIo, kInvalidArgument (a directory).
Result<std::unique_ptr<Bytes>> open_bytes(const std::string& path);

}  // namespace silurus::datasets
