#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"
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

/// What a file is, as its first bytes tell: its name is not asked.
enum class FileFormat : std::uint8_t { kText, kGzip, kNetcdf };
FileFormat format_of(std::string_view first_bytes);

/// Some first bytes of a regular file, enough for format_of(). Nothing of an empty file, of one
/// that cannot be read, and of a pipe, whose bytes can be read only once.
std::string first_bytes_of(const std::string& path);

/// Text goes on to a parser of lines. kProtocol names what the first bytes are instead, if that is
/// known, and what to do with it. `name`: of the file, for the message.
Status check_is_text(std::string_view first_bytes, const std::string& name);

/// Opens a file, or standard input ("-"). A file that is packed by gzip is unpacked by a helper
/// program (helper.h, whose errors it may have), a pipe is read as it is. kNotFound, kPermission,
/// kIo, kInvalidArgument (a directory).
Result<std::unique_ptr<Bytes>> open_bytes(const std::string& path);

}  // namespace silurus::datasets
