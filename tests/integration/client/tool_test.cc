// SPDX-License-Identifier: Apache-2.0

#include "tests/support/tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/patience.h"
#include "tests/support/server_process.h"

// The program `silurus` as a user runs it.

namespace silurus {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;

class ToolTest : public testing::Test {
 protected:
  std::string url() const { return "shm://" + (folder_ / "socket"); }
  void start(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"--listen", url(), "--log-level", "error"});
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(server_->addresses().empty()) << server_->errors();
  }

  Tool::Ran silurus(const std::string& arguments) const {
    return tool("--server " + url() + " " + arguments);
  }
  Tool::Ran tool(const std::string& arguments) const { return tool_.run(arguments); }
  json asked(const std::string& arguments) const {
    return tool_.ask("--server " + url() + " " + arguments);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }

  TemporaryFolder folder_;
  Tool tool_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(ToolTest, AsksThePast) {
  start({"--retain", "10m"});
  const auto first = asked("insert 7 0 0 1 1")["version"].get<std::uint64_t>();
  const auto second = asked("insert 8 0 0 1 1")["version"].get<std::uint64_t>();
  ASSERT_EQ(silurus("update 7 0 0 1 1 to 5 5 6 6").status, 0);
  const std::string as_of_first = " --as-of " + std::to_string(first);
  EXPECT_EQ(asked("range 0 0 2 2" + as_of_first)["ids"], json::array({7}));
  EXPECT_EQ(asked("range 0 0 2 2 --mode offload" + as_of_first)["ids"], json::array({7}));
  EXPECT_EQ(asked("range 0 0 2 2 --count" + as_of_first)["count"], 1);
  EXPECT_EQ(asked("nearest 0 0 -k 5" + as_of_first)["neighbors"].size(), 1u);
  EXPECT_EQ(asked("range 0 0 2 2")["ids"], json::array({8}));
  EXPECT_EQ(silurus("range 0 0 2 2 --as-of -1h").status, 1) << "there was nothing then";
  EXPECT_THAT(silurus("history").out, HasSubstr(std::to_string(second) + "  "));
  const Tool::Ran diff =
      silurus("diff --from " + std::to_string(first) + " --to " + std::to_string(second + 1));
  EXPECT_EQ(diff.out, "inserted 8\nmoved 7\n") << diff.err;
  const Tool::Ran backup = silurus("backup " + (folder_ / "copy"));
  EXPECT_EQ(backup.status, 0) << backup.err;
  EXPECT_EQ(silurus("backup " + (folder_ / "copy")).status, 1) << "there is one already";
  server_.reset();
  start({"--data", folder_ / "copy"});
  EXPECT_EQ(asked("range 5 5 6 6")["ids"], json::array({7}));
}

TEST_F(ToolTest, CompactsTheTreeAndSaysWhatWasGained) {
  start({"--listen", "tcp://127.0.0.1:0"});
  const std::string tcp = server_->addresses().at(1);
  ASSERT_EQ(silurus("load uniform:20000 --fill 0.4").status, 0);
  const json before = asked("stats");
  const json packed = tool_.ask("--server " + tcp + " compact --fill 1");
  const json after = asked("stats");
  EXPECT_GT(packed["saved_nodes"], 400);
  EXPECT_EQ(packed["nodes"], after["nodes"]);
  EXPECT_GT(before["bytes"].get<std::uint64_t>(), 2 * after["bytes"].get<std::uint64_t>());
  EXPECT_EQ(packed["version"], after["version"]);
  EXPECT_EQ(after["entries"], 20000);
  EXPECT_LE(asked("compact --fill 1")["saved_nodes"].get<int>(),
            packed["saved_nodes"].get<int>() / 20)
      << "by shm, with little left to do";
  EXPECT_THAT(silurus("compact").out, HasSubstr("saved 0 nodes (0 B)"));
  EXPECT_EQ(silurus("compact --fill 0").status, 2);
  EXPECT_EQ(silurus("compact 7").status, 2);
}

TEST_F(ToolTest, InsertsFindsMovesAndErases) {
  start();
  EXPECT_EQ(silurus("insert 7 -25 63 -13 67").status, 0);
  EXPECT_EQ(asked("range -26 62 -12 68")["ids"], json({7}));
  EXPECT_EQ(silurus("update 7 -25 63 -13 67 to 10 -5 11 -4").status, 0);
  EXPECT_EQ(asked("range -26 62 -12 68")["count"], 0);
  EXPECT_EQ(silurus("erase 7 10 -5 11 -4").status, 0);
  const Tool::Ran again = silurus("erase 7 10 -5 11 -4");
  EXPECT_EQ(again.status, 1);
  EXPECT_EQ(again.out, "");
  EXPECT_THAT(again.err, HasSubstr("no such entry"));
}

TEST_F(ToolTest, AllModesAnswerAlikeAndNameTheWay) {
  start({"--load", "uniform:20000:seed=3"});
  const auto messaging = asked("--mode messaging range 0.2 0.2 0.3 0.3");
  const auto offload = asked("--mode offload range 0.2 0.2 0.3 0.3");
  const auto adaptive = asked("range 0.2 0.2 0.3 0.3 --mode adaptive --policy catfish");
  EXPECT_EQ(messaging["mode"], "messaging");
  EXPECT_EQ(offload["mode"], "offload");
  EXPECT_EQ(messaging["version"], offload["version"]);
  EXPECT_GT(messaging["count"], 0);
  EXPECT_EQ(messaging["count"], messaging["ids"].size());
  const auto ids = [](const json& answer) {
    auto list = answer["ids"].get<std::vector<std::uint64_t>>();
    std::ranges::sort(list);
    return list;
  };
  EXPECT_EQ(ids(messaging), ids(offload));
  EXPECT_EQ(ids(messaging), ids(adaptive));
  EXPECT_FALSE(asked("range 0.2 0.2 0.3 0.3 --count").contains("ids"));
  EXPECT_EQ(asked("range 0 0 1 1 --limit 5")["count"], 5);
  const auto near = asked("nearest -1 -1 -k 4");
  EXPECT_EQ(near["count"], 4);
  EXPECT_EQ(near["neighbors"].size(), 4u);
  EXPECT_EQ(asked("nearest -1 -1 -k 4 --mode offload")["neighbors"], near["neighbors"]);
}

TEST_F(ToolTest, LoadsInBulkThenByInsertsAndSaysWhich) {
  start();
  EXPECT_EQ(asked("load uniform:3000:seed=1")["method"], "bulk");
  const auto second = asked("load uniform:2000:seed=2");
  EXPECT_EQ(second["method"], "inserts");
  EXPECT_EQ(second["count"], 2'000);
  EXPECT_EQ(asked("range -9 -9 9 9 --count")["count"], 5'000);
  EXPECT_THAT(silurus("stats").out, HasSubstr("5000"));
}

TEST_F(ToolTest, ALoadThatFillsTheTreeSaysWhatIsIn) {
  start({"--memory", "4M"});
  ASSERT_EQ(silurus("insert 1 0 0 0 0").status, 0);  // so that the load is not in bulk
  const Tool::Ran full = silurus("load uniform:200000:seed=1");
  EXPECT_EQ(full.status, 1);
  EXPECT_THAT(full.err, HasSubstr("--memory"));
  const auto entries = asked("stats")["entries"].get<std::uint64_t>();
  EXPECT_GT(entries, 1u);
  EXPECT_THAT(full.err, HasSubstr(std::to_string(entries - 1) + " entries of this load are in"));
}

TEST_F(ToolTest, AMalformedLineIsNamedOrSkipped) {
  start();
  write("bad.csv", "id,xmin,ymin,xmax,ymax\n1,0,0,1,1\n2,0,zero,1,1\n3,0,0,1,1\n");
  const Tool::Ran refused = silurus("load " + (folder_ / "bad.csv"));
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("bad.csv:3"));
  EXPECT_EQ(asked("range -9 -9 9 9 --count")["count"], 0);
  const auto skipped = asked("load --skip-bad " + (folder_ / "bad.csv"));
  EXPECT_EQ(skipped["count"], 2);
  EXPECT_EQ(skipped["skipped"], 1);
}

TEST_F(ToolTest, ColumnsAreReadByNameAndSaid) {
  start();
  write("swapped.csv", "name,id,lat,lon\n\"Paris, France\",7,48.86,2.35\n");
  const Tool::Ran loaded = silurus("load " + (folder_ / "swapped.csv"));
  EXPECT_EQ(loaded.status, 0) << loaded.err;
  EXPECT_THAT(loaded.out,
              HasSubstr("columns: id, lat as y, lon as x, by the header; ignored: name"));
  EXPECT_EQ(asked("range 2 48 3 49")["ids"], json::array({7}));
  // SQLite's R-tree, semicolons, packed
  write("boxes.csv", "id;minX;maxX;minY;maxY\r\n8;10;11;-5;-4\r\n");
  ASSERT_EQ(tool_.shell("gzip -c " + (folder_ / "boxes.csv") + " >" + (folder_ / "boxes")).status,
            0);
  EXPECT_THAT(asked("load " + (folder_ / "boxes"))["columns"], HasSubstr("minX as xmin"));
  EXPECT_EQ(asked("range 10 -5 11 -4 --predicate within")["ids"], json::array({8}));
  EXPECT_EQ(silurus("load " + (folder_ / "boxes") + " --columns id,min_y,max_y,min_x,max_x").status,
            0);
  EXPECT_EQ(asked("range -5 10 -4 11 --predicate within")["ids"], json::array({8}));
}

TEST_F(ToolTest, AServerThatBeginsWithAFileIsToldItsColumns) {
  write("swapped.csv", "7,48.86,2.35\n");
  start({"--load", folder_ / "swapped.csv", "--columns", "id,y,x"});
  EXPECT_EQ(asked("range 2 48 3 49")["ids"], json::array({7}));
}

TEST_F(ToolTest, ColumnsThatAreNotUnderstoodAreRefused) {
  start();
  write("names.csv", "id,a,b\n7,1,2\n");
  const Tool::Ran refused = silurus("load --skip-bad " + (folder_ / "names.csv"));
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("names.csv:1: the header names no coordinates"));
  EXPECT_EQ(silurus("load " + (folder_ / "names.csv") + " --columns id,lta,lon").status, 2);
  EXPECT_EQ(silurus("load " + (folder_ / "names.csv") + " --columns id,x,y,z").status, 2);
  EXPECT_EQ(asked("stats")["entries"], 0);
  EXPECT_EQ(silurus("load " + (folder_ / "names.csv") + " --columns id,y,x").status, 0);
  EXPECT_EQ(asked("range 2 1 2 1")["ids"], json::array({7}));
  EXPECT_EQ(silurus("load uniform:10 --columns id,x,y").status, 1);
}

TEST_F(ToolTest, UsageErrorsAreTwoAndOtherErrorsOne) {
  start();
  EXPECT_EQ(silurus("range 1 2 3").status, 2);
  EXPECT_EQ(silurus("range 1 2 3 4 --bogus").status, 2);
  EXPECT_EQ(silurus("nearest 0 0 -k 0").status, 2);
  EXPECT_EQ(silurus("").status, 2);
  EXPECT_EQ(silurus("range 0 0 0 1 1 1").status, 2);  // two dimensions
  EXPECT_EQ(silurus("range 0 1 1 0").status, 2);      // inverted
  EXPECT_EQ(silurus("range 1 0 0 1").status, 1);      // a window of degrees might be so
  EXPECT_EQ(silurus("nearest 0 0 -k 70000").status, 2);
  EXPECT_EQ(tool("--server http://127.0.0.1:1 stats").status, 2);
  EXPECT_EQ(silurus("load /no/such/file.csv").status, 1);
  const Tool::Ran nobody = tool("--server shm:///tmp/silurus-no-such-socket stats");
  EXPECT_EQ(nobody.status, 1);
  EXPECT_EQ(nobody.out, "");
  EXPECT_THAT(nobody.err, HasSubstr("silurus-no-such-socket"));
  EXPECT_EQ(tool("--help").status, 0);
  EXPECT_EQ(tool("--version").status, 0);
}

TEST_F(ToolTest, EndsSilentlyWhenItsReaderHasEnough) {
  start({"--load", "uniform:50000:seed=3"});
  const std::string range = Tool::program() + " --server " + url() + " range 0 0 1 1";
  const Tool::Ran ran = tool_.shell("{ " + range + "; echo $? >&2; } | head -n 1");
  EXPECT_EQ(std::ranges::count(ran.out, '\n'), 1) << ran.out;
  EXPECT_EQ(ran.err, std::to_string(128 + SIGPIPE) + "\n") << "as other programs end then";
}

TEST_F(ToolTest, AFullStandardOutputIsAnError) {
  start();
  for (const char* command : {" stats", " --help"}) {
    const Tool::Ran ran =
        tool_.shell(Tool::program() + " --server " + url() + command + " >/dev/full");
    EXPECT_EQ(ran.status, 1) << command;
    EXPECT_THAT(ran.err, HasSubstr("No space left")) << command;
  }
}

TEST_F(ToolTest, IdsBeyondDoublesComeAsStrings) {
  start();
  ASSERT_EQ(silurus("insert 9007199254740993 0 0 1 1").status, 0);
  EXPECT_EQ(asked("range 0 0 1 1 --ids-as-strings")["ids"], json::array({"9007199254740993"}));
}

/// Limit of each wait, so that the test is over soon.
constexpr const char* kShort = " --timeout 300ms ";

TEST_F(ToolTest, TheTimeoutBoundsEachWaitForAServerThatStandsStill) {
  start({"--retain", "10m"});
  server_->freeze();
  for (const char* command :
       {"range 0 0 1 1", "nearest 0 0", "insert 1 0 0 1 1", "stats", "history", "diff --from 1",
        "backup /tmp/never-made", "load uniform:100"}) {
    const SystemClock clock;
    const Nanoseconds begun = clock.now();
    const Tool::Ran ran = silurus(kShort + std::string(command));
    EXPECT_EQ(ran.status, 1) << command;
    EXPECT_NE(ran.err, "") << command;
    EXPECT_LT(clock.now() - begun, testing_support::patient(30 * kSecond)) << command;
  }
}

TEST_F(ToolTest, ALoadEndsWhenItsServerStandsStillOnTheWay) {
  start({"--listen", "tcp://127.0.0.1:0"});
  const std::vector<std::string> addresses = server_->addresses();
  for (const std::string& address : addresses) {
    const std::string pipe = folder_ / "pipe";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    std::optional<Tool::Ran> ran;
    std::thread load([&] { ran = tool("--server " + address + kShort + "load - <" + pipe); });
    std::ofstream entries(pipe);
    // A load that has begun keeps others from writing. (It begins in an empty tree only: nothing is
    // inserted.)
    const Tool other;
    ASSERT_TRUE(testing_support::wait_until([&] {
      const auto erased = other.run("--server " + url() + " erase 7 0 0 1 1");
      return erased.err.find("a bulk load is under way") != std::string::npos;
    }));
    server_->freeze();
    for (int i = 0; i < 100; ++i) entries << i << ",0,0,1,1\n";
    entries.close();
    load.join();
    EXPECT_EQ(ran->status, 1) << address;
    EXPECT_THAT(ran->err, HasSubstr("no sign of life")) << address;
    server_->signal(SIGCONT);
    unlink(pipe.c_str());
  }
}

TEST_F(ToolTest, TcpOffersMessagingOnly) {
  start({"--listen", "tcp://127.0.0.1:0"});
  const std::string tcp = server_->addresses().at(1);
  EXPECT_EQ(tool("--server " + tcp + " insert 1 0 0 1 1").status, 0);
  EXPECT_EQ(tool("--server " + tcp + " range 0 0 1 1").out, "1\n");
  const Tool::Ran refused = tool("--server " + tcp + " --mode offload range 0 0 1 1");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("no one-sided reads"));
}

}  // namespace
}  // namespace silurus
