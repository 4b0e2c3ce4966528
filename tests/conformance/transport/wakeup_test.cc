// SPDX-License-Identifier: Apache-2.0

#include <poll.h>

#include <atomic>
#include <ctime>
#include <thread>

#include "common/random.h"
#include "tests/conformance/transport/fixture.h"
#include "tests/support/patience.h"
#include "transport/waiter.h"

namespace silurus::transport::conformance {
namespace {

using testing_support::patient;

class WakeUps : public FabricTest {
 protected:
  void SetUp() override {
    FabricTest::SetUp();
    if (server_poller->fd() < 0) GTEST_SKIP() << "virtual time has nothing to sleep on";
  }
  static bool is_readable(const Poller& poller) { return readable(poller, 0); }
  static bool becomes_readable(const Poller& poller) {
    return readable(poller, static_cast<int>(patient(10 * kSecond) / kMillisecond));
  }
  /// Drives it until it agrees to sleep.
  static void put_to_sleep(Poller& poller) {
    while (!poller.arm()) poller.progress();
  }

 private:
  static bool readable(const Poller& poller, int timeout_ms) {
    pollfd fd{poller.fd(), POLLIN, 0};
    return ::poll(&fd, 1, timeout_ms) == 1;
  }
};

TEST_P(WakeUps, ComeFromAMessage) {
  connect();
  settle();
  for (int round = 1; round <= 3; ++round) {
    put_to_sleep(*server_poller);
    EXPECT_FALSE(is_readable(*server_poller));
    ASSERT_TRUE(send(*client->connection, "wake up"));
    client->connection->flush();
    EXPECT_TRUE(becomes_readable(*server_poller));
    ASSERT_TRUE(run_until([&] { return server->recorder->count == static_cast<unsigned>(round); }));
  }
}

TEST_P(WakeUps, ComeFromAnAnswerAndFromANewClientAndFromAnEnd) {
  connect();
  settle();
  put_to_sleep(*client_poller);
  ASSERT_TRUE(send(*server->connection, "answer"));
  server->connection->flush();
  EXPECT_TRUE(becomes_readable(*client_poller));
  settle();
  put_to_sleep(*server_poller);
  std::thread newcomer([&] {
    Recorder recorder;
    auto poller = std::move(*world->client_fabric().create_poller());
    auto made = world->client_fabric().connect(listener->address(), patient_connect(), *poller, {},
                                               recorder);
    EXPECT_TRUE(made) << made.error().message;
  });
  EXPECT_TRUE(becomes_readable(*server_poller));
  ASSERT_TRUE(run_until([&] { return acceptor.ends.size() == 2; }));
  newcomer.join();
  settle();
  put_to_sleep(*server_poller);
  client->connection.reset();
  EXPECT_TRUE(becomes_readable(*server_poller));
  EXPECT_TRUE(run_until([&] { return acceptor.ends[0].recorder->closed.has_value(); }));
}

TEST_P(WakeUps, AreRefusedWhileThereIsWork) {
  connect();
  settle();
  ASSERT_TRUE(send(*client->connection, "early"));
  client->connection->flush();
  // Either it will not sleep, or it is woken at once.
  EXPECT_TRUE(!server_poller->arm() || becomes_readable(*server_poller));
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 1; }));
  client->connection->close();
  EXPECT_FALSE(client_poller->arm()) << "on_closed is due";
}

TEST_P(WakeUps, ComeFromRoomToSend) {
  connect();
  const std::vector<std::byte> message(2000);
  Poller* const alone = client_poller.get();
  ASSERT_TRUE(world->run_until(std::span(&alone, 1), [&] {
    for (int i = 0; i < 10; ++i) {
      if (!send(*client->connection, message)) return true;
    }
    return false;
  }));
  // All that the client's own system had to move has moved.
  world->settle(std::span(&alone, 1));
  put_to_sleep(*client_poller);
  server->recorder->keep = false;
  Poller* const other = server_poller.get();
  ASSERT_TRUE(world->run_until(std::span(&other, 1), [&] { return is_readable(*client_poller); }));
  EXPECT_TRUE(run_until([&] { return client->recorder->writable == 1; }));
}

TEST_P(WakeUps, AreNeededByFewMessagesOfABatch) {
  connect();
  settle();
  put_to_sleep(*server_poller);
  const std::uint64_t before = client->connection->counters().doorbells;
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(send(*client->connection, "one of twenty"));
  client->connection->flush();
  EXPECT_EQ(client->connection->counters().doorbells, before + 1);
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 20; }));
}

TEST_P(WakeUps, ReachClientsThatHaveLongBeenIdle) {
  constexpr std::size_t kClients = 40;
  for (std::size_t i = 0; i < kClients; ++i) connect();
  for (int round = 0; round < 3; ++round) {
    settle();  // long enough for a poller to stop looking at each of them
    for (auto& one : clients) ASSERT_TRUE(send(*one->connection, "still here"));
    for (auto& one : clients) one->connection->flush();
    ASSERT_TRUE(run_until([&] {
      return std::all_of(acceptor.ends.begin(), acceptor.ends.end(), [&](const End& end) {
        return end.recorder->count == static_cast<std::size_t>(round + 1);
      });
    }));
  }
}

TEST_P(WakeUps, AreAllThatAnIdleServerUsesItsProcessorFor) {
  for (int i = 0; i < 100; ++i) connect();
  settle();
  auto waiter = std::move(*Waiter::create({}, {server_poller.get()}));
  const auto cpu_time = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
  };
  // Two waits one after the other: a fabric may look after its peers now and then, and a busy
  // machine adds to the CPU time.
  int quiet_waits = 0;
  EXPECT_TRUE(testing_support::wait_until([&] {
    const Nanoseconds before = cpu_time();
    const bool woken = waiter->wait(300 * kMillisecond) != 0;
    quiet_waits = !woken && cpu_time() - before < 15 * kMillisecond ? quiet_waits + 1 : 0;
    return quiet_waits == 2;
  }));
}

// Two threads that sleep as soon as they can, and pauses of random length: one lost wake-up, and
// neither moves again.
TEST_P(WakeUps, AreNeverLost) {
  constexpr std::uint64_t kSeed = 4711;
  std::printf("seed %lu\n", static_cast<unsigned long>(kSeed));
  connect();
  constexpr std::size_t kRounds = 5000;
  server->recorder->keep = client->recorder->keep = false;
  server->recorder->on_message_hook = [](Connection& connection, auto message) {
    ASSERT_TRUE(send(connection, message));
  };
  const auto echo_all = [&] {
    const std::size_t* const count = &server->recorder->count;
    auto waiter = std::move(*Waiter::create({.policy = WaitPolicy::kSleep}, {server_poller.get()}));
    Random random(kSeed);
    while (*count < kRounds) {
      if (waiter->wait(patient(20 * kSecond)) == 0) break;
      for (std::uint64_t i = random.below(300); i > 0; --i)
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    for (int i = 0; i < 10; ++i) server_poller->progress();
  };
  std::thread echo(echo_all);
  auto waiter = std::move(*Waiter::create({.policy = WaitPolicy::kSleep}, {client_poller.get()}));
  Random random(kSeed + 1);
  bool lost = false;
  for (std::size_t round = 0; round < kRounds && !lost; ++round) {
    for (std::uint64_t i = random.below(3000); i > 0; --i)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    EXPECT_TRUE(send(*client->connection, "are you there?"));
    client->connection->flush();
    while (client->recorder->count <= round && !lost) {
      lost = waiter->wait(patient(10 * kSecond)) == 0 && client->recorder->count <= round;
    }
  }
  EXPECT_FALSE(lost) << "after " << client->recorder->count << " answers";
  echo.join();
}

INSTANTIATE_TEST_SUITE_P(Fabric, WakeUps, ::testing::ValuesIn(registered_worlds()), name_of);

}  // namespace
}  // namespace silurus::transport::conformance
