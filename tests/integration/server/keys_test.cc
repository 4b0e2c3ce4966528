// SPDX-License-Identifier: Apache-2.0

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "access/key.h"
#include "access/own_key.h"
#include "protocol/messages.h"
#include "silurus/client.h"
#include "tests/support/in_child.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"
#include "tests/support/tool.h"
#include "transport/fabric.h"
#include "transport/setup.h"
#include "transport/tcp/frame.h"
#include "transport/unique_fd.h"

// Keys over tcp: a server's own one, those of a file of rules, and a stranger without any.

namespace silurus {
namespace {

using ::testing::HasSubstr;
using testing_support::in_child;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

constexpr uid_t kOther = 65534;
constexpr Box<2> kBox{{0, 0}, {1, 1}};

class KeysTest : public testing::Test {
 protected:
  KeysTest() {
    EXPECT_EQ(chmod((folder_ / "").c_str(), 0755), 0);
    setenv("XDG_RUNTIME_DIR", (folder_ / "").c_str(), 1);
  }
  ~KeysTest() override { unsetenv("XDG_RUNTIME_DIR"); }

  void start(std::vector<std::string> options) {
    options.insert(options.end(), {"--listen", "tcp://127.0.0.1:0"});
    server_ = std::make_unique<ServerProcess>(options);
    ASSERT_EQ(server_->addresses().size(), 1u) << server_->errors();
  }
  std::string url() const { return server_->addresses()[0]; }
  std::string port() const { return transport::Address::parse(url())->port; }
  std::string own_key() const {
    return access::own_key_path(folder_ / "silurus", {"tcp", "127.0.0.1", port()});
  }
  /// A new key, of a file beside the rules, and a copy that the stranger may read.
  void make_key(const std::string& name, const std::string& copy) {
    const auto key = access::Key::make(name);
    ASSERT_TRUE(key->write(folder_ / (name + ".key")));
    ASSERT_TRUE(key->write(folder_ / copy));
    ASSERT_EQ(chown((folder_ / copy).c_str(), kOther, kOther), 0);
  }
  std::string rules(const std::string& text) const {
    std::ofstream(folder_ / "access.toml") << text;
    EXPECT_EQ(chmod((folder_ / "access.toml").c_str(), 0600), 0);
    return folder_ / "access.toml";
  }
  template <typename Act>
  int as_stranger(Act&& act) {
    return in_child([&] {
      if (setgroups(0, nullptr) != 0 || setgid(kOther) != 0 || setuid(kOther) != 0) return 99;
      int wrong = 0;
      act([&](bool is_so) { wrong += is_so ? 0 : 1; });
      return wrong;
    });
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(KeysTest, OfTheServersOwnUserAreFoundByClientsAndTheTool) {
  start({});
  struct stat status {};
  ASSERT_EQ(stat(own_key().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  ASSERT_EQ(stat((folder_ / "silurus").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  auto client = Client<2>::connect(url(), patient());
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_TRUE(client->load(std::vector<Entry<2>>{{1, kBox}})) << "an operator";
  const auto ran = testing_support::Tool().run("--server " + url() + " range 0 0 1 1 --count");
  EXPECT_EQ(ran.status, 0) << ran.err;
  const std::string key = own_key();
  EXPECT_EQ(server_->stop(), 0);
  EXPECT_NE(stat(key.c_str(), &status), 0) << "it goes with the server";
}

TEST_F(KeysTest, OfADeadServerKeepNoClientFromTheNextOne) {
  start({});
  const std::string address = url();
  server_->signal(SIGKILL);
  server_.reset();
  server_ = std::make_unique<ServerProcess>(std::vector<std::string>{"--listen", address});
  ASSERT_EQ(server_->addresses().size(), 1u) << server_->errors();
  EXPECT_TRUE(Client<2>::connect(url(), patient()));
}

/// Another program may take the address of a server that has died.
TEST_F(KeysTest, ThatAServerHasProvedAreAskedOfItsSuccessor) {
  start({});
  const std::string address = url();
  auto client = Client<2>::connect(address, {.reconnect_for = 2 * kSecond});
  ASSERT_TRUE(client) << client.error().message;
  ASSERT_TRUE(client->insert(1, kBox));
  const auto replace_server = [&](const std::string& folder) {
    server_->signal(SIGKILL);
    server_->wait();  // it has the port until it is gone
    setenv("XDG_RUNTIME_DIR", folder.c_str(), 1);
    server_ = std::make_unique<ServerProcess>(std::vector<std::string>{"--listen", address});
    setenv("XDG_RUNTIME_DIR", (folder_ / "").c_str(), 1);
    ASSERT_EQ(server_->addresses().size(), 1u) << server_->errors();
  };
  const TemporaryFolder elsewhere;
  replace_server(elsewhere / "");
  const auto count = client->count(kBox);
  ASSERT_FALSE(count) << "it has proved nothing";
  EXPECT_THAT(count.error().message, HasSubstr("has proved to hold a key before"));
  EXPECT_TRUE(Client<2>::connect(address, patient())) << "to a new client it is a server";
  replace_server(folder_ / "");
  auto again = Client<2>::connect(address, {.reconnect_for = patient(20 * kSecond)});
  ASSERT_TRUE(again) << again.error().message;
  replace_server(folder_ / "");
  EXPECT_TRUE(again->count(kBox)) << "it proves its own key";
}

TEST_F(KeysTest, GiveAStrangerTheRoleOfTheRules) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  make_key("alice", "for-stranger.key");
  start({"--access", rules("[[principal]]\nkey = \"alice.key\"\nrole = \"reader\"\n")});
  ASSERT_TRUE(Client<2>::connect(url(), patient())->insert(1, kBox));
  EXPECT_EQ(as_stranger([&](auto expect) {
              const auto without = Client<2>::connect(url(), patient());
              expect(!without && without.error().code == ErrorCode::kPermission);
              auto client =
                  Client<2>::connect(url() + "?key=" + (folder_ / "for-stranger.key"), patient());
              expect(client.has_value());
              if (!client) return;
              expect(client->count(kBox).value_or(0) == 1);
              const auto written = client->insert(2, kBox);
              expect(!written && written.error().code == ErrorCode::kPermission &&
                     written.error().message.find("the key alice") != std::string::npos);
              setenv("SILURUS_KEY", (folder_ / "for-stranger.key").c_str(), 1);
              expect(Client<2>::connect(url(), patient()).has_value());
            }),
            0);
}

TEST_F(KeysTest, ThatTheServerDoesNotHaveAreRefusedAndTold) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  make_key("alice", "for-stranger.key");
  start({"--allow-other-users"});
  EXPECT_EQ(as_stranger([&](auto expect) {
              const auto client =
                  Client<2>::connect(url() + "?key=" + (folder_ / "for-stranger.key"), patient());
              expect(!client && client.error().code == ErrorCode::kPermission);
            }),
            0);
  EXPECT_TRUE(testing_support::wait_until(
      [&] { return server_->errors().find("names a key") != std::string::npos; }));
}

TEST_F(KeysTest, AreMissedByAStrangerThatSendsEveryKindOfRequestAllTheSame) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  start({});
  EXPECT_EQ(as_stranger([&](auto expect) {
              using namespace transport;
              for (unsigned type = 0; type <= 32; ++type) {
                for (const std::uint16_t has_key : {0, 1}) {
                  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                  sockaddr_in there{};
                  there.sin_family = AF_INET;
                  there.sin_port = htons(static_cast<std::uint16_t>(std::stoi(port())));
                  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                  expect(connect(fd.get(), reinterpret_cast<const sockaddr*>(&there),
                                 sizeof(there)) == 0);
                  const protocol::ClientHello hello{.dimensions = 2};
                  struct {
                    ClientSetup setup;
                    ClientProof proof{};
                    tcp::FrameHeader frame{64, tcp::FrameKind::kMessage, tcp::kFrameMagic};
                    std::array<std::byte, 64> request{};
                  } all{*make_client_setup(kTcpMagic, std::as_bytes(std::span(&hello, 1)))};
                  all.setup.has_key = has_key;
                  all.request[0] = static_cast<std::byte>(type);
                  expect(send(fd.get(), &all, sizeof(all), MSG_NOSIGNAL) == sizeof(all));
                  std::array<char, 4096> answer;
                  std::size_t length = 0;
                  for (ssize_t got = 1; got > 0; length += static_cast<std::size_t>(got)) {
                    got = recv(fd.get(), answer.data() + length, answer.size() - length, 0);
                    if (got < 0) got = 0;
                  }
                  // A refusal, and before it a challenge; the system may throw them away.
                  expect(length <= sizeof(ServerSetup) + sizeof(Challenge));
                }
              }
            }),
            0);
  auto own = Client<2>::connect(url(), patient());
  ASSERT_TRUE(own) << own.error().message;
  EXPECT_EQ(own->server_statistics().value().clients, 1u);
}

TEST_F(KeysTest, AreMadeByTheToolWithTheirRule) {
  const auto made = testing_support::Tool().shell("cd " + (folder_ / "") + " && " +
                                                  testing_support::Tool::program() +
                                                  " key new alice --role writer");
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(made.out,
            "[[principal]]\nkey = \"" + (folder_ / "alice.key") + "\"\nrole = \"writer\"\n");
  EXPECT_TRUE(access::Key::read(folder_ / "alice.key", geteuid()));
  EXPECT_NE(testing_support::Tool().run("key new alice --role king").status, 0);
  EXPECT_NE(testing_support::Tool().run("key new alice").status, 0);
  start({"--access", rules(made.out)});
  EXPECT_TRUE(
      Client<2>::connect(url() + "?key=" + (folder_ / "alice.key"), patient())->insert(1, kBox));
}

}  // namespace
}  // namespace silurus
