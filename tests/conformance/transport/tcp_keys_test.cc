// SPDX-License-Identifier: Apache-2.0

#include <arpa/inet.h>
#include <netinet/in.h>

#include <map>
#include <thread>

#include "access/own_key.h"
#include "tests/conformance/transport/real_server.h"
#include "tests/support/server_process.h"
#include "transport/refusals.h"
#include "transport/ring.h"
#include "transport/setup.h"
#include "transport/tcp/handshake.h"
#include "transport/unique_fd.h"

// The proof of a key over tcp: of both sides, against both sides.

namespace silurus::transport::conformance {
namespace {

using access::Key;
using access::Side;
using tcp::Welcome;

/// A server's side that knows keys.
class KeyedAcceptor final : public Acceptor {
 public:
  std::optional<Key> find_key(access::KeyId id) override {
    const auto found = keys.find(id);
    return found == keys.end() ? std::nullopt : std::optional(found->second);
  }
  void on_false_key(const Caller&, const Error& error) override { false_keys.push_back(error); }
  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                          const Caller& caller) override {
    callers.push_back(caller);
    return Acceptor::on_hello(client_hello, caller);
  }
  void know(const Key& key) { keys.insert_or_assign(key.label().id, key); }

  std::map<access::KeyId, Key> keys;
  std::vector<Error> false_keys;
  std::vector<Caller> callers;
};

class TcpKeys : public RealServer {
 protected:
  TcpKeys() : RealServer("tcp") {
    Poller* const one = poller.get();
    keyed_listener = std::move(
        *fabric->listen(*Address::parse("tcp://127.0.0.1:0"), {}, std::span(&one, 1), keyed));
    client_poller = std::move(*fabric->create_poller());
  }
  ~TcpKeys() override {
    client.reset();
    keyed.ends.clear();
    keyed_listener.reset();
  }

  /// Connects while the server is driven.
  Status connect(const Address& address, const std::optional<Key>& with) {
    Result<std::unique_ptr<Connection>> made = fail(ErrorCode::kConflict, "not yet");
    std::atomic<bool> done = false;
    const ConnectOptions options{
        .timeout = testing_support::patient(5 * kSecond), .key = with, .needs_key = needs_key};
    std::thread thread([&] {
      made = fabric->connect(address, options, *client_poller, to_bytes("bob"), recorder);
      done = true;
    });
    EXPECT_TRUE(run_until([&] { return done.load(); }));
    thread.join();
    if (!made) return fail(made.error());
    client = std::move(*made);
    return {};
  }
  Status connect(const std::optional<Key>& with) {
    return connect(keyed_listener->address(), with);
  }

  UniqueFd raw_socket() {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(keyed_listener->address().port)));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
    return fd;
  }
  template <typename T>
  static void write(const UniqueFd& fd, const T& value) {
    EXPECT_EQ(::send(fd.get(), &value, sizeof(value), MSG_NOSIGNAL), ssize_t{sizeof(value)});
  }
  template <typename T>
  T read(const UniqueFd& fd) {
    T value{};
    std::size_t received = 0;
    EXPECT_TRUE(run_until([&] {
      const ssize_t got = recv(fd.get(), reinterpret_cast<char*>(&value) + received,
                               sizeof(value) - received, MSG_DONTWAIT);
      if (got > 0) received += static_cast<std::size_t>(got);
      return received == sizeof(value);
    }));
    return value;
  }
  /// What is left to be read until the server hangs up.
  std::size_t rest(const UniqueFd& fd) {
    std::size_t bytes = 0;
    EXPECT_TRUE(run_until([&] {
      std::array<char, 1024> room;
      const ssize_t got = recv(fd.get(), room.data(), room.size(), MSG_DONTWAIT);
      if (got > 0) bytes += static_cast<std::size_t>(got);
      return got == 0 || (got < 0 && errno == ECONNRESET);
    }));
    return bytes;
  }
  static ClientSetup setup_with_key() {
    ClientSetup setup = *make_client_setup(kTcpMagic, to_bytes("bob"));
    setup.has_key = 1;
    return setup;
  }
  ClientProof proof_of(const ClientSetup& setup, const Challenge& challenge) const {
    ClientProof proof{key.label().id, access::make_nonce(), {}};
    proof.tag = tcp::said_before(setup, challenge, proof).tag(key, Side::kClient);
    return proof;
  }

  const Key key = *Key::make("alice");
  bool needs_key = false;
  KeyedAcceptor keyed;
  std::unique_ptr<Listener> keyed_listener;
  std::unique_ptr<Poller> client_poller;
  Recorder recorder;
  std::unique_ptr<Connection> client;
};

TEST_F(TcpKeys, AreProvedByBothSides) {
  keyed.know(key);
  const Status ok = connect(key);
  ASSERT_TRUE(ok) << ok.error().message;
  ASSERT_EQ(keyed.callers.size(), 1u);
  EXPECT_EQ(keyed.callers[0].key, key.label());
  EXPECT_EQ(keyed.callers[0].user, getuid()) << "told too: a key may count for one user only";
  EXPECT_EQ(keyed.ends[0].connection->key(), key.label());
  EXPECT_EQ(client->key(), key.label());
  EXPECT_EQ(to_text(keyed.hellos[0]), "bob");
  EXPECT_EQ(to_text(client->peer_hello()), "server");
}

TEST_F(TcpKeys, ThatTheServerDoesNotKnowAreRefused) {
  keyed.know(*Key::make("alice"));
  const Status refused = connect(key);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kPermission);
  EXPECT_NE(refused.error().message.find("alice"), std::string::npos) << refused.error().message;
  EXPECT_EQ(keyed.false_keys.size(), 1u);
  EXPECT_TRUE(keyed.callers.empty());
  EXPECT_EQ(keyed_listener->refusals()[static_cast<std::size_t>(RefusalReason::kPermission)], 1u);
}

TEST_F(TcpKeys, AreNotNeededByAClientThatHasNone) {
  keyed.know(key);
  ASSERT_TRUE(connect(std::nullopt));
  EXPECT_EQ(keyed.callers[0].key, std::nullopt);
  EXPECT_EQ(keyed.callers[0].user, geteuid());
  EXPECT_EQ(client->key(), std::nullopt);
}

TEST_F(TcpKeys, ThatAreNeededAndNotFoundKeepAClientAway) {
  needs_key = true;
  EXPECT_EQ(connect(std::nullopt).error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(keyed.callers.empty());
}

/// A server of the system's and a client in a session have other folders for such files.
TEST_F(TcpKeys, LeftInAnotherFolderThanOursAreFound) {
  const testing_support::TemporaryFolder folder;
  setenv("XDG_RUNTIME_DIR", (folder / "").c_str(), 1);
  const Address& at = keyed_listener->address();
  const auto left = access::OwnKeyFile::create(access::own_key_folders().back(),
                                               {at.scheme, at.host, at.port}, key);
  ASSERT_TRUE(left) << left.error().message;
  keyed.know(key);
  const Status ok = connect(std::nullopt);
  unsetenv("XDG_RUNTIME_DIR");
  ASSERT_TRUE(ok) << ok.error().message;
  EXPECT_EQ(keyed.callers[0].key, key.label());
}

TEST_F(TcpKeys, OfTheFileThatTheAddressNamesAreProved) {
  keyed.know(key);
  const testing_support::TemporaryFolder folder;
  ASSERT_TRUE(key.write(folder / "alice.key"));
  Address address = keyed_listener->address();
  address.key = folder / "alice.key";
  const Status ok = connect(address, std::nullopt);
  ASSERT_TRUE(ok) << ok.error().message;
  EXPECT_EQ(keyed.callers[0].key, key.label());
  client.reset();
  address.key = folder / "none.key";
  EXPECT_EQ(connect(address, std::nullopt).error().code, ErrorCode::kNotFound);
}

TEST_F(TcpKeys, GiveAStrangerNothingButANonceBeforeTheProof) {
  keyed.know(key);
  const UniqueFd stranger = raw_socket();
  write(stranger, setup_with_key());
  const auto challenge = read<Challenge>(stranger);
  EXPECT_EQ(challenge.magic, kChallengeMagic);
  write(stranger, ClientProof{key.label().id, access::make_nonce(), {}});
  const auto answer = read<ServerSetup>(stranger);
  EXPECT_EQ(answer.code, static_cast<std::uint32_t>(ErrorCode::kPermission));
  EXPECT_EQ(answer.hello_bytes, 0u);
  EXPECT_EQ(rest(stranger), 0u);
  EXPECT_TRUE(keyed.callers.empty());
  EXPECT_EQ(keyed_listener->ring_bytes(), 0u);
}

TEST_F(TcpKeys, ProvedBeforeAreNotProvedByWhatWasSaidThen) {
  keyed.know(key);
  const ClientSetup setup = setup_with_key();
  const UniqueFd first = raw_socket();
  write(first, setup);
  const ClientProof proof = proof_of(setup, read<Challenge>(first));
  write(first, proof);
  EXPECT_EQ(read<Welcome>(first).setup.code, 0u) << "the client that is listened to";
  const UniqueFd replay = raw_socket();
  write(replay, setup);
  read<Challenge>(replay);
  write(replay, proof);
  EXPECT_EQ(read<ServerSetup>(replay).code, static_cast<std::uint32_t>(ErrorCode::kPermission));
  EXPECT_EQ(keyed.callers.size(), 1u);
}

TEST_F(TcpKeys, AreProvedForOneHelloAlone) {
  keyed.know(key);
  const ClientSetup setup = setup_with_key();
  const UniqueFd client_of_another = raw_socket();
  write(client_of_another, setup);
  ClientSetup other = setup;
  other.hello[0] ^= std::byte{1};
  write(client_of_another, proof_of(other, read<Challenge>(client_of_another)));
  EXPECT_EQ(read<ServerSetup>(client_of_another).code,
            static_cast<std::uint32_t>(ErrorCode::kPermission));
}

TEST_F(TcpKeys, OfProofsThatComeInPiecesAreProved) {
  keyed.know(key);
  const ClientSetup setup = setup_with_key();
  const UniqueFd slow = raw_socket();
  write(slow, setup);
  const ClientProof proof = proof_of(setup, read<Challenge>(slow));
  for (std::size_t i = 0; i < sizeof(proof); ++i) {
    write(slow, reinterpret_cast<const char*>(&proof)[i]);
    poller->progress();
  }
  EXPECT_EQ(read<Welcome>(slow).setup.code, 0u);
}

/// A server of the test's own, for one client with that key, which it answers as `act` does.
Error error_of_client(Fabric& fabric, const std::optional<Key>& key,
                      const std::function<void(int, const ClientSetup&)>& act) {
  const UniqueFd listening(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(where);
  EXPECT_EQ(bind(listening.get(), reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
  EXPECT_EQ(::listen(listening.get(), 1), 0);
  getsockname(listening.get(), reinterpret_cast<sockaddr*>(&where), &length);
  std::thread server([&] {
    const UniqueFd accepted(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ClientSetup setup{};
    recv(accepted.get(), &setup, sizeof(setup), MSG_WAITALL);
    act(accepted.get(), setup);
  });
  const auto poller = std::move(*fabric.create_poller());
  Recorder recorder;
  const ConnectOptions options{.timeout = testing_support::patient(5 * kSecond), .key = key};
  const auto made =
      fabric.connect(*Address::parse("tcp://127.0.0.1:" + std::to_string(ntohs(where.sin_port))),
                     options, *poller, {}, recorder);
  server.join();
  return made ? Error{ErrorCode::kConflict, "it connected"} : made.error();
}

ServerSetup welcome() {
  return make_welcome(kTcpMagic, kMinRingBytes, {max_message_bytes(kMinRingBytes), 0, 0}, {});
}

TEST_F(TcpKeys, AreNotProvedByAServerThatAsksForNoProof) {
  const Error error = error_of_client(*fabric, key, [](int socket, const ClientSetup&) {
    const ServerSetup answer = welcome();
    send(socket, &answer, sizeof(answer), MSG_NOSIGNAL);
  });
  EXPECT_EQ(error.code, ErrorCode::kPermission) << error.message;
  EXPECT_NE(error.message.find("has not proved to hold the key"), std::string::npos);
}

TEST_F(TcpKeys, AreNotProvedByAServerThatSendsTheClientsProofBack) {
  const Error error = error_of_client(*fabric, key, [](int socket, const ClientSetup&) {
    const Challenge challenge{kChallengeMagic, access::make_nonce()};
    send(socket, &challenge, sizeof(challenge), MSG_NOSIGNAL);
    ClientProof proof{};
    recv(socket, &proof, sizeof(proof), MSG_WAITALL);
    const Welcome answer{welcome(), proof.tag};
    send(socket, &answer, sizeof(answer), MSG_NOSIGNAL);
  });
  EXPECT_EQ(error.code, ErrorCode::kPermission) << error.message;
}

TEST_F(TcpKeys, AreNotProvedByAServerForLimitsThatWereChangedOnTheWay) {
  const Error error = error_of_client(*fabric, key, [&](int socket, const ClientSetup& setup) {
    const Challenge challenge{kChallengeMagic, access::make_nonce()};
    send(socket, &challenge, sizeof(challenge), MSG_NOSIGNAL);
    ClientProof proof{};
    recv(socket, &proof, sizeof(proof), MSG_WAITALL);
    Welcome answer{welcome(), {}};
    const auto before = tcp::said_before(setup, challenge, proof);
    answer.tag = tcp::said_at_last(before, proof, answer.setup).tag(key, Side::kServer);
    answer.setup.max_read_bytes = 4096;
    send(socket, &answer, sizeof(answer), MSG_NOSIGNAL);
  });
  EXPECT_EQ(error.code, ErrorCode::kPermission) << error.message;
}

TEST_F(TcpKeys, SpareAClientThatHasNoneAChallenge) {
  const Error error = error_of_client(*fabric, std::nullopt, [](int socket, const ClientSetup&) {
    const Challenge challenge{kChallengeMagic, access::make_nonce()};
    send(socket, &challenge, sizeof(challenge), MSG_NOSIGNAL);
  });
  EXPECT_EQ(error.code, ErrorCode::kProtocol) << error.message;
}

}  // namespace
}  // namespace silurus::transport::conformance
