#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "client/client.h"
#include "tests/support/etcd_process.h"
#include "tests/support/raw_client.h"
#include "tests/support/server_process.h"

// Clusters of real silurus-server processes and a real etcd on one machine: primaries are killed
// under load, stopped and woken, etcd goes away, members come with empty directories.

namespace silurus {
namespace {

using nlohmann::json;
using testing_support::EtcdProcess;
using testing_support::RawClient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

constexpr rtree::Box<2> kEverything{{-1, -1}, {1e9, 1e9}};

rtree::Box<2> box_of(std::uint64_t id) {
  const double x = static_cast<double>(id);
  return {{x, 0}, {x, 1}};
}

/// One member: its process, if it runs, its directory and its address.
class Member {
 public:
  Member(std::string url, std::string group, std::string data, std::string etcd, std::string memory)
      : url_(std::move(url)),
        group_(std::move(group)),
        data_(std::move(data)),
        etcd_(std::move(etcd)),
        memory_(std::move(memory)) {}

  void start() {
    process_ = std::make_unique<ServerProcess>(std::vector<std::string>{"--cluster",
                                                                        etcd_,
                                                                        "--data",
                                                                        data_,
                                                                        "--log-size",
                                                                        "64M",
                                                                        "--memory",
                                                                        memory_,
                                                                        "--listen",
                                                                        url_,
                                                                        "--group-address",
                                                                        group_,
                                                                        "--group-lease",
                                                                        "400ms",
                                                                        "--threads",
                                                                        "1",
                                                                        "--wait",
                                                                        "sleep",
                                                                        "--checkpoint-interval",
                                                                        "1s",
                                                                        "--log-level",
                                                                        "info"});
    ASSERT_FALSE(process_->addresses().empty()) << process_->errors();
    if (url_.ends_with(":0")) url_ = process_->addresses()[0];  // the same in its next life
  }
  void kill_it() { process_.reset(); }
  bool is_running() const { return process_ != nullptr; }
  ServerProcess& process() { return *process_; }
  const std::string& url() const { return url_; }

  /// What it says of the group; null if it doesn't.
  json cluster() const {
    const auto client = is_running() ? RawClient::connect(url_) : fail(ErrorCode::kNotFound, "");
    if (!client || !(*client)->bare(1, protocol::MessageType::kCluster)) return {};
    const auto reply = (*client)->reply(1, kSecond);
    return reply && !reply->error ? json::parse(reply->text(), nullptr, false) : json();
  }
  /// Ids here, at whatever version it has: the version, and how many of each id.
  std::optional<std::pair<rtree::Version, std::map<std::uint64_t, int>>> ids() const {
    const auto client = RawClient::connect(url_);
    if (!client || !(*client)->range(1, {.window = kEverything}, protocol::kAnyMember)) return {};
    const auto reply = (*client)->reply(1, 5 * kSecond);
    if (!reply || reply->error) return {};
    std::map<std::uint64_t, int> found;
    for (std::size_t at = 0; at + 8 <= reply->payload.size(); at += 8) {
      std::uint64_t id = 0;
      std::memcpy(&id, reply->payload.data() + at, sizeof id);
      ++found[id];
    }
    return std::pair(reply->version, std::move(found));
  }

 private:
  std::string url_;
  const std::string group_;
  const std::string data_;
  const std::string etcd_;
  const std::string memory_;
  std::unique_ptr<ServerProcess> process_;
};

class ClusterOfServers : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed()) GTEST_SKIP() << "no etcd here: scripts/setup installs it";
    etcd_ = std::make_unique<EtcdProcess>();
    ASSERT_TRUE(etcd_->wait_until_ready());
  }
  void TearDown() override {
    for (Member& member : members_) {
      if (HasFailure() && member.is_running()) {
        std::printf("--- %s, %s\n%s", member.url().c_str(), member.cluster().dump().c_str(),
                    member.process().errors().c_str());
      }
    }
  }
  void start(std::size_t members, const std::string& memory = "64M") {
    const bool is_shm = std::string(GetParam()) == "shm";
    for (std::size_t i = members_.size(); members_.size() < members; ++i) {
      const std::string name = std::to_string(i);
      const std::string url =
          is_shm ? "shm://" + (folder_ / ("c" + name)) : std::string("tcp://127.0.0.1:0");
      const std::string group =
          is_shm ? "shm://" + (folder_ / ("g" + name)) : std::string("tcp://127.0.0.1:0");
      members_.emplace_back(url, group, folder_ / ("d" + name), etcd_->address("test"), memory);
      members_.back().start();
      ASSERT_TRUE(wait_for_view(members_.size()));
    }
  }
  std::string urls() const {
    std::string all;
    for (const Member& member : members_) all += (all.empty() ? "" : ",") + member.url();
    return all;
  }
  Client<2> client() const {
    auto made =
        Client<2>::connect(urls(), {.deadline = 20 * kSecond, .reconnect_for = 20 * kSecond});
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return std::move(*made);
  }
  static bool wait_until(const std::function<bool()>& is_so) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < until) {
      if (is_so()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  /// Until all that run know of a view of so many, and are in it.
  bool wait_for_view(std::size_t size) const {
    return wait_until([&] {
      return std::ranges::all_of(members_, [&](const Member& member) {
        if (!member.is_running()) return true;
        const json said = member.cluster();
        return said.is_object() && said["members"].size() == size &&
               (said["role"] == "primary" || said["role"] == "backup");
      });
    });
  }
  /// The running member that says it is the primary and may read.
  Member* primary() {
    Member* found = nullptr;
    wait_until([&] {
      for (Member& member : members_) {
        const json said = member.cluster();
        if (said.is_object() && said["role"] == "primary" && said["lease_ms_left"] != 0) {
          found = &member;
          return true;
        }
      }
      return false;
    });
    return found;
  }
  /// Waits until all that run have the same version of exactly these ids, each once.
  void expect_everywhere(const std::set<std::uint64_t>& ids) const {
    std::map<std::uint64_t, int> expected;
    for (const std::uint64_t id : ids) expected[id] = 1;
    std::set<rtree::Version> versions;
    const bool all = wait_until([&] {
      versions.clear();
      return std::ranges::all_of(members_, [&](const Member& member) {
        if (!member.is_running()) return true;
        const auto found = member.ids();
        if (!found || found->second != expected) return false;
        versions.insert(found->first);
        return versions.size() == 1;
      });
    });
    EXPECT_TRUE(all) << "members differ, or lack what was acknowledged";
  }

  TemporaryFolder folder_;
  std::unique_ptr<EtcdProcess> etcd_;
  std::vector<Member> members_;
};

TEST_P(ClusterOfServers, KeepsEveryAcknowledgedWriteThroughTheDeathOfItsPrimaries) {
  start(3);
  std::atomic<bool> is_over{false};
  std::array<std::set<std::uint64_t>, 3> acknowledged;
  std::vector<std::jthread> writers;
  for (std::uint64_t w = 0; w < acknowledged.size(); ++w) {
    writers.emplace_back([&, w] {
      Client<2> own = client();
      for (std::uint64_t i = 0; !is_over; ++i) {
        const std::uint64_t id = 1'000'000 * (w + 1) + i;
        const auto written = own.insert(id, box_of(id));
        ASSERT_TRUE(written.has_value()) << written.error().message;
        acknowledged[w].insert(id);
      }
    });
  }
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    Member* const killed = primary();
    ASSERT_NE(killed, nullptr);
    killed->kill_it();
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    killed->start();
    ASSERT_TRUE(wait_for_view(3)) << "who was killed comes back";
  }
  is_over = true;
  writers.clear();
  std::set<std::uint64_t> all;
  for (const auto& of_one : acknowledged) {
    EXPECT_GT(of_one.size(), 100u);
    all.insert(of_one.begin(), of_one.end());
  }
  std::printf("%zu writes acknowledged\n", all.size());
  expect_everywhere(all);
}

TEST_P(ClusterOfServers, AStoppedPrimaryThatIsWokenAnswersNothingThatIsOld) {
  start(3);
  Client<2> writer = client();
  ASSERT_TRUE(writer.insert(1, box_of(1)));
  Member* const old = primary();
  ASSERT_NE(old, nullptr);
  auto own = RawClient::connect(old->url());
  ASSERT_TRUE(own.has_value());
  ASSERT_TRUE((*own)->range(1, {.window = kEverything}));
  ASSERT_EQ((*own)->reply(1)->count, 1u);
  old->process().freeze();
  // What it finds in its ring when it wakes.
  ASSERT_TRUE((*own)->range(2, {.window = kEverything}));
  ASSERT_TRUE((*own)->write(3, {{.id = 9,
                                 .kind = protocol::OperationKind::kInsert,
                                 .reserved = 0,
                                 .box = box_of(9),
                                 .to = {}}}));
  const auto next = writer.insert(2, box_of(2));
  ASSERT_TRUE(next.has_value()) << "at the next primary: " << next.error().message;
  old->process().signal(SIGCONT);
  const auto read = (*own)->reply(2, 5 * kSecond);
  if (read) {
    ASSERT_TRUE(read->error) << "it believed its lease after it had ended";
    EXPECT_EQ(read->error->code, ErrorCode::kNotPrimary);
  }
  const auto wrote = (*own)->reply(3, 5 * kSecond);
  EXPECT_TRUE(!wrote || wrote->error) << "it cannot commit alone";
  ASSERT_TRUE(wait_for_view(3));
  expect_everywhere({1, 2});
}

TEST_P(ClusterOfServers, GoesOnWhileEtcdIsAway) {
  start(3);
  Client<2> writer = client();
  etcd_->stop();
  std::set<std::uint64_t> ids;
  for (std::uint64_t id = 1; id <= 300; ++id) {
    ASSERT_TRUE(writer.insert(id, box_of(id)));
    ids.insert(id);
  }
  EXPECT_TRUE(wait_until([&] {
    Member* const leads = primary();
    return leads != nullptr && leads->cluster()["view_store"] == "away";
  }));
  EXPECT_EQ(writer.count(kEverything).value(), 300u) << "and reads";
  expect_everywhere(ids);
}

TEST_P(ClusterOfServers, AMemberWithAnEmptyDirectoryIsTakenIn) {
  start(1);
  Client<2> writer = client();
  std::set<std::uint64_t> ids;
  for (std::uint64_t id = 1; id <= 200; ++id) {
    ASSERT_TRUE(writer.insert(id, box_of(id)));
    ids.insert(id);
  }
  start(2);
  expect_everywhere(ids);
  members_[0].kill_it();
  Client<2> another = client();
  ASSERT_TRUE(another.insert(201, box_of(201))) << "the one that came has everything";
  ids.insert(201);
  expect_everywhere(ids);
}

TEST_P(ClusterOfServers, AFullTreeSaysSoAndTakesErasures) {
  start(1, "8M");
  Client<2> writer = client();
  constexpr std::uint64_t kBatch = 500;
  std::uint64_t id = 0;
  Result<WriteAnswer> answer;
  do {
    WriteBatch<2> batch;
    for (std::uint64_t i = 0; i < kBatch; ++i, ++id) batch.insert(id, box_of(id));
    answer = writer.write(batch);
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    ASSERT_LT(id, 1'000'000u);
  } while (answer->failed.empty());
  EXPECT_EQ(answer->failed[0].code, ErrorCode::kOutOfMemory);
  const std::uint64_t held = id - answer->failed.size();
  EXPECT_EQ(writer.count(kEverything).value(), held);
  for (std::uint64_t erased = 0; erased < 2 * kBatch; ++erased) {
    ASSERT_TRUE(writer.erase(erased, box_of(erased)).has_value());
  }
  EXPECT_TRUE(writer.insert(id, box_of(id)).has_value()) << "there is room again";
  EXPECT_EQ(writer.count(kEverything).value(), held - 2 * kBatch + 1);
}

TEST_P(ClusterOfServers, EveryMemberRemembersWhatCameOfAWrite) {
  start(2);
  const protocol::ClientHello hello{.dimensions = 2, .client = 77};
  const std::vector<protocol::Operation<2>> write{{.id = 5,
                                                   .kind = protocol::OperationKind::kInsert,
                                                   .reserved = 0,
                                                   .box = box_of(5),
                                                   .to = {}},
                                                  {.id = 6,
                                                   .kind = protocol::OperationKind::kErase,
                                                   .reserved = 0,
                                                   .box = box_of(6),
                                                   .to = {}}};
  const auto send = [&](Member& to) {
    auto client = RawClient::connect(to.url(), std::as_bytes(std::span(&hello, 1)));
    EXPECT_TRUE(client.has_value() && (*client)->write(1, write));
    return (*client)->reply(1);
  };
  Member* leads = primary();
  ASSERT_NE(leads, nullptr);
  const auto first = send(*leads);
  ASSERT_TRUE(first && !first->error);
  EXPECT_EQ(first->count, 1u) << "the erasure";
  const auto again = send(*leads);
  ASSERT_TRUE(again && !again->error);
  EXPECT_EQ(again->version, first->version);
  // A checkpoint has the table: it is in no log that is read again.
  leads->process().stop();
  leads->kill_it();
  leads = primary();
  ASSERT_NE(leads, nullptr);
  const auto elsewhere = send(*leads);
  ASSERT_TRUE(elsewhere && !elsewhere->error);
  EXPECT_EQ(elsewhere->version, first->version);
  EXPECT_EQ(elsewhere->payload, first->payload);
  leads->process().stop();
  leads->start();
  leads = primary();
  ASSERT_NE(leads, nullptr);
  const auto restarted = send(*leads);
  ASSERT_TRUE(restarted && !restarted->error);
  EXPECT_EQ(restarted->version, first->version);
  expect_everywhere({5});
}

INSTANTIATE_TEST_SUITE_P(Fabrics, ClusterOfServers, testing::Values("shm", "tcp"),
                         [](const auto& one) { return std::string(one.param); });

class MemberOptions : public testing::Test {
 protected:
  /// What a server says that does not start with these.
  std::string refusal(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--listen", "shm://" + (folder_ / "c")});
    ServerProcess process(arguments);
    EXPECT_TRUE(process.addresses().empty());
    process.wait();
    return process.errors();
  }
  TemporaryFolder folder_;
};

TEST_F(MemberOptions, AreRefusedWithWhatIsWrong) {
  EXPECT_NE(refusal({"--cluster", "etcd://127.0.0.1:1/x"}).find("needs --data"), std::string::npos);
  EXPECT_NE(
      refusal({"--cluster", "http://127.0.0.1:1/x", "--data", folder_ / "d"}).find("--cluster"),
      std::string::npos);
  EXPECT_NE(refusal({"--cluster", "etcd://127.0.0.1:1/x", "--data", folder_ / "e"})
                .find("no etcd answers at etcd://127.0.0.1:1/x"),
            std::string::npos);
  EXPECT_NE(refusal({"--data", folder_ / "e"}).find("shard 0 of the cluster x"), std::string::npos);
  EXPECT_NE(refusal({"--cluster", "etcd://127.0.0.1:1/x", "--shard", "2", "--data", folder_ / "e"})
                .find("not that of a member of shard 2"),
            std::string::npos);
}

}  // namespace
}  // namespace silurus
