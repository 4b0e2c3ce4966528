// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "silurus/result.h"

namespace silurus {

/// Error whose message ends with the text and number of an errno value:
/// "cannot open /x: No such file or directory (errno 2)".
Error errno_error(ErrorCode code, std::string what, int errno_value);
/// Whether an errno value says that a disk, a quota or a limit of file sizes is full.
bool is_no_space(int errno_value);
/// The error of such a value, with what to do about it: "no room in /x: No space left on device
/// (errno 28): make room on the disk of /x (df /x)". kNoSpace.
Error no_space_error(std::string what, const std::string& path, int errno_value);

/// `text` as a terminal may show it, from any source: control characters (of one byte, and those
/// of two in UTF-8) and what is no UTF-8 become '?'.
std::string printable(std::string_view text);
/// An error that a peer tells: a code that we do not know is kProtocol, the text is made printable.
Error error_of_peer(std::uint32_t code, std::string_view text);

/// `return fail(ErrorCode::kNotFound, "no such file: " + path);`
inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace silurus
