// SPDX-License-Identifier: Apache-2.0

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "tests/verbs/allocations.h"
#include "tests/verbs/kernel.h"
#include "tests/verbs/pair.h"
#include "transport/waiter.h"

namespace silurus::transport::verbs::testing {
namespace {

class VerbsResources : public Pair {};

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

long locked_kib() {
  long kib = -1;
  std::array<char, 256> line;
  FILE* status = std::fopen("/proc/self/status", "r");
  while (std::fgets(line.data(), line.size(), status) != nullptr) {
    std::sscanf(line.data(), "VmPin: %ld", &kib);
  }
  std::fclose(status);
  return kib;
}

TEST_F(VerbsResources, LeakNothingInAThousandConnections) {
  listen();
  const auto round = [&] {
    server.closed.reset();
    Connection& connection = connect();
    ASSERT_TRUE(send(connection, bytes_of("hello")));
    ASSERT_TRUE(until([&] { return server.messages.size() == 1; }));
    server.messages.clear();
    clients.clear();
    ASSERT_TRUE(until([&] { return server.closed.has_value(); }));
    accepted.clear();
  };
  const auto settled = [&](const std::string& expected) {
    // They are destroyed soon, not at once, and between two looks at the kernel, each of which
    // takes as long as many rounds of a poller.
    const auto is_as_expected = [&] {
      until([] { return false; }, kLongestRetirement);
      return rdma_resources() == expected;
    };
    return until(is_as_expected, 10 * kSecond);
  };
  // As many at once as may be on their way out later: queues are made for them, and kept.
  for (int i = 0; i < 32; ++i) connect();
  clients.clear();
  until([] { return false; }, 500 * kMillisecond);
  accepted.clear();
  for (int i = 0; i < 10; ++i) round();
  until([] { return false; }, 500 * kMillisecond);
  const std::string before = rdma_resources();
  const auto files = open_files();
  const long locked = locked_kib();
  for (int i = 0; i < 1000 && !HasFatalFailure(); ++i) round();
  EXPECT_TRUE(settled(before)) << before << rdma_resources()
                               << output_of("rdma resource show qp dev rxe0");
  EXPECT_EQ(open_files(), files);
  EXPECT_EQ(locked_kib(), locked);
  EXPECT_EQ(listener->ring_bytes(), 0u);
}

TEST_F(VerbsResources, NothingIsAllocatedOrRegisteredPerMessageOrRead) {
  listen();
  constexpr std::size_t kRegion = 1 << 16;
  auto* memory = static_cast<std::byte*>(
      mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_TRUE(listener->expose({{memory, kRegion}, -1}));
  Connection& connection = connect();
  auto buffer = *client_poller->allocate_buffer(4096);
  ReadRequest request{0, 0, 512, buffer.get(), 0, 7};
  ASSERT_TRUE(until([&] { return connection.post_reads({&request, 1}).posted == 1; }));
  ASSERT_TRUE(until([&] { return client.reads.size() == 1; }));
  struct Quiet : ConnectionHandler {
    void on_message(Connection& to, std::span<const std::byte> message) override {
      ++messages;
      if (answers) send(to, message);
    }
    void on_read(Connection&, std::uint64_t, bool) override { ++reads; }
    void on_writable(Connection&) override {}
    void on_closed(Connection&, const Error&) override {}
    bool answers = false;
    int messages = 0, reads = 0;
  } at_client, at_server;
  at_server.answers = true;
  connection.set_handler(&at_client);
  accepted[0]->set_handler(&at_server);
  const Bytes message(100);
  const auto run = [&] {
    for (int i = 0; i < 500; ++i) {
      const int messages = at_client.messages, reads = at_client.reads;
      send(connection, message);
      connection.post_reads({&request, 1});
      if (!until([&] { return at_client.messages > messages && at_client.reads > reads; })) break;
    }
  };
  run();  // everything has its size
  const std::string before = rdma_resources();
  const std::uint64_t allocated = allocations();
  run();
  EXPECT_EQ(allocations(), allocated);
  EXPECT_EQ(rdma_resources(), before);
  EXPECT_EQ(at_client.messages, 1000);
  EXPECT_EQ(at_client.reads, 1000);
  TearDown();
  munmap(memory, kRegion);
}

TEST_F(VerbsResources, AServerOf256IdleClientsSleeps) {
  listen();
  auto client_waiter = *Waiter::create({}, {client_poller.get()});
  for (int i = 0; i < 256; ++i) {
    connect();
    until([&] { return accepted.size() == clients.size(); });
  }
  EXPECT_LE(listener->ring_bytes(), options.ring_budget_bytes);
  // The clients' share of this process is not measured: they are not driven, and their cards
  // answer.
  auto waiter = *Waiter::create({}, {server_poller.get()});
  const auto cpu = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  };
  waiter->wait(2 * kSecond);
  const SystemClock clock;
  // Limit for an emulated core, 10 to 20 times slower than a real one.
  constexpr double kLimit = 0.005;
  EXPECT_TRUE(testing_support::wait_until([&] {  // what disturbs the machine adds to it
    const double before = cpu();
    const Nanoseconds until = clock.now() + 5 * kSecond;
    for (Nanoseconds now = clock.now(); now < until; now = clock.now()) waiter->wait(until - now);
    const double busy = (cpu() - before) / 5;
    std::printf("256 idle clients: %.2f %% of an emulated core\n", busy * 100);
    return busy < kLimit;
  }));
  for (const auto& connection : clients) EXPECT_FALSE(connection->limits().max_message_bytes == 0);
}

TEST_F(VerbsResources, ASleepingServerIsWokenByAMessage) {
  listen();
  Connection& connection = connect();
  ASSERT_TRUE(until([&] { return !accepted.empty(); }));
  auto waiter = *Waiter::create({WaitPolicy::kSleep, 0}, {server_poller.get()});
  int lost = 0;
  std::jthread server_thread([&] {
    while (server.messages.size() < 20) {
      if (waiter->wait(testing_support::patient(5 * kSecond)) == 0) ++lost;
    }
  });
  const SystemClock clock;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(send(connection, bytes_of("wake up")));
    connection.flush();
    const Nanoseconds pause = clock.now() + 20 * kMillisecond;
    while (clock.now() < pause) client_poller->progress();
  }
  server_thread.join();
  EXPECT_EQ(lost, 0) << "waits that no message ended";
}

}  // namespace
}  // namespace silurus::transport::verbs::testing
