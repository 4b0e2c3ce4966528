// SPDX-License-Identifier: Apache-2.0

#include "bench/peers/inserts.h"

#include <sqlite3.h>

#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "bench/peers/postgres.h"
#include "bench/random_box.h"
#include "common/clock.h"

namespace silurus::bench {
namespace {

double seconds_since(Nanoseconds start) {
  return static_cast<double>(SystemClock().now() - start) / static_cast<double>(kSecond);
}

// --- SQLite

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

class Sqlite final : public SqlitePeer {
 public:
  Status open(const std::string& path) {
    sqlite3* database = nullptr;
    const int opened = sqlite3_open(path.c_str(), &database);
    database_.reset(database);
    if (opened != SQLITE_OK) return problem("open " + path);
    for (const char* sql : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
                            "CREATE VIRTUAL TABLE boxes USING rtree(id, xmin, xmax, ymin, ymax)"}) {
      if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return problem(sql);
    }
    sqlite3_stmt* insert = nullptr;
    const int prepared =
        sqlite3_prepare_v2(database, "INSERT INTO boxes VALUES(?,?,?,?,?)", -1, &insert, nullptr);
    insert_.reset(insert);
    return prepared == SQLITE_OK ? Status{} : problem("prepare an insert");
  }

  Result<double> insert_rate(double seconds, std::uint64_t seed) override {
    Random random(seed);
    const Nanoseconds start = SystemClock().now();
    std::uint64_t done = 0;
    for (; seconds_since(start) < seconds; ++done) {
      const rtree::Box<2> box = random_box(random);
      sqlite3_bind_int64(insert_.get(), 1, static_cast<sqlite3_int64>(random() >> 1));
      sqlite3_bind_double(insert_.get(), 2, box.min[0]);
      sqlite3_bind_double(insert_.get(), 3, box.max[0]);
      sqlite3_bind_double(insert_.get(), 4, box.min[1]);
      sqlite3_bind_double(insert_.get(), 5, box.max[1]);
      if (sqlite3_step(insert_.get()) != SQLITE_DONE) return fail(problem("insert").error());
      sqlite3_reset(insert_.get());
    }
    return static_cast<double>(done) / seconds_since(start);
  }

 private:
  Status problem(const std::string& what) const {
    return fail(ErrorCode::kIo, "SQLite: " + what + ": " + sqlite3_errmsg(database_.get()));
  }

  std::unique_ptr<sqlite3, CloseDatabase> database_;
  std::unique_ptr<sqlite3_stmt, Finalize> insert_;
};

// --- PostGIS

class Postgis final : public PostgisPeer {
 public:
  explicit Postgis(PostgresServer server) : server_(std::move(server)) {}

  Status make_table() {
    auto connection = server_.connect();
    if (!connection) return fail(connection.error());
    for (const char* sql :
         {"CREATE TABLE boxes(id bigint, box geometry)", "CREATE INDEX ON boxes USING gist(box)"}) {
      if (auto ok = run_sql(*connection, sql); !ok) return ok;
    }
    return {};
  }

  Result<double> insert_rate(std::size_t connections, double seconds, std::uint64_t seed) override {
    std::vector<PostgresConnection> opened;
    for (std::size_t i = 0; i < connections; ++i) {
      auto connection = connect();
      if (!connection) return fail(connection.error());
      opened.push_back(std::move(*connection));
    }
    std::vector<std::uint64_t> done(connections);
    std::vector<Status> outcomes(connections);
    const Nanoseconds start = SystemClock().now();
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < connections; ++i) {
        threads.emplace_back([&, i] {
          Random random(seed * connections + i);
          for (; outcomes[i] && seconds_since(start) < seconds; ++done[i]) {
            outcomes[i] = insert(opened[i], random);
          }
        });
      }
    }
    const double took = seconds_since(start);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < connections; ++i) {
      if (!outcomes[i]) return fail(outcomes[i].error());
      sum += done[i];
    }
    return static_cast<double>(sum) / took;
  }

 private:
  Result<PostgresConnection> connect() const {
    auto connection = server_.connect();
    if (!connection) return connection;
    const PostgresAnswer prepared(PQprepare(connection->get(), "insert",
                                            "INSERT INTO boxes VALUES ($1::bigint, ST_MakeEnvelope("
                                            "$2::float8, $3::float8, $4::float8, $5::float8))",
                                            5, nullptr));
    if (auto ok = check(*connection, prepared, "prepare"); !ok) return fail(ok.error());
    return connection;
  }

  static Status insert(const PostgresConnection& connection, Random& random) {
    const rtree::Box<2> box = random_box(random);
    const std::string texts[] = {std::to_string(random() >> 1), print(box.min[0]),
                                 print(box.min[1]), print(box.max[0]), print(box.max[1])};
    const char* values[5];
    for (std::size_t i = 0; i < 5; ++i) values[i] = texts[i].c_str();
    const PostgresAnswer answer(
        PQexecPrepared(connection.get(), "insert", 5, values, nullptr, nullptr, 0));
    return check(connection, answer, "insert");
  }
  static std::string print(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", value);
    return text;
  }

  PostgresServer server_;
};

}  // namespace

Result<std::unique_ptr<SqlitePeer>> SqlitePeer::create(const std::string& path) {
  auto made = std::make_unique<Sqlite>();
  if (auto ok = made->open(path); !ok) return fail(ok.error());
  return std::unique_ptr<SqlitePeer>(std::move(made));
}

Result<std::unique_ptr<PostgisPeer>> PostgisPeer::start(const std::string& directory) {
  auto server = PostgresServer::start(directory, {"fsync=on", "synchronous_commit=on"});
  if (!server) return fail(server.error());
  auto made = std::make_unique<Postgis>(std::move(*server));
  if (auto ok = made->make_table(); !ok) return fail(ok.error());
  return std::unique_ptr<PostgisPeer>(std::move(made));
}

}  // namespace silurus::bench
