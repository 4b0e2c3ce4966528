// SPDX-License-Identifier: Apache-2.0

#include "client/tool/load_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace silurus::tool {
namespace {

using testing::HasSubstr;
using testing::Not;

Settings of_default_server() {
  Settings settings;
  settings.has_default_url = true;
  return settings;
}

TEST(LoadLedger, IsWholeUpToTheFirstEntryThatFailed) {
  LoadLedger ledger;
  const std::uint64_t a = ledger.send(10);
  const std::uint64_t b = ledger.send(10);
  const std::uint64_t c = ledger.send(5);
  ledger.answer(c, 5, {});
  ledger.answer(a, 10, {});
  const std::vector<FailedWrite> failed = {{3, ErrorCode::kOutOfMemory},
                                           {9, ErrorCode::kOutOfMemory}};
  ledger.answer(b, 10, failed);
  EXPECT_EQ(ledger.inserted(), 23u);
  EXPECT_EQ(ledger.whole(), 13u);
  EXPECT_EQ(ledger.mixed(), 12u);
}

TEST(LoadLedger, CountsFromTheFirstEntryOfTheSource) {
  LoadLedger ledger(100);
  ledger.find(2);
  ledger.answer(ledger.send(8), 8, {});
  EXPECT_EQ(ledger.whole(), 110u);
  EXPECT_EQ(ledger.mixed(), 0u);
  EXPECT_EQ(ledger.inserted(), 8u);
  EXPECT_EQ(ledger.found(), 2u);
}

TEST(LoadLedger, IsWholeUpToWhatHasNoAnswer) {
  LoadLedger ledger(5);
  ledger.lose(ledger.send(4), 4);
  EXPECT_EQ(ledger.whole(), 5u);
  EXPECT_EQ(ledger.mixed(), 4u);
  EXPECT_EQ(ledger.unknown(), 4u);
}

TEST(LoadLedger, SaysWhatIsInAndHowToGoOn) {
  LoadLedger ledger;
  ledger.answer(ledger.send(100), 100, {});
  LoadCommand command{.source = "my points.csv"};
  EXPECT_EQ(left_by_load(ledger, command, of_default_server()),
            "100 entries of this load are in the tree, and stay there; to go on: silurus load "
            "'my points.csv' --skip 100");
  ledger.lose(ledger.send(40), 40);
  command = {.source = "-", .skip_bad = true, .columns = "id,y,x"};
  Settings settings;
  settings.url = "tcp://127.0.0.1:7470";
  EXPECT_EQ(left_by_load(ledger, command, settings),
            "100 entries of this load are in the tree, and stay there; whether 40 more are is not "
            "known; to go on: silurus load - --skip 100 --check 40 --columns id,y,x --skip-bad "
            "--server tcp://127.0.0.1:7470, with the same input");
}

TEST(LoadLedger, GoesOnWithTheSamePartOfTheFile) {
  LoadLedger ledger;
  ledger.answer(ledger.send(100), 100, {});
  const LoadCommand command{.source = "a.gpkg",
                            .limit = 500,
                            .layer = "roads",
                            .where = "lanes > 2",
                            .id = "gid",
                            .as = datasets::As::kSegments};
  EXPECT_THAT(left_by_load(ledger, command, of_default_server()),
              HasSubstr("silurus load a.gpkg --skip 100 --limit 500 --layer roads --where "
                        "'lanes > 2' --id gid --as segments"));
}

TEST(LoadLedger, KeepsWhatALoadDidNotComeToCheck) {
  LoadLedger ledger(100);
  ledger.find(10);
  LoadCommand command{.source = "a.csv", .skip = 100, .check = 64};
  EXPECT_THAT(left_by_load(ledger, command, of_default_server()),
              HasSubstr("--skip 110 --check 54"));
  command.check = UINT64_MAX;
  EXPECT_THAT(left_by_load(ledger, command, of_default_server()),
              HasSubstr("--skip 110 --check all"));
  command.check = 0;
  EXPECT_THAT(left_by_load(ledger, command, of_default_server()), Not(HasSubstr("--check")));
}

TEST(LoadLedger, QuotesWordsForAShell) {
  EXPECT_EQ(shell_word("shm:///tmp/a-b_c.sock"), "shm:///tmp/a-b_c.sock");
  EXPECT_EQ(shell_word("it's $x"), "'it'\\''s $x'");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace silurus::tool
