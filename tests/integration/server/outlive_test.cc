// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"

// silurus-server --outlive over shm: servers that die or hang, and are replaced, while clients
// read.

namespace silurus {
namespace {

using testing_support::pace;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

const Box<2> kEverywhere{{-1, -1}, {1000, 1000}};

/// Processes that this one has started, and that are there.
std::vector<pid_t> children_of(pid_t parent) {
  const std::string id = std::to_string(parent);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  return {std::istream_iterator<pid_t>(file), std::istream_iterator<pid_t>()};
}

std::size_t descriptors_of(pid_t process) {
  std::error_code gone;
  return static_cast<std::size_t>(std::distance(
      std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd", gone),
      std::filesystem::directory_iterator()));
}

bool is_there(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(')');
  return name_end != std::string::npos && text.size() > name_end + 2 && text[name_end + 2] != 'Z';
}

class OutliveTest : public testing::Test {
 protected:
  std::string url() const { return "shm://" + (folder_ / "socket"); }
  std::string data() const { return folder_ / "data"; }

  std::vector<std::string> arguments() const {
    return {"--listen", url(),      "--data", data(),      "--log-size",
            "1M",       "--memory", "64M",    "--threads", "1"};
  }
  void start(const std::vector<std::string>& more = {"--outlive"}) {
    std::vector<std::string> all = arguments();
    all.insert(all.end(), more.begin(), more.end());
    keeper_ = std::make_unique<ServerProcess>(all);
    ASSERT_FALSE(keeper_->addresses().empty()) << keeper_->errors();
  }
  /// The process of the server, which the keeper has started; 0: there is none now.
  pid_t server() const {
    const auto children = children_of(keeper_->pid());
    return children.empty() ? 0 : children.front();
  }
  /// Kills the server, and waits until it has ended. The keeper may be stopped.
  void kill_server() const {
    const pid_t process = server();
    ASSERT_NE(process, 0);
    kill(process, SIGKILL);
    ASSERT_TRUE(wait_until([&] { return !is_there(process); }));
  }
  /// Stops the process of the server, which then hangs: which one it is.
  pid_t hang_server() const {
    const pid_t process = server();
    EXPECT_GT(process, 0);  // 0 would be this process's own group
    if (process > 0) kill(process, SIGSTOP);
    return process;
  }
  /// Inserts an entry once, although the server may be replaced meanwhile: what is in doubt is
  /// looked up before it is tried again.
  static bool insert_at_last(Client<2>& client, std::uint64_t id) {
    return wait_until([&] {
      const auto found = client.range(kEverywhere);
      if (!found) return false;
      if (std::ranges::find(found->ids, id) != found->ids.end()) return true;
      return client.insert(id, {{1, 1}, {1, 1}}).has_value();
    });
  }
  Client<2> connect(Mode mode = Mode::kAdaptive) const {
    auto client = Client<2>::connect(url(), patient({.mode = mode}));
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  /// A connected client, once the tree has that number of entries.
  Client<2> connect_and_fill(std::uint64_t count, Mode mode = Mode::kAdaptive) const {
    auto client = connect(mode);
    for (std::uint64_t id = 1; id <= count; ++id) {
      const auto x = static_cast<double>(id);
      EXPECT_TRUE(client.insert(id, {{x, x}, {x, x}}));
    }
    return client;
  }

  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> keeper_;
};

TEST_F(OutliveTest, SearchesGoOnWhileTheServerIsDead) {
  start();
  auto client = connect_and_fill(20);
  keeper_->freeze();  // it would start a successor
  kill_server();
  for (int i = 0; i < 10'000; ++i) {
    const auto found = client.range(kEverywhere);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->ids.size(), 20u);
  }
  keeper_->signal(SIGCONT);
}

TEST_F(OutliveTest, SearchesAreAnsweredWithTheLastVersionWhileTheServerHangs) {
  start();
  auto client = connect_and_fill(20);
  const pid_t hung = hang_server();
  for (int i = 0; i < 10'000; ++i) {
    const auto found = client.range(kEverywhere);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->ids.size(), 20u);
  }
  kill(hung, SIGCONT);
  EXPECT_TRUE(client.insert(21, {{1, 1}, {1, 1}}));
}

TEST_F(OutliveTest, AServerThatHangsIsReplacedInTime) {
  // Longer where processes wait long for a core, so that none is killed that does not hang.
  start({"--outlive", "--restart-hung", testing_support::patient_option(kSecond)});
  auto client = connect_and_fill(3);
  const pid_t hung = hang_server();
  ASSERT_TRUE(wait_until([&] { return server() != 0 && server() != hung; }));
  EXPECT_TRUE(insert_at_last(client, 4));
  EXPECT_EQ(client.range(kEverywhere)->ids.size(), 4u);
  EXPECT_NE(keeper_->errors().find("shows no life for"), std::string::npos);
}

TEST_F(OutliveTest, ASuccessorHasWhatWasAcknowledgedAndTellsItsLife) {
  start();
  auto client = connect_and_fill(5);
  kill_server();
  ASSERT_TRUE(wait_until([&] {
    const auto statistics = client.server_statistics();
    return statistics && statistics->json.find("\"restarts\":1") != std::string::npos;
  }));
  EXPECT_EQ(client.range(kEverywhere)->ids.size(), 5u);
}

TEST_F(OutliveTest, SigUsr2ReplacesTheServerAndNoSearchFails) {
  start();
  auto client = connect_and_fill(5);
  const pid_t before = server();
  keeper_->signal(SIGUSR2);
  bool is_other = false;
  ASSERT_TRUE(wait_until([&] {
    const auto found = client.range(kEverywhere);
    EXPECT_TRUE(found) << found.error().message;
    const pid_t now = server();
    is_other = is_other || (now != 0 && now != before);
    return !found || (is_other && found->access == Access::kMessaging);
  }));
  EXPECT_TRUE(is_other);
}

TEST_F(OutliveTest, NoOtherServerOpensTheDataWhileADeadOnesMemoryIsBelieved) {
  start();
  auto client = connect_and_fill(5);
  keeper_->freeze();
  kill_server();
  const std::string elsewhere = "shm://" + (folder_ / "elsewhere");
  ServerProcess other({"--listen", elsewhere, "--data", data(), "--memory", "64M"});
  EXPECT_TRUE(other.addresses().empty());
  EXPECT_NE(other.errors().find("is in use by another server"), std::string::npos)
      << other.errors();
  EXPECT_EQ(client.range(kEverywhere)->ids.size(), 5u);
  keeper_->signal(SIGCONT);
}

TEST_F(OutliveTest, ASuccessorThatCannotStartLeavesTheMemoryThatAnswers) {
  start();
  auto client = connect_and_fill(5);
  std::filesystem::rename(data() + "/root", data() + "/away");
  std::ofstream(data() + "/root") << "no tree";
  kill_server();
  ASSERT_TRUE(wait_until([&] {
    const auto found = client.range(kEverywhere);
    EXPECT_TRUE(found) << found.error().message;
    return !found || keeper_->errors().find("life 3, ended with status 1") != std::string::npos;
  })) << keeper_->errors();
  std::filesystem::rename(data() + "/away", data() + "/root");
  EXPECT_TRUE(insert_at_last(client, 6));
  EXPECT_EQ(client.range(kEverywhere)->ids.size(), 6u);
}

TEST_F(OutliveTest, EndsWithItsServerAfterACleanStop) {
  start();
  auto client = connect_and_fill(5);
  const pid_t process = server();
  EXPECT_EQ(keeper_->stop(), 0);
  EXPECT_FALSE(is_there(process));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "socket"));
}

TEST_F(OutliveTest, AServerThatStopsTellsItsClientsWhateverIsHeld) {
  start();
  auto client = Client<2>::connect(url(), patient({.mode = Mode::kOffload, .reconnect_for = 0}));
  ASSERT_TRUE(client) << client.error().message;
  ASSERT_TRUE(client->insert(1, {{1, 1}, {1, 1}}));
  const pid_t process = server();
  ASSERT_GT(process, 0);
  keeper_->freeze();
  kill(process, SIGTERM);
  ASSERT_TRUE(wait_until([&] { return !is_there(process); }));
  EXPECT_TRUE(wait_until([&] { return !client->range(kEverywhere).has_value(); }));
  keeper_->signal(SIGCONT);
}

TEST_F(OutliveTest, ASigKilledKeeperTakesTheServerWithIt) {
  start();
  const pid_t process = server();
  keeper_->signal(SIGKILL);
  EXPECT_EQ(keeper_->wait(), -SIGKILL);
  EXPECT_TRUE(wait_until([&] { return !is_there(process); }));
}

TEST_F(OutliveTest, StopsWhileTheServerIsDead) {
  start({"--outlive"});
  std::filesystem::rename(data() + "/root", data() + "/away");
  std::ofstream(data() + "/root") << "no tree";
  kill_server();
  ASSERT_TRUE(
      wait_until([&] { return keeper_->errors().find("life 4, ended") != std::string::npos; }));
  keeper_->signal(SIGTERM);
  EXPECT_GE(keeper_->wait(), 0);
}

TEST_F(OutliveTest, GivesTheStatusOfAServerThatNeverStarted) {
  auto all = arguments();
  all[1] = "shm:///no/such/folder/socket";
  all.push_back("--outlive");
  ServerProcess keeper(all);
  EXPECT_TRUE(keeper.addresses().empty());
  EXPECT_EQ(keeper.wait(), 1);
}

TEST_F(OutliveTest, HoldsNothingOfClientsThatHaveLeft) {
  start();
  { auto first = connect(); }
  const std::size_t before = descriptors_of(keeper_->pid());
  {
    std::vector<Client<2>> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(connect());
    EXPECT_TRUE(wait_until([&] { return descriptors_of(keeper_->pid()) >= before + 19; }));
  }
  EXPECT_TRUE(wait_until([&] { return descriptors_of(keeper_->pid()) <= before; }));
}

TEST_F(OutliveTest, ASuccessorInheritsNothingOfTheLifeBefore) {
  start();
  const auto count = [&] { return descriptors_of(server()); };
  std::size_t before = 0;
  {
    auto probe = connect();
    before = count();
  }
  {
    std::vector<Client<2>> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(connect());
    kill_server();
  }
  // Once it serves.
  std::optional<Client<2>> later;
  ASSERT_TRUE(wait_until([&] {
    auto client = Client<2>::connect(url(), patient(ClientOptions{}));
    if (client) later.emplace(std::move(*client));
    return later.has_value();
  }));
  // The lock of the data directory is one more.
  EXPECT_LE(count(), before + 2);
}

/// A register: an entry that one writer moves up, and what searches have found.
class OutlivedRegister {
 public:
  static constexpr std::uint64_t kId = 7;

  void write(Client<2> client) {
    while (!is_over_.load()) {
      const std::uint64_t from = acknowledged_.load();
      begun_.store(from + 1);
      const auto done = client.update(kId, box_of(from), box_of(from + 1));
      if (done) {
        acknowledged_.store(from + 1);
      } else if (done.error().code == ErrorCode::kInDoubt) {
        const auto found = client.range(kEverywhere, {.shape = ResultShape::kEntries});
        if (!found) return complain("what became of a write is not told: " + found.error().message);
        acknowledged_.store(value_of(*found));
      } else {
        return complain("a write failed: " + done.error().message);
      }
      pace(200 * kMicrosecond);  // pacing: reads of one version are many
    }
  }
  static constexpr std::size_t kReaders = 2;
  void read(std::size_t reader, Client<2> client) {
    while (!is_over_.load()) {
      const std::uint64_t least = std::max(acknowledged_.load(), read_.load());
      const auto found = client.range(kEverywhere, {.shape = ResultShape::kEntries});
      if (!found) return complain("a search failed: " + found.error().message);
      answers_[reader].fetch_add(1);
      const std::uint64_t value = value_of(*found);
      const std::uint64_t most = begun_.load();
      if (value < least || value > most) {
        return complain("found " + std::to_string(value) + ", which is not between " +
                        std::to_string(least) + " and " + std::to_string(most));
      }
      for (std::uint64_t seen = read_.load();
           seen < value && !read_.compare_exchange_weak(seen, value);) {
      }
    }
  }

  static Box<2> box_of(std::uint64_t value) {
    const auto x = static_cast<double>(value % 512);
    const auto y = static_cast<double>(value / 512);
    return {{x, y}, {x, y}};
  }
  static std::uint64_t value_of(const RangeAnswer<2>& answer) {
    if (answer.boxes.size() != 1) return UINT64_MAX;
    return static_cast<std::uint64_t>(answer.boxes[0].min[0]) +
           512 * static_cast<std::uint64_t>(answer.boxes[0].min[1]);
  }

  void end() { is_over_.store(true); }
  /// Answers to the reader that has had the fewest.
  std::uint64_t answers() const { return std::min(answers_[0].load(), answers_[1].load()); }
  std::uint64_t acknowledged() const { return acknowledged_.load(); }
  std::vector<std::string> complaints() {
    const std::lock_guard lock(mutex_);
    return complaints_;
  }

 private:
  void complain(std::string text) {
    const std::lock_guard lock(mutex_);
    complaints_.push_back(std::move(text));
  }

  std::atomic<bool> is_over_{false};
  std::atomic<std::uint64_t> begun_{0};
  std::atomic<std::uint64_t> acknowledged_{0};
  std::atomic<std::uint64_t> read_{0};
  std::array<std::atomic<std::uint64_t>, kReaders> answers_{};
  std::mutex mutex_;
  std::vector<std::string> complaints_;
};

TEST_F(OutliveTest, ReadsAreLinearizableThroughKillsHangsAndSuccessorsThatWrite) {
  Random random(testing_support::fresh_seed());
  start();
  OutlivedRegister one;
  ASSERT_TRUE(connect().insert(OutlivedRegister::kId, OutlivedRegister::box_of(0)));
  std::vector<std::jthread> threads;
  threads.emplace_back(
      [&, client = connect(Mode::kMessaging)]() mutable { one.write(std::move(client)); });
  for (std::size_t reader = 0; reader < OutlivedRegister::kReaders; ++reader) {
    const Mode mode = reader == 0 ? Mode::kAdaptive : Mode::kOffload;
    threads.emplace_back(
        [&one, reader, client = connect(mode)]() mutable { one.read(reader, std::move(client)); });
  }
  // A write of the server that is current now, and then answers to each reader: those are from its
  // memory, so that all are connected with it before it is hung.
  const auto goes_on = [&] {
    const std::uint64_t written = one.acknowledged();
    const bool writes =
        wait_until([&] { return !one.complaints().empty() || one.acknowledged() > written + 5; });
    const std::uint64_t answers = one.answers();
    return writes &&
           wait_until([&] { return !one.complaints().empty() || one.answers() > answers + 50; });
  };
  ASSERT_TRUE(goes_on());
  for (int fault = 0; fault < 6 && one.complaints().empty(); ++fault) {
    if (random.below(3) == 0) {
      const pid_t process = hang_server();
      ASSERT_GT(process, 0);
      const std::uint64_t answers = one.answers();
      EXPECT_TRUE(
          wait_until([&] { return !one.complaints().empty() || one.answers() > answers + 200; }));
      kill(process, SIGCONT);
    } else {
      kill_server();
    }
    EXPECT_TRUE(goes_on());
  }
  one.end();
  threads.clear();
  EXPECT_EQ(one.complaints(), std::vector<std::string>());
}

}  // namespace
}  // namespace silurus
