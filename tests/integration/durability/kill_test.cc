// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"

// A real server, killed with SIGKILL under load again and again, and clients that wrote down what
// was acknowledged and what they have read.

namespace silurus {
namespace {

using testing_support::pace;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

/// What one client knows of the entries that are its own alone.
struct Known {
  std::map<std::uint64_t, Box<2>> entries;                 ///< acknowledged
  std::optional<std::map<std::uint64_t, Box<2>>> pending;  ///< as they are if the last batch counts
};

class KillTest : public testing::TestWithParam<std::vector<std::string>> {
 protected:
  static constexpr int kWriters = 3;

  std::unique_ptr<ServerProcess> start() {
    std::vector<std::string> arguments{"--listen",    "shm://" + (folder_ / "socket"),
                                       "--data",      data_,
                                       "--log-size",  "1M",
                                       "--memory",    "64M",
                                       "--log-level", "warning"};
    arguments.insert(arguments.end(), GetParam().begin(), GetParam().end());
    auto server = std::make_unique<ServerProcess>(arguments);
    EXPECT_FALSE(server->addresses().empty()) << server->errors();
    return server;
  }

  /// Batches of inserts, moves and erasures of this writer's own ids, until the server is gone.
  void write(const std::string& url, int writer, std::uint64_t seed) {
    Random random(seed);
    auto client = Client<2>::connect(url, patient({.reconnect_for = 0}));
    if (!client) return;
    Known& known = known_[writer];
    for (;;) {
      auto entries = known.entries;
      WriteBatch<2> batch;
      for (std::uint64_t i = 1 + random.below(5); i > 0; --i)
        change(random, writer, entries, batch);
      known.pending = entries;
      const auto answer = client->write(batch);
      if (!answer) return;
      if (!answer->failed.empty()) {
        failed_.store(true);
        return;
      }
      known.entries = std::move(entries);
      known.pending.reset();
      ++acknowledged_;
      note_version(answer->version);
    }
  }

  static void change(Random& random, int writer, std::map<std::uint64_t, Box<2>>& entries,
                     WriteBatch<2>& batch) {
    const double x = random.uniform();
    const double y = random.uniform();
    const Box<2> box{{x, y}, {x + 0.01, y + 0.01}};
    auto victim = entries.lower_bound((random() << 2) | static_cast<std::uint64_t>(writer));
    const std::uint64_t choice = victim == entries.end() ? 0 : random.below(10);
    if (choice < 6) {
      const std::uint64_t id = (random() << 2) | static_cast<std::uint64_t>(writer);
      batch.insert(id, box);
      entries[id] = box;
    } else if (choice < 8) {
      batch.update(victim->first, victim->second, box);
      victim->second = box;
    } else {
      batch.erase(victim->first, victim->second);
      entries.erase(victim);
    }
  }

  /// Reads, one-sidedly and by message, and remembers the newest version it has seen.
  void read(const std::string& url, Mode mode) {
    auto client = Client<2>::connect(url, patient({.mode = mode, .reconnect_for = 0}));
    if (!client) return;
    for (;;) {
      const auto answer = client->range({{0.4, 0.4}, {0.41, 0.41}});
      if (!answer) return;
      note_version(answer->version);
    }
  }

  void note_version(Version version) {
    Version seen = newest_.load();
    while (seen < version && !newest_.compare_exchange_weak(seen, version)) {
    }
  }

  /// What the server holds must be what was acknowledged, but for each writer's last batch, which
  /// may count as a whole.
  void compare(const std::string& url, bool sync) {
    auto client = Client<2>::connect(url, patient());
    ASSERT_TRUE(client) << client.error().message;
    const auto all = client->range({{-1, -1}, {3, 3}}, {.shape = ResultShape::kEntries});
    ASSERT_TRUE(all) << all.error().message;
    if (sync) {
      EXPECT_GE(all->version, newest_.load()) << "a client read what a crash took back";
    }
    newest_.store(all->version);
    std::map<std::uint64_t, Box<2>> found[kWriters];
    for (std::size_t i = 0; i < all->ids.size(); ++i) {
      ASSERT_LT(all->ids[i] % 4, std::uint64_t{kWriters}) << "an entry that was never sent";
      found[all->ids[i] % 4][all->ids[i]] = all->boxes[i];
    }
    for (int writer = 0; writer < kWriters; ++writer) {
      Known& known = known_[writer];
      if (sync) {
        EXPECT_TRUE(found[writer] == known.entries ||
                    (known.pending && found[writer] == *known.pending))
            << "writer " << writer << ": " << found[writer].size() << " entries, acknowledged "
            << known.entries.size();
      }
      known = {std::move(found[writer]), std::nullopt};
    }
  }

  void round(Random& random, bool sync) {
    auto server = start();
    ASSERT_FALSE(server->addresses().empty());
    const std::string url = server->addresses()[0];
    compare(url, sync);
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < kWriters; ++writer) {
      threads.emplace_back([&, writer, seed = random()] { write(url, writer, seed); });
    }
    threads.emplace_back([&] { read(url, Mode::kOffload); });
    threads.emplace_back([&] { read(url, Mode::kMessaging); });
    const std::uint64_t before = acknowledged_;
    EXPECT_TRUE(wait_until([&] { return acknowledged_ > before; }));
    pace((20 + random.below(250)) * kMillisecond);  // pacing: any moment is right for the kill
    server->signal(SIGKILL);
    threads.clear();
    EXPECT_FALSE(failed_.load()) << "an operation on an acknowledged entry failed";
  }

  void run(int rounds, bool sync) {
    const std::uint64_t seed = testing_support::fresh_seed();
    Random random(seed);
    for (int i = 0; i < rounds && !HasFailure(); ++i) round(random, sync);
    const auto server = start();
    compare(server->addresses()[0], sync);
    EXPECT_FALSE(HasFailure()) << "SEED=" << seed;
    EXPECT_EQ(server->stop(), 0) << server->errors();
  }

  TemporaryFolder folder_;
  std::string data_ = folder_ / "data";
  Known known_[kWriters];
  std::atomic<Version> newest_{0};
  std::atomic<std::uint64_t> acknowledged_{0};  ///< batches
  std::atomic<bool> failed_{false};
};

TEST_P(KillTest, LosesNothingAcknowledgedAndNothingRead) { run(12, true); }

INSTANTIATE_TEST_SUITE_P(Durability, KillTest,
                         testing::Values(std::vector<std::string>{},
                                         std::vector<std::string>{"--checkpoint-interval", "1s",
                                                                  "--threads", "1"}),
                         [](const auto& of) { return of.index == 0 ? "Plain" : "OneThread"; });

class KillInMemoryTest : public KillTest {
 protected:
  KillInMemoryTest() { data_ = "/dev/shm/silurus-kill-" + std::to_string(getpid()); }
  ~KillInMemoryTest() override { std::filesystem::remove_all(data_); }
};

/// Where a flush waits for no disk the log fills many times over, so that checkpoints are cut
/// short.
TEST_P(KillInMemoryTest, LosesNothingAcknowledgedAndNothingRead) { run(15, true); }

INSTANTIATE_TEST_SUITE_P(Durability, KillInMemoryTest, testing::Values(std::vector<std::string>{}),
                         [](const auto&) { return "Plain"; });

class KillAsyncTest : public KillTest {};

/// A killed process loses nothing even so: what was stored is in the machine's caches.
TEST_P(KillAsyncTest, LosesNothingAcknowledged) { run(4, true); }

INSTANTIATE_TEST_SUITE_P(Durability, KillAsyncTest,
                         testing::Values(std::vector<std::string>{"--durability", "async"}),
                         [](const auto&) { return "Async"; });

}  // namespace
}  // namespace silurus
