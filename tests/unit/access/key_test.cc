// SPDX-License-Identifier: Apache-2.0

#include "access/key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <thread>

#include "access/authorization.h"
#include "access/own_key.h"
#include "tests/support/server_process.h"

namespace silurus::access {
namespace {

using ::testing::HasSubstr;
using testing_support::TemporaryFolder;

constexpr std::string_view kDigits =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

std::string line(std::string_view secret) {
  return "silurus-key bob " + std::string(secret) + "\n";
}

TEST(Key, IsTheSameAfterItsFileWasReadAgain) {
  const auto key = Key::make("alice-2.old_key");
  ASSERT_TRUE(key) << key.error().message;
  const auto again = Key::parse(key->text(), "file");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->label(), key->label());
  EXPECT_TRUE(std::ranges::equal(again->secret(), key->secret()));
}

TEST(Key, IsAnotherEachTime) {
  EXPECT_NE(Key::make("alice")->label().id, Key::make("alice")->label().id);
}

TEST(Key, HasANameThatFitsALine) {
  for (const char* name : {"", "-a", ".a", "a b", "a\n", "\xc3\xa4", "a/b"}) {
    EXPECT_FALSE(Key::make(name)) << name;
  }
  EXPECT_FALSE(Key::make(std::string(65, 'a')));
  EXPECT_TRUE(Key::make(std::string(64, 'a')));
}

TEST(Key, IsOneLineOfAFileWithComments) {
  const auto key = Key::parse("# of bob\n\n  " + line(kDigits) + "# end", "file");
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->label().name, "bob");
  EXPECT_EQ(key->secret()[31], std::byte{0x1f});
}

TEST(Key, OfAFileThatIsNoneIsRefusedWithoutRepeatingIt) {
  const std::string good = line(kDigits);
  for (const std::string& text :
       {std::string(), std::string("silurus-key bob"), good + good, "x" + good,
        line(kDigits.substr(2)), line(std::string(kDigits) + "00"),
        line(std::string(kDigits.substr(2)) + "zz"), good.substr(0, good.size() - 1) + " more\n",
        std::string("silurus-key b/b ") + std::string(kDigits)}) {
    const auto key = Key::parse(text, "the-file");
    ASSERT_FALSE(key) << text;
    EXPECT_EQ(key.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(key.error().message, HasSubstr("the-file"));
    EXPECT_EQ(key.error().message.find("0001"), std::string::npos) << key.error().message;
  }
}

TEST(Key, IsWrittenForItsOwnerAloneAndNeverOverAnotherFile) {
  const TemporaryFolder folder;
  const auto key = Key::make("alice");
  ASSERT_TRUE(key->write(folder / "a.key"));
  struct stat status {};
  ASSERT_EQ(stat((folder / "a.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(Key::read(folder / "a.key", geteuid())->label(), key->label());
  EXPECT_EQ(Key::make("bob")->write(folder / "a.key").error().code, ErrorCode::kConflict);
  EXPECT_EQ(Key::read(folder / "a.key", geteuid())->label(), key->label());
}

TEST(Key, OfAFileThatOthersMayReadIsRefused) {
  const TemporaryFolder folder;
  ASSERT_TRUE(Key::make("alice")->write(folder / "a.key"));
  ASSERT_EQ(chmod((folder / "a.key").c_str(), 0644), 0);
  const auto key = Key::read(folder / "a.key", geteuid());
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::kPermission);
}

class OwnKey : public testing::Test {
 protected:
  const TemporaryFolder parent_;
  const std::string folder_ = parent_ / "silurus";
  const Key key_ = *Key::make("own");
  const Place here_{"tcp", "127.0.0.1", "7471"};
};

TEST_F(OwnKey, IsFoundForTheAddressOfAServerThatIsAlive) {
  auto file = OwnKeyFile::create(folder_, here_, key_);
  ASSERT_TRUE(file) << file.error().message;
  const auto found = find_own_key(folder_, here_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->label(), key_.label());
  EXPECT_FALSE(find_own_key(folder_, {"tcp", "127.0.0.1", "7472"}));
  EXPECT_FALSE(find_own_key(folder_, {"tcp", "10.0.0.1", "7471"}));
  EXPECT_FALSE(find_own_key(folder_, {"rdma", "127.0.0.1", "7471"}));
  file->reset();
  EXPECT_FALSE(find_own_key(folder_, here_));
}

TEST_F(OwnKey, OfAServerAtAllAddressesIsFoundForEach) {
  auto file = OwnKeyFile::create(folder_, {"tcp", "0.0.0.0", "7471"}, key_);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(find_own_key(folder_, here_));
  EXPECT_TRUE(find_own_key(folder_, {"tcp", "10.0.0.1", "7471"}));
}

/// A container has addresses of its own, and may share the folder.
TEST_F(OwnKey, OfAServerInAnotherNetworkNamespaceIsAnother) {
  const auto file = OwnKeyFile::create(folder_, here_, key_);
  ASSERT_TRUE(file) << file.error().message;
  const Key other = *Key::make("own");
  bool may_leave = true;
  std::thread([&] {
    may_leave = unshare(CLONE_NEWNET) == 0;
    if (!may_leave) return;
    EXPECT_FALSE(find_own_key(folder_, here_));
    const auto theirs = OwnKeyFile::create(folder_, here_, other);
    ASSERT_TRUE(theirs) << theirs.error().message;
    const auto found = find_own_key(folder_, here_);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->label(), other.label());
  }).join();
  if (!may_leave) GTEST_SKIP() << "this user may make no network namespace";
  const auto found = find_own_key(folder_, here_);
  ASSERT_TRUE(found) << "the other server has not replaced it";
  EXPECT_EQ(found->label(), key_.label());
}

TEST_F(OwnKey, ThatADeadServerHasLeftIsNone) {
  ASSERT_TRUE(OwnKeyFile::create(folder_, here_, key_));
  ASSERT_TRUE(key_.write(own_key_path(folder_, here_)));
  EXPECT_FALSE(find_own_key(folder_, here_)) << "no process holds the file's lock";
}

TEST_F(OwnKey, OfASuccessorStaysWhenThePredecessorGoes) {
  auto old = OwnKeyFile::create(folder_, here_, key_);
  const Key other = *Key::make("own");
  auto successor = OwnKeyFile::create(folder_, here_, other);
  ASSERT_TRUE(old && successor);
  old->reset();
  const auto found = find_own_key(folder_, here_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->label(), other.label());
}

TEST_F(OwnKey, IsNeitherLeftNorFoundWhereOthersMayWrite) {
  auto file = OwnKeyFile::create(folder_, here_, key_);
  ASSERT_TRUE(file);
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  EXPECT_FALSE(find_own_key(folder_, here_));
  EXPECT_EQ(OwnKeyFile::create(folder_, here_, key_).error().code, ErrorCode::kPermission);
}

Principal holder_of(const Key& key) { return {std::nullopt, "10.0.0.7", key.label()}; }

TEST(KeyRules, GiveTheHolderOfAKeyItsRole) {
  const TemporaryFolder folder;
  const Key key = *Key::make("alice");
  ASSERT_TRUE(key.write(folder / "alice.key"));
  const auto rules = Rules::parse("[[principal]]\nkey = \"alice.key\"\nrole = \"writer\"\n",
                                  folder / "access.toml", geteuid());
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_EQ(rules->role_of(holder_of(key)), Role::kWriter);
  EXPECT_EQ(rules->role_of(holder_of(*Key::make("alice"))), Role::kNone)
      << "another key of that name";
  EXPECT_EQ(rules->role_of({std::nullopt, "10.0.0.7"}), Role::kNone);
  ASSERT_NE(rules->key(key.label().id), nullptr);
  EXPECT_EQ(rules->key(key.label().id + 1), nullptr);
  EXPECT_THAT(holder_of(key).describe(), HasSubstr("the key alice ("));
}

TEST(KeyRules, ThatNameAFileWhichCannotBeUsedAreRefused) {
  const auto rules = Rules::parse(
      "[[principal]]\nkey = \"/nowhere/alice.key\"\nrole = \"writer\"\n", "access.toml", geteuid());
  ASSERT_FALSE(rules);
  EXPECT_THAT(rules.error().message, HasSubstr("access.toml:2: "));
  EXPECT_THAT(rules.error().message, HasSubstr("/nowhere/alice.key"));
}

TEST(KeyRules, TakeTheHolderOfTheServersOwnKeyForItsUser) {
  RuleBook book(Rules::of_user(geteuid()));
  const Key own = *Key::make("own");
  EXPECT_EQ(book.look_up(holder_of(own)).rights.everywhere, Role::kNone);
  book.set_own_key(own);
  EXPECT_EQ(book.look_up(holder_of(own)).rights.everywhere, Role::kOperator);
  EXPECT_THAT(book.look_up(holder_of(own)).text, HasSubstr("user " + std::to_string(geteuid())));
  ASSERT_TRUE(book.key(own.label().id));
  book.replace(Rules::of_user(geteuid()));
  EXPECT_EQ(book.look_up(holder_of(own)).rights.everywhere, Role::kOperator)
      << "the rules are read again";
}

/// A process between a client and its own server hands the proof on, but is of its own user.
TEST(KeyRules, AServersOwnKeyIsOfNoUseToAnotherUserOfTheMachine) {
  RuleBook book(Rules::of_user(geteuid()));
  const Key own = *Key::make("own");
  book.set_own_key(own);
  Principal principal = holder_of(own);
  principal.user = geteuid();
  EXPECT_EQ(book.look_up(principal).rights.everywhere, Role::kOperator);
  principal.user = geteuid() + 4711;
  EXPECT_EQ(book.look_up(principal).rights.everywhere, Role::kNone);
}

TEST(KeyRules, TakeAwayTheRoleOfAKeyThatTheyHaveNoMore) {
  const TemporaryFolder folder;
  const Key key = *Key::make("alice");
  ASSERT_TRUE(key.write(folder / "alice.key"));
  RuleBook book(*Rules::parse("[[principal]]\nkey = \"alice.key\"\nrole = \"reader\"\n",
                              folder / "access.toml", geteuid()));
  Authorization authorization(&book, holder_of(key));
  EXPECT_EQ(authorization.role(), Role::kReader);
  book.replace(Rules::of_user(geteuid()));
  EXPECT_EQ(authorization.role(), Role::kNone);
  EXPECT_FALSE(book.key(key.label().id));
}

}  // namespace
}  // namespace silurus::access
