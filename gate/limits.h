// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>

#include "silurus/time.h"

// Limits of silurus-gate: of what one HTTP client may take, and of what one answer may hold.

namespace silurus::gate {

// --- HTTP

constexpr std::size_t kDefaultMaxConnections = 256;  ///< connections at once (--max-connections)
constexpr std::size_t kMaxConnections = 65'536;      ///< largest value of --max-connections
constexpr std::size_t kMaxThreads = 256;             ///< largest value of --threads
constexpr std::uint32_t kMaxHeaderBytes = 16'384;    ///< request line and header fields together
constexpr std::uint64_t kMaxBodyBytes = 65'536;      ///< body of a request
constexpr std::size_t kMaxTargetBytes = 8'192;       ///< path and query of a request
/// Time in which a request must arrive whole, from the connection's start or the last answer.
constexpr Nanoseconds kRequestTime = 15 * kSecond;
/// Time in which a client must take each piece of an answer.
constexpr Nanoseconds kPieceTime = 30 * kSecond;
constexpr std::size_t kPieceBytes = 65'536;  ///< answers are made and sent in pieces of this size
constexpr std::uint32_t kRetryAfterSeconds = 2;  ///< told with each 503
/// Time that the gate waits for a server that is away before it answers 503.
constexpr Nanoseconds kServerTime = kSecond;

/// Collections that a thread of the gate keeps connections for.
constexpr std::size_t kMaxClientsOfSource = 16;

// --- Pages of features

constexpr std::uint64_t kDefaultPage = 10;            ///< features of a page without `limit`
constexpr std::uint64_t kMaxPage = 1'000'000'000;     ///< a larger `limit` is taken as this
constexpr std::uint64_t kLeastCell = 256;             ///< entries that one search asks at least
constexpr std::uint64_t kMostCell = 4'096;            ///< entries that one search asks at most
constexpr std::uint64_t kMostInOnePlace = 1'000'000;  ///< entries of a cell that cannot be split
constexpr std::uint64_t kMostOverSeam = 100'000;      ///< boxes that reach around a wrapping window

// --- What the page asks besides

constexpr std::uint64_t kMostCompared = 10'000;  ///< entries of a search by each way
constexpr int kTimesCompared = 5;                ///< searches by each way
constexpr std::uint64_t kMostChanged = 100'000;  ///< boxes of a window whose changes are told

// --- Tiles

constexpr std::uint32_t kMaxZoom = 24;
constexpr std::uint32_t kTileExtent = 4'096;     ///< units of a tile's edge
constexpr std::uint32_t kTileBuffer = 64;        ///< units beyond the edge that are drawn
constexpr std::uint64_t kMostInTile = 8'192;     ///< boxes that a tile has one by one at most
constexpr std::size_t kMostOfABox = 64;          ///< bytes that one of them takes at most
constexpr std::size_t kMaxTileBytes = 1u << 20;  ///< bytes of a tile
constexpr std::uint32_t kCellsOfTile = 32;       ///< cells of an edge, where boxes are more
constexpr std::uint64_t kMostCounted = 250;      ///< boxes of a cell that are counted

static_assert(kMostInTile * kMostOfABox + 1'024 <= kMaxTileBytes);
static_assert(kCellsOfTile * kCellsOfTile * (kMostOfABox + 16) + 1'024 <= kMaxTileBytes);
static_assert(kLeastCell <= kMostCell && kMostCell <= kMostInOnePlace);
static_assert(kMaxTargetBytes < kMaxHeaderBytes);

}  // namespace silurus::gate
