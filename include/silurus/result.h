// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

#include "silurus/api.h"

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
  kNoCollection = 17,  ///< nothing happened: there is no such collection, or not any more
};

/// Name of a code as printed in messages and JSON: "invalid-argument".
std::string_view to_string(ErrorCode code);

/// What failed, on what, why, and what to do about it. Immutable value.
struct Error {
  ErrorCode code;
  std::string message;
};

}  // namespace silurus

/// What value() of a Result throws if there is none: what() is the message.
template <>
class tl::bad_expected_access<silurus::Error> : public std::exception {
 public:
  explicit bad_expected_access(silurus::Error error) : error_(std::move(error)) {}
  const char* what() const noexcept override { return error_.message.c_str(); }
  const silurus::Error& error() const { return error_; }

 private:
  silurus::Error error_;
};

namespace silurus {

/// A value or an Error. Every module boundary returns this; exceptions do not cross modules.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

/// Success or an Error.
using Status = Result<void>;

}  // namespace silurus
