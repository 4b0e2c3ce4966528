// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"

// Other systems that insert boxes durably, to compare with: installed by scripts/setup --peers, and
// built in if they were there when CMake ran.

namespace silurus::bench {

/// SQLite's R*Tree in a file, write-ahead log, synchronous=FULL: an insert is a transaction, and
/// returns when it is durable. SQLite has one writer at a time, so more connections would only wait
/// for each other. One thread.
class SqlitePeer {
 public:
  /// Makes the database in that new file. kUnsupported if this build has no SQLite.
  static Result<std::unique_ptr<SqlitePeer>> create(const std::string& path);
  virtual ~SqlitePeer() = default;
  /// Inserts a second, one after the other.
  virtual Result<double> insert_rate(double seconds, std::uint64_t seed) = 0;
};

/// A PostgreSQL server of our own with PostGIS, fsync and synchronous_commit on, and a table of
/// boxes with a GiST index; stopped when this object goes.
class PostgisPeer {
 public:
  /// Makes a cluster in that new directory and starts it; as the user postgres if we are root.
  /// kUnsupported if this build has no PostgreSQL.
  static Result<std::unique_ptr<PostgisPeer>> start(const std::string& directory);
  virtual ~PostgisPeer() = default;
  /// Inserts a second with that many connections, each a thread with one insert under way.
  virtual Result<double> insert_rate(std::size_t connections, double seconds,
                                     std::uint64_t seed) = 0;
};

}  // namespace silurus::bench
