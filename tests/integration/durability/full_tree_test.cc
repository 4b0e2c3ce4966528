// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"

// Servers whose memory is used up to the last batch: what they took once they take again from their
// logs, when they start again as when they apply it as members of a group.

namespace silurus {
namespace {

using testing_support::pace;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

constexpr std::size_t kBatch = 500;
constexpr Box<2> kSquare = {{0, 0}, {1, 1}};

/// Whether the server is a group of one member.
class FullTree : public testing::TestWithParam<bool> {
 protected:
  void start() {
    std::vector<std::string> arguments{"--listen",    "shm://" + (folder_ / "socket"),
                                       "--data",      folder_ / "data",
                                       "--memory",    "16M",
                                       "--grace",     "5ms",
                                       "--log-level", "error"};
    if (GetParam()) {
      arguments.insert(arguments.end(),
                       {"--cluster", "static://" + (folder_ / "first") + "/test", "--lead",
                        "--group-address", "shm://" + (folder_ / "first")});
    }
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(server_->addresses().empty()) << server_->errors();
    auto client = Client<2>::connect(server_->addresses().front(), patient(ClientOptions{}));
    ASSERT_TRUE(client) << client.error().message;
    client_ = std::make_unique<Client<2>>(std::move(*client));
  }
  Box<2> somewhere() {
    const double x = random_.uniform();
    const double y = random_.uniform();
    return {{x, y}, {x, y}};
  }
  /// Inserts until a whole batch is refused though what was retired has come back.
  void fill() {
    for (std::size_t refused = 0; refused < kBatch;) {
      WriteBatch<2> batch;
      std::vector<Entry<2>> added;
      for (std::size_t i = 0; i < kBatch; ++i) {
        added.push_back({next_id_++, somewhere()});
        batch.insert(added.back().id, added.back().box);
      }
      const auto answer = client_->write(batch);
      ASSERT_TRUE(answer) << answer.error().message << server_->errors();
      std::set<std::size_t> failed;
      for (const auto& one : answer->failed) failed.insert(one.index);
      refused = failed.size();
      for (std::size_t i = 0; i < kBatch; ++i) {
        if (!failed.contains(i)) entries_.push_back(added[i]);
      }
      if (refused > 0) pace(20 * kMillisecond);  // pacing: longer than --grace
    }
  }
  /// Moves entries to anywhere, in whole batches, each when what was retired has come back.
  void move_some() {
    constexpr int kRounds = 8;
    for (int round = 0; round < kRounds; ++round) {
      pace(20 * kMillisecond);  // pacing: longer than --grace
      WriteBatch<2> batch;
      std::vector<std::size_t> moved;
      std::vector<Box<2>> to;
      std::set<std::size_t> chosen;
      while (chosen.size() < kBatch) chosen.insert(random_.below(entries_.size()));
      for (const std::size_t i : chosen) {
        moved.push_back(i);
        to.push_back(somewhere());
        batch.update(entries_[i].id, entries_[i].box, to.back());
      }
      const auto answer = client_->write(batch);
      ASSERT_TRUE(answer) << answer.error().message << server_->errors();
      std::set<std::size_t> failed;
      for (const auto& one : answer->failed) failed.insert(one.index);
      for (std::size_t i = 0; i < kBatch; ++i) {
        if (!failed.contains(i)) entries_[moved[i]].box = to[i];
      }
    }
  }
  void expect_all() {
    EXPECT_EQ(client_->count(kSquare).value(), entries_.size());
    for (std::size_t i = 0; i < entries_.size(); i += 97) {
      const auto found = client_->range(entries_[i].box);
      ASSERT_TRUE(found) << found.error().message;
      EXPECT_TRUE(std::ranges::count(found->ids, entries_[i].id) == 1) << entries_[i].id;
    }
  }

  Random random_{testing_support::seed(81)};
  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client<2>> client_;
  std::vector<Entry<2>> entries_;
  std::uint64_t next_id_ = 1;
};

TEST_P(FullTree, TakesUpdatesOrRefusesThemAndStartsAgainWhenItIsKilled) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(fill());
  EXPECT_GT(entries_.size(), 100'000u);
  ASSERT_NO_FATAL_FAILURE(move_some());
  for (int life = 0; life < 2; ++life) {
    expect_all();
    server_->signal(SIGKILL);
    server_->wait();
    client_.reset();
    ASSERT_NO_FATAL_FAILURE(start());
  }
  expect_all();
  for (int i = 0; i < 100; ++i) {  // and it can be emptied
    const Entry<2> gone = entries_.back();
    entries_.pop_back();
    const auto erased = client_->erase(gone.id, gone.box);
    ASSERT_TRUE(erased) << erased.error().message;
  }
  expect_all();
}

INSTANTIATE_TEST_SUITE_P(Servers, FullTree, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Group" : "Alone"; });

}  // namespace
}  // namespace silurus
