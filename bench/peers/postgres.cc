// SPDX-License-Identifier: Apache-2.0

#include "bench/peers/postgres.h"

#include <pwd.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "bench/peers/agreement.h"

namespace silurus::bench {
namespace {

namespace fs = std::filesystem;

constexpr Nanoseconds kStartTimeout = 60 * kSecond;
constexpr const char* kUser = "postgres";

Status make_directory(const std::string& directory) {
  std::error_code error;
  if (!fs::create_directory(directory, error)) {
    return fail(ErrorCode::kIo, "cannot make " + directory + ": " + error.message());
  }
  if (geteuid() != 0) return {};
  const passwd* user = getpwnam(kUser);
  if (user == nullptr || chown(directory.c_str(), user->pw_uid, user->pw_gid) != 0) {
    return fail(ErrorCode::kNotFound, "cannot give " + directory + " to the user postgres");
  }
  return {};
}

}  // namespace

Status check(const PostgresConnection& connection, const PostgresAnswer& answer,
             const std::string& what) {
  const auto status = PQresultStatus(answer.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return {};
  return fail(ErrorCode::kIo,
              "PostgreSQL: " + what + ": " + std::string(PQerrorMessage(connection.get())));
}

Status run_sql(const PostgresConnection& connection, const std::string& sql) {
  return check(connection, PostgresAnswer(PQexec(connection.get(), sql.c_str())), sql);
}

Result<PostgresServer> PostgresServer::start(const std::string& directory,
                                             const std::vector<std::string>& settings,
                                             const std::vector<int>& cpus) {
  PostgresServer server(directory);
  if (auto ok = server.begin(settings, cpus); !ok) return fail(ok.error());
  return server;
}

Status PostgresServer::begin(const std::vector<std::string>& settings,
                             const std::vector<int>& cpus) {
  const std::string initdb = SILURUS_POSTGRES_BIN "/initdb";
  if (::access(initdb.c_str(), X_OK) != 0) {
    return fail(ErrorCode::kNotFound, initdb + " is not installed");
  }
  if (auto ok = make_directory(directory_); !ok) return ok;
  const std::string cluster = directory_ + "/cluster", log = directory_ + "/log";
  {
    auto init = Subprocess::start({
        .words = {initdb, "-D", cluster, "-A", "trust", "-U", "bench", "--no-sync"},
        .log = log,
        .user = kUser,
    });
    if (!init) return fail(init.error());
    if (init->wait() != 0) {
      return fail(ErrorCode::kIo, "initdb failed in " + directory_ +
                                      ": the user postgres must be able to reach it; " +
                                      init->last_words());
    }
  }
  SubprocessOptions options{
      .words = {SILURUS_POSTGRES_BIN "/postgres", "-D", cluster, "-k", directory_, "-c",
                "listen_addresses=", "-c", "log_min_messages=fatal"},
      .log = log,
      .user = kUser,
      .cpus = cpus,
      .stop_signal = SIGQUIT};  // at once: its data are not needed
  for (const std::string& setting : settings) {
    options.words.insert(options.words.end(), {"-c", setting});
  }
  auto started = Subprocess::start(options);
  if (!started) return fail(started.error());
  process_.emplace(std::move(*started));
  PostgresConnection connection;
  auto ready = wait_until_ready(*process_, "postgres", kStartTimeout, [&] {
    auto connected = connect();
    if (connected) connection = std::move(*connected);
    return connected.has_value();
  });
  if (!ready) return ready;
  if (auto made = run_sql(connection, "CREATE EXTENSION postgis"); !made) {
    return fail(ErrorCode::kUnsupported, "there is no PostGIS: " + made.error().message);
  }
  return find_version(connection);
}

Status PostgresServer::find_version(const PostgresConnection& connection) {
  const PostgresAnswer answer(PQexec(connection.get(),
                                     "SELECT split_part(current_setting('server_version'), ' ', "
                                     "1), postgis_lib_version()"));
  if (auto ok = check(connection, answer, "version"); !ok) return ok;
  const std::string postgres = PQgetvalue(answer.get(), 0, 0);
  const std::string postgis = PQgetvalue(answer.get(), 0, 1);
  version_ = postgis + " (PostgreSQL " + postgres + ")";
  if (auto ok = check_version("PostgreSQL", postgres, {12}, "a covering GiST index"); !ok) {
    return ok;
  }
  return check_version("PostGIS", postgis, {3}, "exact <->");
}

Result<PostgresConnection> PostgresServer::connect() const {
  PostgresConnection connection(
      PQconnectdb(("host=" + directory_ + " user=bench dbname=postgres").c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    return fail(ErrorCode::kUnavailable,
                "PostgreSQL: " + std::string(PQerrorMessage(connection.get())));
  }
  return connection;
}

}  // namespace silurus::bench
