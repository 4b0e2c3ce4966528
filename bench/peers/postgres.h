// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/subprocess.h"
#include "common/result.h"

namespace silurus::bench {

struct CloseConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using PostgresConnection = std::unique_ptr<PGconn, CloseConnection>;
using PostgresAnswer = std::unique_ptr<PGresult, ClearResult>;

/// kIo, with what PostgreSQL says of it, unless the answer is one.
Status check(const PostgresConnection& connection, const PostgresAnswer& answer,
             const std::string& what);

/// A PostgreSQL server of our own with the extension PostGIS, at a Unix socket; as the user
/// postgres if we are root. Ends with this object, or with the benchmark. Movable.
class PostgresServer {
 public:
  /// Makes a cluster in that new directory and starts it with these settings ("fsync=on").
  /// kNotFound: PostgreSQL isn't installed; kUnsupported: its version, or PostGIS's, is too old.
  static Result<PostgresServer> start(const std::string& directory,
                                      const std::vector<std::string>& settings,
                                      const std::vector<int>& cpus = {});
  Result<PostgresConnection> connect() const;
  /// "15.18 (PostGIS 3.3.2)"
  const std::string& version() const { return version_; }
  double cpu_seconds() const { return process_->cpu_seconds(); }

 private:
  explicit PostgresServer(std::string directory) : directory_(std::move(directory)) {}
  Status begin(const std::vector<std::string>& settings, const std::vector<int>& cpus);
  Status find_version(const PostgresConnection& connection);

  std::string directory_;
  std::optional<Subprocess> process_;
  std::string version_;
};

Status run_sql(const PostgresConnection& connection, const std::string& sql);

}  // namespace silurus::bench
