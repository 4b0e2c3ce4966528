// SPDX-License-Identifier: Apache-2.0

#include <deque>
#include <filesystem>

#include "access/key.h"
#include "tests/integration/replication/cluster_of_servers.h"
#include "tests/support/held_port.h"

// Static groups of real servers: no etcd is there, and only the first member ever leads.

namespace silurus {
namespace {

using StaticOptions = MemberOptions;

class StaticCluster : public ClusterOfServers {
 protected:
  void SetUp() override {}
  void name_it() {
    const std::string where = is_shm() ? folder_ / "first" : group_port_.host_and_port();
    cluster_ = "static://" + where + "/test";
    first_group_ = (is_shm() ? "shm://" : "tcp://") + where;
  }
  void start(std::size_t members) {
    if (members_.empty()) name_it();
    for (std::size_t i = members_.size(); members_.size() < members; ++i) {
      members_.push_back(member(i, i == 0 ? std::vector<std::string>{"--lead"} : options_));
      members_.back().start();
      ASSERT_TRUE(wait_for_view(members_.size()));
    }
  }
  /// In its next life perhaps with other options.
  Member member(std::size_t i, const std::vector<std::string>& more) const {
    const std::string name = std::to_string(i);
    const bool leads = std::ranges::find(more, "--lead") != more.end();
    const std::string other = is_shm() ? "shm://" + (folder_ / ("g" + name)) : "tcp://127.0.0.1:0";
    const std::string url =
        is_shm() ? "shm://" + (folder_ / ("c" + name)) : "tcp://" + ports_.at(i).host_and_port();
    return {url, leads ? first_group_ : other, data(i), cluster_, lease_, more};
  }
  void be(std::size_t i, const std::vector<std::string>& more) {
    Member next = member(i, more);
    members_[i] = std::move(next);
  }
  std::string data(std::size_t i) const { return folder_ / ("d" + std::to_string(i)); }
  bool is_shm() const { return std::string(GetParam()) == "shm"; }
  Member& first() { return members_.front(); }
  /// Writes that many, one after the other; all ids so far.
  void write(Client<2>& to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t id = ids_.size() + 1;
      const auto written = to.insert(id, box_of(id));
      ASSERT_TRUE(written.has_value()) << written.error().message;
      ids_.insert(id);
    }
  }

  const testing_support::HeldPort group_port_;
  const std::array<testing_support::HeldPort, 3> ports_{};  ///< for clients
  std::string cluster_;
  std::string first_group_;
  std::set<std::uint64_t> ids_;
};

TEST_P(StaticCluster, KeepsEveryAcknowledgedWriteThroughTheDeathsOfItsFirstMember) {
  start(3);
  EXPECT_EQ(first().cluster()["name"], "static:test");
  EXPECT_EQ(first().cluster()["fail_over"], false);
  expect_no_write_lost_through([this] {
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(wait_for_writes(20));
      first().kill_it();
      testing_support::pace(patient(600 * kMillisecond));  // pacing: as if started again by hand
      first().start();
      ASSERT_TRUE(wait_for_view(3)) << "all of them are taken in again";
      ASSERT_EQ(primary(), &first());
    }
    ASSERT_TRUE(wait_for_writes(1));
  });
}

TEST_P(StaticCluster, AMemberAloneIsReadOneSidedly) {
  if (!is_shm()) GTEST_SKIP() << "tcp has no one-sided reads";
  start(1);
  Client<2> writer = client();
  write(writer, 50);
  auto reader = Client<2>::connect(urls(), patient({.mode = Mode::kOffload}));
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  EXPECT_TRUE(wait_until([&] {
    EXPECT_EQ(reader->count(kEverything).value(), ids_.size());
    return reader->statistics().offload.completed > 0;
  }));
}

TEST_P(StaticCluster, ABackupThatDiesIsVotedOutAndComesBack) {
  start(3);
  Client<2> writer = client();
  write(writer, 50);
  members_[1].kill_it();
  write(writer, 50);
  EXPECT_TRUE(wait_until([&] { return first().cluster()["members"].size() == 2; }));
  members_[1].start();
  ASSERT_TRUE(wait_for_view(3));
  write(writer, 50);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, BackupsAnswerButNoneLeadsWhileTheFirstMemberIsAway) {
  start(3);
  Client<2> writer = client();
  write(writer, 50);
  expect_everywhere(ids_);
  auto hasty = Client<2>::connect(
      urls(),
      {.deadline = kSecond, .connect_timeout = patient(20 * kSecond), .reconnect_for = kSecond});
  ASSERT_TRUE(hasty.has_value()) << hasty.error().message;
  first().kill_it();
  const SystemClock clock;
  const Nanoseconds several_leases = patient(1500 * kMillisecond);
  for (const Nanoseconds begun = clock.now(); clock.now() - begun < several_leases;) {
    for (const std::size_t backup : {1, 2}) {
      const auto found = members_[backup].ids();
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(found->second.size(), ids_.size());
    }
    for (const Member& member : members_) EXPECT_FALSE(member.leads());
  }
  EXPECT_FALSE(hasty->insert(999, box_of(999)).has_value()) << "no member could have committed it";
  EXPECT_FALSE(hasty->count(kEverything).has_value()) << "nor is that sure to be the newest";
  first().start();
  ASSERT_TRUE(wait_for_view(3));
  write(writer, 50);
  EXPECT_EQ(writer.count(kEverything).value(), ids_.size());
}

TEST_P(StaticCluster, ANewClientReadsFromAnyMemberWhileTheFirstOneIsAway) {
  start(3);
  Client<2> writer = client();
  write(writer, 50);
  expect_everywhere(ids_);
  first().kill_it();
  auto reader = Client<2>::connect(
      urls(), patient({.read = {.from = ReadFrom::kAny, .max_staleness = 3600 * kSecond}}));
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(reader->count(kEverything).value(), ids_.size());
  auto hasty =
      Client<2>::connect(urls(), {.connect_timeout = kSecond,
                                  .read = {.from = ReadFrom::kAny, .max_staleness = kMillisecond}});
  EXPECT_FALSE(hasty.has_value()) << "none is known to be as fresh as that";
  first().start();
  ASSERT_TRUE(wait_for_view(3));
  write(*reader, 1);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, StatisticsAreThoseOfTheMemberThatIsAsked) {
  start(2);
  for (const Member& member : members_) {
    auto asked = Client<2>::connect(member.url(), patient({.follow_primary = false}));
    ASSERT_TRUE(asked.has_value()) << asked.error().message;
    const json said = json::parse(asked->server_statistics().value().json);
    EXPECT_EQ(said["group"]["self"], member.cluster()["self"]);
    EXPECT_EQ(said["listeners"][0]["address"], member.url());
    EXPECT_EQ(said["group"]["role"] == "primary", &member == &first());
    const std::size_t other = &member == &first() ? 1 : 0;
    EXPECT_EQ(said["group"]["members"][other]["applied_lsn"].is_null(), other == 0)
        << "how far a member is, itself and the primary know";
  }
}

TEST_P(StaticCluster, AMemberThatIsLeftAloneOfThreeRefusesWritesAtOnceAndSaysWhatToDo) {
  start(3);
  Client<2> writer = client();
  write(writer, 10);
  expect_everywhere(ids_);
  members_[1].kill_it();
  members_[2].kill_it();
  ASSERT_TRUE(wait_until([&] { return first().cluster()["copies"] == 1; }));
  EXPECT_EQ(first().cluster()["copies_needed"], 2);
  const auto refused = writer.insert(999, box_of(999));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable) << "not a timeout";
  for (const char* what : {"has 1 copy", "fewer than 2", "--min-members 1"}) {
    EXPECT_NE(refused.error().message.find(what), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(writer.count(kEverything).value(), ids_.size()) << "searches go on";
  const json said = json::parse(writer.server_statistics().value().json);
  EXPECT_TRUE(said["state"].get<std::string>().starts_with("read-only: the group has 1 copy"));
  EXPECT_EQ(said["group"]["warning"], refused.error().message);
  members_[1].start();
  ASSERT_TRUE(wait_for_view(2));
  write(writer, 10);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, AnOperatorLowersHowManyMembersAreNeeded) {
  start(2);
  Client<2> writer = client();
  write(writer, 10);
  for (Member& member : members_) member.kill_it();
  be(0, {"--lead", "--min-members", "1"});
  first().start();
  write(writer, 10);
  EXPECT_NE(first().cluster()["warning"].get<std::string>().find("one copy"), std::string::npos);
  first().kill_it();
  be(0, {"--lead"});
  first().start();
  write(writer, 10);
  EXPECT_EQ(first().cluster()["min_members"], 1) << "the group remembers it";
}

TEST_P(StaticCluster, AGroupThatIsFoundedSoTakesNoWriteBeforeItHasTwoCopies) {
  name_it();
  members_.push_back(member(0, {"--lead", "--min-members", "2"}));
  first().start();
  ASSERT_TRUE(wait_for_view(1));
  Client<2> writer = client();
  EXPECT_EQ(writer.insert(1, box_of(1)).error().code, ErrorCode::kUnavailable);
  const auto loaded = writer.load(std::vector<Entry<2>>{{1, box_of(1)}});
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code, ErrorCode::kUnavailable) << loaded.error().message;
  members_.push_back(member(1, {}));
  members_[1].start();
  ASSERT_TRUE(wait_for_view(2)) << "joining needs no write";
  write(writer, 10);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, TakesABulkLoadAtAllMembersAtOnce) {
  start(3);
  Client<2> loader = client();
  const auto loaded = loader.load(many_entries(20'000, ids_));
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  EXPECT_EQ(loaded->entries, 20'000u);
  expect_everywhere(ids_);
  for (const std::size_t backup : {1, 2}) {
    const std::string said = members_[backup].process().errors();
    EXPECT_NE(said.find("has copied the"), std::string::npos)
        << "by its nodes, not by inserts: " << said;
  }
  write(loader, 50);
  const auto again = loader.load(many_entries(1, ids_));
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, ErrorCode::kConflict) << "the tree is not empty";
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, RefusesWritesWhileABulkLoadIsUnderWay) {
  start(2);
  Client<2> loader = client();
  Client<2> writer = client();
  ASSERT_TRUE(loader.load_begin());
  const auto refused = writer.insert(1, box_of(1));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict) << refused.error().message;
  ASSERT_TRUE(loader.load_add(many_entries(1'000, ids_)));
  ASSERT_TRUE(loader.load_commit());
  write(writer, 1);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, KeepsABulkLoadThroughTheDeathOfAllMembers) {
  start(3);
  const auto loaded = client().load(many_entries(5'000, ids_));
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  for (Member& member : members_) member.kill_it();
  for (Member& member : members_) member.start();
  ASSERT_TRUE(wait_for_view(3));
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, LoadsInBulkWithoutAMemberThatDied) {
  start(3);
  members_[2].kill_it();
  const auto loaded = client().load(many_entries(5'000, ids_));
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  members_[2].start();
  ASSERT_TRUE(wait_for_view(3)) << "it has copied the tree";
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, RefusesABulkLoadThatDoesNotFitAMemberAndIsUnharmed) {
  options_ = {"--memory", "8M"};
  start(2);
  Client<2> loader = client();
  std::set<std::uint64_t> refused;
  const auto loaded = loader.load(many_entries(300'000, refused));
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code, ErrorCode::kOutOfMemory) << loaded.error().message;
  EXPECT_NE(loaded.error().message.find("nothing has changed"), std::string::npos)
      << loaded.error().message;
  write(loader, 50);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, IsNotFoundedAnewWhenTheFirstMembersDirectoryWasEmptied) {
  start(2);
  Client<2> writer = client();
  write(writer, 50);
  expect_everywhere(ids_);
  first().kill_it();
  std::filesystem::remove_all(data(0));
  first().start();
  EXPECT_TRUE(wait_until([&] { return members_[1].cluster()["role"] == "failed"; }));
  const std::string failure = members_[1].cluster()["failure"];
  EXPECT_NE(failure.find("lost or emptied"), std::string::npos) << failure;
  EXPECT_NE(first().process().errors().find("lost or emptied"), std::string::npos);
  members_[1].kill_it();
  EXPECT_FALSE(members_[1].MemberProcess::start()) << "nor in its next life";
  EXPECT_NE(members_[1].process().errors().find("--lead --take-over"), std::string::npos)
      << members_[1].process().errors();
  // What is said there.
  first().kill_it();
  be(1, {"--lead"});
  EXPECT_FALSE(members_[1].MemberProcess::start());
  EXPECT_NE(members_[1].process().errors().find("--take-over"), std::string::npos);
  be(1, {"--lead", "--take-over"});
  members_[1].start();
  ASSERT_NE(primary(), nullptr);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, AnotherMemberTakesOverByHand) {
  start(3);
  Client<2> writer = client();
  write(writer, 50);
  for (Member& member : members_) member.kill_it();
  be(1, {"--lead", "--take-over"});
  members_[1].start();
  members_[2].start();
  Client<2> next = client();
  write(next, 50);
  EXPECT_EQ(next.count(kEverything).value(), ids_.size());
  expect_everywhere(ids_);
  // The one before may only follow.
  be(0, {});
  first().start();
  ASSERT_TRUE(wait_for_view(3));
  expect_everywhere(ids_);
  // And the next start needs no such word.
  members_[1].kill_it();
  be(1, {"--lead"});
  members_[1].start();
  ASSERT_TRUE(wait_for_view(3));
  ASSERT_EQ(primary(), &members_[1]);
  expect_everywhere(ids_);
}

TEST_P(StaticCluster, AViewThatNoMemberWroteIsRefusedWithWhatToDo) {
  start(1);
  first().process().stop();
  const std::string file = data(0) + "/member.view";
  std::ofstream(file, std::ios::app) << "x";
  EXPECT_FALSE(first().MemberProcess::start());
  EXPECT_NE(first().process().errors().find("restore that file"), std::string::npos);
  std::filesystem::remove(file);
  EXPECT_FALSE(first().MemberProcess::start());
  EXPECT_NE(first().process().errors().find("is missing"), std::string::npos);
}

TEST_P(StaticCluster, TakesInMembersThatProveItsKeyAndNoOthers) {
  if (is_shm()) GTEST_SKIP() << "over shm the user counts";
  name_it();
  ASSERT_TRUE(access::Key::make("ours")->write(folder_ / "ours.key"));
  ASSERT_TRUE(access::Key::make("ours")->write(folder_ / "other.key"));
  members_.push_back(member(0, {"--lead", "--cluster-key", folder_ / "ours.key"}));
  members_.back().start();
  ASSERT_TRUE(wait_for_view(1));
  std::deque<Member> strangers;
  for (const std::vector<std::string>& options :
       {std::vector<std::string>{"--cluster-key", folder_ / "other.key"}, {}}) {
    testing_support::MemberProcess& stranger = strangers.emplace_back(member(2, options));
    EXPECT_FALSE(stranger.start());
    EXPECT_NE(stranger.process().wait(), 0);
    EXPECT_NE(stranger.process().errors().find("no first member"), std::string::npos)
        << stranger.process().errors();
  }
  members_.push_back(member(1, {"--cluster-key", folder_ / "ours.key"}));
  members_.back().start();
  ASSERT_TRUE(wait_for_view(2));
  Client<2> writer = client();
  write(writer, 20);
  expect_everywhere(ids_);
}

TEST_F(StaticOptions, AreRefusedWithWhatIsWrong) {
  const std::string url = "static://127.0.0.1:1/x";
  EXPECT_NE(refusal({"--cluster", url, "--lead"}).find("needs --data"), std::string::npos);
  EXPECT_NE(refusal({"--lead"}).find("only with --cluster static://"), std::string::npos);
  EXPECT_NE(refusal({"--cluster", "etcd://127.0.0.1:1/x", "--data", folder_ / "d", "--lead"})
                .find("only in a group without etcd"),
            std::string::npos);
  EXPECT_NE(
      refusal({"--cluster", url, "--data", folder_ / "d", "--take-over"}).find("only with --lead"),
      std::string::npos);
  EXPECT_NE(refusal({"--cluster", url, "--data", folder_ / "d", "--lead", "--group-address",
                     "tcp://127.0.0.1:2"})
                .find("listens where --cluster says"),
            std::string::npos);
  EXPECT_NE(refusal({"--take-over"}).find("--take-over: only with --cluster"), std::string::npos);
  EXPECT_NE(
      refusal({"--cluster", url, "--data", folder_ / "d", "--group-address", "tcp://127.0.0.1:1"})
          .find("is the first member's"),
      std::string::npos);
  EXPECT_NE(refusal({"--cluster", "static://127.0.0.1:0/x", "--data", folder_ / "d", "--lead"})
                .find("others have to know the port"),
            std::string::npos);
  EXPECT_NE(refusal({"--cluster", "static://0.0.0.0:7499/x", "--data", folder_ / "d", "--lead"})
                .find("--cluster-key FILE"),
            std::string::npos);
  EXPECT_NE(refusal({"--cluster", url, "--data", folder_ / "d", "--lead", "--cluster-key",
                     folder_ / "none"})
                .find("cannot read the key"),
            std::string::npos);
  std::ofstream(folder_ / "device") << std::string(32 << 20, '\0');
  EXPECT_NE(
      refusal({"--cluster", url, "--data", folder_ / "device", "--lead"}).find("is no directory"),
      std::string::npos);
  EXPECT_NE(refusal({"--cluster", url, "--data", folder_ / "d"})
                .find("no first member (--lead) answers at tcp://127.0.0.1:1"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Fabrics, StaticCluster, testing::Values("shm", "tcp"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace silurus
