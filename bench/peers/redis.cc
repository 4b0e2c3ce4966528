// SPDX-License-Identifier: Apache-2.0

#include <hiredis/hiredis.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>
#include <optional>

#include "bench/peers/peer.h"
#include "bench/subprocess.h"

namespace silurus::bench {
namespace {

constexpr const char* kProgram = "/usr/bin/redis-server";
constexpr Nanoseconds kStartTimeout = 30 * kSecond;
constexpr std::size_t kEntriesPerCommand = 1000;
/// A search for k neighbours looks within the radius where that many times k are to be expected.
constexpr double kExpectedPerWanted = 2.5;
constexpr int kMaxDoublings = 40;

struct Free {
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Connection = std::unique_ptr<redisContext, Free>;
using Reply = std::unique_ptr<redisReply, Free>;

/// Words of a command, their text in one buffer.
class Words {
 public:
  void clear() {
    text_.clear();
    sizes_.clear();
  }
  Words& operator<<(std::string_view word) {
    text_ += word;
    sizes_.push_back(word.size());
    return *this;
  }
  Words& operator<<(double number) { return print(number); }
  Words& operator<<(std::uint64_t number) { return print(number); }

  Status append_to(const Connection& connection) {
    pointers_.clear();
    const char* at = text_.data();
    for (const std::size_t size : sizes_) {
      pointers_.push_back(at);
      at += size;
    }
    if (redisAppendCommandArgv(connection.get(), static_cast<int>(sizes_.size()), pointers_.data(),
                               sizes_.data()) == REDIS_OK) {
      return {};
    }
    return fail(ErrorCode::kIo, std::string("Redis: ") + connection->errstr);
  }

 private:
  template <typename Number>
  Words& print(Number number) {
    char text[32];
    const auto [end, error] = std::to_chars(text, text + sizeof text, number);
    return *this << std::string_view(text, static_cast<std::size_t>(end - text));
  }

  std::string text_;
  std::vector<std::size_t> sizes_;
  std::vector<const char*> pointers_;
};

Result<Connection> connect_to(const std::string& socket) {
  Connection connection(redisConnectUnix(socket.c_str()));
  if (!connection || connection->err != 0) {
    return fail(ErrorCode::kUnavailable,
                "Redis: " + std::string(connection ? connection->errstr : "out of memory"));
  }
  return connection;
}

Result<Reply> next_reply(const Connection& connection) {
  void* got = nullptr;
  if (redisGetReply(connection.get(), &got) != REDIS_OK) {
    return fail(ErrorCode::kConnectionLost, std::string("Redis: ") + connection->errstr);
  }
  Reply reply(static_cast<redisReply*>(got));
  if (reply->type == REDIS_REPLY_ERROR) {
    return fail(ErrorCode::kIo, "Redis: " + std::string(reply->str, reply->len));
  }
  return reply;
}

/// Asks in pipelines: the commands of all queries are written together.
class RedisSession final : public PeerSession {
 public:
  RedisSession(Connection connection, double first_radius_m)
      : connection_(std::move(connection)), first_radius_m_(first_radius_m) {}

  Status begin(std::span<const PeerQuery> queries) override {
    queries_ = queries;
    for (const PeerQuery& query : queries) {
      if (auto ok = append(query, first_radius_m_); !ok) return ok;
    }
    return flush();
  }

  Status finish(std::span<PeerAnswer> answers) override {
    for (std::size_t i = 0; i < queries_.size(); ++i) {
      if (auto ok = read(answers[i]); !ok) return ok;
    }
    // Neighbours that were farther than expected.
    for (std::size_t i = 0; i < queries_.size(); ++i) {
      double radius = first_radius_m_;
      for (int times = 0; answers[i].size() < queries_[i].k && times < kMaxDoublings; ++times) {
        radius *= 2;
        if (auto ok = append(queries_[i], radius); !ok) return ok;
        if (auto ok = read(answers[i]); !ok) return ok;
      }
    }
    return {};
  }

 private:
  Status append(const PeerQuery& query, double radius_m) {
    words_.clear();
    words_ << "GEOSEARCH"
           << "boxes"
           << "FROMLONLAT";
    if (query.k == 0) {
      const RedisWindow window = redis_window(query.window);
      words_ << window.centre.longitude << window.centre.latitude << "BYBOX" << window.width_m
             << window.height_m << "m";
    } else {
      const Place place = place_of(query.point());
      words_ << place.longitude << place.latitude << "BYRADIUS" << radius_m << "m"
             << "ASC"
             << "COUNT" << std::uint64_t{query.k};
    }
    return words_.append_to(connection_);
  }

  Status flush() {
    for (int done = 0; done == 0;) {
      if (redisBufferWrite(connection_.get(), &done) != REDIS_OK) {
        return fail(ErrorCode::kConnectionLost, std::string("Redis: ") + connection_->errstr);
      }
    }
    return {};
  }

  Status read(PeerAnswer& answer) {
    const auto reply = next_reply(connection_);
    if (!reply) return fail(reply.error());
    answer.resize((*reply)->elements);
    for (std::size_t i = 0; i < answer.size(); ++i) {
      const redisReply& id = *(*reply)->element[i];
      const auto [end, error] = std::from_chars(id.str, id.str + id.len, answer[i]);
      if (error != std::errc()) return fail(ErrorCode::kProtocol, "Redis: an id is no number");
    }
    return {};
  }

  Connection connection_;
  double first_radius_m_;
  Words words_;
  std::span<const PeerQuery> queries_;
};

/// Redis with one sorted set of places: the boxes' centres, since it holds no boxes.
class Redis final : public Peer {
 public:
  const PeerTraits& traits() const override { return traits_; }

  Status begin(const PeerPlace& place) {
    socket_ = place.folder + "/redis.sock";
    auto started = Subprocess::start(
        {.words = {kProgram, "--port", "0", "--unixsocket", socket_, "--dir", place.folder,
                   "--save", "", "--appendonly", "no", "--daemonize", "no"},
         .log = place.folder + "/redis.log",
         .cpus = place.cpus});
    if (!started) return fail(started.error());
    process_.emplace(std::move(*started));
    Connection connection;
    const auto ready = wait_until_ready(*process_, kProgram, kStartTimeout, [&] {
      auto connected = connect_to(socket_);
      if (connected) connection = std::move(*connected);
      return connected.has_value();
    });
    if (!ready) return ready;
    const auto version = version_of(connection);
    if (!version) return fail(version.error());
    traits_.title = "Redis GEO " + *version;
    return check_version("Redis", *version, {6, 2}, "GEOSEARCH");
  }

  Status load(std::span<const rtree::Entry<2>> entries) override {
    auto connection = connect_to(socket_);
    if (!connection) return fail(connection.error());
    Words words;
    for (std::size_t i = 0; i < entries.size(); i += kEntriesPerCommand) {
      words.clear();
      words << "GEOADD"
            << "boxes";
      for (const auto& entry :
           entries.subspan(i, std::min(kEntriesPerCommand, entries.size() - i))) {
        const Place place = place_of(centre_of(entry.box));
        words << place.longitude << place.latitude << entry.id;
      }
      if (auto ok = words.append_to(*connection); !ok) return ok;
      if (auto reply = next_reply(*connection); !reply) return fail(reply.error());
    }
    // For k = 10: of a disc of this radius in the unit square, by the density of all entries.
    const double radius = std::sqrt(kExpectedPerWanted * 10 / std::numbers::pi /
                                    static_cast<double>(std::max<std::size_t>(1, entries.size())));
    first_radius_m_ = redis_distance_m({{0.5, 0.5}}, {{0.5, 0.5 + std::min(0.5, radius)}});
    return {};
  }

  Result<std::unique_ptr<PeerSession>> connect() override {
    auto connection = connect_to(socket_);
    if (!connection) return fail(connection.error());
    return std::make_unique<RedisSession>(std::move(*connection), first_radius_m_);
  }

  double cpu_seconds() const override { return process_->cpu_seconds(); }

 private:
  static Result<std::string> version_of(const Connection& connection) {
    Words words;
    words << "INFO"
          << "server";
    if (auto ok = words.append_to(connection); !ok) return fail(ok.error());
    const auto reply = next_reply(connection);
    if (!reply) return fail(reply.error());
    const std::string text((*reply)->str, (*reply)->len);
    constexpr std::string_view kKey = "redis_version:";
    const auto at = text.find(kKey);
    if (at == std::string::npos) return fail(ErrorCode::kProtocol, "Redis says no version");
    const auto from = at + kKey.size();
    return text.substr(from, text.find_first_of("\r\n", from) - from);
  }

  PeerTraits traits_{.title = "Redis GEO", .rounding = Rounding::kGeohash};
  std::string socket_;
  std::optional<Subprocess> process_;
  double first_radius_m_ = 1;
};

}  // namespace

Result<std::unique_ptr<Peer>> start_redis(const PeerPlace& place) {
  auto made = std::make_unique<Redis>();
  if (auto ok = made->begin(place); !ok) return fail(ok.error());
  return made;
}

}  // namespace silurus::bench
