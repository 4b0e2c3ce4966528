// SPDX-License-Identifier: Apache-2.0

#include "access/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "tests/support/server_process.h"

namespace silurus::access {
namespace {

using ::testing::HasSubstr;
using testing_support::TemporaryFolder;

constexpr uid_t kOwn = 4711;
constexpr uid_t kOther = 4712;

Principal user(uid_t id) { return {id, "user " + std::to_string(id)}; }
Principal stranger() { return {std::nullopt, "10.0.0.7"}; }
Role role_of(const Principal& principal, std::string_view text) {
  const auto rules = Rules::parse(text, "rules", kOwn);
  EXPECT_TRUE(rules) << rules.error().message;
  return rules ? rules->role_of(principal) : Role::kNone;
}

TEST(Rules, WithoutAFileGiveOthersNothing) {
  const Rules rules = Rules::of_user(kOwn);
  EXPECT_EQ(rules.role_of(user(kOwn)), Role::kOperator);
  EXPECT_EQ(rules.role_of(user(0)), Role::kOperator);
  EXPECT_EQ(rules.role_of(user(kOther)), Role::kNone);
  EXPECT_EQ(rules.role_of(stranger()), Role::kNone);
}

TEST(Rules, MayGiveAllOthersOneRole) {
  const Rules rules = Rules::of_user(kOwn, Role::kWriter);
  EXPECT_EQ(rules.role_of(user(kOwn)), Role::kOperator);
  EXPECT_EQ(rules.role_of(user(kOther)), Role::kWriter);
  EXPECT_EQ(rules.role_of(stranger()), Role::kWriter);
}

TEST(Rules, OfAFileNameUsersByNumberAndByName) {
  constexpr std::string_view kText =
      "[[principal]]\nuser = 4712\nrole = \"reader\"\n[[principal]]\nuser = \"daemon\"\n"
      "role = \"writer\"\n";
  EXPECT_EQ(role_of(user(kOther), kText), Role::kReader);
  EXPECT_EQ(role_of(user(1), kText), Role::kWriter) << "daemon is user 1 of every Debian";
  EXPECT_EQ(role_of(user(kOwn), kText), Role::kOperator);
  EXPECT_EQ(role_of(user(4713), kText), Role::kNone);
  EXPECT_EQ(role_of(stranger(), kText), Role::kNone);
}

TEST(Rules, OfAFileNameGroups) {
  constexpr std::string_view kText = "[[principal]]\ngroup = \"daemon\"\nrole = \"reader\"\n";
  EXPECT_EQ(role_of(user(1), kText), Role::kReader) << "the user daemon is in the group daemon";
  EXPECT_EQ(role_of(user(kOther), kText), Role::kNone);
  EXPECT_EQ(role_of(stranger(), kText), Role::kNone);
}

TEST(Rules, GiveTheGreatestOfTheRolesThatAPrincipalHas) {
  constexpr std::string_view kText =
      "[[principal]]\nuser = 4712\nrole = \"operator\"\n[[principal]]\nanyone = true\n"
      "role = \"reader\"\n";
  EXPECT_EQ(role_of(user(kOther), kText), Role::kOperator);
  EXPECT_EQ(role_of(user(4713), kText), Role::kReader);
  EXPECT_EQ(role_of(stranger(), kText), Role::kReader);
}

TEST(Rules, MayBeForSomeCollectionsAlone) {
  const auto rules = Rules::parse(
      "[[principal]]\nuser = 4712\nrole = \"writer\"\ncollections = [\"roads\", \"rivers\"]\n"
      "[[principal]]\nuser = 4712\nrole = \"operator\"\ncollections = [\"roads\"]\n"
      "[[principal]]\nuser = 4713\nrole = \"writer\"\ncollections = [\"roads\"]\n"
      "[[principal]]\nuser = 4713\nrole = \"reader\"\n",
      "rules", kOwn);
  ASSERT_TRUE(rules) << rules.error().message;
  const Rights some = rules->rights_of(user(kOther));
  EXPECT_EQ(some.everywhere, Role::kNone);
  EXPECT_EQ(some.in("roads"), Role::kOperator) << "the greatest";
  EXPECT_EQ(some.in("rivers"), Role::kWriter);
  EXPECT_EQ(some.in("lakes"), Role::kNone);
  EXPECT_EQ(some.greatest(), Role::kOperator);
  EXPECT_FALSE(some.reads_all());
  EXPECT_EQ(some.to_string(), "none (writer of 'rivers', operator of 'roads')");
  const Rights more = rules->rights_of(user(4713));
  EXPECT_EQ(more.everywhere, Role::kReader);
  EXPECT_EQ(more.in("roads"), Role::kWriter);
  EXPECT_EQ(more.in("lakes"), Role::kReader);
  EXPECT_TRUE(more.reads_all());
  EXPECT_EQ(rules->rights_of(user(kOwn)).in("lakes"), Role::kOperator);
}

TEST(Rules, OfAnEmptyFileAreThoseWithoutOne) {
  EXPECT_EQ(role_of(user(kOwn), ""), Role::kOperator);
  EXPECT_EQ(role_of(user(kOther), ""), Role::kNone);
}

TEST(Rules, OfAFileThatMakesNoSenseAreRefusedByLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"x = 1\n", "rules:1: unknown key \"x\""},
      {"[principal]\nuser = 1\nrole = \"reader\"\n", "two brackets"},
      {"principal = [1]\n", "two brackets"},
      {"[[principal]]\nuser = 1\n", "without role"},
      {"[[principal]]\nrole = \"reader\"\n", "without user, group, key or anyone"},
      {"[[principal]]\nuser = 1\nrole = \"king\"\n", "rules:3: a role is"},
      {"[[principal]]\nuser = 1\nrole = 3\n", "rules:3: a role is"},
      {"[[principal]]\nuser = -1\nrole = \"reader\"\n", "rules:2: \"user\" is a name or a number"},
      {"[[principal]]\nuser = 4294967295\nrole = \"reader\"\n", "is a name or a number"},
      {"[[principal]]\nuser = true\nrole = \"reader\"\n", "is a name or a number"},
      {"[[principal]]\nuser = \"no such user\"\nrole = \"reader\"\n", "there is no user"},
      {"[[principal]]\ngroup = \"no such group\"\nrole = \"reader\"\n", "there is no group"},
      {"[[principal]]\nanyone = false\nrole = \"reader\"\n", "rules:2: \"anyone\" is true"},
      {"[[principal]]\nuser = 1\ngroup = 1\nrole = \"reader\"\n",
       "one of user, group, key and anyone"},
      {"[[principal]]\nuser = 1\nrole = \"reader\"\ncolour = 1\n", "unknown key \"colour\""},
      {"[[principal]]\nuser = 1\nrole = \"reader\"\ncollections = []\n",
       "rules:4: \"collections\""},
      {"[[principal]]\nuser = 1\nrole = \"reader\"\ncollections = \"a\"\n", "a list of names"},
      {"[[principal]]\nuser = 1\nrole = \"reader\"\ncollections = [1]\n", "are names"},
      {"[[principal]]\nuser = 1\nrole = \"reader\"\ncollections = [\"\"]\n", "are names"},
      {"[[principal]\n", "rules:1: "},
  };
  for (const auto& [text, error] : cases) {
    const auto rules = Rules::parse(text, "rules", kOwn);
    ASSERT_FALSE(rules) << text;
    EXPECT_EQ(rules.error().code, ErrorCode::kInvalidArgument) << text;
    EXPECT_THAT(rules.error().message, HasSubstr(error)) << text;
  }
}

class RulesFile : public testing::Test {
 protected:
  Result<Rules> read(mode_t mode, std::string_view text = "") {
    const std::string path = folder_ / "access.toml";
    std::ofstream(path) << text;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return Rules::read(path, geteuid());
  }
  const TemporaryFolder folder_;
};

TEST_F(RulesFile, IsReadIfItIsOursAlone) {
  const auto rules = read(0600, "[[principal]]\nuser = 4712\nrole = \"reader\"\n");
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_EQ(rules->role_of(user(kOther)), Role::kReader);
  EXPECT_TRUE(read(0400));
}

TEST_F(RulesFile, ThatOthersMayReadOrWriteIsRefused) {
  for (const mode_t mode : {0640, 0660, 0604, 0602, 0644}) {
    const auto rules = read(mode);
    ASSERT_FALSE(rules) << mode;
    EXPECT_EQ(rules.error().code, ErrorCode::kPermission);
    EXPECT_THAT(rules.error().message, HasSubstr("chmod 600"));
  }
}

TEST_F(RulesFile, OfAnotherUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  const std::string path = folder_ / "access.toml";
  std::ofstream(path) << "";
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  ASSERT_EQ(chown(path.c_str(), kOther, kOther), 0);
  EXPECT_EQ(Rules::read(path, 0).error().code, ErrorCode::kPermission);
  EXPECT_TRUE(Rules::read(path, kOther));
}

TEST_F(RulesFile, OfRootMayBeReadByTheServersGroupAndWrittenByRootAlone) {
  if (geteuid() != 0) GTEST_SKIP() << "only root has files of root's";
  const std::string path = folder_ / "access.toml";
  std::ofstream(path) << "";
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  EXPECT_TRUE(Rules::read(path, kOther));
  ASSERT_EQ(chmod(path.c_str(), 0660), 0);
  EXPECT_EQ(Rules::read(path, kOther).error().code, ErrorCode::kPermission);
}

TEST_F(RulesFile, ThatIsNoneIsRefused) {
  EXPECT_EQ(Rules::read(folder_ / "nothing", geteuid()).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(Rules::read(folder_ / "", geteuid()));
}

TEST(Refusals, NameThePrincipalItsRoleAndTheOneThatItNeeds) {
  const Error error =
      lacks_role(stranger().describe(), {.everywhere = Role::kReader}, Role::kWriter, "write");
  EXPECT_EQ(error.code, ErrorCode::kPermission);
  EXPECT_THAT(error.message, HasSubstr("a client of 10.0.0.7 may not write: it has the role reader "
                                       "here, and needs writer"));
  EXPECT_THAT(lacks_role(user(1).describe(), {}, Role::kReader, "connect").message,
              HasSubstr("user 1 (daemon) may not connect: it has the role none"));
  EXPECT_THAT(lacks_role(user(1).describe(), {.in_some = {{"roads", Role::kReader}}}, Role::kWriter,
                         "write", "lakes")
                  .message,
              HasSubstr("may not write: it has the role none (reader of 'roads') here, and needs "
                        "writer of 'lakes'"));
}

}  // namespace
}  // namespace silurus::access
