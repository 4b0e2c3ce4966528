#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace silurus {

/// What kind of thing went wrong, for programs. Travels in answers: the values never change.
enum class ErrorCode : std::uint16_t {
  kInvalidArgument = 1,   ///< the caller asked for something that makes no sense
  kNotFound = 2,          ///< no such entry, file, version or server
  kOutOfMemory = 3,       ///< a stated memory budget is used up
  kUnavailable = 4,       ///< cannot be reached or is shutting down; trying again later may help
  kConnectionLost = 5,    ///< the peer went away
  kDeadlineExceeded = 6,  ///< no answer in time
  kProtocol = 7,          ///< a peer or a file sent bytes that break its format
  kUnsupported = 8,       ///< this fabric, build or peer cannot do that
  kIo = 9,                ///< the operating system refused
  kPermission = 10,       ///< not allowed
  kTooLarge = 11,         ///< over a stated limit
  kConflict = 12,         ///< the state forbids it now (e.g. already loading)
  kNotPrimary = 13,       ///< nothing happened: this member may not do it, another one may
  kInDoubt = 14,          ///< a write was sent, and whether it happened could not be learnt in time
  kMoved = 15,    ///< nothing happened: what this server holds is moving, or has moved, to others
  kNoSpace = 16,  ///< nothing happened: a disk, a quota or a limit of file sizes is full
};

/// Name of a code as printed in messages and JSON: "invalid-argument".
std::string_view to_string(ErrorCode code);

/// What failed, on what, why, and what to do about it. Immutable value.
struct Error {
  ErrorCode code;
  std::string message;
};

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

/// A value or an Error. Every module boundary returns this; exceptions do not cross modules.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

/// Success or an Error.
using Status = Result<void>;

/// `return fail(ErrorCode::kNotFound, "no such file: " + path);`
inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace silurus
