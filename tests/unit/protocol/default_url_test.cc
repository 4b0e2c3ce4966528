// SPDX-License-Identifier: Apache-2.0

#include "protocol/default_url.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

namespace silurus::protocol {
namespace {

/// The surroundings of user 1000, with these files.
Surroundings around(std::set<std::string> files, std::string variable = "") {
  return {.variable = std::move(variable),
          .uid = 1000,
          .exists = [files = std::move(files)](const std::string& path) {
            return files.contains(path);
          }};
}

TEST(DefaultUrl, IsASocketOfTheUsersSessionElseOneInTmp) {
  EXPECT_EQ(default_url(around({"/run/user/1000"})), "shm:///run/user/1000/silurus.sock");
  EXPECT_EQ(default_url(around({})), "shm:///tmp/silurus-1000/silurus.sock");
}

TEST(DefaultUrl, IsThatOfTheSystemsServiceIfTheUserHasNoServer) {
  const std::string system = "shm:///run/silurus/default.sock?peer=silurus";
  EXPECT_EQ(default_url(around({"/run/silurus/default.sock", "/run/user/1000"})), system);
  EXPECT_EQ(default_url(around({"/run/silurus/default.sock"})), system);
  EXPECT_EQ(default_url(around(
                {"/run/silurus/default.sock", "/run/user/1000", "/run/user/1000/silurus.sock"})),
            "shm:///run/user/1000/silurus.sock");
}

TEST(DefaultUrl, TheVariableGoesBeforeAll) {
  EXPECT_EQ(default_url(around({"/run/silurus/default.sock"}, "etcd://h:1/x")), "etcd://h:1/x");
}

TEST(DefaultUrl, AServerNeverTakesThePlaceOfTheSystemsService) {
  EXPECT_EQ(default_listen_url(around({"/run/silurus/default.sock"})).value(),
            "shm:///tmp/silurus-1000/silurus.sock");
}

TEST(DefaultUrl, ASocketInTmpLiesInAFolderOfTheUsersOwn) {
  // A number that no user has, so that nothing is in the way.
  const unsigned uid = 4'000'000'000u + static_cast<unsigned>(getpid());
  const std::string folder = "/tmp/silurus-" + std::to_string(uid);
  const std::string url = "shm://" + folder + "/silurus.sock";
  EXPECT_TRUE(make_default_folder("shm:///tmp/other/silurus.sock", uid));
  EXPECT_FALSE(make_default_folder(url, uid)) << "what is made is ours, not that user's";
  struct stat status {};
  ASSERT_EQ(lstat(folder.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_EQ(rmdir(folder.c_str()), 0);
  ASSERT_EQ(symlink("/tmp", folder.c_str()), 0);
  const Status planted = make_default_folder(url, uid);
  ASSERT_FALSE(planted);
  EXPECT_EQ(planted.error().code, ErrorCode::kPermission);
  EXPECT_NE(planted.error().message.find(folder), std::string::npos) << planted.error().message;
  ASSERT_EQ(unlink(folder.c_str()), 0);
}

TEST(DefaultUrl, AServerListensOnlyAtTheAddressOfOneServer) {
  EXPECT_EQ(default_listen_url(around({}, "tcp://127.0.0.1:7470")).value(), "tcp://127.0.0.1:7470");
  for (const char* variable : {"etcd://127.0.0.1:2379/maps", "static://h:1/name",
                               "tcp://a:1,tcp://b:2", "shm:///a,shm:///b", "nonsense"}) {
    const auto url = default_listen_url(around({}, variable));
    ASSERT_FALSE(url) << variable;
    EXPECT_NE(url.error().message.find("SILURUS_SERVER"), std::string::npos);
    EXPECT_NE(url.error().message.find("--listen"), std::string::npos);
  }
}

}  // namespace
}  // namespace silurus::protocol
