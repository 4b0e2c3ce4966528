// SPDX-License-Identifier: Apache-2.0

#include "server/permissions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
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

/// A server with two collections besides the default one, and clients that have a role for one.
class LimitedRoles : public Roles {
 protected:
  LimitedRoles() {
    for (const char* name : {"roads", "lakes"}) {
      ask_task(own_, 1, TaskKind::kCreate, 2, 0, name);
      EXPECT_EQ(answer(own_), ErrorCode{});
    }
  }
  /// A client that has the role for roads alone, connected for a collection: it has got past the
  /// listener, as one does whose collection's name was given to another one meanwhile.
  Loopback& connect_limited(const std::string& role, std::string_view collection) {
    auto rules = access::Rules::parse(
        "[[principal]]\nanyone = true\nrole = \"" + role + "\"\ncollections = [\"roads\"]\n",
        "rules", kOwn);
    EXPECT_TRUE(rules);
    rules_.replace(std::move(*rules));
    world_.team.served.rules = &rules_;
    return world_.connect(0, 4096, collection);
  }
  static std::string text_of(const Loopback::Received& received) {
    const auto bytes = protocol::answer_array<char>(received.answer);
    std::string text;
    for (std::size_t i = 0; i < bytes->size(); ++i) text += (*bytes)[i];
    return text;
  }
  ErrorCode order(Loopback& client, TaskKind kind, std::string_view text) {
    ask_task(client, 2, kind, 0, 0, text);
    return answer(client);
  }

  Loopback& own_ = world_.connect();
};

TEST_F(LimitedRoles, AreForTheirCollection) {
  Loopback& client = connect_limited("writer", "roads");
  ask_write(client, 1, {insert_of(9)});
  EXPECT_EQ(answer(client), ErrorCode{});
  ask_range(client, 2, {.window = window_of(0, 10), .shape = rtree::ResultShape::kCount});
  EXPECT_EQ(answer(client), ErrorCode{});
  ask_bare(client, 3, MessageType::kLoadBegin);
  EXPECT_EQ(answer(client), ErrorCode::kPermission);
  EXPECT_FALSE(client.closed());
}

TEST_F(LimitedRoles, AreForNoOtherWhateverIsAsked) {
  Loopback& client = connect_limited("operator", "lakes");
  const rtree::RangeQuery<2> query{.window = window_of(0, 3)};
  std::size_t asked = 0;
  ask_range(client, 1, query), ++asked;
  ask_nearest(client, 2, {.point = {{0, 0}}, .k = 1}), ++asked;
  ask_write(client, 3, {insert_of(9)}), ++asked;
  ask_bare(client, 4, MessageType::kLoadBegin), ++asked;
  ask_load_entries(client, 5, row(1)), ++asked;
  ask_load_commit(client, 6, 1), ++asked;
  ask_bare(client, 7, MessageType::kStats), ++asked;
  client.request(sizeof(protocol::HoldRequest), [](std::span<std::byte> out) {
    protocol::encode_hold(out, 8, protocol::kNewest);
  });
  ++asked;
  client.request(protocol::get_bytes(1), [](std::span<std::byte> out) {
    protocol::encode_get(out, 9, std::vector<std::uint64_t>{1});
  });
  ++asked;
  for (const TaskKind kind :
       {TaskKind::kHistory, TaskKind::kDiff, TaskKind::kExport, TaskKind::kExportPage,
        TaskKind::kBackup, TaskKind::kCompact, TaskKind::kExportChanges, TaskKind::kFill,
        TaskKind::kFreeze, TaskKind::kRetire, TaskKind::kServe}) {
    ask_task(client, 10, kind, 1, 1, "/tmp/silurus-of-a-stranger"), ++asked;
  }
  ASSERT_EQ(client.waiting(), asked);
  for (std::size_t i = 0; i < asked; ++i) {
    const auto refusal = client.receive();
    EXPECT_EQ(code_of(refusal), ErrorCode::kPermission) << i;
  }
  EXPECT_EQ(world_.shard->tree().snapshot().size(), 0u);
  world_.run();
  EXPECT_TRUE(client.closed());
}

TEST_F(LimitedRoles, RefusalsNameThePrincipalItsCollectionsAndWhatItNeeds) {
  Loopback& client = connect_limited("reader", "lakes");
  ask_write(client, 1, {insert_of(9)});
  const std::string text = text_of(client.receive());
  EXPECT_NE(text.find("may not write: it has the role none (reader of 'roads') here, and needs "
                      "writer of 'lakes'"),
            std::string::npos)
      << text;
}

TEST_F(LimitedRoles, AreToldOfTheirCollectionsAlone) {
  Loopback& client = connect_limited("reader", "roads");
  ask_task(client, 1, TaskKind::kCollections, 0, 0);
  world_.run();
  const auto listed = json_of(client.receive());
  ASSERT_EQ(listed["collections"].size(), 1u);
  EXPECT_EQ(listed["collections"][0]["name"], "roads");
}

TEST_F(LimitedRoles, OfOperatorsChangeTheirCollectionsAlone) {
  Loopback& client = connect_limited("operator", "roads");
  EXPECT_EQ(order(client, TaskKind::kNote, "roads\nby car"), ErrorCode{});
  EXPECT_EQ(order(client, TaskKind::kNote, "lakes\nby boat"), ErrorCode::kPermission);
  EXPECT_EQ(order(client, TaskKind::kClear, "lakes"), ErrorCode::kPermission);
  EXPECT_EQ(order(client, TaskKind::kDrop, "lakes"), ErrorCode::kPermission);
  EXPECT_EQ(order(client, TaskKind::kCreate, "rivers"), ErrorCode::kPermission);
  EXPECT_EQ(order(client, TaskKind::kRename, "roads\nrivers"), ErrorCode::kPermission);
  EXPECT_EQ(order(client, TaskKind::kRename, "lakes\nroads"), ErrorCode::kPermission);
  EXPECT_EQ(order(client, TaskKind::kReplace, "roads\nlakes"), ErrorCode::kPermission);
  EXPECT_EQ(order(client, TaskKind::kClear, "roads"), ErrorCode{});
  EXPECT_EQ(world_.shard->served().collections->list().size(), 3u);
}

TEST_F(LimitedRoles, EndConnectionsThatHaveTheMemoryOfAllCollections) {
  rules_.replace(access::Rules::of_user(kOwn, Role::kReader));
  world_.team.served.rules = &rules_;
  Loopback& by_message = world_.connect(0, 4096, "roads");
  Loopback& one_sided = world_.connect(0, 4096, "roads");
  one_sided.show_regions();
  world_.run();
  ASSERT_FALSE(one_sided.closed());
  connect_limited("reader", "roads");
  world_.run();
  EXPECT_TRUE(one_sided.closed());
  EXPECT_FALSE(by_message.closed());
}

TEST_F(LimitedRoles, JoinNothingWithACollectionThatIsNotTheirs) {
  Loopback& client = connect_limited("reader", "roads");
  for (const auto& [other, expected] :
       {std::pair{"lakes", ErrorCode::kPermission}, std::pair{"roads", ErrorCode{}}}) {
    client.request(sizeof(protocol::JoinRequest), [&, name = other](std::span<std::byte> out) {
      protocol::encode_join(out, 1, protocol::collection_key(name), {});
    });
    EXPECT_EQ(answer(client), expected) << other;
  }
}

}  // namespace
}  // namespace silurus::server::test
