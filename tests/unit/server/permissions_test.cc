#include "server/permissions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "tests/unit/server/session_fixture.h"

namespace silurus::server::test {
namespace {

using access::Role;
using protocol::MessageType;
using protocol::TaskKind;

TEST(Permissions, ReadingIsForReadersWritingForWritersTheRestForOperators) {
  for (const auto type :
       {MessageType::kRange, MessageType::kNearest, MessageType::kAt, MessageType::kHold,
        MessageType::kJoin, MessageType::kGet, MessageType::kStats, MessageType::kCluster}) {
    EXPECT_EQ(demand_of(type).role, Role::kReader) << static_cast<int>(type);
  }
  EXPECT_EQ(demand_of(MessageType::kWrite).role, Role::kWriter);
  for (const auto type :
       {MessageType::kLoadBegin, MessageType::kLoadEntries, MessageType::kLoadCommit}) {
    EXPECT_EQ(demand_of(type).role, Role::kOperator) << static_cast<int>(type);
  }
  constexpr std::array kReads{TaskKind::kHistory, TaskKind::kDiff, TaskKind::kCollections,
                              TaskKind::kExport, TaskKind::kExportPage};
  for (std::uint32_t i = 1; i <= static_cast<std::uint32_t>(protocol::kLastTaskKind); ++i) {
    const auto kind = static_cast<TaskKind>(i);
    const bool is_read = std::ranges::find(kReads, kind) != kReads.end();
    EXPECT_EQ(demand_of(kind).role, is_read ? Role::kReader : Role::kOperator) << i;
  }
}

class Roles : public SessionTest {
 protected:
  static constexpr uid_t kOwn = 4711;
  ~Roles() override { world_.team.served.rules = nullptr; }
  /// A client that others' role is given to.
  Loopback& connect_other(Role role) {
    rules_.replace(access::Rules::of_user(kOwn, role));
    world_.team.served.rules = &rules_;
    return world_.connect();
  }
  ErrorCode answer(Loopback& client) {
    world_.run();
    return code_of(client.receive());
  }

  access::RuleBook rules_{access::Rules::of_user(kOwn)};
};

TEST_F(Roles, AReaderIsRefusedWhatItMayNotDoAndServedOn) {
  fill(3);
  Loopback& client = connect_other(Role::kReader);
  ask_write(client, 1, {insert_of(9)});
  EXPECT_EQ(answer(client), ErrorCode::kPermission);
  ask_bare(client, 2, MessageType::kLoadBegin);
  EXPECT_EQ(answer(client), ErrorCode::kPermission);
  ask_task(client, 3, TaskKind::kCompact, 0, 0);
  EXPECT_EQ(answer(client), ErrorCode::kPermission);
  ask_range(client, 4, {.window = window_of(0, 3), .shape = rtree::ResultShape::kCount});
  EXPECT_EQ(answer(client), ErrorCode{});
  EXPECT_EQ(world_.shard->tree().snapshot().size(), 3u);
}

TEST_F(Roles, AWriterMayWriteAndNotLoad) {
  Loopback& client = connect_other(Role::kWriter);
  ask_write(client, 1, {insert_of(9)});
  EXPECT_EQ(answer(client), ErrorCode{});
  ask_bare(client, 2, MessageType::kLoadBegin);
  EXPECT_EQ(answer(client), ErrorCode::kPermission);
}

TEST_F(Roles, OrdersAndLoadsAreCountedForTheLogAndWritesAreNot) {
  Loopback& client = world_.connect();
  ask_write(client, 1, {insert_of(9)});
  ASSERT_EQ(answer(client), ErrorCode{});
  EXPECT_EQ(world_.worker().counters().audited.get(), 0u);
  ask_task(client, 2, TaskKind::kFreeze, 1, static_cast<std::uint64_t>(kSecond));
  ASSERT_EQ(answer(client), ErrorCode{});
  EXPECT_EQ(world_.worker().counters().audited.get(), 1u);
}

TEST_F(Roles, ThatAreTakenAwayEndTheConnection) {
  Loopback& client = connect_other(Role::kReader);
  world_.run();
  ASSERT_FALSE(client.closed());
  rules_.replace(access::Rules::of_user(kOwn));
  world_.run();
  EXPECT_TRUE(client.closed()) << "though it has asked for nothing: it may read one-sidedly";
}

TEST_F(Roles, ThatAreTakenAwayWhileAClientConnectsEndTheConnectionToo) {
  connect_other(Role::kReader);
  world_.run();
  rules_.replace(access::Rules::of_user(kOwn));
  world_.run();
  const Loopback& late = world_.connect();  // said hello before
  world_.run();
  EXPECT_TRUE(late.closed());
}

TEST_F(Roles, ThatAreGivenHoldForConnectionsThatAreThere) {
  Loopback& client = connect_other(Role::kReader);
  world_.run();
  rules_.replace(access::Rules::of_user(kOwn, Role::kWriter));
  ask_write(client, 1, {insert_of(9)});
  EXPECT_EQ(answer(client), ErrorCode{});
}

}  // namespace
}  // namespace silurus::server::test
