// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/internal.h"
#include "common/log.h"
#include "common/random.h"
#include "rtree/root_block.h"
#include "silurus/client.h"
#include "tests/simulation/service/server_life.h"
#include "tests/simulation/service/sim_server.h"
#include "tests/simulation/shards/sim_environment.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"

// Servers under a keeper: killed ones whose card goes on, hung ones, and successors that write.

namespace silurus::simulation {
namespace {

const rtree::Box<2> kAllColumns{{-1, -1}, {kColumns, kColumnValues}};

/// What the keeper does to the memory of a life that is over.
void turn_readers_away(std::span<std::byte> region) {
  reinterpret_cast<rtree::RootBlock<2>*>(region.data())->owner.store(1);
}

/// A server alone with a data directory on a host whose keeper holds what it leaves.
class OutlivedServer : public testing::Test {
 protected:
  void SetUp() override {
    log::set_level(log::Level::kError);
    if (std::filesystem::is_directory("/dev/shm")) folder_.emplace("/dev/shm");
    if (!folder_) GTEST_SKIP() << "needs a file system in memory";
  }
  void begin_world(std::uint64_t seed) {
    world_ = std::make_unique<sim::World>(seed);
    etcd_ = std::make_unique<EtcdOfShards>(world_->add_host("etcd"), "none");
    host_ = &world_->add_host("server");
    data_ = *folder_ / ("data-" + std::to_string(seed));
  }
  void end_world() {
    for (auto& thread : threads_) thread->end();
    threads_.clear();
    servers_.clear();
    std::filesystem::remove_all(data_);
  }
  void TearDown() override {
    if (world_ != nullptr) end_world();
  }

  void start() {
    servers_.push_back(
        std::make_unique<SimServer>(*host_, SimServer::Options{.fabric = fabric_,
                                                               .instance = servers_.size() * 2 + 1,
                                                               .data = data_,
                                                               .before_listening = [this] {
                                                                 if (ends_lives_)
                                                                   host_->let_go(turn_readers_away);
                                                               }}));
  }
  void kill() {
    host_->kill();
    // What is left of it holds on to the old files.
    std::filesystem::copy(data_, data_ + "-new", std::filesystem::copy_options::recursive);
    std::filesystem::rename(data_, data_ + "-" + std::to_string(servers_.size()));
    std::filesystem::rename(data_ + "-new", data_);
    host_->restart();
  }

  using Body = std::function<void(sim::Thread&, SimEnvironment&)>;
  /// Runs it on a host of its own.
  sim::Thread& begin(const std::string& name, Body body) {
    threads_.push_back(std::make_unique<sim::Thread>(
        world_->add_host(name), name,
        [this, body = std::move(body), seed = threads_.size() + 1](sim::Thread& self) {
          SimEnvironment environment(self, *etcd_, fabric_, seed);
          body(self, environment);
        }));
    return *threads_.back();
  }
  Result<Client<2>> connect(SimEnvironment& environment, Mode mode) {
    ClientOptions options;
    options.mode = mode;
    return client::Internal::connect<2>(SimServer::url(*host_), options, environment);
  }
  void run_for(Nanoseconds time) { world_->run_for(time); }
  bool run_until(const bool& condition) {
    return world_->run_until([&] { return condition; }, world_->now() + 10 * kSecond);
  }

  sim::FabricOptions fabric_{
      .memory_outlives_process = true, .told_late = 2 * kMillisecond, .is_kept = true};
  bool ends_lives_ = true;
  std::optional<testing_support::TemporaryFolder> folder_;
  std::string data_;
  std::unique_ptr<sim::World> world_;
  std::unique_ptr<EtcdOfShards> etcd_;
  sim::Host* host_ = nullptr;
  std::vector<std::unique_ptr<SimServer>> servers_;
  std::vector<std::unique_ptr<sim::Thread>> threads_;
};

/// A reader that searches all the time, and what it found.
struct BusyReader {
  bool is_over = false;
  bool has_begun = false;
  std::size_t answers = 0;
  std::size_t failures = 0;
  std::uint64_t handed_over = 0;
  std::size_t last_size = 0;
  Nanoseconds longest_pause = 0;

  void run(sim::Thread& self, Result<Client<2>> client) {
    ASSERT_TRUE(client) << client.error().message;
    Nanoseconds last = self.clock().now();
    while (!is_over && !self.is_over()) {
      const auto found = client->range(kAllColumns);
      const Nanoseconds now = self.clock().now();
      longest_pause = std::max(longest_pause, now - last);
      last = now;
      ++(found ? answers : failures);
      if (found) last_size = found->ids.size();
      has_begun = true;
      self.sleep(100 * kMicrosecond);
    }
    handed_over = client->statistics().handed_over;
  }
};

TEST_F(OutlivedServer, AnswersReadsThoughItsProcessIsDead) {
  begin_world(1);
  start();
  BusyReader reader;
  sim::Thread& thread = begin("reader", [&](sim::Thread& self, SimEnvironment& environment) {
    reader.run(self, connect(environment, Mode::kAdaptive));
  });
  ASSERT_TRUE(run_until(reader.has_begun));
  kill();
  run_for(50 * kMillisecond);  // to find out that it is silent
  const std::size_t before = reader.answers;
  run_for(kSecond);
  EXPECT_GT(reader.answers, before + 1000);
  reader.is_over = true;
  run_for(50 * kMillisecond);
  EXPECT_TRUE(thread.is_done());
  EXPECT_EQ(reader.failures, 0u);
  EXPECT_GT(reader.handed_over, 0u);
}

TEST_F(OutlivedServer, AnswersReadsWithItsLastVersionWhileItHangs) {
  begin_world(2);
  start();
  BusyReader reader;
  begin("reader", [&](sim::Thread& self, SimEnvironment& environment) {
    auto client = connect(environment, Mode::kAdaptive);
    ASSERT_TRUE(client);
    for (unsigned value = 0; value < 7; ++value) {
      ASSERT_TRUE(client->insert(value + 1, entry_of(0, value).box));
    }
    reader.run(self, std::move(client));
  });
  ASSERT_TRUE(run_until(reader.has_begun));
  host_->pause();
  run_for(kSecond);
  EXPECT_EQ(reader.last_size, 7u);
  EXPECT_LT(reader.longest_pause, 60 * kMillisecond);
  host_->resume();
  run_for(100 * kMillisecond);
  reader.is_over = true;
  run_for(50 * kMillisecond);
  EXPECT_EQ(reader.failures, 0u);
  EXPECT_GT(reader.answers, 1000u);
}

TEST_F(OutlivedServer, IsNotSentAWriteWhileItIsSilent) {
  begin_world(4);
  start();
  bool is_connected = false;
  std::optional<ErrorCode> first;
  std::optional<Result<Version>> second;
  begin("writer", [&](sim::Thread& self, SimEnvironment& environment) {
    auto client = connect(environment, Mode::kMessaging);
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->insert(1, entry_of(0, 1).box));
    is_connected = true;
    const auto in_doubt = [&](Result<WriteAnswer*> done) {
      if (!done) first = done.error().code;
    };
    self.sleep(10 * kMillisecond);  // the server dies
    WriteBatch<2> batch;
    batch.insert(2, entry_of(0, 2).box);
    ASSERT_TRUE(client->write_async(batch, in_doubt));
    for (const Nanoseconds until = self.clock().now() + 50 * kMillisecond;
         self.clock().now() < until;) {
      client->poll();
      self.sleep(100 * kMicrosecond);
    }
    second = client->insert(3, entry_of(0, 3).box);
  });
  ASSERT_TRUE(run_until(is_connected));
  kill();
  run_for(100 * kMillisecond);
  start();
  run_for(100 * kMillisecond);
  EXPECT_EQ(first, ErrorCode::kInDoubt);
  ASSERT_TRUE(second);
  EXPECT_TRUE(*second) << second->error().message;
}

class OutlivedServerIdle : public OutlivedServer {
 protected:
  static constexpr std::size_t kSearches = 50;

  /// An idle reader has seen an entry that the successor erases: how many of its later searches
  /// still find it.
  std::size_t old_answers() {
    begin_world(3);
    start();
    bool is_idle = false;
    bool is_erased = false;
    bool is_done = false;
    std::size_t old = 0;
    const auto entry = entry_of(0, 0);
    begin("reader", [&](sim::Thread& self, SimEnvironment& environment) {
      auto client = connect(environment, Mode::kOffload);
      ASSERT_TRUE(client) << client.error().message;
      ASSERT_TRUE(client->insert(entry.id, entry.box));
      for (int i = 0; i < 20; ++i) ASSERT_EQ(client->range(kAllColumns)->ids.size(), 1u);
      is_idle = true;
      while (!is_erased && !self.is_over()) self.sleep(kMillisecond);
      for (std::size_t i = 0; i < kSearches; ++i) {
        const auto found = client->range(kAllColumns);
        EXPECT_TRUE(found) << found.error().message;
        if (found && !found->ids.empty()) ++old;
      }
      is_done = true;
    });
    EXPECT_TRUE(run_until(is_idle));
    kill();
    run_for(20 * kMillisecond);
    start();
    begin("writer", [&](sim::Thread&, SimEnvironment& environment) {
      auto client = connect(environment, Mode::kMessaging);
      ASSERT_TRUE(client) << client.error().message;
      ASSERT_TRUE(client->erase(entry.id, entry.box));
      is_erased = true;
    });
    EXPECT_TRUE(run_until(is_done));
    return old;
  }
};

TEST_F(OutlivedServerIdle, IsNotBelievedOnceItsSuccessorServes) { EXPECT_EQ(old_answers(), 0u); }

/// What this looks for is there to be found: lives that do not end.
TEST_F(OutlivedServerIdle, WouldBeBelievedIfItsLifeDidNotEnd) {
  ends_lives_ = false;
  EXPECT_EQ(old_answers(), kSearches);
}

/// A register: an entry that one writer moves up, value by value.
struct Register {
  unsigned begun = 0;         ///< the newest value that the writer has tried to write
  unsigned acknowledged = 0;  ///< the newest value that the writer knows to be there
  unsigned read = 0;          ///< the newest that a search has returned
  std::size_t answers = 0;
  std::vector<std::string> complaints;
  bool is_over = false;

  static constexpr std::uint64_t kId = 1;

  static std::optional<unsigned> value_of(const RangeAnswer<2>& answer) {
    if (answer.boxes.size() != 1) return std::nullopt;
    for (unsigned value = 0; value < kColumnValues; ++value) {
      if (answer.boxes[0] == entry_of(0, value).box) return value;
    }
    return std::nullopt;
  }

  void write(sim::Thread& self, Client<2>& client) {
    while (!is_over && !self.is_over() && begun + 1 < kColumnValues) {
      const unsigned from = acknowledged;
      begun = from + 1;
      const auto done = client.update(kId, entry_of(0, from).box, entry_of(0, begun).box);
      if (done) {
        acknowledged = begun;
      } else {
        // In doubt: what is there decides.
        const auto found = client.range(kAllColumns, {.shape = ResultShape::kEntries});
        const auto value = found ? value_of(*found) : std::nullopt;
        if (value) acknowledged = *value;
      }
      self.sleep(3 * kMillisecond);
    }
  }

  void search(sim::Thread& self, Client<2>& client) {
    while (!is_over && !self.is_over()) {
      const unsigned least = std::max(acknowledged, read);
      const auto found = client.range(kAllColumns, {.shape = ResultShape::kEntries});
      if (self.is_over()) return;
      if (!found) {
        complaints.push_back("a search failed: " + found.error().message);
        return;
      }
      ++answers;
      const auto value = value_of(*found);
      if (!value || *value < least || *value > begun) {
        complaints.push_back("found " + (value ? std::to_string(*value) : "nothing") +
                             ", which is not between " + std::to_string(least) + " and " +
                             std::to_string(begun));
        return;
      }
      read = std::max(read, *value);
      self.sleep(50 * kMicrosecond);
    }
  }
};

class OutlivedServerRandom : public OutlivedServer {
 protected:
  void run(std::uint64_t seed) {
    begin_world(seed);
    Random random(seed);
    start();
    Register one;
    bool is_written = false;
    begin("writer", [&](sim::Thread& self, SimEnvironment& environment) {
      auto client = connect(environment, Mode::kMessaging);
      ASSERT_TRUE(client);
      ASSERT_TRUE(client->insert(Register::kId, entry_of(0, 0).box));
      is_written = true;
      one.write(self, *client);
    });
    ASSERT_TRUE(run_until(is_written));
    int readers = 0;
    for (const Mode mode : {Mode::kAdaptive, Mode::kOffload, Mode::kMessaging}) {
      begin("reader-" + std::to_string(static_cast<int>(mode)),
            [&, mode](sim::Thread& self, SimEnvironment& environment) {
              auto client = connect(environment, mode);
              ASSERT_TRUE(client);
              ++readers;
              one.search(self, *client);
            });
    }
    // A client may not find a server that is dead from the start.
    ASSERT_TRUE(world_->run_until([&] { return readers == 3; }, world_->now() + kSecond));
    for (int fault = 0; fault < 4; ++fault) {
      run_for(static_cast<Nanoseconds>(random.below(60)) * kMillisecond);
      const auto lasts = static_cast<Nanoseconds>(random.below(120)) * kMillisecond;
      if (random.below(3) == 0) {
        host_->pause();
        run_for(lasts);
        host_->resume();
      } else {
        kill();
        run_for(lasts);
        start();
      }
    }
    run_for(100 * kMillisecond);
    one.is_over = true;
    run_for(20 * kMillisecond);
    EXPECT_EQ(one.complaints, std::vector<std::string>());
    EXPECT_GT(one.answers, 100u);
    EXPECT_GT(one.acknowledged, 0u);
    end_world();
  }
};

TEST_F(OutlivedServerRandom, IsLinearizableWithSuccessorsThatWrite) {
  const std::uint64_t seed = testing_support::fresh_seed();
  for (std::uint64_t i = 0; i < 8 && !HasFailure(); ++i) {
    SCOPED_TRACE("SEED=" + std::to_string(seed + i));
    run(seed + i);
  }
}

}  // namespace
}  // namespace silurus::simulation
