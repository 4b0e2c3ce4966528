// SPDX-License-Identifier: Apache-2.0

#include <atomic>
#include <thread>

#include "tests/conformance/transport/fixture.h"

namespace silurus::transport::conformance {
namespace {

using Content = std::array<std::byte, kMailboxBytes>;

class Mailbox : public FabricTest {
 protected:
  static Content filled(unsigned value) {
    Content content;
    content.fill(static_cast<std::byte>(value));
    return content;
  }
};

TEST_P(Mailbox, IsEmptyAtFirst) {
  connect();
  Content content;
  EXPECT_FALSE(client->connection->read_mailbox(content));
  EXPECT_FALSE(server->connection->read_mailbox(content));
}

TEST_P(Mailbox, HoldsTheNewestContentInBothDirections) {
  connect();
  for (unsigned value = 1; value <= 5; ++value) {
    server->connection->write_mailbox(filled(value));
    client->connection->write_mailbox(filled(100 + value));
    Content content{};
    ASSERT_TRUE(run_until(
        [&] { return client->connection->read_mailbox(content) && content == filled(value); }));
    ASSERT_TRUE(run_until([&] {
      return server->connection->read_mailbox(content) && content == filled(100 + value);
    }));
  }
  EXPECT_EQ(client->recorder->count, 0u) << "not a message";
}

TEST_P(Mailbox, OfAShortContentEndsInZeros) {
  connect();
  server->connection->write_mailbox(filled(255));
  const auto text = to_bytes("short");
  server->connection->write_mailbox(text);
  Content expected{};
  std::copy(text.begin(), text.end(), expected.begin());
  Content content{};
  EXPECT_TRUE(
      run_until([&] { return client->connection->read_mailbox(content) && content == expected; }));
}

TEST_P(Mailbox, ArrivesBesidesMessages) {
  connect();
  for (unsigned value = 1; value <= 100; ++value) {
    server->connection->write_mailbox(filled(value));
    ASSERT_TRUE(send(*server->connection, "heartbeat or not"));
    server->connection->flush();
    ASSERT_TRUE(run_until([&] { return client->recorder->count == value; }));
  }
  Content content{};
  EXPECT_TRUE(run_until(
      [&] { return client->connection->read_mailbox(content) && content == filled(100); }));
}

TEST_P(Mailbox, IsNeverTornUnderAConcurrentWriter) {
  connect();
  std::atomic<bool> stop = false;
  const auto write = [&](unsigned value) { server->connection->write_mailbox(filled(value)); };
  std::thread writer;
  if (world->has_threads()) {
    writer = std::thread([&] {
      for (unsigned value = 0; !stop.load(std::memory_order_relaxed); ++value) {
        write(value % 256);
        server_poller->progress();
      }
    });
  }
  Poller* const mine = client_poller.get();
  Content content{};
  int seen = 0;
  unsigned next = 0;
  EXPECT_TRUE(world->run_until(writer.joinable() ? std::span(&mine, 1) : std::span(pollers), [&] {
    if (!writer.joinable()) write(next++ % 256);
    if (client->connection->read_mailbox(content)) {
      ++seen;
      EXPECT_EQ(content, filled(static_cast<unsigned>(content[0])));
    }
    return seen >= 20000 || HasFailure();
  }));
  stop = true;
  if (writer.joinable()) writer.join();
}

INSTANTIATE_TEST_SUITE_P(Fabric, Mailbox, ::testing::ValuesIn(registered_worlds()), name_of);

}  // namespace
}  // namespace silurus::transport::conformance
