#include "server/gate.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <set>

#include "common/log.h"
#include "server/limits.h"
#include "server/tasks.h"
#include "tests/support/server_process.h"
#include "tests/unit/server/world.h"

namespace silurus::server {
namespace {

using protocol::TaskKind;
using test::Loopback;
using test::World;

using replication::GateAction;

Status turn(Gate& gate, GateAction action, std::uint64_t ticket, Nanoseconds now = 0) {
  const bool freezes = action == GateAction::kFreeze;
  return gate.turn({action, ticket, freezes ? std::uint64_t{kSecond} : 0}, now);
}
/// Why it is refused.
ErrorCode refusal(Gate& gate, GateAction action, std::uint64_t ticket, Nanoseconds now = 0) {
  const Status turned = turn(gate, action, ticket, now);
  return turned ? ErrorCode{} : turned.error().code;
}

TEST(Gate, RefusesTicketsThatWereOvertaken) {
  Gate gate;
  ASSERT_TRUE(turn(gate, GateAction::kFreeze, 7));
  EXPECT_EQ(refusal(gate, GateAction::kFreeze, 6), ErrorCode::kConflict);
  EXPECT_EQ(refusal(gate, GateAction::kRetire, 6), ErrorCode::kConflict);
  EXPECT_EQ(refusal(gate, GateAction::kServe, 6), ErrorCode::kConflict);
  EXPECT_EQ(refusal(gate, GateAction::kFill, 0), ErrorCode::kConflict);
  EXPECT_TRUE(turn(gate, GateAction::kServe, 8));
  EXPECT_EQ(refusal(gate, GateAction::kRetire, 7), ErrorCode::kConflict);
}

TEST(Gate, AFreezeThatHasLapsedCannotBecomeARetirement) {
  Gate gate;
  ASSERT_TRUE(turn(gate, GateAction::kFreeze, 1));
  EXPECT_EQ(gate.admit(0, kSecond - 1).error().code, ErrorCode::kMoved);
  EXPECT_TRUE(gate.admit(0, kSecond));
  EXPECT_EQ(refusal(gate, GateAction::kRetire, 1, kSecond), ErrorCode::kConflict);
  EXPECT_FALSE(gate.retired());
}

TEST(Gate, WhileItIsFilledOnlyTheNewestFillerMayWrite) {
  Gate gate;
  ASSERT_TRUE(turn(gate, GateAction::kFill, 3));
  EXPECT_TRUE(gate.admit(3, 0));
  EXPECT_EQ(gate.admit(0, 0).error().code, ErrorCode::kMoved);
  ASSERT_TRUE(turn(gate, GateAction::kFill, 4));
  EXPECT_EQ(gate.admit(3, 0).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(turn(gate, GateAction::kServe, 4));
  EXPECT_EQ(gate.admit(4, 0).error().code, ErrorCode::kConflict);
  EXPECT_TRUE(gate.admit(0, 0));
}

TEST(Gate, RemembersThatItIsRetired) {
  const testing_support::TemporaryFolder folder;
  const std::string path = folder / "retired";
  {
    Gate gate(path);
    ASSERT_TRUE(gate.recover());
    ASSERT_TRUE(turn(gate, GateAction::kFreeze, 5));
    ASSERT_TRUE(turn(gate, GateAction::kRetire, 5, 1));
    EXPECT_TRUE(turn(gate, GateAction::kRetire, 5, 2)) << "said again";
  }
  Gate again(path);
  ASSERT_TRUE(again.recover());
  EXPECT_TRUE(again.retired());
  EXPECT_EQ(again.admit(0, 0).error().code, ErrorCode::kMoved);
  EXPECT_FALSE(turn(again, GateAction::kServe, 4));
  ASSERT_TRUE(turn(again, GateAction::kServe, 6));
  Gate third(path);
  ASSERT_TRUE(third.recover());
  EXPECT_FALSE(third.retired());
  std::ofstream(path) << "nonsense";
  EXPECT_EQ(Gate(path).recover().error().code, ErrorCode::kProtocol);
}

class GatedServer : public testing::Test {
 protected:
  GatedServer() {
    log::set_level(log::Level::kOff);
    world_.team.allow_orders = true;
  }
  ~GatedServer() override { log::set_level(log::Level::kInfo); }

  /// The whole answer: its error's code, or 0 and the text.
  std::pair<std::uint16_t, std::string> command(Loopback& client, TaskKind kind,
                                                std::uint64_t from = 0, std::uint64_t to = 0) {
    client.request(sizeof(protocol::TaskRequest), [&](std::span<std::byte> out) {
      protocol::encode_task(out, 1, kind, from, to, {});
    });
    world_.run();
    std::string text;
    while (client.waiting() != 0) {
      const auto received = client.receive();
      if (received.answer.is_error()) return {received.answer.header.code, {}};
      const auto part = protocol::answer_array<char>(received.answer);
      text.append(reinterpret_cast<const char*>(part->bytes().data()), part->size());
    }
    return {0, text};
  }
  std::vector<protocol::Operation<2>> page(Loopback& client, std::uint64_t index) {
    const std::string bytes = command(client, TaskKind::kExportPage, 0, index).second;
    std::vector<protocol::Operation<2>> operations(bytes.size() / sizeof(protocol::Operation<2>));
    if (!operations.empty()) std::memcpy(operations.data(), bytes.data(), bytes.size());
    return operations;
  }

  World world_;
};

TEST_F(GatedServer, ExportsAVersionAndThenWhatHasChanged) {
  constexpr std::uint64_t kEntries = 20'000;
  ASSERT_TRUE(world_.shard->load(test::row(kEntries)));
  Loopback& client = world_.connect();
  EXPECT_EQ(command(client, TaskKind::kExportPage).first,
            static_cast<std::uint16_t>(ErrorCode::kConflict))
      << "no export was begun";
  ASSERT_EQ(command(client, TaskKind::kExport).first, 0);
  test::ask_write(client, 2, {test::insert_of(kEntries), test::erase_of(7)});
  world_.run();
  while (client.waiting() != 0) client.receive();
  std::set<std::uint64_t> ids;
  for (std::uint64_t index = 0;; ++index) {
    const auto operations = page(client, index);
    if (operations.empty()) break;
    for (const auto& one : operations) EXPECT_TRUE(ids.insert(one.id).second);
  }
  EXPECT_EQ(ids.size(), kEntries);
  EXPECT_TRUE(ids.contains(7)) << "the version that was pinned has it";
  ASSERT_EQ(command(client, TaskKind::kExportChanges).first, 0);
  const auto changes = page(client, 0);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].id, kEntries);
  EXPECT_EQ(changes[1].id, 7u);
  EXPECT_EQ(changes[1].kind, protocol::OperationKind::kErase);
}

TEST_F(GatedServer, EachListOfChangesGoesOnWhereTheOneBeforeEnded) {
  ASSERT_TRUE(world_.shard->load(test::row(100)));
  Loopback& client = world_.connect();
  ASSERT_EQ(command(client, TaskKind::kExport).first, 0);
  for (const std::uint64_t id : {200u, 300u}) {
    test::ask_write(client, 2, {test::insert_of(id)});
    world_.run();
    while (client.waiting() != 0) client.receive();
    ASSERT_EQ(command(client, TaskKind::kExportChanges).first, 0);
    const auto changes = page(client, 0);
    ASSERT_EQ(changes.size(), 1u);
    EXPECT_EQ(changes[0].id, id);
    EXPECT_EQ(changes[0].kind, protocol::OperationKind::kInsert);
  }
}

TEST_F(GatedServer, TasksThatAreDoneKeepNoOthersFromBeingTaken) {
  ASSERT_TRUE(world_.shard->load(test::row(10)));
  Loopback& client = world_.connect();
  for (std::uint32_t i = 0; i < 2 * kMaxTasks; ++i) {
    ASSERT_EQ(command(client, TaskKind::kExport).first, 0) << i;
  }
}

TEST_F(GatedServer, AnExportThatNobodyAsksForIsGivenUp) {
  ASSERT_TRUE(world_.shard->load(test::row(10)));
  Loopback& client = world_.connect();
  ASSERT_EQ(command(client, TaskKind::kExport).first, 0);
  world_.clock.advance(kMaxExportIdle - kSecond);
  world_.run();
  EXPECT_EQ(page(client, 0).size(), 10u);
  world_.clock.advance(kMaxExportIdle + kSecond);
  world_.run();
  EXPECT_EQ(command(client, TaskKind::kExportPage).first,
            static_cast<std::uint16_t>(ErrorCode::kConflict));
}

TEST_F(GatedServer, ARetiredServerAnswersNobodyAndShowsNoRoot) {
  ASSERT_TRUE(world_.shard->load(test::row(10)));
  Loopback& client = world_.connect();
  ASSERT_EQ(command(client, TaskKind::kFreeze, 1, kSecond).first, 0);
  EXPECT_EQ(world_.shown_root(), world_.shard->tree().snapshot().root().ref);
  constexpr ErrorCode kDone{};
  test::ask_write(client, 2, {test::insert_of(50)});
  world_.run();
  EXPECT_EQ(test::code_of(client.receive()), ErrorCode::kMoved);
  test::ask_range(client, 3, {.window = test::window_of(0, 3)});
  world_.run();
  EXPECT_EQ(test::code_of(client.receive()), kDone) << "a frozen server is read";
  ASSERT_EQ(command(client, TaskKind::kRetire, 1).first, 0);
  EXPECT_FALSE(world_.shown_root());
  test::ask_range(client, 4, {.window = test::window_of(0, 3)});
  world_.run();
  EXPECT_EQ(test::code_of(client.receive()), ErrorCode::kMoved);
  ASSERT_EQ(command(client, TaskKind::kServe, 2).first, 0);
  test::ask_write(client, 5, {test::insert_of(50)});
  world_.run();
  EXPECT_EQ(test::code_of(client.receive()), kDone);
  EXPECT_EQ(world_.shown_root(), world_.shard->tree().snapshot().root().ref);
}

TEST_F(GatedServer, OnlyTheConnectionThatFillsMayWrite) {
  Loopback& filler = world_.connect();
  Loopback& other = world_.connect();
  ASSERT_EQ(command(filler, TaskKind::kFill, 9).first, 0);
  test::ask_write(other, 2, {test::insert_of(1)});
  test::ask_write(filler, 2, {test::insert_of(2)});
  world_.run();
  EXPECT_EQ(test::code_of(other.receive()), ErrorCode::kMoved);
  EXPECT_EQ(test::code_of(filler.receive()), ErrorCode{});
  EXPECT_EQ(world_.shard->tree().snapshot().size(), 1u);
}

TEST_F(GatedServer, ALoadOfAFillerThatWasOvertakenFillsNothing) {
  Loopback& filler = world_.connect();
  Loopback& rival = world_.connect();
  ASSERT_EQ(command(filler, TaskKind::kFill, 3).first, 0);
  test::ask_bare(filler, 2, protocol::MessageType::kLoadBegin);
  test::ask_load_entries(filler, 3, test::row(10));
  world_.run();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(test::code_of(filler.receive()), ErrorCode{});
  ASSERT_EQ(command(rival, TaskKind::kFill, 4).first, 0);
  test::ask_load_commit(filler, 4, 10);
  world_.run();
  EXPECT_EQ(test::code_of(filler.receive()), ErrorCode::kConflict);
  EXPECT_EQ(world_.shard->tree().snapshot().size(), 0u);
}

TEST_F(GatedServer, TakesNoOrdersOfStrangers) {
  world_.team.allow_orders = false;
  Loopback& client = world_.connect();
  for (const auto kind : {TaskKind::kExport, TaskKind::kFill, TaskKind::kFreeze, TaskKind::kRetire,
                          TaskKind::kServe}) {
    EXPECT_EQ(command(client, kind, 1, 1).first,
              static_cast<std::uint16_t>(ErrorCode::kPermission));
  }
}

}  // namespace
}  // namespace silurus::server
