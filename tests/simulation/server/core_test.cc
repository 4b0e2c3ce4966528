// SPDX-License-Identifier: Apache-2.0

#include "server/core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "common/log.h"
#include "common/random.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "server/executor.h"
#include "tests/support/seed.h"
#include "transport/sim/fabric.h"
#include "transport/sim/world.h"

// The whole server in virtual time: the code that ships, over links that are slow, lose packets and
// get cut, with clients that crash. Faults injected: loss, cuts, crashes and pauses of clients. To
// be survived: every answer that arrives is right, every write that was answered is there, and
// what a client held comes back.

namespace silurus::server {
namespace {

using transport::sim::Host;
using transport::sim::Process;
using transport::sim::SimFabric;
using transport::sim::World;

constexpr std::uint64_t kLoaded = 3000;

rtree::Box<2> box_of(std::uint64_t id) {
  const double x = 2.0 * static_cast<double>(id);
  return {{x, 0}, {x + 1, 1}};
}

/// Asks for windows of the loaded entries and inserts entries of its own, a few at a time, and
/// checks what it gets.
class SimClient final : public transport::ConnectionHandler {
 public:
  SimClient(World& world, std::uint64_t number)
      : world_(world),
        number_(number),
        host_(world.add_host("client" + std::to_string(number))),
        fabric_(std::make_unique<SimFabric>(world, host_)),
        poller_(std::move(*fabric_->create_poller())) {}

  bool connect(const transport::Address& address) {
    const protocol::ClientHello hello{.dimensions = 2};
    auto connection = fabric_->connect(address, {.timeout = kSecond}, *poller_,
                                       std::as_bytes(std::span(&hello, 1)), *this);
    if (!connection) return false;
    connection_ = std::move(*connection);
    process_ = host_.spawn("client", [this](Process&) { step(); });
    process_->watch(*poller_);
    return true;
  }

  Host& host() { return host_; }
  /// Entries that the server said it has inserted.
  std::uint64_t inserted() const { return inserted_; }
  std::uint64_t sent() const { return writes_; }
  std::uint64_t answers() const { return answers_; }
  bool closed() const { return closed_; }
  /// Asks for nothing more; takes the answers that come.
  void stop() { may_ask_ = false; }

  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    const auto answer = protocol::decode_answer(message);
    ASSERT_TRUE(answer.has_value());
    ASSERT_FALSE(answer->is_error());
    auto asked = asked_.find(answer->header.request_id);
    ASSERT_NE(asked, asked_.end());
    asked->second.found += answer->count;
    if (answer->more()) return;
    ++answers_;
    EXPECT_EQ(asked->second.found, asked->second.expected);
    if (asked->second.is_write) ++inserted_;
    asked_.erase(asked);
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override { closed_ = true; }

 private:
  struct Asked {
    bool is_write;
    std::uint64_t expected;
    std::uint64_t found = 0;
  };

  void step() {
    poller_->progress();
    while (may_ask_ && !closed_ && asked_.size() < 4 && ask()) {
    }
    connection_->flush();
  }
  bool ask() {
    const bool write = world_.random().below(4) == 0;
    const std::size_t bytes =
        write ? protocol::write_bytes<2>(1) : sizeof(protocol::RangeRequest<2>);
    const auto room = connection_->reserve(bytes);
    if (room.empty()) return false;
    const std::uint32_t id = ++last_id_;
    if (write) {
      const std::uint64_t entry = 1'000'000 * (number_ + 1) + writes_++;
      const protocol::Operation<2> operation{.id = entry,
                                             .kind = protocol::OperationKind::kInsert,
                                             .record_bytes = 0,
                                             .box = box_of(entry),
                                             .to = {}};
      protocol::encode_write<2>(room, id, id, std::span(&operation, 1));
      asked_[id] = {true, 0};
    } else {
      const std::uint64_t count = 1 + world_.random().below(kLoaded);
      const std::uint64_t first = world_.random().below(kLoaded - count + 1);
      protocol::encode_range<2>(room, id,
                                {.window = {box_of(first).min, box_of(first + count - 1).max}});
      asked_[id] = {false, count};
    }
    connection_->commit(bytes);
    return true;
  }

  World& world_;
  const std::uint64_t number_;
  Host& host_;
  std::unique_ptr<SimFabric> fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<transport::Connection> connection_;
  std::unique_ptr<Process> process_;
  std::map<std::uint32_t, Asked> asked_;
  std::uint32_t last_id_ = 0;
  std::uint64_t writes_ = 0;
  std::uint64_t inserted_ = 0;
  std::uint64_t answers_ = 0;
  bool may_ask_ = true;
  bool closed_ = false;
};

/// A server with two workers, each a process of its host.
class SimServer {
 public:
  explicit SimServer(World& world) : host_(world.add_host("server")), fabric_(world, host_) {
    auto core = Core<2>::create({.workers = 2, .memory_budget_bytes = std::uint64_t{64} << 20},
                                host_.clock(), executor_);
    SILURUS_CHECK(core.has_value());
    core_ = std::move(*core);
    std::vector<rtree::Entry<2>> entries;
    for (std::uint64_t id = 0; id < kLoaded; ++id) entries.push_back({id, box_of(id)});
    SILURUS_CHECK(core_->load(std::move(entries)).has_value());
    auto bound = core_->listen(fabric_, *transport::Address::parse("sim://server:1"), {});
    SILURUS_CHECK(bound.has_value());
    address_ = *bound;
    for (std::size_t i = 0; i < 2; ++i) {
      processes_.push_back(
          host_.spawn("worker", [this, i](Process& process) { step(i, process); }));
      for (const auto& poller : core_->worker(i).pollers()) processes_[i]->watch(*poller);
      core_->worker(i).set_waker([this, i] { processes_[i]->wake(); });
    }
  }

  const transport::Address& address() const { return address_; }
  Core<2>& core() { return *core_; }
  Host& host() { return host_; }

 private:
  void step(std::size_t index, Process& process) {
    Worker<2>& worker = core_->worker(index);
    worker.woke();
    host_.charge(500);
    if (worker.sweep()) {
      process.wake();
    } else if (const auto deadline = worker.deadline()) {
      process.wake_at(std::max(*deadline, host_.clock().now() + kMicrosecond));
    }
  }

  Host& host_;
  SimFabric fabric_;
  InlineExecutor executor_;
  std::unique_ptr<Core<2>> core_;
  transport::Address address_;
  std::vector<std::unique_ptr<Process>> processes_;
};

struct Outcome {
  std::uint64_t answers = 0;
  std::uint64_t trace = 0;
};

Outcome run(std::uint64_t seed) {
  World world(seed);
  world.set_default_link({.loss = 0.01});
  SimServer server(world);
  std::vector<std::unique_ptr<SimClient>> clients;
  for (std::uint64_t i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<SimClient>(world, i));
    EXPECT_TRUE(clients.back()->connect(server.address()));
  }
  Random& random = world.random();
  world.after(static_cast<Nanoseconds>(random.below(20 * kMillisecond)),
              [&] { clients[0]->host().crash(); });
  world.after(static_cast<Nanoseconds>(random.below(20 * kMillisecond)), [&] {
    world.cut(clients[1]->host(), server.host());
    world.cut(server.host(), clients[1]->host());
  });
  world.after(static_cast<Nanoseconds>(random.below(20 * kMillisecond)),
              [&] { clients[2]->host().pause(); });
  world.after(40 * kMillisecond, [&] { clients[2]->host().resume(); });
  world.run_for(60 * kMillisecond);
  for (auto& client : clients) client->stop();
  world.run_for(2 * kSecond);  // clients that have gone are noticed

  Outcome outcome;
  std::uint64_t answered = kLoaded;
  std::uint64_t sent = kLoaded;
  for (std::uint64_t i = 0; i < clients.size(); ++i) {
    outcome.answers += clients[i]->answers();
    answered += clients[i]->inserted();
    sent += clients[i]->sent();
    EXPECT_GT(clients[i]->answers(), 0u) << i;
    EXPECT_EQ(clients[i]->closed(), i == 1) << i;
  }
  EXPECT_EQ(server.core().clients(), 4u);  // one crashed, one was cut off
  const auto snapshot = server.core().shard().tree().snapshot();
  EXPECT_GE(snapshot.size(), answered);
  EXPECT_LE(snapshot.size(), sent);
  EXPECT_TRUE(snapshot.validate().has_value());
  outcome.trace = world.trace_hash();
  return outcome;
}

TEST(ServerInVirtualTime, AnswersRightlyWhateverHappensToItsClients) {
  log::set_level(log::Level::kError);
  const std::uint64_t seed = testing_support::seed(50);
  for (std::uint64_t i = 0; i < 5; ++i) {
    SCOPED_TRACE(seed + i);
    EXPECT_GT(run(seed + i).answers, 1000u);
  }
}

TEST(ServerInVirtualTime, TheSameSeedIsTheSameRun) {
  log::set_level(log::Level::kError);
  const std::uint64_t seed = testing_support::seed(51);
  EXPECT_EQ(run(seed).trace, run(seed).trace);
}

}  // namespace
}  // namespace silurus::server
