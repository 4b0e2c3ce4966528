// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "silurus/client.h"
#include "silurus/result.h"

// What a server lists of a collection at one version, page by page (protocol::TaskKind::kExport).

namespace silurus::client {

/// What a server says of an export.
struct Listing {
  Version version = 0;
  std::uint64_t entries = 0;
  std::uint64_t pages = 0;
};

/// Pins the current version of the client's collection for its connection, and lists it. kNotFound,
/// kUnavailable: the server has too many of these.
template <int D>
Result<Listing> begin_export(Client<D>& client);
/// A page of what was listed, as operations that make it; each is checked. kConflict: the server
/// has given the version up.
template <int D>
Result<std::vector<Operation<D>>> read_page(Client<D>& client, std::uint64_t index);

}  // namespace silurus::client
