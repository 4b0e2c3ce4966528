// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "common/result.h"
#include "silurus/answers.h"
#include "silurus/types.h"

namespace silurus::client {

/// A record of an entry with that box, as it travels (geometry/record.h): its geometry in the one
/// form that it has there, its properties without spaces. kInvalidArgument, kUnsupported,
/// kTooLarge: what of its parts is wrong, or that the box does not hold the geometry. Pure.
template <int D>
Result<std::string> encode_record(const Record& record, const Box<D>& box);

/// Adds what an answer to a kGet with records tells (protocol::GotRecord): entries, their records,
/// and the ids of which there is none. kProtocol: it is no such answer. Pure; takes any bytes.
template <int D>
Status append_got_records(std::span<const std::byte> answer, GetAnswer<D>& to);

}  // namespace silurus::client
