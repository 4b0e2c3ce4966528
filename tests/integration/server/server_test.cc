// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/crowd.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/raw_client.h"
#include "tests/support/server_process.h"
#include "transport/setup.h"
#include "transport/tcp/frame.h"

// The real program, from outside.

namespace silurus::server {
namespace {

using nlohmann::json;
using protocol::MessageType;
using testing_support::RawClient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

constexpr rtree::Box<2> kEverything{{-1e9, -1e9}, {1e9, 1e9}};

protocol::Operation<2> insert_of(std::uint64_t id, double x, double y) {
  return {.id = id,
          .kind = protocol::OperationKind::kInsert,
          .record_bytes = 0,
          .box = {{x, y}, {x + 1, y + 1}},
          .to = {}};
}

/// How many entries the server says it finds in the window; -1 for no answer.
std::int64_t count_in(RawClient& client, std::uint32_t id, const rtree::Box<2>& window) {
  if (!client.range(id, {.window = window, .shape = rtree::ResultShape::kCount})) return -1;
  const auto reply = client.reply(id);
  return reply && !reply->error ? static_cast<std::int64_t>(reply->count) : -1;
}

json stats_of(RawClient& client, std::uint32_t id) {
  if (!client.bare(id, MessageType::kStats)) return {};
  const auto reply = client.reply(id);
  return reply ? json::parse(reply->text()) : json();
}

class ServerTest : public testing::Test {
 protected:
  std::string shm(const std::string& name = "a") const { return "shm://" + (folder_ / name); }
  static std::unique_ptr<RawClient> connect(const std::string& url) {
    auto client = RawClient::connect(url);
    EXPECT_TRUE(client.has_value()) << client.error().message;
    return client ? std::move(*client) : nullptr;
  }
  TemporaryFolder folder_;
};

TEST_F(ServerTest, ServesSeveralListenersAndStopsCleanlyOnSigterm) {
  ServerProcess server({"--listen", shm("a"), "--listen", shm("b"), "--listen", "tcp://127.0.0.1:0",
                        "--load", "uniform:5000", "--ready-file", folder_ / "ready"});
  ASSERT_EQ(server.addresses().size(), 3u) << server.errors();
  for (const auto& address : server.addresses()) {
    const auto client = connect(address);
    ASSERT_NE(client, nullptr);
    EXPECT_EQ(count_in(*client, 1, kEverything), 5000) << address;
    EXPECT_EQ(client->server_hello().one_sided, address.starts_with("shm") ? 1u : 0u);
  }
  std::ifstream ready(folder_ / "ready");
  std::string line;
  std::getline(ready, line);
  EXPECT_EQ(line, server.addresses()[0]);
  const auto client = connect(shm("b"));
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(server.stop(), 0) << server.errors();
  EXPECT_TRUE(client->wait_closed());
  EXPECT_NE(::access((folder_ / "a").c_str(), F_OK), 0);
  EXPECT_NE(::access((folder_ / "b").c_str(), F_OK), 0);
}

TEST_F(ServerTest, StopsOnSigintInMidWork) {
  ServerProcess server({"--listen", shm(), "--load", "uniform:100000"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto client = connect(shm());
  ASSERT_NE(client, nullptr);
  for (std::uint32_t i = 0; i < 100; ++i) client->range(i, {.window = kEverything});
  server.signal(SIGINT);
  EXPECT_EQ(server.wait(), 0) << server.errors();
}

TEST_F(ServerTest, StartsAgainOnTheSamePath) {
  for (int round = 0; round < 2; ++round) {  // after a clean stop
    ServerProcess server({"--listen", shm()});
    ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
    EXPECT_EQ(server.stop(), 0);
  }
  std::uint64_t instance = 0;
  {
    ServerProcess killed({"--listen", shm()});
    const auto client = connect(shm());
    ASSERT_NE(client, nullptr);
    instance = client->server_hello().instance;
    killed.signal(SIGKILL);
    EXPECT_EQ(killed.wait(), -SIGKILL);
    EXPECT_TRUE(client->wait_closed());
  }
  ServerProcess again({"--listen", shm()});  // the dead one's socket is still there
  ASSERT_EQ(again.addresses().size(), 1u) << again.errors();
  const auto client = connect(shm());
  ASSERT_NE(client, nullptr);
  EXPECT_NE(client->server_hello().instance, instance);
}

TEST_F(ServerTest, RefusesAnAddressInUseAndWrongUsage) {
  ServerProcess first({"--listen", shm()});
  ASSERT_EQ(first.addresses().size(), 1u);
  ServerProcess second({"--listen", shm()});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(second.errors().find(folder_ / "a"), std::string::npos) << second.errors();
  ServerProcess unknown({"--listen", "pigeon:///x"});
  EXPECT_EQ(unknown.wait(), 1);
  EXPECT_NE(unknown.errors().find("pigeon"), std::string::npos) << unknown.errors();
  ServerProcess wrong({"--memory", "lots"});
  EXPECT_EQ(wrong.wait(), 2);
  EXPECT_NE(wrong.errors().find("--memory"), std::string::npos) << wrong.errors();
  ServerProcess no_data({"--listen", shm("b"), "--load", folder_ / "missing.csv"});
  EXPECT_EQ(no_data.wait(), 1);
  EXPECT_NE(no_data.errors().find("missing.csv"), std::string::npos) << no_data.errors();
}

/// A plain socket to a tcp address that the server printed.
int plain_socket(const std::string& url) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

TEST_F(ServerTest, GarbageOnTheTcpPortTroublesNoOtherClient) {
  ServerProcess server(
      {"--listen", "tcp://127.0.0.1:0", "--listen", shm(), "--load", "uniform:1000"});
  ASSERT_EQ(server.addresses().size(), 2u) << server.errors();
  const std::string tcp = server.addresses()[0];
  const auto witness = connect(tcp);
  ASSERT_NE(witness, nullptr);
  constexpr std::uint64_t kSeed = 20261121;
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  for (std::uint32_t round = 0; round < 50; ++round) {
    const int fd = plain_socket(tcp);
    std::vector<char> garbage(random.below(100000));
    for (char& c : garbage) c = static_cast<char>(random());
    if (round % 5 == 0) garbage.resize(random.below(10));  // too short for anything
    [[maybe_unused]] const ssize_t sent =
        send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ASSERT_EQ(count_in(*witness, round, kEverything), 1000) << round;
    close(fd);
  }
  const int silent = plain_socket(tcp);  // says nothing at all
  EXPECT_EQ(count_in(*witness, 100, kEverything), 1000);
  close(silent);
  EXPECT_EQ(server.stop(), 0) << server.errors();
}

TEST_F(ServerTest, RandomMessagesEndNoConnectionButTheirOwn) {
  ServerProcess server({"--listen", "tcp://127.0.0.1:0", "--listen", shm(), "--load",
                        "uniform:1000", "--log-level", "error"});
  ASSERT_EQ(server.addresses().size(), 2u) << server.errors();
  const auto witness = connect(shm());
  ASSERT_NE(witness, nullptr);
  constexpr std::uint64_t kSeed = 7470;
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  for (std::uint32_t round = 0; round < 60; ++round) {
    const auto hostile = connect(server.addresses()[round % 2]);
    ASSERT_NE(hostile, nullptr);
    for (int i = 0; i < 20 && !hostile->closed(); ++i) {
      std::vector<std::byte> message(1 + random.below(300));
      for (auto& byte : message) byte = static_cast<std::byte>(random());
      message[0] = static_cast<std::byte>(random.below(10));  // mostly types that exist
      if (message.size() > 3 && random.below(4) != 0) {
        std::fill(message.begin() + 1, message.begin() + 4, std::byte{0});
      }
      if (!hostile->send(message)) break;
    }
    ASSERT_EQ(count_in(*witness, round, kEverything), 1000) << round;
  }
  EXPECT_EQ(server.stop(), 0) << server.errors();
}

TEST_F(ServerTest, AMalformedMessageIsLoggedAndEndsItsConnection) {
  ServerProcess server({"--listen", shm(), "--listen", "tcp://127.0.0.1:0"});
  ASSERT_EQ(server.addresses().size(), 2u) << server.errors();
  for (const auto& address : server.addresses()) {
    const auto client = connect(address);
    ASSERT_NE(client, nullptr);
    std::vector<std::byte> message(sizeof(protocol::RangeRequest<2>) + 1);
    message[0] = static_cast<std::byte>(MessageType::kRange);
    ASSERT_TRUE(client->send(message));
    EXPECT_TRUE(client->wait_closed()) << address;
  }
  EXPECT_NE(server.errors().find("range message of 49 bytes"), std::string::npos)
      << server.errors();
}

TEST_F(ServerTest, AMessageLongerThanTheLimitEndsItsConnectionAlone) {
  ServerProcess server({"--listen", "tcp://127.0.0.1:0"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto witness = connect(server.addresses()[0]);
  ASSERT_NE(witness, nullptr);
  const int fd = plain_socket(server.addresses()[0]);
  const protocol::ClientHello hello{.dimensions = 2};
  const auto setup =
      transport::make_client_setup(transport::kTcpMagic, std::as_bytes(std::span(&hello, 1)));
  ASSERT_EQ(send(fd, &*setup, sizeof *setup, MSG_NOSIGNAL), ssize_t{sizeof *setup});
  transport::ServerSetup welcome{};
  ASSERT_EQ(recv(fd, &welcome, sizeof welcome, MSG_WAITALL), ssize_t{sizeof welcome});
  ASSERT_EQ(welcome.code, 0u);
  const transport::tcp::FrameHeader frame{welcome.max_message_bytes + 1,
                                          transport::tcp::FrameKind::kMessage,
                                          transport::tcp::kFrameMagic};
  ASSERT_EQ(send(fd, &frame, sizeof frame, MSG_NOSIGNAL), ssize_t{sizeof frame});
  char byte = 0;
  EXPECT_LE(recv(fd, &byte, 1, 0), 0);  // the server hangs up
  close(fd);
  EXPECT_EQ(count_in(*witness, 1, kEverything), 0);
}

TEST_F(ServerTest, RefusesClientsOfAnotherKind) {
  ServerProcess server({"--listen", shm(), "--dimensions", "3", "--max-clients", "2"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto flat = RawClient::connect(shm(), 2);
  ASSERT_FALSE(flat);
  EXPECT_NE(flat.error().message.find("3 dimensions"), std::string::npos) << flat.error().message;
  const std::vector<std::byte> nothing;
  EXPECT_FALSE(RawClient::connect(shm(), nothing));
  const auto one = RawClient::connect(shm(), 3);
  const auto two = RawClient::connect(shm(), 3);
  ASSERT_TRUE(one && two);
  const auto three = RawClient::connect(shm(), 3);
  ASSERT_FALSE(three);
  // The server's limit, or the listener's if the second client is still being taken in.
  EXPECT_TRUE(three.error().code == ErrorCode::kUnavailable ||
              three.error().code == ErrorCode::kTooLarge)
      << three.error().message;
}

TEST_F(ServerTest, LimitsTheClientsOfAllItsListenersTogether) {
  ServerProcess server({"--listen", shm(), "--listen", "tcp://127.0.0.1:0", "--max-clients", "2"});
  ASSERT_EQ(server.addresses().size(), 2u) << server.errors();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (const auto& address : server.addresses()) {
    clients.push_back(connect(address));
    ASSERT_NE(clients.back(), nullptr);
    ASSERT_EQ(count_in(*clients.back(), 1, kEverything), 0) << "it has been taken in";
  }
  for (const auto& address : server.addresses()) {
    const auto third = RawClient::connect(address);
    ASSERT_FALSE(third) << address;
    EXPECT_EQ(third.error().code, ErrorCode::kUnavailable) << third.error().message;
  }
}

TEST_F(ServerTest, LimitsWhatOnePeerTakesAndCountsItsRefusals) {
  ServerProcess server({"--listen", shm(), "--max-clients-per-peer", "2"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto one = connect(shm());
  const auto two = connect(shm());
  ASSERT_TRUE(one && two);
  for (int i = 0; i < 3; ++i) {
    const auto refused = RawClient::connect(shm());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("raise --max-clients-per-peer"), std::string::npos)
        << refused.error().message;
  }
  EXPECT_EQ(stats_of(*one, 1)["refused"]["max_clients_per_peer"], 3);
}

TEST_F(ServerTest, ALogIsNotFilledByAPeerThatBreaksTheProtocol) {
  ServerProcess server({"--listen", shm()});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto witness = connect(shm());
  ASSERT_NE(witness, nullptr);
  const auto begun = SystemClock().now();
  constexpr int kBreaches = 50;
  for (int i = 0; i < kBreaches; ++i) {
    const auto rogue = connect(shm());
    ASSERT_NE(rogue, nullptr);
    const std::array<std::byte, 8> garbage{};
    rogue->send(garbage);
    ASSERT_TRUE(rogue->wait_closed());
  }
  EXPECT_EQ(stats_of(*witness, 1)["disconnects"], kBreaches);
  const std::string text = server.errors();
  std::int64_t lines = 0;
  for (std::size_t at = 0; (at = text.find("disconnecting", at)) != std::string::npos; ++at) {
    ++lines;
  }
  // One of each worker in an interval.
  const auto intervals = (SystemClock().now() - begun) / (10 * kSecond) + 1;
  EXPECT_GE(lines, 1);
  EXPECT_LE(lines, intervals * static_cast<std::int64_t>(std::thread::hardware_concurrency()));
}

TEST_F(ServerTest, DisconnectsIdleClientsOnlyIfItIsToldTo) {
  ServerProcess patient_one({"--listen", shm("a")});
  ServerProcess server({"--listen", shm("b"), "--idle-timeout", "1s"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto kept = connect(shm("a"));
  const auto idle = connect(shm("b"));
  ASSERT_TRUE(kept && idle);
  EXPECT_TRUE(idle->wait_closed());
  const auto witness = connect(shm("b"));
  ASSERT_NE(witness, nullptr);
  EXPECT_EQ(stats_of(*witness, 1)["refused"]["idle_timeout"], 1);
  EXPECT_EQ(count_in(*kept, 1, kEverything), 0);
}

TEST_F(ServerTest, AKilledClientsRingComesBack) {
  ServerProcess server({"--listen", shm(), "--load", "uniform:100000"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto witness = connect(shm());
  ASSERT_NE(witness, nullptr);
  const auto rings = stats_of(*witness, 1)["ring_bytes"].get<std::uint64_t>();
  ASSERT_GT(rings, 0u);
  for (int round = 0; round < 3; ++round) {
    const pid_t child = fork();
    if (child == 0) {  // dies with requests sent and answers unread
      auto client = RawClient::connect(shm());
      if (!client) _exit(1);
      for (std::uint32_t i = 0; i < 20; ++i) (*client)->range(i, {.window = kEverything});
      raise(SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  json stats;
  std::uint32_t id = 2;
  EXPECT_TRUE(testing_support::wait_until([&] {
    stats = stats_of(*witness, id++);
    return stats["ring_bytes"] == rings && stats["listeners"][0]["clients"] == 1;
  })) << stats;
  EXPECT_EQ(count_in(*witness, id, kEverything), 100000);
}

TEST_F(ServerTest, ReachingTheMemoryBudgetIsAnAnswer) {
  ServerProcess server({"--listen", shm(), "--memory", "8M"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto client = connect(shm());
  ASSERT_NE(client, nullptr);
  std::uint64_t inserted = 0;
  bool full = false;
  for (std::uint32_t request = 0; !full && request < 2000; ++request) {
    std::vector<protocol::Operation<2>> operations;
    for (std::uint64_t i = 0; i < 150; ++i) {
      const std::uint64_t id = std::uint64_t{request} * 150 + i;
      operations.push_back(insert_of(id, static_cast<double>(id % 1000), static_cast<double>(id)));
    }
    ASSERT_TRUE(client->write(request, operations));
    const auto reply = client->reply(request);
    ASSERT_TRUE(reply && !reply->error);
    inserted += 150 - reply->count;
    full = reply->count != 0;
  }
  ASSERT_TRUE(full);
  EXPECT_GT(inserted, 50000u);  // 56 to 80 bytes an entry: the budget was used
  EXPECT_EQ(count_in(*client, 5000, kEverything), static_cast<std::int64_t>(inserted));
  const json stats = stats_of(*client, 5001);
  EXPECT_LE(stats["memory"]["used_bytes"], stats["memory"]["budget_bytes"]);
  EXPECT_EQ(server.stop(), 0) << server.errors();
}

TEST_F(ServerTest, AnIdleServerUsesNoCpu) {
  ServerProcess server({"--listen", shm(), "--listen", "tcp://127.0.0.1:0", "--load",
                        "uniform:10000", "--threads", "2"});
  ASSERT_EQ(server.addresses().size(), 2u) << server.errors();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(connect(server.addresses()[i % 2]));
    ASSERT_NE(clients.back(), nullptr);
    EXPECT_EQ(count_in(*clients.back(), 1, kEverything), 10000);
  }
  // A window in which its threads hardly wake up: the first one has the last heartbeats, and
  // whatever disturbs the machine adds to another.
#ifdef __SANITIZE_THREAD__
  constexpr std::uint64_t kFew = 50;  // a thread of the sanitizer's own wakes up ten times a second
#else
  constexpr std::uint64_t kFew = 20;
#endif
  std::uint64_t wake_ups = 0;
  double cpu_seconds = 0;
  EXPECT_TRUE(testing_support::wait_until([&] {
    const std::uint64_t before = server.wake_ups();
    const double cpu_before = server.cpu_seconds();
    testing_support::pace(3 * kSecond);  // pacing: a longer window has more wake-ups in it
    wake_ups = server.wake_ups() - before;
    cpu_seconds = server.cpu_seconds() - cpu_before;
    return wake_ups <= kFew && cpu_seconds <= 0.03;
  })) << wake_ups
      << " wake-ups and " << cpu_seconds << " s of CPU time in the last window";
  std::printf("%zu wake-ups in three seconds\n", static_cast<std::size_t>(wake_ups));
  EXPECT_EQ(count_in(*clients[0], 2, kEverything), 10000);  // and wakes up
}

TEST_F(ServerTest, StatisticsSayWhatTheServerDid) {
  ServerProcess server({"--listen", shm(), "--load", "uniform:3000", "--memory", "64M"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto client = connect(shm());
  ASSERT_NE(client, nullptr);
  for (std::uint32_t i = 0; i < 10; ++i) EXPECT_EQ(count_in(*client, i, kEverything), 3000);
  ASSERT_TRUE(client->write(20, {insert_of(1, 0, 0), insert_of(2, 0, 0)}));
  ASSERT_TRUE(client->reply(20));
  const json stats = stats_of(*client, 21);
  EXPECT_EQ(stats["entries"], 3002);
  EXPECT_EQ(stats["dimensions"], 2);
  EXPECT_EQ(stats["requests"]["range"], 10);
  EXPECT_EQ(stats["requests"]["write"], 1);
  EXPECT_EQ(stats["write_operations"], 2);
  EXPECT_EQ(stats["memory"]["budget_bytes"], 64 << 20);
  EXPECT_EQ(stats["listeners"][0]["address"], shm());
  EXPECT_EQ(stats["listeners"][0]["clients"], 1);
  EXPECT_GT(stats["service_time"]["search"]["p50_us"], 0);
  EXPECT_GT(stats["cpu_seconds"], 0);
  EXPECT_GT(stats["version"], 1);
}

bool stage(RawClient& client, std::uint32_t id, std::uint64_t first, std::uint64_t count) {
  std::vector<rtree::Entry<2>> entries;
  for (std::uint64_t i = first; i < first + count; ++i) {
    entries.push_back({i, insert_of(i, static_cast<double>(i % 997), static_cast<double>(i)).box});
  }
  std::vector<std::byte> bytes(protocol::load_entries_bytes<2>(count));
  protocol::encode_load_entries<2>(bytes, id, entries);
  if (!client.send(bytes)) return false;
  const auto reply = client.reply(id);
  return reply && !reply->error;
}

bool begin_load(RawClient& client, std::uint32_t id) {
  if (!client.bare(id, MessageType::kLoadBegin)) return false;
  const auto reply = client.reply(id);
  return reply && !reply->error;
}

TEST_F(ServerTest, LoadsInBulkWhileOthersSearchAndForgetsALoadWhoseClientDied) {
  ServerProcess server({"--listen", shm()});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto witness = connect(shm());
  ASSERT_NE(witness, nullptr);
  {
    const auto dying = connect(shm());
    ASSERT_TRUE(begin_load(*dying, 1) && stage(*dying, 2, 0, 100));
    EXPECT_FALSE(begin_load(*witness, 1));  // taken
  }
  const auto loader = connect(shm());
  ASSERT_NE(loader, nullptr);
  std::uint32_t id = 10;
  while (!begin_load(*loader, id++)) ASSERT_LT(id, 1000u);
  constexpr std::uint64_t kEntries = 200000;
  constexpr std::uint64_t kMessage = 200;
  for (std::uint64_t first = 0; first < kEntries; first += kMessage) {
    ASSERT_TRUE(stage(*loader, id++, first, kMessage));
  }
  EXPECT_EQ(count_in(*witness, 2, kEverything), 0);
  std::array<std::byte, sizeof(protocol::LoadCommit)> commit;
  protocol::encode_load_commit(commit, 9, 0, kEntries);
  ASSERT_TRUE(loader->send(commit));
  std::int64_t seen = 0;  // all of it or nothing
  for (std::uint32_t i = 3; seen == 0 && i < 1000000; ++i)
    seen = count_in(*witness, i, kEverything);
  EXPECT_EQ(seen, static_cast<std::int64_t>(kEntries));
  const auto reply = loader->reply(9);
  ASSERT_TRUE(reply && !reply->error);
  EXPECT_EQ(reply->count, kEntries);
  ASSERT_TRUE(witness->write(2000000, {insert_of(1, 0, 0)}));
  EXPECT_FALSE(witness->reply(2000000)->error.has_value());
}

/// Neither boxes nor ids say where to look for what is absent.
TEST_F(ServerTest, OneCrowdedSpotStallsNoOtherClient) {
  ServerProcess server({"--listen", shm(), "--threads", "1"});
  ASSERT_EQ(server.addresses().size(), 1u) << server.errors();
  const auto client = [&] {
    return Client<2>::connect(shm(), testing_support::patient({.mode = Mode::kMessaging}));
  };
  auto writer = client();
  auto reader = client();
  ASSERT_TRUE(writer && reader);
  const rtree::Box<2> place{{0, 0}, {0, 0}};
  const rtree::Box<2> elsewhere{{-5e5, -5e5}, {-5e5 + 1, -5e5 + 1}};  // the crowd does not reach it
  constexpr std::uint64_t kCrowd = 100'000;
  constexpr std::uint64_t kBatch = 500;
  for (std::uint64_t index = 0; index < kCrowd;) {
    WriteBatch<2> batch;
    for (std::uint64_t i = 0; i < kBatch; ++i) {
      const auto entry = testing_support::crowd_entry(index++, kCrowd);
      batch.insert(entry.id, entry.box);
    }
    ASSERT_TRUE(writer->write(batch));
  }
  ASSERT_TRUE(writer->insert(2 * kCrowd, elsewhere));
  WriteBatch<2> absent;
  for (std::uint64_t i = 0; i < kBatch; ++i) absent.erase(kCrowd + 2 * i + 1, place);
  std::atomic<bool> is_done = false;
  std::size_t failed = 0;
  {
    const std::jthread writes([&] {
      const auto written = writer->write(absent);
      if (written) failed = written->failed.size();
      is_done = true;
    });
    std::size_t answers = 0;
    while (!is_done) {
      EXPECT_EQ(reader->count(elsewhere).value(), 1u);
      ++answers;
    }
    // Hundreds where the processor is free. One or two, if the server stood still.
    EXPECT_GE(answers, 5u) << "it looks at millions of nodes meanwhile, 4,096 at a time";
  }
  EXPECT_EQ(failed, kBatch);
  const auto nearest = reader->nearest({{0, 0}}, 3);
  ASSERT_TRUE(nearest && nearest->size() == 3);
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ((*nearest)[i].id, 2 * i);
}

TEST_F(ServerTest, BigAnswersAndManyWritersAtOnceStayRight) {
  ServerProcess server({"--listen", shm(), "--listen", "tcp://127.0.0.1:0", "--load",
                        "uniform:200000", "--threads", "2"});
  ASSERT_EQ(server.addresses().size(), 2u) << server.errors();
  constexpr std::uint64_t kWriters = 3;
  constexpr std::uint32_t kWrites = 300;
  std::vector<std::jthread> writers;
  std::atomic<std::uint64_t> failures{0};
  for (std::uint64_t w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      auto client = RawClient::connect(server.addresses()[w % 2]);
      if (!client) {
        ++failures;
        return;
      }
      for (std::uint32_t i = 0; i < kWrites; ++i) {
        const double x = 10 + static_cast<double>(w);
        if (!(*client)->write(i, {insert_of(w * kWrites + i, x, 10 + 2.0 * i)})) ++failures;
        const auto reply = (*client)->reply(i);
        if (!reply || reply->error || reply->count != 0) ++failures;
      }
    });
  }
  for (const auto& address : server.addresses()) {
    const auto reader = connect(address);
    ASSERT_NE(reader, nullptr);
    const rtree::Box<2> unit{{0, 0}, {2, 2}};
    for (std::uint32_t i = 0; i < 10; ++i) {
      ASSERT_TRUE(reader->range(i, {.window = unit}));
      const auto reply = reader->reply(i);
      ASSERT_TRUE(reply && !reply->error);
      ASSERT_EQ(reply->count, 200000u);
      std::vector<std::uint64_t> ids(reply->count);
      std::memcpy(ids.data(), reply->payload.data(), reply->payload.size());
      std::sort(ids.begin(), ids.end());
      for (std::uint64_t id = 0; id < ids.size(); ++id) ASSERT_EQ(ids[id], id);
    }
  }
  writers.clear();
  EXPECT_EQ(failures, 0u);
  const auto client = connect(server.addresses()[0]);
  EXPECT_EQ(count_in(*client, 1, {{5, 5}, {1e6, 1e6}}),
            static_cast<std::int64_t>(kWriters * kWrites));
}

}  // namespace
}  // namespace silurus::server
