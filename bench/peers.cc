#include "bench/peers.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <spawn.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "bench/random_box.h"
#include "common/clock.h"

extern char** environ;

namespace silurus::bench {
namespace {

namespace fs = std::filesystem;

constexpr Nanoseconds kStartTimeout = 60 * kSecond;

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

struct CloseConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, CloseConnection>;
using Answer = std::unique_ptr<PGresult, ClearResult>;

Status check(const Connection& connection, const Answer& answer, const std::string& what) {
  const auto status = PQresultStatus(answer.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return {};
  return fail(ErrorCode::kIo,
              "PostgreSQL: " + what + ": " + std::string(PQerrorMessage(connection.get())));
}

/// A program with its arguments, as the user postgres if we are root.
Result<pid_t> spawn(std::vector<std::string> words) {
  if (geteuid() == 0) {
    words.insert(words.begin(),
                 {"/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"});
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, argv[0], &quiet, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&quiet);
  if (failed != 0) return fail(errno_error(ErrorCode::kIo, "cannot start " + words[0], failed));
  return pid;
}

class Postgis final : public PostgisPeer {
 public:
  explicit Postgis(std::string directory) : directory_(std::move(directory)) {}
  ~Postgis() override {
    if (pid_ == 0) return;
    kill(pid_, SIGINT);  // a fast shutdown
    waitpid(pid_, nullptr, 0);
  }

  Status begin() {
    std::error_code error;
    if (!fs::create_directory(directory_, error)) {
      return fail(ErrorCode::kIo, "cannot make " + directory_ + ": " + error.message());
    }
    if (geteuid() == 0) {
      const passwd* user = getpwnam("postgres");
      if (user == nullptr || chown(directory_.c_str(), user->pw_uid, user->pw_gid) != 0) {
        return fail(ErrorCode::kIo, "cannot give " + directory_ + " to the user postgres");
      }
    }
    const auto init = spawn({SILURUS_POSTGRES_BIN "/initdb", "-D", directory_ + "/cluster", "-A",
                             "trust", "-U", "bench"});
    if (!init) return fail(init.error());
    int status = 0;
    waitpid(*init, &status, 0);
    if (status != 0) {
      return fail(ErrorCode::kIo, "initdb failed in " + directory_ +
                                      ": the user postgres must be able to reach it (--disk DIR)");
    }
    const auto server =
        spawn({SILURUS_POSTGRES_BIN "/postgres", "-D", directory_ + "/cluster", "-k", directory_,
               "-c", "listen_addresses=", "-c", "log_min_messages=fatal", "-c", "fsync=on", "-c",
               "synchronous_commit=on"});
    if (!server) return fail(server.error());
    pid_ = *server;
    return make_table();
  }

  Result<double> insert_rate(std::size_t connections, double seconds, std::uint64_t seed) override {
    std::vector<Connection> opened;
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
  Result<Connection> connect() const {
    Connection connection(
        PQconnectdb(("host=" + directory_ + " user=bench dbname=postgres").c_str()));
    if (PQstatus(connection.get()) != CONNECTION_OK) {
      return fail(ErrorCode::kUnavailable,
                  "PostgreSQL: " + std::string(PQerrorMessage(connection.get())));
    }
    // There is no table yet when this is asked for the first time.
    if (has_table_) {
      const Answer prepared(PQprepare(connection.get(), "insert",
                                      "INSERT INTO boxes VALUES ($1::bigint, ST_MakeEnvelope("
                                      "$2::float8, $3::float8, $4::float8, $5::float8))",
                                      5, nullptr));
      if (auto ok = check(connection, prepared, "prepare"); !ok) return fail(ok.error());
    }
    return connection;
  }

  Status make_table() {
    const SystemClock clock;
    Result<Connection> connection = connect();
    for (const Nanoseconds end = clock.now() + kStartTimeout; !connection && clock.now() < end;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      connection = connect();
    }
    if (!connection) return fail(connection.error());
    for (const char* sql :
         {"CREATE EXTENSION postgis", "CREATE TABLE boxes(id bigint, box geometry)",
          "CREATE INDEX ON boxes USING gist(box)"}) {
      const Answer answer(PQexec(connection->get(), sql));
      if (auto ok = check(*connection, answer, sql); !ok) return ok;
    }
    has_table_ = true;
    return {};
  }

  static Status insert(const Connection& connection, Random& random) {
    const rtree::Box<2> box = random_box(random);
    const std::string texts[] = {std::to_string(random() >> 1), print(box.min[0]),
                                 print(box.min[1]), print(box.max[0]), print(box.max[1])};
    const char* values[5];
    for (std::size_t i = 0; i < 5; ++i) values[i] = texts[i].c_str();
    const Answer answer(PQexecPrepared(connection.get(), "insert", 5, values, nullptr, nullptr, 0));
    return check(connection, answer, "insert");
  }
  static std::string print(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", value);
    return text;
  }

  const std::string directory_;
  pid_t pid_ = 0;
  bool has_table_ = false;
};

}  // namespace

Result<std::unique_ptr<SqlitePeer>> SqlitePeer::create(const std::string& path) {
  auto made = std::make_unique<Sqlite>();
  if (auto ok = made->open(path); !ok) return fail(ok.error());
  return std::unique_ptr<SqlitePeer>(std::move(made));
}

Result<std::unique_ptr<PostgisPeer>> PostgisPeer::start(const std::string& directory) {
  auto made = std::make_unique<Postgis>(directory);
  if (auto ok = made->begin(); !ok) return fail(ok.error());
  return std::unique_ptr<PostgisPeer>(std::move(made));
}

}  // namespace silurus::bench
