// SPDX-License-Identifier: Apache-2.0

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <fstream>

#include "tests/conformance/transport/real_server.h"
#include "transport/shm/control.h"
#include "transport/shm/layout.h"
#include "transport/shm/memory.h"

namespace silurus::transport::conformance {
namespace {

constexpr std::size_t kSlab = 1 << 20;

void expect_read_only(int fd) {
  EXPECT_EQ(mmap(nullptr, kSlab, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(fd, 0), -1);
  EXPECT_EQ(ftruncate(fd, 2 * kSlab), -1);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  void* const view = mmap(nullptr, kSlab, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(view, MAP_FAILED);
  EXPECT_EQ(mprotect(view, kSlab, PROT_READ | PROT_WRITE), -1) << "nor made writable later";
  EXPECT_EQ(madvise(view, 4096, MADV_REMOVE), -1);
  munmap(view, kSlab);
}

TEST(SharedSlab, CannotBeWrittenByAProcessThatGetsItsDescriptor) {
  auto slab = shm::SharedSlab::create(kSlab, "test", false);
  ASSERT_TRUE(slab) << slab.error().message;
  slab->bytes()[0] = std::byte{1};
  expect_read_only(slab->fd());
  const UniqueFd again(open(("/proc/self/fd/" + std::to_string(slab->fd())).c_str(), O_RDWR));
  ASSERT_TRUE(again);
  expect_read_only(again.get());
  slab->bytes()[1] = std::byte{2};
  EXPECT_EQ(slab->bytes()[0], std::byte{1});
}

TEST(SharedSlab, TakesPlainPagesWhereThereAreNoHugeOnes) {
  auto slab = shm::SharedSlab::create(kSlab, "test", true);
  ASSERT_TRUE(slab) << slab.error().message;
  EXPECT_GE(slab->bytes().size(), kSlab);
  slab->bytes().back() = std::byte{1};
}

TEST(SharedSlab, OfNoBytesIsAnError) { EXPECT_FALSE(shm::SharedSlab::create(0, "test", false)); }

class Shm : public RealServer {
 protected:
  Shm() : RealServer("shm"), address(*Address::parse("shm://" + directory + "/socket")) {}

  /// A client with no manners: says hello and maps its rings by hand.
  struct Hostile {
    UniqueFd socket;
    shm::Mapping memory;
    std::uint32_t ring_bytes = 0;

    void write(std::size_t offset, std::uint64_t word) {
      std::atomic_ref<std::uint64_t>(
          *reinterpret_cast<std::uint64_t*>(memory.bytes().data() + offset))
          .store(word, std::memory_order_release);
    }
  };
  UniqueFd raw_socket() {
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto where = shm::socket_address(address.path);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*where), sizeof(*where)), 0);
    return fd;
  }
  Hostile intrude() {
    Hostile client;
    client.socket = raw_socket();
    const auto setup = make_client_setup(kShmMagic, {});
    EXPECT_TRUE(shm::send_packet(client.socket.get(), shm::bytes_of(*setup), -1));
    const std::size_t before = acceptor.ends.size();
    EXPECT_TRUE(run_until([&] { return acceptor.ends.size() > before; }));
    ServerSetup answer{};
    auto received = shm::receive_packet(client.socket.get(), shm::writable_bytes_of(answer));
    EXPECT_TRUE(received && received->fd);
    client.ring_bytes = answer.ring_bytes;
    client.memory = std::move(
        *shm::Mapping::create(received->fd.get(), shm::memory_bytes(answer.ring_bytes), true));
    return client;
  }
  void expect_cut_off(const Hostile& client) {
    Recorder& recorder = *acceptor.ends.back().recorder;
    EXPECT_TRUE(run_until([&] { return recorder.closed.has_value(); }));
    EXPECT_EQ(recorder.closed->code, ErrorCode::kProtocol) << recorder.closed->message;
    char byte = 0;
    EXPECT_EQ(recv(client.socket.get(), &byte, 1, MSG_DONTWAIT), 0) << "the socket is closed";
  }

  Address address;
};

TEST_F(Shm, SocketIsForItsOwnerAlone) {
  ASSERT_TRUE(listen(address));
  struct stat status {};
  ASSERT_EQ(stat(address.path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  listener.reset();
  EXPECT_NE(stat(address.path.c_str(), &status), 0) << "gone with its listener";
  ASSERT_TRUE(listen(address, {.allow_other_users = true}));
  ASSERT_EQ(stat(address.path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0666u);
}

TEST_F(Shm, OtherUsersAreRefusedUnlessAllowed) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  const auto nothing = [](Connection&, Poller&) {};
  chmod(directory.c_str(), 0755);
  ASSERT_TRUE(listen(address));
  const auto code = [](ErrorCode error) { return static_cast<int>(error); };
  EXPECT_EQ(await(connect_in_child(nothing, kNobody)), code(ErrorCode::kPermission))
      << "by the mode";
  chmod(address.path.c_str(), 0666);
  EXPECT_EQ(await(connect_in_child(nothing, kNobody)), code(ErrorCode::kPermission))
      << "by who it is";
  EXPECT_TRUE(acceptor.ends.empty());
  listener.reset();
  ASSERT_TRUE(listen(address, {.allow_other_users = true}));
  EXPECT_EQ(await(connect_in_child(nothing, kNobody)), 0);
}

/// A squatter on the path where a server is looked for.
TEST_F(Shm, ServersOfOtherUsersAreNotBelievedUnlessNamed) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  chmod(directory.c_str(), 0777);
  const pid_t server = fork();
  if (server == 0) {
    if (setuid(kNobody) != 0 || !listen(address, {.allow_other_users = true})) _exit(1);
    for (;;) {
      poller->progress();
      testing_support::pace(100 * kMicrosecond);  // pacing: until it is killed
    }
  }
  const auto connect = [&](const std::string& peer) {
    Address named = address;
    named.peer = peer;
    Recorder recorder;
    auto connection = fabric->connect(named, {.timeout = testing_support::patient(5 * kSecond)},
                                      *poller, {}, recorder);
    return connection ? Status{} : Status{fail(connection.error())};
  };
  ASSERT_TRUE(testing_support::wait_until([&] {
    const Status connected = connect("nobody");
    return connected || (connected.error().code != ErrorCode::kUnavailable &&
                         connected.error().code != ErrorCode::kNotFound);
  }));
  const Status squatter = connect("");
  ASSERT_FALSE(squatter);
  EXPECT_EQ(squatter.error().code, ErrorCode::kPermission) << squatter.error().message;
  EXPECT_NE(squatter.error().message.find("?peer=65534"), std::string::npos);
  EXPECT_EQ(connect("root").error().code, ErrorCode::kPermission);
  EXPECT_EQ(connect("no-such-user").error().code, ErrorCode::kInvalidArgument);
  for (const char* named : {"nobody", "65534"}) {
    const Status connected = connect(named);
    EXPECT_TRUE(connected) << connected.error().message;
  }
  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
}

TEST_F(Shm, SocketOfADeadServerIsReplaced) {
  const pid_t child = fork();
  if (child == 0) {
    if (!listen(address)) _exit(1);
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  struct stat left {};
  ASSERT_EQ(stat(address.path.c_str(), &left), 0) << "it left its socket behind";
  Recorder recorder;
  const auto connection = fabric->connect(address, {}, *poller, {}, recorder);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kUnavailable) << connection.error().message;
  const Status listening = listen(address);
  EXPECT_TRUE(listening) << listening.error().message;
  EXPECT_EQ(await(connect_in_child([](Connection&, Poller&) {})), 0);
}

TEST_F(Shm, SocketOfALiveServerIsLeftAlone) {
  ASSERT_TRUE(listen(address));
  Poller* const one = poller.get();
  const auto second = fabric->listen(address, {}, std::span(&one, 1), acceptor);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_EQ(await(connect_in_child([](Connection&, Poller&) {})), 0);
}

TEST_F(Shm, SocketOfALaterServerIsLeftByTheListenerThatEnds) {
  ASSERT_TRUE(listen(address));
  std::unique_ptr<Listener> first = std::move(listener);
  ASSERT_EQ(unlink(address.path.c_str()), 0);
  ASSERT_TRUE(listen(address));
  first.reset();
  struct stat status {};
  ASSERT_EQ(stat(address.path.c_str(), &status), 0);
  EXPECT_EQ(await(connect_in_child([](Connection&, Poller&) {})), 0);
}

TEST_F(Shm, FileThatIsNoSocketIsLeftAlone) {
  std::ofstream(address.path) << "precious";
  const Status status = listen(address);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kConflict);
  EXPECT_NE(status.error().message.find("not a socket"), std::string::npos);
  std::string content;
  std::ifstream(address.path) >> content;
  EXPECT_EQ(content, "precious");
}

TEST_F(Shm, AddressesThatCannotBeAreErrors) {
  const Status nowhere = listen(*Address::parse("shm://" + directory + "/no/such/directory"));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kNotFound) << nowhere.error().message;
  const Status too_long = listen(*Address::parse("shm://" + directory + std::string(200, 'x')));
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::kInvalidArgument) << too_long.error().message;
}

TEST_F(Shm, StreamSocketIsNotAServer) {
  const UniqueFd other(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto where = shm::socket_address(address.path);
  ASSERT_EQ(bind(other.get(), reinterpret_cast<const sockaddr*>(&*where), sizeof(*where)), 0);
  ASSERT_EQ(::listen(other.get(), 1), 0);
  Recorder recorder;
  const auto connection = fabric->connect(address, {}, *poller, {}, recorder);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kProtocol) << connection.error().message;
  EXPECT_FALSE(listen(address)) << "nor is it ours to replace";
}

TEST_F(Shm, MemoryThatIsNotSealedIsNotExposed) {
  ASSERT_TRUE(listen(address));
  const UniqueFd plain(memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(plain.get(), kSlab), 0);
  std::vector<std::byte> memory(kSlab);
  for (const int fd : {plain.get(), -1}) {
    const Status status = listener->expose({memory, fd});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST_F(Shm, StrangersAtTheSocketAreTurnedAway) {
  ASSERT_TRUE(listen(address));
  std::vector<UniqueFd> strangers;
  for (const std::size_t length : {1u, 47u, 48u, 49u, 4000u}) {
    strangers.push_back(raw_socket());
    const std::string garbage(length, 'G');
    ASSERT_EQ(send(strangers.back().get(), garbage.data(), length, 0),
              static_cast<ssize_t>(length));
  }
  for (const UniqueFd& stranger : strangers) {
    std::array<char, 2048> answer;
    ssize_t got = -1;
    ASSERT_TRUE(run_until([&] {
      got = recv(stranger.get(), answer.data(), answer.size(), MSG_DONTWAIT);
      return got >= 0;
    }));
    if (got > 0) {
      EXPECT_EQ(recv(stranger.get(), answer.data(), answer.size(), MSG_DONTWAIT), 0);
    }
  }
  EXPECT_TRUE(acceptor.ends.empty());
  EXPECT_EQ(listener->ring_bytes(), 0u);
  EXPECT_EQ(await(connect_in_child([](Connection&, Poller&) {})), 0);
}

TEST_F(Shm, ClientThatSaysNothingIsCutOff) {
  ASSERT_TRUE(listen(address, {.hello_timeout = 5 * kMillisecond}));
  const UniqueFd silent = raw_socket();
  char byte = 0;
  EXPECT_TRUE(run_until([&] { return recv(silent.get(), &byte, 1, MSG_DONTWAIT) == 0; }));
}

TEST_F(Shm, ClientsThatSayNothingDoNotKeepOthersOut) {
  ASSERT_TRUE(listen(
      address, {.hello_timeout = testing_support::patient(600 * kSecond), .max_handshakes = 8}));
  std::vector<UniqueFd> flood;
  for (int i = 0; i < 30; ++i) flood.push_back(raw_socket());
  intrude();
  EXPECT_EQ(listener->refusals()[static_cast<std::size_t>(RefusalReason::kHandshakes)],
            30u + 1 - 8);
  ServerSetup answer{};
  ASSERT_EQ(recv(flood.front().get(), &answer, sizeof(answer), 0), ssize_t{sizeof(answer)});
  const Status status = check(answer, kShmMagic, "the server");
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("8 of them of user"), std::string::npos)
      << status.error().message;
}

TEST_F(Shm, HostileHeaderCostsTheConnectionAndNothingElse) {
  ASSERT_TRUE(listen(address));
  const Hostile neighbour = intrude();
  for (const std::uint64_t word : {
           SlotHeader::make(0, SlotKind::kInline, 0).word,
           SlotHeader::make(0, SlotKind::kInline, SlotHeader::kLengthMask).word,
           SlotHeader::make(0, SlotKind{9}, 8).word,
           SlotHeader::make(0, SlotKind::kSkip, 0).word,
       }) {
    Hostile client = intrude();
    client.write(shm::kControlBytes, word);
    expect_cut_off(client);
  }
  EXPECT_FALSE(acceptor.ends.front().recorder->closed);
  const std::uint64_t all = listener->ring_bytes();
  while (acceptor.ends.size() > 1) acceptor.ends.pop_back();
  EXPECT_LT(listener->ring_bytes(), all) << "its memory comes back";
}

TEST_F(Shm, HostileCreditCostsTheConnection) {
  ASSERT_TRUE(listen(address));
  Hostile client = intrude();
  client.write(offsetof(shm::Control, client) + offsetof(shm::Side, consumed), 1 << 20);
  Connection& server = *acceptor.ends.back().connection;
  while (!server.reserve(1000).empty()) server.commit(1000);
  expect_cut_off(client);
}

TEST_F(Shm, OneFlushRingsForAllThatWasSentByThePoller) {
  ASSERT_TRUE(listen(address));
  Hostile first = intrude(), second = intrude();
  for (Hostile* client : {&first, &second}) {
    client->write(offsetof(shm::Control, client) + offsetof(shm::Side, sleep), shm::kRingOnMessage);
  }
  for (End& end : acceptor.ends) {
    ASSERT_FALSE(end.connection->reserve(8).empty());
    end.connection->commit(8);
  }
  acceptor.ends.front().connection->flush();
  for (const Hostile* client : {&first, &second}) {
    shm::Packet packet{};
    EXPECT_EQ(recv(client->socket.get(), &packet, sizeof packet, MSG_DONTWAIT),
              static_cast<ssize_t>(sizeof packet));
    EXPECT_EQ(packet, shm::Packet::kBell);
  }
  acceptor.ends.back().connection->flush();
  EXPECT_EQ(acceptor.ends.back().connection->counters().doorbells, 1u) << "once";
}

TEST_F(Shm, HostileFlagsBellsAndMailboxesDoNoHarm) {
  ASSERT_TRUE(listen(address));
  Hostile client = intrude();
  Connection& server = *acceptor.ends.back().connection;
  client.write(offsetof(shm::Control, client) + offsetof(shm::Side, sleep), ~std::uint64_t{0});
  client.write(offsetof(shm::Control, server) + offsetof(shm::Side, sleep), ~std::uint64_t{0});
  client.write(offsetof(shm::Control, client) + offsetof(shm::Side, mailbox), 12345);
  const std::string packet(8, '\2');  // a bell that says more than bells do
  for (int i = 0; i < 50; ++i) {
    send(client.socket.get(), packet.data(), packet.size(), MSG_DONTWAIT);
    ASSERT_FALSE(server.reserve(8).empty());
    server.commit(8);
    server.flush();
    poller->progress();
  }
  std::array<std::byte, kMailboxBytes> content;
  server.read_mailbox(content);
  EXPECT_FALSE(acceptor.ends.back().recorder->closed);
}

TEST_F(Shm, WindowThatItsClientCouldShrinkCostsTheConnection) {
  ASSERT_TRUE(listen(address));
  const shm::RegionPacket packet{static_cast<std::uint64_t>(shm::Packet::kWindow), 0, kWindowGrain};
  const auto offer = [&](int memory) {
    Hostile client = intrude();
    EXPECT_TRUE(shm::send_packet(client.socket.get(), shm::bytes_of(packet), memory));
    return client;
  };
  const auto good = shm::create_ring_memory(kWindowGrain);
  ASSERT_TRUE(good) << good.error().message;
  const Hostile honest = offer(good->get());
  Connection& server = *acceptor.ends.back().connection;
  const std::array<std::byte, 8> word{};
  EXPECT_TRUE(run_until([&] { return server.post_write(0, word) == PostStatus::kPosted; }));
  for (const int seals : {0, F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL}) {
    const UniqueFd memory(memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(memory.get(), kWindowGrain), 0);
    ASSERT_EQ(fcntl(memory.get(), F_ADD_SEALS, seals), 0);
    const Hostile client = offer(memory.get());
    expect_cut_off(client);
    ASSERT_FALSE(HasFailure()) << "with the seals " << seals;
  }
  EXPECT_FALSE(acceptor.ends.front().recorder->closed);
}

TEST_F(Shm, DescriptorsThatAClientSendsAreNotKept) {
  ASSERT_TRUE(listen(address));
  Hostile client = intrude();
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();
  const std::uint64_t packet = 7;
  for (int i = 0; i < 20; ++i) {
    shm::send_packet(client.socket.get(), shm::bytes_of(packet), client.socket.get());
    poller->progress();
  }
  ASSERT_TRUE(run_until([&] { return open_files() == before; }));
}

}  // namespace
}  // namespace silurus::transport::conformance
