// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "silurus/answers.h"
#include "silurus/result.h"
#include "silurus/statistics.h"
#include "silurus/types.h"

namespace silurus::gate {

/// A box as the gate handles it, of two or three dimensions: with two, the third is 0.
using Area = Box<3>;

/// A collection of entries.
struct Collection {
  std::string name;
  int dimensions = 2;
  std::uint64_t entries = 0;
  Version version = 0;
};

/// What a range search of a source is to return.
struct Search {
  ResultShape shape = ResultShape::kEntries;  ///< kCount or kEntries
  std::uint64_t limit = UINT64_MAX;
  Moment as_of = 0;  ///< 0: now
};

/// What it found.
struct Found {
  std::uint64_t count = 0;
  std::vector<Entry<3>> entries = {};
  Version version = 0;
};

/// What one search took when it went one way.
struct Way {
  std::string name;               ///< "message", "one-sided" or "adaptive"
  std::string problem = {};       ///< why it did not go this way; empty: it did
  std::string took = {};          ///< the way that it went: "message" or "one-sided"
  std::uint64_t count = 0;        ///< entries found
  Version version = 0;            ///< the version that was searched
  double microseconds = 0;        ///< time of the first of kTimesCompared searches
  double again = 0;               ///< least time of the others
  std::uint64_t round_trips = 0;  ///< what the first search took, as all below
  std::uint64_t bytes = 0;        ///< over the wire
  std::uint64_t nodes_read = 0;   ///< nodes read one-sidedly
  std::uint64_t cache_hits = 0;   ///< inner nodes that the client had
};

/// Where the gate's data comes from: a server, or a fake of a test. One thread.
///
/// Errors: kNotFound: there is no such collection, or the version is not kept any more (is_gone());
/// kUnavailable, kConnectionLost, kDeadlineExceeded: the server is away.
class Source {
 public:
  virtual ~Source() = default;

  virtual Result<std::vector<Collection>> collections() = 0;
  /// Name and dimensions of a collection, without a question to the server where they are known.
  virtual Result<Collection> find(const std::string& collection) = 0;
  virtual Result<Found> range(const std::string& collection, const Area& window,
                              const Search& search) = 0;
  virtual Result<NearestAnswer> nearest(const std::string& collection, const Point<3>& point,
                                        std::uint32_t k, Moment as_of) = 0;
  virtual Result<std::vector<KeptVersion>> history(const std::string& collection) = 0;
  /// Searches a window by each way in turn, for up to kMostCompared entries.
  virtual Result<std::vector<Way>> compare(const std::string& collection, const Area& window,
                                           Moment as_of) = 0;
  virtual Result<Difference> difference(const std::string& collection, Moment from, Moment to) = 0;
  virtual Result<GroupInfo> cluster() = 0;
  virtual Result<ServerStatistics> server_statistics() = 0;
  /// What this source has asked so far, and how.
  virtual ClientStatistics statistics() const = 0;
};

using SourceFactory = std::function<std::unique_ptr<Source>()>;

/// The text of an error that says that a version is not kept any more begins with this.
constexpr const char* kGonePrefix = "this version is gone: ";
inline bool is_gone(const Error& error) {
  return error.code == ErrorCode::kNotFound && error.message.starts_with(kGonePrefix);
}

}  // namespace silurus::gate
