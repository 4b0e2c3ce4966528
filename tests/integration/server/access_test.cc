// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "client/internal.h"
#include "silurus/client.h"
#include "tests/support/in_child.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"

// What another user of the machine can do, over shm and over tcp on loopback: by requests that are
// made as the client library makes them, from a process of that user.

namespace silurus {
namespace {

using protocol::TaskKind;
using testing_support::in_child;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

constexpr uid_t kStranger = 65534;
constexpr Box<2> kHere{{0, 0}, {1, 1}};

bool become_stranger() {
  return setgroups(0, nullptr) == 0 && setgid(kStranger) == 0 && setuid(kStranger) == 0;
}

template <typename T>
bool is_refused(const Result<T>& result) {
  return !result && result.error().code == ErrorCode::kPermission;
}

class AccessTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
    ASSERT_EQ(chmod((folder_ / "").c_str(), 0755), 0);
  }
  void start(std::vector<std::string> options) {
    const bool is_shm = GetParam() == "shm";
    options.insert(options.end(),
                   {"--listen", is_shm ? "shm://" + (folder_ / "socket") : "tcp://127.0.0.1:0",
                    "--retain", "10min"});
    server_ = std::make_unique<ServerProcess>(options);
    ASSERT_EQ(server_->addresses().size(), 1u) << server_->errors();
    auto own = Client<2>::connect(server_->addresses()[0], patient());
    ASSERT_TRUE(own) << own.error().message;
    version_ = own->insert(1, kHere).value();
  }
  /// Rules that give all clients that role.
  std::string rules(const std::string& role) {
    std::ofstream(folder_ / "access.toml")
        << "[[principal]]\nanyone = true\nrole = \"" << role << "\"\n";
    EXPECT_EQ(chmod((folder_ / "access.toml").c_str(), 0600), 0);
    return folder_ / "access.toml";
  }
  /// The URL as another user names it, who believes a server of root's anyway.
  std::string url() const { return server_->addresses()[0]; }

  /// How many of the expectations of `act`, run as another user, were wrong; -1: it did not end.
  template <typename Act>
  int as_stranger(Act&& act) {
    return in_child([&] {
      if (!become_stranger()) return 99;
      int wrong = 0;
      act([&](bool is_so) { wrong += is_so ? 0 : 1; });
      return wrong;
    });
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  Version version_ = 0;
};

TEST_P(AccessTest, OfAStrangerIsNoneUnlessItIsGiven) {
  start({});
  EXPECT_EQ(as_stranger([&](auto expect) {
              expect(is_refused(Client<2>::connect(url(), patient())));
              expect(is_refused(probe(url(), patient(5 * kSecond))));
            }),
            0);
}

TEST_P(AccessTest, OfAReaderIsToReadAndNothingElse) {
  start({"--access", rules("reader")});
  EXPECT_EQ(as_stranger([&](auto expect) {
              auto client = Client<2>::connect(url(), patient());
              expect(client.has_value());
              if (!client) return;
              expect(client->count(kHere).value_or(0) == 1);
              expect(client->nearest({{0, 0}}, 1).has_value());
              expect(client->count(kHere, Predicate::kIntersects, version_).value_or(0) == 1);
              expect(client->history().has_value());
              expect(client->difference(version_, version_).has_value());
              expect(client->server_statistics().has_value());
              expect(client->cluster().has_value());
              const client::request::Task exports{.kind = TaskKind::kExport};
              expect(client::Internal::run_task(*client, exports).has_value());
              expect(is_refused(client->write(WriteBatch<2>().insert(2, kHere))));
              expect(is_refused(client->erase(1, kHere)));
              expect(is_refused(client->update(1, kHere, kHere)));
              expect(is_refused(client->load_begin()));
              expect(is_refused(client->compact(0)));
              expect(is_refused(client->backup("/tmp/silurus-of-a-stranger")));
              for (const auto kind : {TaskKind::kExportChanges, TaskKind::kFill, TaskKind::kFreeze,
                                      TaskKind::kRetire, TaskKind::kServe}) {
                expect(is_refused(
                    client::Internal::run_task(*client, {.kind = kind, .from = 1, .to = 1})));
              }
              expect(client->count(kHere).value_or(0) == 1);
            }),
            0);
  EXPECT_NE(::access("/tmp/silurus-of-a-stranger", F_OK), 0);
}

TEST_P(AccessTest, OfAWriterIsToWriteAndNotToLoadOrGiveOrders) {
  start({"--allow-other-users"});
  EXPECT_EQ(as_stranger([&](auto expect) {
              auto client = Client<2>::connect(url(), patient());
              expect(client.has_value());
              if (!client) return;
              expect(client->insert(2, kHere).has_value());
              expect(client->erase(2, kHere).has_value());
              expect(is_refused(client->load_begin()));
              expect(is_refused(client->backup("/tmp/silurus-of-a-stranger")));
              for (const auto kind : {TaskKind::kFreeze, TaskKind::kRetire}) {
                expect(is_refused(
                    client::Internal::run_task(*client, {.kind = kind, .from = 1, .to = 1})));
              }
            }),
            0);
}

TEST_P(AccessTest, OfAnOperatorIsToDoEverything) {
  start({"--access", rules("operator")});
  EXPECT_EQ(as_stranger([&](auto expect) {
              auto client = Client<2>::connect(url(), patient());
              expect(client.has_value());
              if (!client) return;
              expect(client->erase(1, kHere).has_value());
              const std::vector<Entry<2>> entries(1, {7, kHere});
              expect(client->load(entries).has_value());
              expect(client->compact(0).has_value());
            }),
            0);
}

TEST_P(AccessTest, OfAWriterOfSomeCollectionsIsForThoseAlone) {
  std::ofstream(folder_ / "access.toml")
      << "[[principal]]\nanyone = true\nrole = \"writer\"\ncollections = [\"roads\", \"new\"]\n";
  ASSERT_EQ(chmod((folder_ / "access.toml").c_str(), 0600), 0);
  start({"--access", folder_ / "access.toml"});
  auto own = Client<2>::connect(url(), patient());
  ASSERT_TRUE(own) << own.error().message;
  for (const char* name : {"roads", "lakes"}) ASSERT_TRUE(own->create_collection(name)) << name;
  EXPECT_EQ(as_stranger([&](auto expect) {
              for (const char* name : {"", "lakes", "nothing"}) {
                const auto refused = Client<2>::connect(url(), patient({.collection = name}));
                expect(is_refused(refused));
                // It is not told whether there is such a collection.
                expect(!refused && refused.error().message.find("'lakes'") == std::string::npos);
              }
              const auto unborn = Client<2>::connect(url(), patient({.collection = "new"}));
              expect(!unborn && unborn.error().code == ErrorCode::kNoCollection);
              auto client = Client<2>::connect(url(), patient({.collection = "roads"}));
              expect(client.has_value());
              if (!client) return;
              expect(client->insert(2, kHere).has_value());
              expect(client->count(kHere).value_or(0) == 1);
              expect(client->cluster().has_value());
              const auto listed = client->collections();
              expect(listed && listed->size() == 1 && listed->front().name == "roads");
              expect(is_refused(client->server_statistics()));
              expect(is_refused(client->load_begin()));
              expect(is_refused(client->backup("/tmp/silurus-of-a-stranger")));
              expect(is_refused(client->clear_collection("lakes")));
              expect(is_refused(client->clear_collection("roads")));
              for (const char* name : {"lakes", "nothing"}) {
                expect(is_refused(client->join(name)));
              }
            }),
            0);
}

TEST_P(AccessTest, IsReadAgainOnHangup) {
  const std::string file = rules("reader");
  start({"--access", file});
  int from_child[2];
  int to_child[2];
  ASSERT_EQ(pipe(from_child), 0);
  ASSERT_EQ(pipe(to_child), 0);
  const pid_t child = testing_support::fork_to_die_with_us();
  if (child == 0) {
    if (!become_stranger()) _exit(99);
    auto client = Client<2>::connect(url(), patient({.reconnect_for = 0}));
    int wrong = client.has_value() && client->count(kHere).value_or(0) == 1 ? 0 : 1;
    char byte = 'x';
    if (write(from_child[1], &byte, 1) != 1 || read(to_child[0], &byte, 1) != 1) _exit(98);
    if (client && client->count(kHere)) ++wrong;
    if (!is_refused(Client<2>::connect(url(), patient()))) ++wrong;
    _exit(wrong);
  }
  auto own = Client<2>::connect(url(), patient());
  ASSERT_TRUE(own) << own.error().message;
  char byte = 0;
  ASSERT_EQ(read(from_child[0], &byte, 1), 1) << "it is connected";
  EXPECT_TRUE(wait_until([&] { return own->server_statistics().value().clients == 2; }));
  std::ofstream(file) << "";
  server_->signal(SIGHUP);
  EXPECT_TRUE(wait_until([&] { return own->server_statistics().value().clients == 1; }))
      << "though it asks for nothing";
  ASSERT_EQ(write(to_child[1], &byte, 1), 1);
  int status = -1;
  EXPECT_TRUE(wait_until([&] { return waitpid(child, &status, WNOHANG) == child; }));
  EXPECT_EQ(status, 0);
  for (const int end : {from_child[0], from_child[1], to_child[0], to_child[1]}) close(end);
  EXPECT_EQ(server_->stop(), 0) << "it did not stop for the signal";
}

TEST_P(AccessTest, StaysAsItWasIfTheFileMakesNoSense) {
  const std::string file = rules("reader");
  start({"--access", file, "--log-level", "error"});
  std::ofstream(file) << "[[principal]]\nuser = 3\n";
  server_->signal(SIGHUP);
  EXPECT_TRUE(wait_until([&] {
    return server_->errors().find("keeps the access rules of before") != std::string::npos;
  }));
  EXPECT_EQ(as_stranger([&](auto expect) {
              auto client = Client<2>::connect(url(), patient());
              expect(client.has_value() && client->count(kHere).value_or(0) == 1);
            }),
            0);
}

INSTANTIATE_TEST_SUITE_P(Fabrics, AccessTest, testing::Values("shm", "tcp"));

}  // namespace
}  // namespace silurus
