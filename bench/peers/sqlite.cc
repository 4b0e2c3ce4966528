// SPDX-License-Identifier: Apache-2.0

#include <sqlite3.h>

#include <algorithm>
#include <cmath>

#include "bench/peers/library_session.h"

namespace silurus::bench {
namespace {

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Status check(const Database& database, bool ok, const std::string& what) {
  if (ok) return {};
  return fail(ErrorCode::kIo, "SQLite: " + what + ": " + sqlite3_errmsg(database.get()));
}

/// The score of a node or an entry is its distance from the point: the R*Tree visits what has the
/// least score next, and so gives the nearest first (sqlite.org/rtree.html, section 6.2).
int score_by_distance(sqlite3_rtree_query_info* info) {
  double sum = 0;
  for (int d = 0; d < 2; ++d) {
    const double off = std::max(
        {info->aCoord[2 * d] - info->aParam[d], 0.0, info->aParam[d] - info->aCoord[2 * d + 1]});
    sum += off * off;
  }
  info->rScore = std::sqrt(sum);
  info->eWithin = PARTLY_WITHIN;
  return SQLITE_OK;
}

/// SQLite's R*Tree, in memory, asked by prepared statements.
class Sqlite final : public Peer {
 public:
  const PeerTraits& traits() const override { return traits_; }

  Status open() {
    sqlite3* database = nullptr;
    const int opened = sqlite3_open(":memory:", &database);
    database_.reset(database);
    if (auto ok = check(database_, opened == SQLITE_OK, "open"); !ok) return ok;
    if (auto ok = check_version("SQLite", sqlite3_libversion(), {3, 8, 5}, "best-first search");
        !ok) {
      return ok;
    }
    return run("CREATE VIRTUAL TABLE boxes USING rtree(id, xmin, xmax, ymin, ymax)");
  }

  Status load(std::span<const rtree::Entry<2>> entries) override {
    auto insert = prepare("INSERT INTO boxes VALUES(?,?,?,?,?)");
    if (!insert) return fail(insert.error());
    if (auto ok = run("BEGIN"); !ok) return ok;
    for (const auto& [id, box] : entries) {
      sqlite3_bind_int64(insert->get(), 1, static_cast<sqlite3_int64>(id));
      bind(*insert, 2, {box.min[0], box.max[0], box.min[1], box.max[1]});
      if (auto ok = check(database_, sqlite3_step(insert->get()) == SQLITE_DONE, "insert"); !ok) {
        return ok;
      }
      sqlite3_reset(insert->get());
    }
    return run("COMMIT");
  }

  Result<std::unique_ptr<PeerSession>> connect() override {
    const int made = sqlite3_rtree_query_callback(database_.get(), "nearest", score_by_distance,
                                                  nullptr, nullptr);
    if (auto ok = check(database_, made == SQLITE_OK, "define nearest"); !ok) {
      return fail(ok.error());
    }
    auto window =
        prepare("SELECT id FROM boxes WHERE xmax >= ? AND xmin <= ? AND ymax >= ? AND ymin <= ?");
    if (!window) return fail(window.error());
    window_ = std::move(*window);
    auto nearest = prepare("SELECT id FROM boxes WHERE id MATCH nearest(?, ?) LIMIT ?");
    if (!nearest) return fail(nearest.error());
    nearest_ = std::move(*nearest);
    return std::make_unique<LibrarySession>([this](const PeerQuery& query, PeerAnswer& answer) {
      const Statement& statement = query.k == 0 ? window_ : nearest_;
      const auto& [min, max] = query.window;
      if (query.k == 0) {
        bind(statement, 1, {min[0], max[0], min[1], max[1]});
      } else {
        bind(statement, 1, {min[0], min[1], static_cast<double>(query.k)});
      }
      int step = 0;
      while ((step = sqlite3_step(statement.get())) == SQLITE_ROW) {
        answer.push_back(static_cast<std::uint64_t>(sqlite3_column_int64(statement.get(), 0)));
      }
      sqlite3_reset(statement.get());
      return check(database_, step == SQLITE_DONE, "search");
    });
  }

 private:
  Status run(const char* sql) {
    return check(database_,
                 sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK, sql);
  }

  Result<Statement> prepare(const char* sql) {
    sqlite3_stmt* made = nullptr;
    const int prepared = sqlite3_prepare_v2(database_.get(), sql, -1, &made, nullptr);
    if (auto ok = check(database_, prepared == SQLITE_OK, sql); !ok) return fail(ok.error());
    return Statement(made);
  }

  static void bind(const Statement& statement, int first, std::initializer_list<double> values) {
    for (const double value : values) sqlite3_bind_double(statement.get(), first++, value);
  }

  const PeerTraits traits_{.title = std::string("SQLite R*Tree ") + sqlite3_libversion(),
                           .embedded = true,
                           .pipelines = false,
                           .rounding = Rounding::kFloat32};
  Database database_;
  Statement window_, nearest_;
};

}  // namespace

Result<std::unique_ptr<Peer>> start_sqlite(const PeerPlace&) {
  auto made = std::make_unique<Sqlite>();
  if (auto ok = made->open(); !ok) return fail(ok.error());
  return made;
}

}  // namespace silurus::bench
