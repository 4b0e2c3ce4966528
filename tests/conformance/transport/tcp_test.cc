// SPDX-License-Identifier: Apache-2.0

#include <arpa/inet.h>
#include <netinet/in.h>

#include <thread>

#include "tests/conformance/transport/real_server.h"
#include "transport/peer.h"
#include "transport/refusals.h"
#include "transport/ring.h"
#include "transport/setup.h"
#include "transport/tcp/frame.h"
#include "transport/unique_fd.h"

namespace silurus::transport::conformance {
namespace {

class Tcp : public RealServer {
 protected:
  Tcp() : RealServer("tcp") {}

  /// Connected, from this address of the loopback device.
  UniqueFd raw_socket(in_addr_t from = INADDR_LOOPBACK) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(from);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&here), sizeof(here)), 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(listener->address().port)));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
    return fd;
  }
  static void write(const UniqueFd& fd, const void* data, std::size_t bytes) {
    EXPECT_EQ(::send(fd.get(), data, bytes, MSG_NOSIGNAL), static_cast<ssize_t>(bytes));
  }
  /// A client that has said hello properly; what follows is up to the test.
  UniqueFd intrude() {
    UniqueFd fd = raw_socket();
    const auto setup = make_client_setup(kTcpMagic, {});
    write(fd, &*setup, sizeof(*setup));
    const std::size_t before = acceptor.ends.size();
    EXPECT_TRUE(run_until([&] { return acceptor.ends.size() > before; }));
    ServerSetup answer{};
    EXPECT_EQ(recv(fd.get(), &answer, sizeof(answer), MSG_WAITALL),
              static_cast<ssize_t>(sizeof(answer)));
    return fd;
  }
  void expect_hung_up(const UniqueFd& fd) {
    EXPECT_TRUE(run_until([&] {
      char byte = 0;
      const ssize_t got = recv(fd.get(), &byte, 1, MSG_DONTWAIT);
      return got == 0 || (got < 0 && errno == ECONNRESET);
    }));
  }
  void expect_cut_off(ErrorCode code) {
    Recorder& recorder = *acceptor.ends.back().recorder;
    EXPECT_TRUE(run_until([&] { return recorder.closed.has_value(); }));
    EXPECT_EQ(recorder.closed->code, code) << recorder.closed->message;
    EXPECT_EQ(recorder.count, 0u);
  }

  Address loopback = *Address::parse("tcp://127.0.0.1:0");
};

TEST_F(Tcp, GarbageOnThePortIsHungUpOn) {
  ASSERT_TRUE(listen(loopback));
  const UniqueFd browser = raw_socket();
  const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  write(browser, request.data(), request.size());
  expect_hung_up(browser);
  const UniqueFd flood = raw_socket();
  const std::string garbage(100000, '\xff');
  write(flood, garbage.data(), garbage.size());
  expect_hung_up(flood);
  EXPECT_TRUE(acceptor.ends.empty());
  intrude();
}

TEST_F(Tcp, SlowHelloIsCutOff) {
  ASSERT_TRUE(listen(loopback, {.hello_timeout = 5 * kMillisecond}));
  const UniqueFd silent = raw_socket();
  expect_hung_up(silent);
  const UniqueFd half = raw_socket();
  const auto setup = make_client_setup(kTcpMagic, {});
  write(half, &*setup, sizeof(*setup) / 2);
  expect_hung_up(half);
}

TEST_F(Tcp, SlowHellosAreEachCutOffInTheirTurn) {
  const Nanoseconds timeout = testing_support::patient(100 * kMillisecond);
  ASSERT_TRUE(listen(loopback, {.hello_timeout = timeout}));
  const UniqueFd first = raw_socket();
  const SystemClock clock;
  for (const Nanoseconds start = clock.now(); clock.now() - start < timeout / 2;) {
    poller->progress();
    testing_support::pace(kMillisecond);  // pacing: so that the second one's time ends later
  }
  const UniqueFd second = raw_socket();
  poller->progress();
  expect_hung_up(first);
  expect_hung_up(second);
  EXPECT_EQ(listener->refusals()[static_cast<std::size_t>(RefusalReason::kHandshakeTime)], 2u);
}

TEST_F(Tcp, SlowHelloIsToldWhichOptionGivesItMoreTime) {
  ASSERT_TRUE(listen(loopback, {.hello_timeout = 5 * kMillisecond}));
  const UniqueFd silent = raw_socket();
  ServerSetup answer{};
  ASSERT_TRUE(run_until(
      [&] { return recv(silent.get(), &answer, sizeof(answer), MSG_DONTWAIT) == sizeof(answer); }));
  const Status status = check(answer, kTcpMagic, "the server");
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("--handshake-timeout"), std::string::npos)
      << status.error().message;
  EXPECT_EQ(listener->refusals()[static_cast<std::size_t>(RefusalReason::kHandshakeTime)], 1u);
}

TEST_F(Tcp, HandshakesOfOnePeerMakeRoomForThoseOfOthers) {
  ASSERT_TRUE(listen(
      loopback, {.hello_timeout = testing_support::patient(600 * kSecond), .max_handshakes = 8}));
  const UniqueFd other = raw_socket(INADDR_LOOPBACK + 1);  // the oldest, of another peer
  std::vector<UniqueFd> flood;
  for (int i = 0; i < 30; ++i) flood.push_back(raw_socket());
  const auto pushed_out = [&] {
    return listener->refusals()[static_cast<std::size_t>(RefusalReason::kHandshakes)];
  };
  ASSERT_TRUE(run_until([&] { return pushed_out() == 30 + 1 - 8; }));
  ServerSetup answer{};
  ASSERT_EQ(recv(flood.front().get(), &answer, sizeof(answer), 0), ssize_t{sizeof(answer)});
  const Status status = check(answer, kTcpMagic, "the server");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(status.error().message.find("7 of them of 127.0.0.1, and this was the oldest"),
            std::string::npos)
      << status.error().message;
  intrude();  // a newcomer of the peer with the most handshakes is let in, too
  const auto setup = make_client_setup(kTcpMagic, to_bytes("other"));
  write(other, &*setup, sizeof(*setup));
  ASSERT_TRUE(run_until([&] { return acceptor.ends.size() == 2; }));
  EXPECT_EQ(to_text(acceptor.hellos.back()), "other");
}

TEST_F(Tcp, HelloInPiecesIsWelcome) {
  ASSERT_TRUE(listen(loopback));
  const UniqueFd client = raw_socket();
  const auto setup = make_client_setup(kTcpMagic, to_bytes("slow"));
  for (std::size_t i = 0; i < sizeof(*setup); ++i) {
    write(client, reinterpret_cast<const char*>(&*setup) + i, 1);
    poller->progress();
  }
  ASSERT_TRUE(run_until([&] { return acceptor.ends.size() == 1; }));
  EXPECT_EQ(to_text(acceptor.hellos[0]), "slow");
}

TEST_F(Tcp, OtherVersionIsRefusedInWords) {
  ASSERT_TRUE(listen(loopback));
  const UniqueFd client = raw_socket();
  auto setup = make_client_setup(kTcpMagic, {});
  setup->version = kSetupVersion + 1;
  write(client, &*setup, sizeof(*setup));
  ServerSetup answer{};
  ASSERT_TRUE(run_until(
      [&] { return recv(client.get(), &answer, sizeof(answer), MSG_DONTWAIT) == sizeof(answer); }));
  const Status status = check(answer, kTcpMagic, "the server");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kProtocol);
  EXPECT_NE(status.error().message.find("version"), std::string::npos) << status.error().message;
}

TEST_F(Tcp, FramesThatCannotBeCostTheConnection) {
  using tcp::FrameHeader;
  using tcp::FrameKind;
  using tcp::kFrameMagic;
  ASSERT_TRUE(listen(loopback));
  for (const FrameHeader& header : {
           FrameHeader{16, FrameKind::kMessage, 0},
           FrameHeader{0, FrameKind::kMessage, kFrameMagic},
           FrameHeader{kMaxMessageBytes + 1, FrameKind::kMessage, kFrameMagic},
           FrameHeader{~0u, FrameKind::kMessage, kFrameMagic},
           FrameHeader{8, FrameKind{77}, kFrameMagic},
           FrameHeader{8, FrameKind::kMailbox, kFrameMagic},
       }) {
    const UniqueFd client = intrude();
    write(client, &header, sizeof(header));
    write(client, "12345678", 8);
    expect_cut_off(ErrorCode::kProtocol);
  }
}

TEST_F(Tcp, MessageThatIsCutShortIsNotDelivered) {
  ASSERT_TRUE(listen(loopback));
  {
    const UniqueFd client = intrude();
    const tcp::FrameHeader header{100, tcp::FrameKind::kMessage, tcp::kFrameMagic};
    write(client, &header, sizeof(header));
    write(client, "half", 4);
  }
  expect_cut_off(ErrorCode::kConnectionLost);
}

TEST_F(Tcp, MessageInPiecesIsDeliveredWhole) {
  ASSERT_TRUE(listen(loopback));
  const UniqueFd client = intrude();
  const tcp::FrameHeader header{13, tcp::FrameKind::kMessage, tcp::kFrameMagic};
  std::string frame(reinterpret_cast<const char*>(&header), sizeof(header));
  frame += "thirteen chars!!";
  frame += frame;
  for (const char byte : frame) {
    write(client, &byte, 1);
    poller->progress();
  }
  Recorder& recorder = *acceptor.ends.back().recorder;
  ASSERT_TRUE(run_until([&] { return recorder.count == 2; }));
  EXPECT_EQ(to_text(recorder.messages[1]), "thirteen char");
}

TEST_F(Tcp, PeerThatNeverReadsBlocksItsOwnConnectionOnly) {
  ASSERT_TRUE(listen(loopback));
  const UniqueFd deaf = intrude();
  Connection& server = *acceptor.ends.back().connection;
  std::size_t sent = 0;
  for (int idle = 0; idle < 1000 && sent < 100000; ++idle) {
    while (!server.reserve(8000).empty()) {
      server.commit(8000);
      ++sent;
      idle = 0;
    }
    poller->progress();
  }
  EXPECT_LT(sent, 100000u) << "what waits is bounded";
  EXPECT_FALSE(acceptor.ends.back().recorder->closed);
  intrude();
}

TEST_F(Tcp, AddressesThatOthersReachNeedLeave) {
  const Status everywhere = listen(*Address::parse("tcp://0.0.0.0:0"));
  ASSERT_FALSE(everywhere);
  EXPECT_EQ(everywhere.error().code, ErrorCode::kPermission);
  EXPECT_NE(everywhere.error().message.find("--allow-other-users"), std::string::npos);
  EXPECT_TRUE(listen(*Address::parse("tcp://0.0.0.0:0"), {.allow_other_users = true}));
}

TEST_F(Tcp, OtherUsersOfTheMachineAreRefusedUnlessAllowed) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  const auto nothing = [](Connection&, Poller&) {};
  for (const char* where : {"tcp://127.0.0.1:0", "tcp://[::1]:0"}) {
    ASSERT_TRUE(listen(*Address::parse(where)));
    EXPECT_EQ(await(connect_in_child(nothing, kNobody)), static_cast<int>(ErrorCode::kPermission));
    EXPECT_TRUE(acceptor.ends.empty());
    EXPECT_EQ(listener->refusals()[static_cast<std::size_t>(RefusalReason::kPermission)], 1u);
    EXPECT_EQ(await(connect_in_child(nothing)), 0) << "the server's own user";
    acceptor.ends.clear();
    listener.reset();
    ASSERT_TRUE(listen(*Address::parse(where), {.allow_other_users = true}));
    EXPECT_EQ(await(connect_in_child(nothing, kNobody)), 0);
    acceptor.ends.clear();
    listener.reset();
  }
}

TEST_F(Tcp, TheUserOfAPeerIsKnownWhileItIsConnected) {
  ASSERT_TRUE(listen(loopback));
  const UniqueFd server(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(where);
  ASSERT_EQ(bind(server.get(), reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
  ASSERT_EQ(::listen(server.get(), 4), 0);
  getsockname(server.get(), reinterpret_cast<sockaddr*>(&where), &length);
  UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
  const UniqueFd accepted(accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_EQ(user_of_tcp_peer(accepted.get()).value(), std::optional<uid_t>(geteuid()));
  client = UniqueFd();
  EXPECT_EQ(user_of_tcp_peer(accepted.get()).value(), std::nullopt)
      << "what is closed is shown as root's";
}

TEST_F(Tcp, LimitsThatWouldTakeMemoryAreRefused) {
  const ServerSetup good =
      make_welcome(kTcpMagic, kMinRingBytes,
                   {max_message_bytes(kMinRingBytes), kMostReadsInFlight, kMostReadBytes}, {});
  EXPECT_TRUE(check(good, kTcpMagic, "the server"));
  for (const auto field : {&ServerSetup::max_reads_in_flight, &ServerSetup::max_read_bytes,
                           &ServerSetup::max_message_bytes, &ServerSetup::ring_bytes}) {
    for (const std::uint32_t value : {good.*field + 1, ~std::uint32_t{0}}) {
      ServerSetup answer = good;
      answer.*field = value;
      const Status status = check(answer, kTcpMagic, "the server");
      ASSERT_FALSE(status);
      EXPECT_NE(status.error().message.find("impossible limits"), std::string::npos);
    }
  }
}

TEST_F(Tcp, WhatARefusalSaysIsMadePrintable) {
  const ServerSetup refusal =
      make_refusal(kTcpMagic, {static_cast<ErrorCode>(999), "\x1b]0;you are root\a\n\xc2\x9bno"});
  const Status status = check(refusal, kTcpMagic, "the server");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kProtocol);
  EXPECT_EQ(status.error().message, "the server refused: ?]0;you are root????no");
}

TEST_F(Tcp, PortThatIsTakenIsAConflict) {
  ASSERT_TRUE(listen(loopback));
  Poller* const one = poller.get();
  const auto second = fabric->listen(listener->address(), {}, std::span(&one, 1), acceptor);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_NE(second.error().message.find(listener->address().to_string()), std::string::npos);
}

TEST_F(Tcp, AnswersOfImpossibleLengthsAreRefused) {
  const ServerSetup good =
      make_welcome(kTcpMagic, kMinRingBytes, {max_message_bytes(kMinRingBytes), 0, 0}, {});
  EXPECT_TRUE(check(good, kTcpMagic, "the server"));
  for (const auto field : {&ServerSetup::hello_bytes, &ServerSetup::text_bytes}) {
    ServerSetup answer = good;
    answer.*field = 5000;
    const Status status = check(answer, kTcpMagic, "the server");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kProtocol);
    EXPECT_NE(status.error().message.find("impossible lengths"), std::string::npos);
  }
}

TEST_F(Tcp, ServerOfAnotherKindIsToldApart) {
  const UniqueFd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(where);
  ASSERT_EQ(bind(other.get(), reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
  ASSERT_EQ(::listen(other.get(), 4), 0);
  getsockname(other.get(), reinterpret_cast<sockaddr*>(&where), &length);
  const Address address =
      *Address::parse("tcp://127.0.0.1:" + std::to_string(ntohs(where.sin_port)));
  std::thread server([&] {
    const UniqueFd first(accept(other.get(), nullptr, nullptr));
    const std::string answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
    write(first, answer.data(), answer.size());
    UniqueFd second(accept(other.get(), nullptr, nullptr));
    std::array<char, sizeof(ClientSetup)> hello;
    recv(second.get(), hello.data(), hello.size(), MSG_WAITALL);
  });
  Recorder recorder;
  auto connection = fabric->connect(address, {}, *poller, {}, recorder);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kProtocol) << connection.error().message;
  connection = fabric->connect(address, {}, *poller, {}, recorder);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kConnectionLost) << connection.error().message;
  server.join();
  connection =
      fabric->connect(*Address::parse("tcp://no-such-host.invalid:1"), {}, *poller, {}, recorder);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kNotFound) << connection.error().message;
}

}  // namespace
}  // namespace silurus::transport::conformance
