// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "transport/fabric.h"

namespace silurus::transport {
namespace {

TEST(Address, OfSharedMemoryIsAPath) {
  const auto address = Address::parse("shm:///run/silurus.sock");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->scheme, "shm");
  EXPECT_EQ(address->path, "/run/silurus.sock");
  EXPECT_TRUE(address->host.empty());
  EXPECT_EQ(address->to_string(), "shm:///run/silurus.sock");
}

TEST(Address, OfSharedMemoryMayNameTheUserWhoseServerItIs) {
  const auto address = Address::parse("shm:///run/silurus/a.sock?peer=silurus");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->path, "/run/silurus/a.sock");
  EXPECT_EQ(address->peer, "silurus");
  EXPECT_EQ(address->to_string(), "shm:///run/silurus/a.sock?peer=silurus");
}

TEST(Address, OfANetworkIsAHostAndAPort) {
  const auto address = Address::parse("tcp://127.0.0.1:7470");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->host, "127.0.0.1");
  EXPECT_EQ(address->port, "7470");
  EXPECT_EQ(address->to_string(), "tcp://127.0.0.1:7470");
  EXPECT_TRUE(Address::parse("sim://a:1"));
  EXPECT_TRUE(Address::parse("rdma://node-3.example:65535"));
}

TEST(Address, OfANetworkMayNameTheFileOfAKey) {
  const auto address = Address::parse("tcp://[::1]:7470?key=/home/bob/bob.key");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->host, "::1");
  EXPECT_EQ(address->port, "7470");
  EXPECT_EQ(address->key, "/home/bob/bob.key");
  EXPECT_EQ(address->to_string(), "tcp://[::1]:7470?key=/home/bob/bob.key");
}

TEST(Address, PutsIpv6InBrackets) {
  const auto address = Address::parse("tcp://[::1]:0");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->host, "::1");
  EXPECT_EQ(address->to_string(), "tcp://[::1]:0");
}

TEST(Address, ThatIsMalformedSaysWhatIsWrong) {
  const std::pair<const char*, const char*> bad[] = {
      {"", "scheme://"},
      {"/run/silurus.sock", "scheme://"},
      {"://x", "scheme://"},
      {"shm://", "absolute path"},
      {"shm://relative/path", "absolute path"},
      {"shm:///directory/", "absolute path"},
      {"shm:///a.sock?peer=", "no user"},
      {"shm:///directory/?peer=silurus", "absolute path"},
      {"shm:///?peer=silurus", "absolute path"},
      {"http://host:80", "shm://, tcp:// or rdma://"},
      {"ftp:///path", "shm://, tcp:// or rdma://"},
      {"tcp://", "no host"},
      {"tcp://:7470", "no host"},
      {"tcp://host", "host:port"},
      {"tcp://host:", "port"},
      {"tcp://host:http", "port"},
      {"tcp://host:65536", "port"},
      {"tcp://host:-1", "port"},
      {"tcp://host:12x", "port"},
      {"tcp://::1:7470", "brackets"},
      {"tcp://[::1:7470", "']'"},
      {"tcp://[]:7470", "no host"},
      {"tcp://[[a]:7470", "a bracket in a host"},
      {"tcp://a]:7470", "a bracket in a host"},
      {"tcp://[::1]7470", "host:port"},
      {"tcp://host:7470?key=", "no file"},
  };
  for (const auto& [text, why] : bad) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(address.error().message.find(why), std::string::npos) << address.error().message;
    EXPECT_NE(address.error().message.find(text), std::string::npos) << address.error().message;
  }
}

TEST(Fabric, OfAnUnknownSchemeIsAnErrorThatListsTheKnown) {
  const auto fabric = make_fabric("carrier-pigeon");
  ASSERT_FALSE(fabric);
  EXPECT_EQ(fabric.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(fabric.error().message.find("shm://"), std::string::npos);
}

}  // namespace
}  // namespace silurus::transport
