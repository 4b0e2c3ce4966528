// SPDX-License-Identifier: Apache-2.0

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/conformance/transport/fixture.h"

namespace silurus::transport::conformance {
namespace {

class Connections : public FabricTest {};

TEST_P(Connections, CarryTheHellosOfBothSides) {
  listen();
  acceptor.hello = std::vector<std::byte>(kMaxHelloBytes, std::byte{7});
  const std::string longest(kMaxClientHelloBytes, 'c');
  auto made = try_connect(longest);
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_TRUE(run_until([&] { return acceptor.ends.size() == 1; }));
  EXPECT_EQ(to_text(acceptor.hellos.at(0)), longest);
  EXPECT_EQ(to_text(acceptor.ends[0].connection->peer_hello()), longest);
  const auto said = made.value()->connection->peer_hello();
  EXPECT_EQ(std::vector<std::byte>(said.begin(), said.end()), acceptor.hello);
  EXPECT_FALSE(made.value()->connection->peer().empty());
  EXPECT_FALSE(acceptor.ends[0].connection->peer().empty());
}

TEST_P(Connections, WithAHelloThatIsTooLongAreAnError) {
  listen();
  const auto refused = try_connect(std::string(kMaxClientHelloBytes + 1, 'c'));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
}

TEST_P(Connections, HaveTheSameLimitsOnBothSides) {
  connect();
  const ConnectionLimits& ours = client->connection->limits();
  const ConnectionLimits& theirs = server->connection->limits();
  EXPECT_EQ(ours.max_message_bytes, theirs.max_message_bytes);
  EXPECT_EQ(ours.max_reads_in_flight, theirs.max_reads_in_flight);
  EXPECT_EQ(ours.max_read_bytes, theirs.max_read_bytes);
  EXPECT_GE(ours.max_message_bytes, 2048u);
}

TEST_P(Connections, ThatTheHandlerRefusesFailWithItsError) {
  listen();
  acceptor.refusal = Error{ErrorCode::kConflict, "wrong dimensions: the tree is 3-D"};
  const auto refused = try_connect();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_NE(refused.error().message.find("wrong dimensions: the tree is 3-D"), std::string::npos)
      << refused.error().message;
  acceptor.refusal.reset();
  EXPECT_TRUE(try_connect()) << "and the next one is welcome";
}

TEST_P(Connections, ToNoListenerAreAnErrorThatNamesTheAddress) {
  Recorder recorder;
  const Address address = world->empty_address();
  const auto connection =
      world->client_fabric().connect(address, {}, *client_poller, to_bytes("client"), recorder);
  ASSERT_FALSE(connection);
  EXPECT_TRUE(connection.error().code == ErrorCode::kNotFound ||
              connection.error().code == ErrorCode::kUnavailable)
      << connection.error().message;
  EXPECT_NE(connection.error().message.find(address.to_string()), std::string::npos)
      << connection.error().message;
}

TEST_P(Connections, ToAServerThatDoesNotAnswerTimeOut) {
  if (world->answers_without_poller()) GTEST_SKIP() << "the server answers on a thread of its own";
  listen();
  Recorder recorder;
  // No thread drives the server's poller.
  const auto connection = world->client_fabric().connect(
      listener->address(), {.timeout = 30 * kMillisecond}, *client_poller, {}, recorder);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kDeadlineExceeded) << connection.error().message;
  settle();  // the server finds the client gone, and takes no harm
  EXPECT_TRUE(try_connect());
}

TEST_P(Connections, ClosedByTheClientEndOnBothSides) {
  connect();
  client->connection->close();
  EXPECT_FALSE(client->recorder->closed) << "from a later progress()";
  EXPECT_TRUE(client->connection->reserve(10).empty());
  ASSERT_TRUE(run_until([&] { return client->recorder->closed && server->recorder->closed; }));
  EXPECT_EQ(client->recorder->closed->code, ErrorCode::kUnavailable);
  EXPECT_EQ(server->recorder->closed->code, ErrorCode::kConnectionLost);
  EXPECT_EQ(client->recorder->writable, 0u);
}

TEST_P(Connections, ClosedByTheServerEndOnBothSides) {
  connect();
  server->connection->close();
  ASSERT_TRUE(run_until([&] { return client->recorder->closed && server->recorder->closed; }));
  EXPECT_EQ(server->recorder->closed->code, ErrorCode::kUnavailable);
  EXPECT_EQ(client->recorder->closed->code, ErrorCode::kConnectionLost);
}

TEST_P(Connections, DestroyedEndForTheOtherSide) {
  connect();
  client->connection.reset();
  ASSERT_TRUE(run_until([&] { return server->recorder->closed.has_value(); }));
  EXPECT_EQ(server->recorder->closed->code, ErrorCode::kConnectionLost);
  EXPECT_FALSE(client->recorder->closed) << "no handler is called after destruction";
}

TEST_P(Connections, AreHarmlessOnceClosed) {
  connect();
  server->connection->close();
  ASSERT_TRUE(run_until([&] { return client->recorder->closed && server->recorder->closed; }));
  for (Connection* connection : {client->connection.get(), server->connection.get()}) {
    EXPECT_TRUE(connection->reserve(100).empty());
    connection->commit(0);
    connection->flush();
    connection->write_mailbox({});
    std::array<std::byte, kMailboxBytes> content;
    connection->read_mailbox(content);
    EXPECT_EQ(connection->post_reads({}).posted, 0u);
    connection->set_paused(true);
    connection->set_paused(false);
    connection->close();
    EXPECT_FALSE(connection->peer().empty());
  }
  settle();
}

TEST_P(Connections, DeliverWhatWasCommittedBeforeAClose) {
  connect();
  // More than a poller takes of one connection in a round.
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(send(*client->connection, "last words"));
  client->connection->close();
  ASSERT_TRUE(run_until([&] { return server->recorder->closed.has_value(); }));
  EXPECT_EQ(server->recorder->count, 200u);
}

TEST_P(Connections, MayBeClosedFromWithinACallback) {
  connect();
  server->recorder->on_message_hook = [](Connection& connection, auto) { connection.close(); };
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(send(*client->connection, "bye"));
  ASSERT_TRUE(run_until([&] { return client->recorder->closed && server->recorder->closed; }));
  EXPECT_EQ(server->recorder->count, 1u) << "nothing after close()";
}

TEST_P(Connections, OfOthersMayBeDestroyedFromWithinACallback) {
  for (int i = 0; i < 5; ++i) connect();
  acceptor.ends[2].recorder->on_message_hook = [&](Connection&, auto) {
    for (const std::size_t other : {0, 1, 3, 4}) acceptor.ends[other].connection.reset();
  };
  for (auto& one : clients) ASSERT_TRUE(send(*one->connection, "hello"));
  ASSERT_TRUE(run_until([&] {
    return std::count_if(clients.begin(), clients.end(),
                         [](const auto& one) { return one->recorder->closed.has_value(); }) == 4;
  }));
  EXPECT_FALSE(clients[2]->recorder->closed);
}

TEST_P(Connections, OfOneClientDoNotDisturbOthers) {
  connect();
  connect();
  clients[0]->connection.reset();
  ASSERT_TRUE(send(*clients[1]->connection, "still here"));
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 1; }));
}

TEST_P(Connections, BeyondTheMaximumAreRefusedAndTheirPlacesComeBack) {
  listen({.max_connections = 3});
  for (int i = 0; i < 3; ++i) connect();
  const auto refused = try_connect();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTooLarge);
  EXPECT_NE(refused.error().message.find("max_connections (3)"), std::string::npos)
      << refused.error().message;
  clients[0]->connection.reset();
  ASSERT_TRUE(run_until([&] { return acceptor.ends[0].recorder->closed.has_value(); }));
  acceptor.ends[0].connection.reset();
  EXPECT_TRUE(try_connect());
}

TEST_P(Connections, OfOnePeerBeyondItsLimitAreRefusedInWordsAndCounted) {
  listen({.max_connections_per_peer = 3});
  for (int i = 0; i < 3; ++i) connect();
  EXPECT_EQ(server->connection->owner(), acceptor.ends.front().connection->owner());
  const auto refused = try_connect();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTooLarge);
  EXPECT_NE(refused.error().message.find("3 connections; close some, or raise "
                                         "--max-clients-per-peer"),
            std::string::npos)
      << refused.error().message;
  const auto reason = static_cast<std::size_t>(RefusalReason::kPeerConnections);
  EXPECT_EQ(listener->refusals()[reason], 1u);
  clients[0]->connection.reset();
  ASSERT_TRUE(run_until([&] { return acceptor.ends[0].recorder->closed.has_value(); }));
  acceptor.ends[0].connection.reset();
  EXPECT_TRUE(try_connect());
}

TEST_P(Connections, OfOnePeerLeaveRingsToOthers) {
  constexpr std::uint64_t kBudget = 1 << 20;
  listen({.max_connections_per_peer = 10'000, .ring_budget_bytes = kBudget});
  Result<End*> made = nullptr;
  while ((made = try_connect())) ASSERT_LT(clients.size(), 10'000u);
  EXPECT_NE(made.error().message.find("share of ring_budget_bytes"), std::string::npos)
      << made.error().message;
  EXPECT_LE(listener->ring_bytes(), kBudget - kBudget / kOthersRingShare);
}

TEST_P(Connections, ThatTheHandlerRefusesAreCounted) {
  listen();
  acceptor.refusal = Error{ErrorCode::kUnavailable, "full"};
  EXPECT_FALSE(try_connect());
  acceptor.refusal = Error{ErrorCode::kConflict, "wrong dimensions"};
  EXPECT_FALSE(try_connect());
  EXPECT_EQ(listener->refusals()[static_cast<std::size_t>(RefusalReason::kConnections)], 1u);
  EXPECT_EQ(listener->refusals()[static_cast<std::size_t>(RefusalReason::kHello)], 1u);
}

TEST_P(Connections, ShareTheRingBudget) {
  constexpr std::uint64_t kBudget = 1 << 20;
  listen({.ring_budget_bytes = kBudget});
  Result<End*> made = nullptr;
  std::uint32_t longest_message = ~0u;
  while ((made = try_connect())) {
    EXPECT_LE(listener->ring_bytes(), kBudget);
    EXPECT_LE((*made)->connection->limits().max_message_bytes, longest_message) << "they shrink";
    longest_message = (*made)->connection->limits().max_message_bytes;
    ASSERT_LT(clients.size(), 10000u);
  }
  EXPECT_EQ(made.error().code, ErrorCode::kTooLarge);
  EXPECT_NE(made.error().message.find("ring_budget_bytes"), std::string::npos)
      << made.error().message;
  EXPECT_GE(clients.size(), 20u);
  // Those that are there work, and their memory comes back.
  ASSERT_TRUE(send(*clients.back()->connection, "hello"));
  ASSERT_TRUE(run_until([&] { return acceptor.ends.back().recorder->count == 1; }));
  for (auto& one : clients) one->connection.reset();
  ASSERT_TRUE(run_until([&] {
    return std::all_of(acceptor.ends.begin(), acceptor.ends.end(),
                       [](const End& end) { return end.recorder->closed.has_value(); });
  }));
  acceptor.ends.clear();
  EXPECT_EQ(listener->ring_bytes(), 0u);
}

TEST_P(Connections, OutliveTheirListener) {
  connect();
  listener.reset();
  ASSERT_TRUE(send(*client->connection, "who is there?"));
  EXPECT_TRUE(run_until([&] { return server->recorder->count == 1; }));
}

TEST_P(Connections, AreDealtOutToAllPollers) {
  auto second = std::move(*world->server_fabric().create_poller());
  const std::vector<Poller*> both = {server_poller.get(), second.get()};
  ListenOptions options;
  options.allow_other_users = world->is_reachable_by_others();
  auto made = world->server_fabric().listen(world->address(), options, both, acceptor);
  ASSERT_TRUE(made) << made.error().message;
  listener = std::move(*made);
  pollers.push_back(second.get());
  for (int i = 0; i < 4; ++i) {
    auto end = std::make_unique<End>();
    auto connected = world->connect(listener->address(), patient_connect(), *client_poller, {},
                                    *end->recorder, both);
    ASSERT_TRUE(connected) << connected.error().message;
    end->connection = std::move(*connected);
    clients.push_back(std::move(end));
  }
  ASSERT_TRUE(run_until([&] { return acceptor.ends.size() == 4; }));
  for (auto& one : clients) ASSERT_TRUE(send(*one->connection, "hello"));
  client_poller->progress();
  Poller* const alone = second.get();
  const auto received = [&] {
    return std::count_if(acceptor.ends.begin(), acceptor.ends.end(),
                         [](const End& end) { return end.recorder->count == 1; });
  };
  EXPECT_TRUE(world->run_until(std::span(&alone, 1), [&] { return received() >= 2; }));
  EXPECT_TRUE(run_until([&] { return received() == 4; }));
  TearDown();  // before the second poller goes
}

TEST_P(Connections, OfABurstAreTakenInAFewRoundsThoughOthersAreServed) {
  if (!world->has_threads()) GTEST_SKIP() << "in virtual time clients connect one by one";
  if (world->answers_without_poller()) GTEST_SKIP() << "the server answers on a thread of its own";
  constexpr std::size_t kBurst = 100;
  constexpr int kRounds = 2048;
  connect();  // one that is active
  std::vector<std::atomic<pid_t>> threads(kBurst);
  std::atomic<std::size_t> connected = 0;
  std::vector<std::jthread> burst;
  for (std::size_t i = 0; i < kBurst; ++i) {
    burst.emplace_back([&, i] {
      const auto poller = std::move(*world->client_fabric().create_poller());
      Recorder recorder;
      threads[i] = gettid();
      const auto made = world->client_fabric().connect(listener->address(), patient_connect(),
                                                       *poller, {}, recorder);
      if (made) ++connected;
    });
  }
  // Asleep in several looks, one after the other: it waits for the server, and for no lock.
  int looks = 0;
  ASSERT_TRUE(testing_support::wait_until([&] {
    const bool all = std::ranges::all_of(threads, [](const auto& thread) {
      return thread != 0 && testing_support::is_asleep(thread);
    });
    looks = all ? looks + 1 : 0;
    return looks == 5;
  }));
  for (int round = 0; round < kRounds && acceptor.ends.size() <= kBurst; ++round) {
    ASSERT_TRUE(send(*client->connection, "served meanwhile"));
    for (Poller* const poller : pollers) poller->progress();
  }
  EXPECT_EQ(acceptor.ends.size(), 1 + kBurst);
  run_until([&] { return acceptor.ends.size() == 1 + kBurst; });  // so that the threads end
  burst.clear();
  EXPECT_EQ(connected, kBurst);
}

INSTANTIATE_TEST_SUITE_P(Fabric, Connections, ::testing::ValuesIn(registered_worlds()), name_of);

}  // namespace
}  // namespace silurus::transport::conformance
