// SPDX-License-Identifier: Apache-2.0

#include <array>
#include <bit>
#include <cstring>
#include <iterator>

#include "bench/peers/peer.h"
#include "bench/peers/postgres.h"

namespace silurus::bench {
namespace {

// What PostgreSQL's binary forms are made of: big-endian numbers.
template <typename Number>
void append_big(std::string& to, Number number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  if constexpr (std::endian::native == std::endian::little) {
    std::reverse(std::begin(bytes), std::end(bytes));
  }
  to.append(bytes, sizeof bytes);
}

std::uint64_t read_big(const char* from) {
  std::uint64_t number = 0;
  for (int i = 0; i < 8; ++i) number = number << 8 | static_cast<unsigned char>(from[i]);
  return number;
}

/// A box as a polygon in well-known binary.
std::string polygon(const rtree::Box<2>& box) {
  const std::array<std::array<double, 2>, 5> ring{{{box.min[0], box.min[1]},
                                                   {box.min[0], box.max[1]},
                                                   {box.max[0], box.max[1]},
                                                   {box.max[0], box.min[1]},
                                                   {box.min[0], box.min[1]}}};
  std::string out(1, '\0');  // big-endian
  append_big(out, std::uint32_t{3});
  append_big(out, std::uint32_t{1});
  append_big(out, std::uint32_t{ring.size()});
  for (const auto& corner : ring) {
    for (const double coordinate : corner) append_big(out, coordinate);
  }
  return out;
}

/// An entry as a row of COPY ... WITH BINARY.
void append_row(std::string& to, const rtree::Entry<2>& entry) {
  const std::string box = polygon(entry.box);
  append_big(to, std::uint16_t{2});
  append_big(to, std::uint32_t{8});
  append_big(to, entry.id);
  append_big(to, static_cast<std::uint32_t>(box.size()));
  to += box;
}

/// Prepared statements, numbers in binary form both ways, and all queries in one pipeline.
class PostgisSession final : public PeerSession {
 public:
  explicit PostgisSession(PostgresConnection connection) : connection_(std::move(connection)) {}

  Status prepare() {
    for (const auto& [name, sql] :
         {std::pair("window",
                    "SELECT id FROM boxes WHERE box && ST_MakeEnvelope($1::float8, $2::float8, "
                    "$3::float8, $4::float8)"),
          std::pair("nearest",
                    "SELECT id FROM boxes ORDER BY box <-> ST_MakePoint($1::float8, $2::float8) "
                    "LIMIT $3::float8::int")}) {
      const PostgresAnswer made(PQprepare(connection_.get(), name, sql, 0, nullptr));
      if (auto ok = check(connection_, made, sql); !ok) return ok;
    }
    if (PQenterPipelineMode(connection_.get()) == 1) return {};
    return problem("pipeline");
  }

  Status begin(std::span<const PeerQuery> queries) override {
    queries_ = queries;
    for (const PeerQuery& query : queries) {
      if (!send(query)) return problem("send");
    }
    return PQpipelineSync(connection_.get()) == 1 ? Status() : problem("send");
  }

  Status finish(std::span<PeerAnswer> answers) override {
    for (std::size_t i = 0; i < queries_.size(); ++i) {
      const PostgresAnswer answer(PQgetResult(connection_.get()));
      if (auto ok = check(connection_, answer, "search"); !ok) return ok;
      answers[i].resize(static_cast<std::size_t>(PQntuples(answer.get())));
      for (std::size_t row = 0; row < answers[i].size(); ++row) {
        answers[i][row] = read_big(PQgetvalue(answer.get(), static_cast<int>(row), 0));
      }
      const PostgresAnswer none(PQgetResult(connection_.get()));  // ends the answer
      if (none) return problem("too many answers");
    }
    const PostgresAnswer end(PQgetResult(connection_.get()));
    return PQresultStatus(end.get()) == PGRES_PIPELINE_SYNC ? Status() : problem("pipeline");
  }

 private:
  bool send(const PeerQuery& query) {
    const auto& [min, max] = query.window;
    const std::array<double, 4> numbers =
        query.k == 0 ? std::array{min[0], min[1], max[0], max[1]}
                     : std::array{min[0], min[1], static_cast<double>(query.k), 0.0};
    const int count = query.k == 0 ? 4 : 3;
    std::string bytes;
    for (const double number : numbers) append_big(bytes, number);
    const std::array<const char*, 4> values{bytes.data(), bytes.data() + 8, bytes.data() + 16,
                                            bytes.data() + 24};
    constexpr std::array<int, 4> kSizes{8, 8, 8, 8}, kBinary{1, 1, 1, 1};
    return PQsendQueryPrepared(connection_.get(), query.k == 0 ? "window" : "nearest", count,
                               values.data(), kSizes.data(), kBinary.data(), 1) == 1;
  }

  Status problem(const std::string& what) const {
    return fail(ErrorCode::kIo,
                "PostgreSQL: " + what + ": " + std::string(PQerrorMessage(connection_.get())));
  }

  PostgresConnection connection_;
  std::span<const PeerQuery> queries_;
};

/// PostgreSQL with PostGIS: a GiST index that covers the id, the table in the index's order, all of
/// it in shared buffers.
class Postgis final : public Peer {
 public:
  explicit Postgis(PostgresServer server)
      : server_(std::move(server)),
        traits_{.title = "PostGIS " + server_.version(), .rounding = Rounding::kFloat32} {}
  const PeerTraits& traits() const override { return traits_; }

  Status load(std::span<const rtree::Entry<2>> entries) override {
    auto connected = server_.connect();
    if (!connected) return fail(connected.error());
    const PostgresConnection& connection = *connected;
    if (auto ok = run_sql(connection, "CREATE TABLE boxes(id bigint, box geometry)"); !ok) {
      return ok;
    }
    if (auto ok = copy(connection, entries); !ok) return ok;
    for (const char* sql : {"CREATE INDEX boxes_box ON boxes USING gist(box) INCLUDE (id)",
                            "CLUSTER boxes USING boxes_box", "VACUUM (FREEZE, ANALYZE) boxes"}) {
      if (auto ok = run_sql(connection, sql); !ok) return ok;
    }
    return {};
  }

  Result<std::unique_ptr<PeerSession>> connect() override {
    auto connection = server_.connect();
    if (!connection) return fail(connection.error());
    auto session = std::make_unique<PostgisSession>(std::move(*connection));
    if (auto ok = session->prepare(); !ok) return fail(ok.error());
    return session;
  }

  double cpu_seconds() const override { return server_.cpu_seconds(); }

 private:
  static Status copy(const PostgresConnection& connection,
                     std::span<const rtree::Entry<2>> entries) {
    constexpr std::size_t kFlush = 1 << 16;
    const PostgresAnswer begun(PQexec(connection.get(), "COPY boxes FROM STDIN WITH BINARY"));
    if (PQresultStatus(begun.get()) != PGRES_COPY_IN) return check(connection, begun, "COPY");
    std::string bytes("PGCOPY\n\377\r\n\0", 11);
    append_big(bytes, std::uint32_t{0});  // flags
    append_big(bytes, std::uint32_t{0});  // no more header
    const auto flush = [&] {
      const int put = PQputCopyData(connection.get(), bytes.data(), static_cast<int>(bytes.size()));
      bytes.clear();
      return put == 1;
    };
    bool good = true;
    for (const auto& entry : entries) {
      append_row(bytes, entry);
      if (bytes.size() >= kFlush) good = good && flush();
    }
    append_big(bytes, std::uint16_t{0xffff});
    good = good && flush() && PQputCopyEnd(connection.get(), nullptr) == 1;
    if (!good) {
      return fail(ErrorCode::kIo,
                  "PostgreSQL: COPY: " + std::string(PQerrorMessage(connection.get())));
    }
    const PostgresAnswer ended(PQgetResult(connection.get()));
    if (auto ok = check(connection, ended, "COPY"); !ok) return ok;
    while (PostgresAnswer(PQgetResult(connection.get()))) {
    }
    return {};
  }

  PostgresServer server_;
  const PeerTraits traits_;
};

}  // namespace

Result<std::unique_ptr<Peer>> start_postgis(const PeerPlace& place) {
  auto server = PostgresServer::start(
      place.folder + "/postgres",
      {"fsync=off", "shared_buffers=1GB", "effective_cache_size=2GB", "random_page_cost=1",
       "maintenance_work_mem=512MB", "jit=off", "max_parallel_workers_per_gather=0",
       "plan_cache_mode=force_generic_plan", "autovacuum=off", "max_wal_size=4GB"},
      place.cpus);
  if (!server) return fail(server.error());
  return std::make_unique<Postgis>(std::move(*server));
}

}  // namespace silurus::bench
