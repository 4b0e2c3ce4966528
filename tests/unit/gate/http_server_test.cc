// SPDX-License-Identifier: Apache-2.0

#include "gate/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "tests/support/patience.h"
#include "tests/unit/gate/fake_source.h"

// The server with a client that writes and reads bytes.

namespace silurus::gate {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

/// A body of that number of pieces, of which the last one may fail.
class Pieces : public BodyStream {
 public:
  Pieces(int count, bool fails) : left_(count), fails_(fails) {}
  Result<bool> next(Source&, std::string& into) override {
    if (--left_ == 0 && fails_) return fail(ErrorCode::kConnectionLost, "away");
    into += std::string(kPieceBytes, 'x');
    return left_ > 0;
  }

 private:
  int left_;
  bool fails_;
};

class HttpConnection {
 public:
  explicit HttpConnection(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(port);
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&place), sizeof place), 0);
  }
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;
  ~HttpConnection() { close(fd_); }

  void send(const std::string& text) const {
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  /// All that comes until the server closes the connection.
  std::string rest() const {
    std::string all;
    char buffer[65536];
    for (ssize_t got = 0; (got = recv(fd_, buffer, sizeof buffer, 0)) > 0;) {
      all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
  }
  /// All that comes up to the first time that `text` is in it.
  std::string until(const std::string& text) const {
    std::string all;
    char byte = 0;
    while (all.find(text) == std::string::npos && recv(fd_, &byte, 1, 0) == 1) all += byte;
    return all;
  }

 private:
  int fd_;
};

class HttpServerTest : public testing::Test {
 protected:
  void start(HttpOptions options = {}) {
    options.port = 0;
    auto server = HttpServer::start(
        options, counters_, [] { return std::make_unique<FakeSource>(std::vector<Entry<3>>()); },
        [](const HttpRequest& request, Source&) {
          HttpAnswer answer{.body = request.method + " " + request.target};
          if (request.target == "/stream") answer.stream = std::make_unique<Pieces>(5, false);
          if (request.target == "/broken") answer.stream = std::make_unique<Pieces>(5, true);
          return answer;
        });
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  HttpConnection connect() const { return HttpConnection(server_->port()); }

  HttpCounters counters_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersRequestsOfOneConnectionInTheirOrder) {
  start();
  const auto client = connect();
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string answers = client.rest();
  EXPECT_THAT(answers, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answers, HasSubstr("GET /aHTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answers, EndsWith("GET /b"));
}

TEST_F(HttpServerTest, SendsLongAnswersInChunks) {
  start();
  const auto client = connect();
  client.send("GET /stream HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string answer = client.rest();
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n0\r\n\r\n"));
  const std::string body = answer.substr(answer.find("\r\n\r\n"));
  EXPECT_EQ(std::count(body.begin(), body.end(), 'x'), 5 * kPieceBytes);
}

TEST_F(HttpServerTest, SendsLongAnswersOfOldClientsToTheEndOfTheConnection) {
  start();
  const auto client = connect();
  client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(client.rest(), EndsWith("xxxxxxxx"));
}

TEST_F(HttpServerTest, EndsNoAnswerThatIsNotWhole) {
  start();
  const auto client = connect();
  client.send("GET /broken HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.rest(), testing::Not(EndsWith("\r\n0\r\n\r\n")));
}

TEST_F(HttpServerTest, SendsNoBodyForHead) {
  start();
  const auto client = connect();
  client.send("HEAD /a HTTP/1.1\r\n\r\nHEAD /stream HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string answers = client.rest();
  EXPECT_THAT(answers, HasSubstr("Content-Length: 6\r\n"));
  EXPECT_THAT(answers, EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrNoHttp) {
  start();
  for (const auto& [request, status] : std::vector<std::pair<std::string, std::string>>{
           {"GET /" + std::string(kMaxHeaderBytes, 'a') + " HTTP/1.1\r\n\r\n", "431"},
           {"GET /" + std::string(kMaxTargetBytes, 'a') + " HTTP/1.1\r\nConnection: close\r\n\r\n",
            "414"},
           {"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", "413"},
           {"nonsense\r\n\r\n", "400"}}) {
    const auto client = connect();
    client.send(request);
    EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 " + status)) << request.substr(0, 20);
  }
}

TEST_F(HttpServerTest, CutsOffAClientThatSendsNoWholeRequest) {
  start({.request_time = 20 * kMillisecond});
  const auto client = connect();
  client.send("GET / HTTP/1.1\r\nHost:");
  EXPECT_EQ(client.rest(), "");
  EXPECT_TRUE(testing_support::wait_until([&] { return counters_.cut_off == 1; }));
}

TEST_F(HttpServerTest, CutsOffAClientThatTakesNoAnswer) {
  start({.piece_time = 20 * kMillisecond});
  const auto client = connect();
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += "GET /stream HTTP/1.1\r\n\r\n";
  client.send(requests);  // 32 MB of answers: more than the sockets' buffers hold
  EXPECT_TRUE(testing_support::wait_until([&] { return counters_.cut_off == 1; }));
}

TEST_F(HttpServerTest, TurnsAwayConnectionsBeyondTheLimit) {
  start({.max_connections = 2});
  {
    const auto first = connect();
    const auto second = connect();
    for (const auto* client : {&first, &second}) {
      client->send("GET /a HTTP/1.1\r\n\r\n");
      client->until("GET /a");
    }
    EXPECT_EQ(connect().rest(), "");
    EXPECT_EQ(counters_.turned_away, 1u);
  }
  EXPECT_TRUE(testing_support::wait_until([&] { return counters_.open == 0; }));
}

TEST_F(HttpServerTest, StopsWithAnswersUnderWay) {
  start();
  const auto client = connect();
  client.send("GET /stream HTTP/1.1\r\n\r\n");
  client.until("xxxx");
  server_.reset();
  EXPECT_EQ(counters_.open, 0u);
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  start();
  HttpCounters counters;
  const auto second = HttpServer::start(
      {.port = server_->port()}, counters, [] { return nullptr; },
      [](const HttpRequest&, Source&) { return HttpAnswer(); });
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("Address already in use"));
}

}  // namespace
}  // namespace silurus::gate
