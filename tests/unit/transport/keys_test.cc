// SPDX-License-Identifier: Apache-2.0

#include "transport/keys.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "access/own_key.h"
#include "tests/support/server_process.h"

// Which key a client proves, where there are several (SECURITY.md).

namespace silurus::transport {
namespace {

using access::Key;
using testing_support::TemporaryFolder;

/// A server of our own user has left a key, SILURUS_KEY names one, the URL names one, and the
/// program has one.
class KeysOfAClient : public testing::Test {
 protected:
  KeysOfAClient() {
    setenv("XDG_RUNTIME_DIR", (folder_ / "").c_str(), 1);
    setenv("SILURUS_KEY", named_by_environment_.c_str(), 1);
    EXPECT_TRUE(of_environment_.write(named_by_environment_));
    EXPECT_TRUE(of_url_.write(named_by_url_));
    auto left = access::OwnKeyFile::create(folder_ / "silurus", {"tcp", "127.0.0.1", "7470"}, own_);
    EXPECT_TRUE(left) << left.error().message;
    left_ = std::move(*left);
  }
  ~KeysOfAClient() override {
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("SILURUS_KEY");
  }
  static access::KeyId id_of(const Result<std::optional<ClientKey>>& found) {
    EXPECT_TRUE(found) << found.error().message;
    return found && *found ? (*found)->key.label().id : 0;
  }
  access::KeyId found(const ConnectOptions& options) const {
    return id_of(key_for(address_, options, other_));
  }

  const TemporaryFolder folder_;
  const std::string named_by_environment_ = folder_ / "environment.key";
  const std::string named_by_url_ = folder_ / "url.key";
  const Key of_program_ = *Key::make("program");
  const Key of_url_ = *Key::make("url");
  const Key of_environment_ = *Key::make("environment");
  const Key own_ = *Key::make("own");
  std::unique_ptr<access::OwnKeyFile> left_;
  Address address_ = *Address::parse("tcp://127.0.0.1:7470");
  OtherEnd other_{"127.0.0.1", "7470", "127.0.0.1"};
};

TEST_F(KeysOfAClient, AreTriedInOrderOfProgramUrlOwnServerAndEnvironment) {
  address_.key = named_by_url_;
  EXPECT_EQ(found({.key = of_program_, .looks_for_key = true}), of_program_.label().id);
  EXPECT_EQ(found({.looks_for_key = true}), of_url_.label().id);
  address_.key.clear();
  EXPECT_EQ(found({.looks_for_key = true}), own_.label().id);
  left_.reset();
  EXPECT_EQ(found({.looks_for_key = true}), of_environment_.label().id);
  unsetenv("SILURUS_KEY");
  EXPECT_EQ(found({.looks_for_key = true}), 0u);
}

TEST_F(KeysOfAClient, OfAnotherHostAreNotLookedForHere) {
  other_ = {"10.0.0.7", "7470", "10.0.0.8"};
  EXPECT_EQ(found({.looks_for_key = true}), of_environment_.label().id);
}

TEST_F(KeysOfAClient, AreNotLookedForUnlessTheProgramSaysSo) {
  address_.key = named_by_url_;
  EXPECT_EQ(found({.looks_for_key = false}), 0u);
}

/// No other key stands in for one that was named: it would be another principal.
TEST_F(KeysOfAClient, ThatAreNamedAndCannotBeReadAreErrors) {
  address_.key = folder_ / "nothing.key";
  EXPECT_FALSE(key_for(address_, {.looks_for_key = true}, other_));
  address_.key.clear();
  left_.reset();
  setenv("SILURUS_KEY", (folder_ / "nothing.key").c_str(), 1);
  EXPECT_FALSE(key_for(address_, {.looks_for_key = true}, other_));
}

}  // namespace
}  // namespace silurus::transport
