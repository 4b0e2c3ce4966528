// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <fstream>

#include "replication/data_directory.h"
#include "replication/group/tree_machine.h"
#include "replication/store.h"
#include "server/server.h"
#include "tests/support/server_process.h"

namespace silurus::server {
namespace {

using replication::group::MachineState;

constexpr std::uint64_t kTreeBytes = std::uint64_t{8} << 20;

/// The directory of a member whose last checkpoint has a tree and the outcomes of some writes.
class CheckTest : public testing::Test {
 protected:
  CheckTest() {
    options_.dimensions = 2;
    options_.memory_bytes = kTreeBytes;
    options_.durability.emplace().path = folder_ / "data";
  }
  /// Writes what is checked; `extra`: what the checkpoint holds beside the tree.
  void write(std::span<const std::byte> extra) {
    auto directory = replication::open_directory<2>(
        options_.durability->path,
        {.log_bytes = replication::kMinLogBytes,
         .tree_bytes = kTreeBytes,
         .member = replication::MemberStore{.cluster = "test", .shard = 0, .log_chain = 5}});
    ASSERT_TRUE(directory) << directory.error().message;
    auto opened = replication::Store<2>::open_member(
        std::move(directory->volume), {{.memory_budget_bytes = kTreeBytes}, slabs_, clock_}, {});
    ASSERT_TRUE(opened) << opened.error().message;
    rtree::Tree<2>& tree = *opened->tree;
    ASSERT_TRUE(tree.insert({1, {{0, 0}, {1, 1}}}));
    tree.publish();
    const Status made =
        opened->store->checkpoint(tree, replication::only_tree(tree, tree.snapshot().root().ref),
                                  opened->applied, 1, {}, extra);
    ASSERT_TRUE(made) << made.error().message;
  }
  static MachineState some_state() {
    MachineState state;
    for (std::uint64_t client = 1; client <= 20; ++client) {
      state.requests.note({client, 1, 1}, {.version = client, .failed = {}});
    }
    return state;
  }
  /// In both files, of which the checkpoint uses one.
  void damage_extras() const {
    constexpr int kWithinTheTable = 200;
    for (const char* name : {"/extra.0", "/extra.1"}) {
      std::fstream file(options_.durability->path + name,
                        std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(kWithinTheTable);
      const int byte = file.get();
      file.seekp(kWithinTheTable);
      file.put(static_cast<char>(byte ^ 1));
      ASSERT_TRUE(file.good());
    }
  }
  void expect_refused(const std::string& part_of_message) {
    const auto said = check_data(options_);
    ASSERT_FALSE(said) << *said;
    EXPECT_EQ(said.error().code, ErrorCode::kProtocol);
    EXPECT_NE(said.error().message.find(part_of_message), std::string::npos)
        << said.error().message;
    EXPECT_NE(said.error().message.find(options_.durability->path), std::string::npos)
        << said.error().message;
  }

  const testing_support::TemporaryFolder folder_;
  const SystemClock clock_;
  rtree::AnonymousSlabs slabs_;
  ServerOptions options_;
};

TEST_F(CheckTest, FindsAMembersDirectoryGood) {
  ASSERT_NO_FATAL_FAILURE(write(some_state().encode()));
  const auto said = check_data(options_);
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_NE(said->find("is good"), std::string::npos) << *said;
  EXPECT_NE(said->find("a member of shard 0 of the cluster test"), std::string::npos) << *said;
}

TEST_F(CheckTest, NamesADamagedByteOfWhatAMemberRemembersOfWrites) {
  ASSERT_NO_FATAL_FAILURE(write(some_state().encode()));
  ASSERT_NO_FATAL_FAILURE(damage_extras());
  expect_refused("table of writes is damaged");
}

TEST_F(CheckTest, NamesAStateThatIsWholeAndMakesNoSense) {
  std::vector<std::byte> state = some_state().encode();
  state.pop_back();
  ASSERT_NO_FATAL_FAILURE(write(state));
  expect_refused("table");
}

}  // namespace
}  // namespace silurus::server
