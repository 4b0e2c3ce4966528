// SPDX-License-Identifier: Apache-2.0

#include "server/admission.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
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

using replication::AdmissionAction;

Status obey(AdmissionControl& admission, AdmissionAction action, std::uint64_t fencing_token,
            Nanoseconds now = 0) {
  const bool freezes = action == AdmissionAction::kFreeze;
  return admission.obey({action, fencing_token, freezes ? std::uint64_t{kSecond} : 0}, now);
}
/// Why it is refused.
ErrorCode refusal(AdmissionControl& admission, AdmissionAction action, std::uint64_t fencing_token,
                  Nanoseconds now = 0) {
  const Status obeyed = obey(admission, action, fencing_token, now);
  return obeyed ? ErrorCode{} : obeyed.error().code;
}

using replication::Admission;
using enum replication::AdmissionState;

constexpr std::array kStates{kServing, kFilling, kFrozen, kRetired};
constexpr std::array kActions{AdmissionAction::kFill, AdmissionAction::kFreeze,
                              AdmissionAction::kRetire, AdmissionAction::kServe,
                              AdmissionAction::kLapse};
/// What each action, by its column, makes of each state, by its row; nothing: it is refused.
using Table = std::array<std::array<std::optional<replication::AdmissionState>, 5>, 4>;

Table table_of(std::uint64_t ticket_before, std::uint64_t fencing_token) {
  Table table;
  for (std::size_t state = 0; state < kStates.size(); ++state) {
    for (std::size_t action = 0; action < kActions.size(); ++action) {
      const auto next = replication::transition({kStates[state], ticket_before},
                                                {kActions[action], fencing_token, kSecond});
      if (next) table[state][action] = next->state;
    }
  }
  return table;
}

TEST(AdmissionTransition, IsThisTableForAnOrderWithTheSameTicket) {
  constexpr std::nullopt_t kRefused = std::nullopt;
  EXPECT_EQ(table_of(7, 7), (Table{{{kFilling, kFrozen, kRefused, kServing, kRefused},
                                    {kFilling, kRefused, kRefused, kServing, kRefused},
                                    {kRefused, kFrozen, kRetired, kServing, kServing},
                                    {kRefused, kRefused, kRetired, kServing, kRefused}}}));
}

TEST(AdmissionTransition, WithAGreaterTicketNeitherRetiresNorLapses) {
  constexpr std::nullopt_t kRefused = std::nullopt;
  EXPECT_EQ(table_of(7, 8), (Table{{{kFilling, kFrozen, kRefused, kServing, kRefused},
                                    {kFilling, kRefused, kRefused, kServing, kRefused},
                                    {kRefused, kFrozen, kRefused, kServing, kRefused},
                                    {kRefused, kRefused, kRefused, kServing, kRefused}}}));
}

TEST(AdmissionTransition, RefusesEveryOrderWithALesserTicketOrNone) {
  EXPECT_EQ(table_of(7, 6), Table());
  EXPECT_EQ(table_of(0, 0), Table());
}

TEST(AdmissionTransition, KeepsTheTicketOfTheOrder) {
  EXPECT_EQ(replication::transition({kServing, 3}, {AdmissionAction::kFreeze, 9, 0}).value(),
            (Admission{kFrozen, 9}));
}

TEST(AdmissionTransition, RefusesAnActionThatItDoesNotKnow) {
  const auto next = replication::transition({}, {static_cast<AdmissionAction>(6), 1, 0});
  EXPECT_EQ(next.error().code, ErrorCode::kUnsupported);
}

TEST(Admission, RefusesTicketsThatWereOvertaken) {
  AdmissionControl admission;
  ASSERT_TRUE(obey(admission, AdmissionAction::kFreeze, 7));
  EXPECT_EQ(refusal(admission, AdmissionAction::kFreeze, 6), ErrorCode::kConflict);
  EXPECT_EQ(refusal(admission, AdmissionAction::kRetire, 6), ErrorCode::kConflict);
  EXPECT_EQ(refusal(admission, AdmissionAction::kServe, 6), ErrorCode::kConflict);
  EXPECT_EQ(refusal(admission, AdmissionAction::kFill, 0), ErrorCode::kConflict);
  EXPECT_TRUE(obey(admission, AdmissionAction::kServe, 8));
  EXPECT_EQ(refusal(admission, AdmissionAction::kRetire, 7), ErrorCode::kConflict);
}

TEST(Admission, AFreezeThatHasLapsedCannotBecomeARetirement) {
  AdmissionControl admission;
  ASSERT_TRUE(obey(admission, AdmissionAction::kFreeze, 1));
  EXPECT_EQ(admission.admit(0, kSecond - 1).error().code, ErrorCode::kMoved);
  EXPECT_TRUE(admission.admit(0, kSecond));
  EXPECT_EQ(refusal(admission, AdmissionAction::kRetire, 1, kSecond), ErrorCode::kConflict);
  EXPECT_FALSE(admission.retired());
}

TEST(Admission, WhileItIsFilledOnlyTheNewestFillerMayWrite) {
  AdmissionControl admission;
  ASSERT_TRUE(obey(admission, AdmissionAction::kFill, 3));
  EXPECT_TRUE(admission.admit(3, 0));
  EXPECT_EQ(admission.admit(0, 0).error().code, ErrorCode::kMoved);
  ASSERT_TRUE(obey(admission, AdmissionAction::kFill, 4));
  EXPECT_EQ(admission.admit(3, 0).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(obey(admission, AdmissionAction::kServe, 4));
  EXPECT_EQ(admission.admit(4, 0).error().code, ErrorCode::kConflict);
  EXPECT_TRUE(admission.admit(0, 0));
}

TEST(Admission, RemembersThatItIsRetired) {
  const testing_support::TemporaryFolder folder;
  const std::string path = folder / "retired";
  {
    AdmissionControl admission(path);
    ASSERT_TRUE(admission.recover());
    ASSERT_TRUE(obey(admission, AdmissionAction::kFreeze, 5));
    ASSERT_TRUE(obey(admission, AdmissionAction::kRetire, 5, 1));
    EXPECT_TRUE(obey(admission, AdmissionAction::kRetire, 5, 2)) << "said again";
  }
  AdmissionControl again(path);
  ASSERT_TRUE(again.recover());
  EXPECT_TRUE(again.retired());
  EXPECT_EQ(again.admit(0, 0).error().code, ErrorCode::kMoved);
  EXPECT_FALSE(obey(again, AdmissionAction::kServe, 4));
  ASSERT_TRUE(obey(again, AdmissionAction::kServe, 6));
  AdmissionControl third(path);
  ASSERT_TRUE(third.recover());
  EXPECT_FALSE(third.retired());
  std::ofstream(path) << "nonsense";
  EXPECT_EQ(AdmissionControl(path).recover().error().code, ErrorCode::kProtocol);
}

class AdmittingServer : public testing::Test {
 protected:
  AdmittingServer() { log::set_level(log::Level::kOff); }
  ~AdmittingServer() override { log::set_level(log::Level::kInfo); }

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

TEST_F(AdmittingServer, ExportsAVersionAndThenWhatHasChanged) {
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

TEST_F(AdmittingServer, EachListOfChangesGoesOnWhereTheOneBeforeEnded) {
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

TEST_F(AdmittingServer, TasksThatAreDoneKeepNoOthersFromBeingTaken) {
  ASSERT_TRUE(world_.shard->load(test::row(10)));
  Loopback& client = world_.connect();
  for (std::uint32_t i = 0; i < 2 * kMaxTasks; ++i) {
    ASSERT_EQ(command(client, TaskKind::kExport).first, 0) << i;
  }
}

TEST_F(AdmittingServer, AnExportThatNoClientAsksForIsGivenUp) {
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

TEST_F(AdmittingServer, ARetiredServerAnswersNoClientAndShowsNoRoot) {
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

TEST_F(AdmittingServer, OnlyTheConnectionThatFillsMayWrite) {
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

TEST_F(AdmittingServer, ALoadOfAFillerThatWasOvertakenFillsNothing) {
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

TEST_F(AdmittingServer, MakesNoMoreThanSomeExportsAtOnce) {
  std::vector<Loopback*> clients;
  for (std::size_t i = 0; i <= kMaxExports; ++i) clients.push_back(&world_.connect());
  for (std::size_t i = 0; i < kMaxExports; ++i) {
    ASSERT_EQ(command(*clients[i], TaskKind::kExport).first, 0) << i;
  }
  ASSERT_EQ(command(*clients[0], TaskKind::kExport).first, 0) << "in the place of its own";
  EXPECT_EQ(command(*clients.back(), TaskKind::kExport).first,
            static_cast<std::uint16_t>(ErrorCode::kUnavailable));
  clients[3]->hang_up();
  world_.run();
  EXPECT_EQ(command(*clients.back(), TaskKind::kExport).first, 0);
}

TEST_F(AdmittingServer, TakesNoOrdersOfStrangers) {
  const access::RuleBook rules(access::Rules::of_user(1000, access::Role::kWriter));
  world_.team.served.rules = &rules;
  Loopback& client = world_.connect();
  for (const auto kind : {TaskKind::kExportChanges, TaskKind::kFill, TaskKind::kFreeze,
                          TaskKind::kRetire, TaskKind::kServe}) {
    EXPECT_EQ(command(client, kind, 1, 1).first,
              static_cast<std::uint16_t>(ErrorCode::kPermission));
  }
  world_.team.served.rules = nullptr;
}

}  // namespace
}  // namespace silurus::server
