// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cstdio>

#include "common/random.h"
#include "tests/conformance/transport/fixture.h"

namespace silurus::transport::conformance {
namespace {

class Messages : public FabricTest {};

/// A message whose content and length follow from its number.
std::vector<std::byte> numbered(std::uint64_t number, std::size_t length) {
  std::vector<std::byte> message(length);
  Random random(number);
  for (auto& byte : message) byte = static_cast<std::byte>(random());
  return message;
}

TEST_P(Messages, ArriveWholeAndInBothDirections) {
  connect();
  ASSERT_TRUE(send(*client->connection, "a question"));
  client->connection->flush();
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 1; }));
  EXPECT_EQ(to_text(server->recorder->messages[0]), "a question");
  ASSERT_TRUE(send(*server->connection, "an answer"));
  server->connection->flush();
  ASSERT_TRUE(run_until([&] { return client->recorder->count == 1; }));
  EXPECT_EQ(to_text(client->recorder->messages[0]), "an answer");
}

TEST_P(Messages, GoOutWithTheNextProgressWithoutAFlush) {
  connect();
  ASSERT_TRUE(send(*client->connection, "held back"));
  EXPECT_TRUE(run_until([&] { return server->recorder->count == 1; }));
}

TEST_P(Messages, OfEveryLengthArriveInOrderExactlyOnce) {
  connect();
  const std::size_t longest = client->connection->limits().max_message_bytes;
  std::vector<std::size_t> lengths;
  for (std::size_t length = 1; length <= 200; ++length) lengths.push_back(length);
  for (std::size_t length = 256; length < longest; length *= 2) {
    for (const std::size_t near : {length - 9, length - 8, length - 1, length, length + 1}) {
      lengths.push_back(near);
    }
  }
  lengths.insert(lengths.end(), {longest - 1, longest, 1, longest});
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    ASSERT_TRUE(run_until([&] { return send(*client->connection, numbered(i, lengths[i])); }));
    client->connection->flush();
  }
  ASSERT_TRUE(run_until([&] { return server->recorder->count == lengths.size(); }));
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    EXPECT_EQ(server->recorder->messages[i], numbered(i, lengths[i])) << "length " << lengths[i];
  }
}

TEST_P(Messages, OfRandomLengthsWrapAroundForever) {
  constexpr std::uint64_t kSeed = 20261121;
  std::printf("seed %lu\n", static_cast<unsigned long>(kSeed));
  connect();
  const std::size_t longest = client->connection->limits().max_message_bytes;
  Random random(kSeed);
  std::uint64_t received = 0;
  Random expected_lengths(kSeed);
  const auto next_length = [&](Random& from) {
    return from.below(4) == 0 ? 1 + from.below(longest) : 1 + from.below(120);
  };
  server->recorder->keep = false;
  server->recorder->on_message_hook = [&](Connection&, std::span<const std::byte> message) {
    const auto expected = numbered(received++, next_length(expected_lengths));
    ASSERT_TRUE(std::equal(message.begin(), message.end(), expected.begin(), expected.end()));
  };
  constexpr std::uint64_t kMessages = 2000;
  for (std::uint64_t sent = 0; sent < kMessages; ++sent) {
    const auto message = numbered(sent, next_length(random));
    ASSERT_TRUE(run_until([&] { return send(*client->connection, message); }));
  }
  EXPECT_TRUE(run_until([&] { return received == kMessages; }));
}

TEST_P(Messages, MayBeShorterThanTheirReservation) {
  connect();
  const std::size_t longest = client->connection->limits().max_message_bytes;
  std::vector<std::size_t> lengths = {1, 56, 57, 500, 504, 505, 513, longest / 2, longest};
  for (int round = 0; round < 20; ++round) {
    for (const std::size_t length : lengths) {
      std::span<std::byte> room;
      ASSERT_TRUE(run_until([&] {
        room = client->connection->reserve(longest);
        return !room.empty();
      }));
      // The whole room may be used, whatever is sent of it.
      std::fill(room.begin(), room.end(), static_cast<std::byte>(length));
      client->connection->commit(length);
    }
  }
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 20 * lengths.size(); }));
  for (std::size_t i = 0; i < server->recorder->messages.size(); ++i) {
    const std::size_t length = lengths[i % lengths.size()];
    EXPECT_EQ(server->recorder->messages[i],
              std::vector<std::byte>(length, static_cast<std::byte>(length)));
  }
}

TEST_P(Messages, MayBeFlushedWhileTheNextOneIsBeingFilled) {
  connect();
  for (std::uint64_t i = 0; i < 20; i += 2) {
    ASSERT_TRUE(send(*client->connection, numbered(i, 100)));
    const std::span<std::byte> room = client->connection->reserve(80);
    ASSERT_FALSE(room.empty());
    client->connection->flush();
    const auto message = numbered(i + 1, 80);
    std::copy(message.begin(), message.end(), room.begin());
    client->connection->commit(80);
    ASSERT_TRUE(run_until([&] { return server->recorder->count == i + 2; }));
    EXPECT_EQ(server->recorder->messages[i], numbered(i, 100));
    EXPECT_EQ(server->recorder->messages[i + 1], message);
  }
}

TEST_P(Messages, OfWhichTheReservationIsGivenBackAreNotSent) {
  connect();
  ASSERT_FALSE(client->connection->reserve(100).empty());
  client->connection->commit(0);
  ASSERT_TRUE(send(*client->connection, "the first one"));
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 1; }));
  EXPECT_EQ(to_text(server->recorder->messages[0]), "the first one");
  settle();
  EXPECT_EQ(server->recorder->count, 1u);
}

TEST_P(Messages, ThatDoNotFitWouldBlockUntilOnWritable) {
  connect();
  Poller* const client_alone = client_poller.get();
  const auto message = numbered(1, 1000);
  std::size_t sent = 0;
  // No one reads at the server: after some megabytes at most, everything is full.
  const bool blocked = world->run_until(std::span(&client_alone, 1), [&] {
    for (int i = 0; i < 100; ++i) {
      if (!send(*client->connection, message)) return true;
      ++sent;
    }
    client->connection->flush();
    return false;
  });
  ASSERT_TRUE(blocked);
  EXPECT_GT(client->connection->counters().would_block, 0u);
  EXPECT_EQ(client->recorder->writable, 0u);
  server->recorder->keep = false;
  ASSERT_TRUE(run_until([&] { return client->recorder->writable == 1; }));
  ASSERT_TRUE(send(*client->connection, message));
  ASSERT_TRUE(run_until([&] { return server->recorder->count == sent + 1; }));
  EXPECT_EQ(client->recorder->writable, 1u) << "told once per would-block";
}

TEST_P(Messages, CanAllBeAnsweredFromWithinTheCallback) {
  connect();
  server->recorder->keep = false;
  server->recorder->on_message_hook = [](Connection& connection, auto message) {
    ASSERT_TRUE(send(connection, message));
  };
  client->recorder->keep = false;
  std::size_t sent = 0;
  constexpr std::size_t kMessages = 20000;
  constexpr std::size_t kInFlight = 64;
  ASSERT_TRUE(run_until([&] {
    while (sent < kMessages && sent - client->recorder->count < kInFlight) {
      EXPECT_TRUE(send(*client->connection, "fourty-eight bytes of a question about a window"));
      ++sent;
    }
    client->connection->flush();
    return client->recorder->count == kMessages;
  }));
  EXPECT_EQ(server->recorder->count, kMessages);
}

TEST_P(Messages, OfManyClientsReachOnePoller) {
  constexpr std::size_t kClients = 100;
  acceptor.prepare = [](Recorder& recorder) {
    recorder.keep = false;
    recorder.on_message_hook = [](Connection& connection, auto message) {
      ASSERT_TRUE(send(connection, message));
    };
  };
  for (std::size_t i = 0; i < kClients; ++i) connect();
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < kClients; ++i) {
      ASSERT_TRUE(send(*clients[i]->connection, "client " + std::to_string(i)));
      clients[i]->connection->flush();
    }
    ASSERT_TRUE(run_until([&] {
      return std::all_of(clients.begin(), clients.end(), [&](const auto& one) {
        return one->recorder->count == static_cast<std::size_t>(round + 1);
      });
    }));
  }
  for (std::size_t i = 0; i < kClients; ++i) {
    for (const auto& message : clients[i]->recorder->messages) {
      EXPECT_EQ(to_text(message), "client " + std::to_string(i));
    }
  }
}

TEST_P(Messages, WaitWhileTheReceiverIsPaused) {
  connect();
  std::size_t before_pause = 0;
  server->recorder->on_message_hook = [&](Connection& connection, auto) {
    if (++before_pause == 3) connection.set_paused(true);
  };
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(send(*client->connection, std::to_string(i)));
  client->connection->flush();
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 3; }));
  settle();
  EXPECT_EQ(server->recorder->count, 3u);
  server->connection->set_paused(false);
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 10; }));
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(to_text(server->recorder->messages[i]), std::to_string(i));
  }
}

TEST_P(Messages, WaitForTheEndOfAPauseThoughThePollerHasGoneToSleep) {
  connect();
  server->connection->set_paused(true);
  ASSERT_TRUE(send(*client->connection, "later"));
  client->connection->flush();
  settle();
  for (int i = 0; i < 1000 && !server_poller->arm(); ++i) server_poller->progress();
  EXPECT_EQ(server->recorder->count, 0u);
  server->connection->set_paused(false);
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 1; }));
  EXPECT_EQ(to_text(server->recorder->messages[0]), "later");
}

TEST_P(Messages, OfAPausedConnectionDoNotHideItsEnd) {
  connect();
  server->connection->set_paused(true);
  ASSERT_TRUE(send(*client->connection, "unheard"));
  settle();
  client->connection.reset();
  ASSERT_TRUE(run_until([&] { return server->recorder->closed.has_value(); }));
  EXPECT_EQ(server->recorder->closed->code, ErrorCode::kConnectionLost);
}

TEST_P(Messages, AreCounted) {
  connect();
  ASSERT_TRUE(send(*client->connection, "12345"));
  ASSERT_TRUE(send(*client->connection, "678"));
  ASSERT_TRUE(run_until([&] { return server->recorder->count == 2; }));
  const ConnectionCounters& sent = client->connection->counters();
  EXPECT_EQ(sent.messages_sent, 2u);
  EXPECT_EQ(sent.message_bytes_sent, 8u);
  EXPECT_EQ(sent.messages_received, 0u);
  const ConnectionCounters& received = server->connection->counters();
  EXPECT_EQ(received.messages_received, 2u);
  EXPECT_EQ(received.message_bytes_received, 8u);
  EXPECT_EQ(received.messages_sent, 0u);
}

INSTANTIATE_TEST_SUITE_P(Fabric, Messages, ::testing::ValuesIn(registered_worlds()), name_of);

}  // namespace
}  // namespace silurus::transport::conformance
