// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "silurus/client.h"
#include "tests/support/etcd_process.h"
#include "tests/support/held_port.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"

// Clients of a real group: three servers, a real etcd, and primaries that are killed.

namespace silurus {
namespace {

using testing_support::EtcdProcess;
using testing_support::HeldPort;
using testing_support::patient;
using testing_support::patient_option;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

Box<2> box_of(std::uint64_t id) {
  const double x = static_cast<double>(id % 1000);
  const double y = static_cast<double>(id / 1000);
  return {{x, y}, {x + 0.5, y + 0.5}};
}
constexpr Box<2> kEverything = {{-1, -1}, {1e6, 1e6}};

class FailOverTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed())
      GTEST_SKIP() << "no etcd here: scripts/setup --test installs it";
    etcd_ = std::make_unique<EtcdProcess>();
    ASSERT_TRUE(etcd_->wait_until_ready());
  }

  /// `lease`: on an idle machine.
  void start(Nanoseconds lease = 2 * kSecond, const std::string& scheme = "tcp") {
    lease_ = patient_option(lease);
    scheme_ = scheme;
    for (int i = 0; i < 3; ++i) {
      members_.push_back(nullptr);
      start_member(static_cast<std::size_t>(i));
    }
    for (auto& member : members_) ASSERT_EQ(member->addresses().size(), 1u) << member->errors();
    for (auto& member : members_) urls_ += (urls_.empty() ? "" : ",") + member->addresses()[0];
    // All three belong to the view before anything is asked.
    auto client = connect();
    ASSERT_TRUE(wait_for_members(*client, 3));
  }
  void start_member(std::size_t i) {
    const std::string name = "member" + std::to_string(i);
    const std::string listen = scheme_ == "shm" ? "shm://" + folder_ / (name + ".socket")
                                                : "tcp://" + ports_.at(i).host_and_port();
    members_[i].reset();
    members_[i] = std::make_unique<ServerProcess>(std::vector<std::string>{
        "--cluster", etcd_->address("geo"), "--data", folder_ / name, "--listen", listen,
        "--log-size", "16M", "--group-lease", lease_, "--log-level", "warning"});
  }
  std::unique_ptr<Client<2>> connect(ClientOptions options = {}) {
    options.connect_timeout = 20 * kSecond;
    auto client = Client<2>::connect(urls_, patient(options));
    EXPECT_TRUE(client) << client.error().message;
    return client ? std::make_unique<Client<2>>(std::move(*client)) : nullptr;
  }
  static std::size_t members_of_view(Client<2>& client) {
    const auto group = client.cluster();
    const auto in_view =
        group ? std::ranges::count_if(group->members, &GroupMember::is_in_view) : 0;
    return static_cast<std::size_t>(in_view);
  }
  static bool wait_for_members(Client<2>& client, std::size_t count) {
    return wait_until([&] { return members_of_view(client) == count; });
  }
  std::size_t primary(Client<2>& client) const {
    const std::string peer = client.peer();
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const std::string& url = members_[i]->addresses()[0];
      if (peer.find(url.substr(url.find("//"))) != std::string::npos) return i;
    }
    return members_.size();
  }

  TemporaryFolder folder_;
  std::unique_ptr<EtcdProcess> etcd_;
  const std::array<HeldPort, 3> ports_{};
  std::vector<std::unique_ptr<ServerProcess>> members_;
  std::string urls_;
  std::string lease_;
  std::string scheme_;
};

TEST_F(FailOverTest, ABlockedClientWaitsNoLongerThanTheLeaseAndHalfASecond) {
  start();
  auto client = connect();
  const SystemClock clock;
  Nanoseconds longest = 0;
  std::uint64_t id = 0;
  // Writes and searches, one after the other, until well after the fail-over.
  constexpr std::uint64_t kWrites = 300;
  while (id < 2 * kWrites) {
    if (id == kWrites) {
      const std::size_t which = primary(*client);
      ASSERT_LT(which, members_.size()) << client->peer();
      members_[which]->signal(SIGKILL);
    }
    const Nanoseconds before = clock.now();
    const auto written = client->insert(id, box_of(id));
    ASSERT_TRUE(written) << written.error().message;
    ++id;
    const auto found = client->range(box_of(id - 1));
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->count, 1u) << "linearizable: what was acknowledged is seen";
    longest = std::max(longest, clock.now() - before);
  }
  std::cout << "longest pause: " << longest / kMillisecond << " ms, " << id << " writes\n";
  // Held to two and a half seconds in virtual time (GroupRules); here others have the cores too.
  EXPECT_EQ(client->count(kEverything).value(), id);
  EXPECT_GE(client->statistics().reconnects, 1u) << "nothing was killed";
}

TEST_F(FailOverTest, WritesUnderWayHappenOnceThroughTheDeathsOfPrimaries) {
  start(500 * kMillisecond);
  auto client = connect({.deadline = 30 * kSecond, .reconnect_for = 30 * kSecond});
  std::uint64_t id = 0;
  std::uint64_t done = 0;
  std::vector<std::string> errors;
  const auto write_some = [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i, ++id) {
      WriteBatch<2> batch;
      batch.insert(id, box_of(id));
      const Status begun = client->write_async(batch, [&](auto answer) {
        if (answer && (*answer)->failed.empty()) {
          ++done;
        } else if (!answer) {
          errors.push_back(answer.error().message);
        }
      });
      ASSERT_TRUE(begun) << begun.error().message;
      client->wait_below(64);
    }
  };
  for (int round = 0; round < 2; ++round) {
    write_some(500);
    const std::size_t which = primary(*client);
    ASSERT_LT(which, members_.size());
    members_[which]->signal(SIGKILL);
    write_some(500);  // while it dies, with up to 64 under way
    client->wait();
    members_[which]->wait();
    start_member(which);
    ASSERT_TRUE(wait_for_members(*client, 3)) << members_[which]->errors();
  }
  client->wait();
  EXPECT_TRUE(errors.empty()) << errors.size() << " failed, the first: " << errors.front();
  EXPECT_EQ(done, id);
  const auto found = client->range(kEverything);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->count, id);
  EXPECT_EQ(std::set(found->ids.begin(), found->ids.end()).size(), id) << "one is there twice";
}

TEST_F(FailOverTest, AnyMemberAnswersAndTheirAnswersAreFreshEnough) {
  start(500 * kMillisecond);
  auto writer = connect();
  const Nanoseconds bound = patient(500 * kMillisecond);
  auto reader = connect({.read = {.from = ReadFrom::kAny, .max_staleness = bound}});
  EXPECT_TRUE(wait_until([&] {  // it connects to all, and hears of their versions
    EXPECT_TRUE(reader->range(box_of(0)));
    return reader->statistics().asked_of_backups > 0;
  }));
  Version newest = 0;
  for (std::uint64_t id = 0; id < 300; ++id) {
    ASSERT_TRUE(writer->insert(id, box_of(id)));
    for (int i = 0; i < 5; ++i) {
      const auto found = reader->range(kEverything, {.shape = ResultShape::kCount});
      ASSERT_TRUE(found) << found.error().message;
      EXPECT_GE(found->version, newest) << "monotonic";
      newest = found->version;
    }
  }
  const auto last = writer->range(kEverything, {.shape = ResultShape::kCount}).value();
  const SystemClock clock;
  const Nanoseconds acknowledged = clock.now();
  wait_until([&] { return clock.now() - acknowledged > bound; });
  EXPECT_GE(reader->range(kEverything, {.shape = ResultShape::kCount})->version, last.version);
  std::cout << reader->statistics().asked_of_backups << " of the searches were asked of backups\n";
}

/// The primary is stopped, so that its memory can still be read one-sidedly (shm needs no server's
/// processor): what it published last is what a client would find, long after others have written.
TEST_F(FailOverTest, NothingThatAStoppedPrimaryHasPublishedIsBelievedAfterItsLease) {
  start(500 * kMillisecond, "shm");
  auto writer = connect({.mode = Mode::kMessaging,
                         .deadline = 20 * kSecond,
                         .reconnect_for = 20 * kSecond,
                         .silence = 300 * kMillisecond});
  auto reader = connect({.mode = Mode::kOffload,
                         .deadline = 20 * kSecond,
                         .reconnect_for = 20 * kSecond,
                         .silence = 300 * kMillisecond});
  for (std::uint64_t id = 0; id < 100; ++id) ASSERT_TRUE(writer->insert(id, box_of(id)));
  EXPECT_TRUE(wait_until([&] {
    EXPECT_EQ(reader->count(kEverything).value(), 100u);
    return reader->statistics().offload.completed > 0;
  })) << "under the lease";
  const std::size_t old = primary(*reader);
  ASSERT_LT(old, members_.size());
  members_[old]->freeze();
  // Reads go on while the lease lasts, and writes wait.
  ASSERT_TRUE(writer->insert(100, box_of(100)));
  EXPECT_NE(primary(*writer), old);
  EXPECT_EQ(reader->count(kEverything).value(), 101u) << "it believed the stopped primary";
  EXPECT_NE(primary(*reader), old);
  members_[old]->signal(SIGCONT);
  EXPECT_EQ(reader->count(kEverything).value(), 101u);
}

/// Every member's memory is read one-sidedly here (shm needs no server's processor). One that
/// stands still keeps writes from being committed until it is voted out, and can be read all the
/// while.
TEST_F(FailOverTest, BackupsReadOneSidedlyShowOnlyWhatIsCommittedAndNothingTooOld) {
  start(kSecond, "shm");
  const Nanoseconds bound = patient(400 * kMillisecond);
  auto writer = connect({.mode = Mode::kMessaging, .deadline = 30 * kSecond});
  auto reader = connect({.mode = Mode::kOffload,
                         .deadline = 30 * kSecond,
                         .read = {.from = ReadFrom::kAny, .max_staleness = bound}});
  const SystemClock clock;
  std::vector<Nanoseconds> acknowledged;  // writes, by their ids
  const auto insert = [&] {
    const std::uint64_t id = acknowledged.size();
    ASSERT_TRUE(writer->insert(id, box_of(id)));
    acknowledged.push_back(clock.now());
  };
  // What one search finds: all but what was acknowledged within the bound before it began.
  const auto search = [&] {
    const Nanoseconds began = clock.now();
    const std::uint64_t found = reader->count(kEverything).value();
    EXPECT_LE(found < acknowledged.size() ? began - acknowledged[found] : 0, bound);
    return found;
  };
  EXPECT_TRUE(wait_until([&] {
    const ClientStatistics before = reader->statistics();
    for (int i = 0; i < 200; ++i) {
      insert();
      search();
    }
    const ClientStatistics& now = reader->statistics();
    return now.asked_of_backups - before.asked_of_backups >
           now.messaging.completed - before.messaging.completed;
  })) << "some of them one-sidedly";

  auto observer = connect({.mode = Mode::kMessaging});
  const std::size_t frozen = (primary(*writer) + 1) % members_.size();
  members_[frozen]->freeze();
  std::optional<bool> written;
  WriteBatch<2> batch;
  batch.insert(acknowledged.size(), box_of(acknowledged.size()));
  ASSERT_TRUE(writer->write_async(batch, [&](auto answer) { written = answer.has_value(); }));
  writer->poll();  // sends it
  int early = 0;
  for (std::uint64_t found = acknowledged.size(); members_of_view(*observer) == 3; ++early) {
    EXPECT_LE(found, acknowledged.size()) << "it was not committed";
    found = search();
  }
  writer->wait();
  ASSERT_TRUE(written && *written);
  acknowledged.push_back(clock.now());
  std::cout << early << " searches before it was committed\n";
  // What the frozen one published last can be read still.
  const Nanoseconds since = clock.now();
  while (clock.now() - since < 2 * bound) {
    insert();
    search();
  }
  members_[frozen]->signal(SIGCONT);
  ASSERT_TRUE(wait_for_members(*observer, 3));
  for (int i = 0; i < 200; ++i) {
    insert();
    search();
  }
}

}  // namespace
}  // namespace silurus
