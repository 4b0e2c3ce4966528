// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/thread.h"

#include <vector>

#include "tests/unit/transport_sim/harness.h"

namespace silurus::transport::sim {
namespace {

TEST(SimThread, WaitsInVirtualTimeWhileOthersGoOn) {
  World world(1);
  std::vector<std::string> order;
  const auto at_every = [&](Nanoseconds pause, const std::string& name) {
    return [&order, pause, name](Thread& self) {
      for (int i = 0; i < 2; ++i) {
        self.sleep(pause);
        order.push_back(name);
      }
    };
  };
  Thread quick(world.add_host("a"), "quick", at_every(2 * kMillisecond, "quick"));
  Thread slow(world.add_host("b"), "slow", at_every(3 * kMillisecond, "slow"));
  world.run_for(10 * kMillisecond);
  EXPECT_EQ(order, (std::vector<std::string>{"quick", "slow", "quick", "slow"}));
  EXPECT_TRUE(quick.is_done());
  EXPECT_TRUE(slow.is_done());
}

/// Listens, and takes each client that comes.
class Server final : public AcceptHandler {
 public:
  Server(World& world, Host& host)
      : fabric_(world, host), poller_(std::move(*fabric_.create_poller())) {
    Poller* const pollers[] = {poller_.get()};
    listener_ = std::move(*fabric_.listen({"sim", host.name(), "1", ""}, {}, pollers, *this));
    process_ = host.spawn("server", [this](Process&) { poller_->progress(); });
    process_->watch(*poller_);
  }
  Result<std::vector<std::byte>> on_hello(std::span<const std::byte>,
                                          const transport::Caller&) override {
    return {};
  }
  void on_accept(std::unique_ptr<Connection> connection, Poller&) override {
    connection->set_handler(&handler_);
    connections_.push_back(std::move(connection));
  }
  std::size_t connections() const { return connections_.size(); }
  const Recorder& heard() const { return handler_; }

 private:
  SimFabric fabric_;
  std::unique_ptr<Poller> poller_;
  Recorder handler_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Process> process_;
};

TEST(SimThread, BlocksAloneWhileItConnects) {
  World world(2);
  Host& server_host = world.add_host("server");
  Host& client_host = world.add_host("client");
  std::vector<std::string> order;
  // There is no server, so that it takes its whole timeout.
  Host& nobody = world.add_host("nobody");
  nobody.crash();
  Server server(world, server_host);
  const auto connects_to = [&](const std::string& to, Nanoseconds timeout) {
    return [&, to, timeout](Thread& self) {
      SimFabric fabric(world, self.host());
      const auto poller = std::move(*fabric.create_poller());
      Recorder handler;
      const auto connection =
          fabric.connect({"sim", to, "1", ""}, {.timeout = timeout}, *poller, {}, handler);
      order.push_back(to + (connection ? " answered" : " did not"));
    };
  };
  Thread patient(client_host, "patient", connects_to("nobody", 5 * kMillisecond));
  Thread other(world.add_host("other"), "other", connects_to("server", 5 * kMillisecond));
  world.run_for(10 * kMillisecond);
  EXPECT_EQ(order, (std::vector<std::string>{"server answered", "nobody did not"}));
  EXPECT_EQ(server.connections(), 1u);
}

TEST(SimThread, FindsItsWayOutOfACrashedHostAndDoesNothing) {
  World world(3);
  Host& server_host = world.add_host("server");
  Host& client_host = world.add_host("client");
  Server server(world, server_host);
  bool is_out = false;
  Thread thread(client_host, "client", [&](Thread& self) {
    SimFabric fabric(world, self.host());
    const auto poller = std::move(*fabric.create_poller());
    Recorder handler;
    const ConnectOptions options{.timeout = 5 * kMillisecond};
    auto connection = fabric.connect({"sim", "server", "1", ""}, options, *poller, {}, handler);
    ASSERT_TRUE(connection);
    ASSERT_TRUE(send(**connection, "first"));
    self.sleep(600 * kSecond);
    EXPECT_TRUE(self.is_over());
    send(**connection, "last");
    EXPECT_FALSE(fabric.connect({"sim", "server", "1", ""}, options, *poller, {}, handler));
    is_out = true;
  });
  world.run_for(kSecond);
  client_host.crash();
  EXPECT_FALSE(is_out);
  thread.end();
  EXPECT_TRUE(is_out);
  EXPECT_LT(world.now(), 2 * kSecond) << "no time passes meanwhile";
  client_host.restart();
  world.run_for(kSecond);
  EXPECT_EQ(server.heard().messages, std::vector<std::string>{"first"});
}

TEST(SimThread, TakesTheSameCourseFromTheSameSeed) {
  const auto hash = [](std::uint64_t seed) {
    World world(seed);
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < 4; ++i) {
      threads.push_back(std::make_unique<Thread>(
          world.add_host("h" + std::to_string(i)), "thread", [&world](Thread& self) {
            for (int n = 0; n < 50; ++n) {
              self.sleep(static_cast<Nanoseconds>(world.random().below(kMillisecond)));
            }
          }));
    }
    world.run_for(kSecond);
    return world.trace_hash();
  };
  EXPECT_EQ(hash(5), hash(5));
  EXPECT_NE(hash(5), hash(6));
}

}  // namespace
}  // namespace silurus::transport::sim
